// The one connection that tabs share, in the tab that holds their lock.

import { connect } from "./client.js";
import type { Refusal } from "./http.js";
import type { Heard, Note, TabsWorld } from "./tabs.js";
import type { Options } from "./types.js";

/** Connects for all tabs that say on the channel `name` what they listen to, until it is closed. */
export function makeTrunk(name: string, base: string, options: Options, world: TabsWorld): { close(): void } {
  const air = new world.BroadcastChannel!(name);
  const say = (note: Note) => air.postMessage(note);
  // It begins now: what was before, each tab asks for by itself.
  const { cursor: _, ...own } = options;
  const client = connect(base, own);
  const asked = new Map<string, readonly string[]>();
  const listened = new Map<string, () => void>();
  /** Tabs whose channels are on their way. */
  const unanswered = new Map<string, number>();
  let isCut = false;
  const end = new AbortController();

  const answer = () => {
    if (client.state.state != "live") return;
    for (const [tab, round] of unanswered) say({ type: "joined", tab, round, cursor: client.cursor });
    unanswered.clear();
  };
  const settle = () => {
    const wanted = new Set([...asked.values()].flat());
    for (const name of wanted) if (!listened.has(name)) listened.set(name, client.channel(name).on("message", () => {}));
    for (const [name, off] of listened) {
      if (wanted.has(name)) continue;
      off();
      listened.delete(name);
    }
    // After the client has set out for what is new.
    queueMicrotask(answer);
  };
  const left = (tab: string) => {
    unanswered.delete(tab);
    if (asked.delete(tab)) settle();
  };
  const tell = (what: Heard["what"]) => (value: unknown) => say({ type: "heard", what, value });

  client.on("message", tell("message"));
  client.on("gap", tell("gap"));
  client.on("presence", tell("presence"));
  client.on("state", ({ state, error }) => {
    if (state == "live") {
      if (isCut) say({ type: "trunk" });
      isCut = false;
      answer();
    } else if (state == "waiting") {
      if (!isCut) say({ type: "cut" });
      isCut = true;
    } else if (state == "refused") {
      const { code, status, message: detail } = error as Refusal;
      tell("refused")({ code, status, detail });
    }
  });
  air.onmessage = ({ data: note }: MessageEvent<Note>) => {
    if (note.type == "left") left(note.tab);
    if (note.type != "join") return;
    const { tab, names, round } = note;
    if (!asked.has(tab)) {
      // Free once the tab is gone.
      world.navigator.locks!.request(`${name} ${tab}`, { signal: end.signal }, () => left(tab)).catch(() => {});
    }
    asked.set(tab, names);
    unanswered.set(tab, round);
    settle();
  };
  say({ type: "trunk" });
  return {
    close() {
      end.abort();
      client.close();
      air.close();
    },
  };
}
