// Where the page is: behind the `#`, so that a link can be kept and sent.

import { signal } from "@preact/signals";

export interface Route {
  view: string;
  /** What is looked at: the name of a channel. */
  name: string;
  query: URLSearchParams;
}

export const route = signal(read());

globalThis.addEventListener("hashchange", () => (route.value = read()));

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view = "", name = ""] = path.split("/");
  return { view: view || "overview", name: decode(name), query: new URLSearchParams(query) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

export function toChannel(name: string): string {
  return `#/channels/${encodeURIComponent(name)}`;
}

export function toConnections(filter: Record<string, string>): string {
  return `#/connections?${new URLSearchParams(filter)}`;
}
