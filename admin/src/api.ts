// Asking the server: JSON both ways, and its refusals as errors that say what to do.

/** What the server said instead of an answer (RFC 9457). */
export class Refused extends Error {
  constructor(readonly status: number, readonly code: string, detail: string, readonly hint: string) {
    super(detail);
  }
}

/** Said with everything that changes something; no other page can read it. */
let csrf = "";

export function sayCsrf(token: string): void {
  csrf = token;
}

/** Asks for `path`. With `byItself` nobody waits for it, and the session does not count as used. */
export function get<T>(path: string, { byItself = false } = {}): Promise<T> {
  return ask(path, byItself ? { headers: { "Tidewire-By-Itself": "1" } } : {});
}

/** Has the server do something. */
export function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json", "Tidewire-Csrf": csrf };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  const response = await fetch(path, { ...init, cache: "no-store" });
  if (response.ok) return (await response.json()) as T;
  throw await refused(response);
}

/** A refusal out of a response, whatever stands in front of the server. */
export async function refused(response: Response): Promise<Refused> {
  const problem = await response.json().catch(() => ({}));
  const { code = "", detail = `the server answered ${response.status}`, hint = "" } = problem as Record<string, string>;
  return new Refused(response.status, code, detail, hint);
}

/** What went wrong, in a sentence. */
export function said(error: unknown): string {
  if (error instanceof Refused) return error.message;
  return "the server cannot be reached";
}
