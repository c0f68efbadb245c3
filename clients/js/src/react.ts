// Hooks for React: a client is made outside and handed down, and a component listens for as long as it is there.

import { createContext, createElement, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { ReactNode } from "react";

import type { Channel, Client } from "./client.js";
import type { Change, Gap, Members, Message, StateChange } from "./types.js";

const Context = createContext<Client | null>(null);

/** Hands a client down to the components below. Whoever made it closes it. */
export function TidewireProvider({ client, children }: { client: Client; children?: ReactNode }): ReactNode {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the provider above. */
export function useClient(): Client {
  const client = useContext(Context);
  if (!client) throw new Error("there is no TidewireProvider above this component");
  return client;
}

/** The state of the connection, anew whenever it changes. */
export function useConnection(): StateChange {
  const client = useClient();
  return useSyncExternalStore(
    (changed) => client.on("state", changed),
    () => client.state,
    () => client.state,
  );
}

/**
 * Calls `listener` for every message of the channel, or for those published as `event`. The listener may be another
 * function each time; nothing is subscribed to anew.
 */
export function useChannel(name: string, listener: (message: Message) => void, event = "message"): Channel {
  const channel = useClient().channel(name);
  const newest = useNewest(listener);
  useEffect(() => channel.on(event, (message) => newest.current(message)), [channel, event]);
  return channel;
}

/** The newest messages of the channel that came since the component is there, oldest first, at most `keep` of them. */
export function useMessages(name: string, { event = "message", keep = 100 } = {}): readonly Message[] {
  const [{ of, messages }, set] = useState({ of: name, messages: [] as readonly Message[] });
  useChannel(
    name,
    (message) => set((old) => ({ of: name, messages: [...(old.of == name ? old.messages : []), message].slice(-keep) })),
    event,
  );
  // Never, even for one picture, those of the channel that was shown before.
  return useMemo(() => (of == name ? messages : []), [of, name, messages]);
}

/** Calls `listener` when messages of the channel may be missing: read the state anew. */
export function useGap(name: string, listener: (gap: Gap) => void): void {
  const channel = useClient().channel(name);
  const newest = useNewest(listener);
  useEffect(() => channel.on("$gap", (gap) => newest.current(gap)), [channel]);
}

/** Who is connected to the channel; `null` until that is known. Asked for once a connection, and then as it is told. */
export function usePresence(name: string): Members | null {
  const client = useClient();
  const [members, set] = useState<Members | null>(null);
  useEffect(() => {
    const channel = client.channel(name);
    let isHere = true;
    let isAsking = false;
    let isStale = false;
    const ask = async (): Promise<void> => {
      isStale = true;
      if (isAsking) return;
      isAsking = true;
      // What changed between a question and its answer may or may not be in it.
      while (isHere && isStale) {
        isStale = false;
        const answer = await channel.presence().catch(() => null);
        if (isHere && answer) set(answer);
      }
      isAsking = false;
    };
    const offs = [
      channel.on("$presence", (change: Change) => {
        if (isAsking || change.event == "missed") void ask();
        else set((old) => old && changed(old, change));
      }),
      client.on("state", ({ state }) => {
        if (state == "live") void ask();
      }),
    ];
    if (client.state.state == "live") void ask();
    return () => {
      isHere = false;
      set(null);
      for (const off of offs) off();
    };
  }, [client, name]);
  return members;
}

function changed(old: Members, { event, subject = "" }: Change): Members {
  const others = old.members.filter((member) => member.subject != subject);
  const members = event == "join" ? [...others, { subject, sessions: 1 }] : others;
  return { ...old, members, count: old.count + members.length - old.members.length };
}

/** A box that always holds the newest value. */
function useNewest<Value>(value: Value): { current: Value } {
  const box = useRef(value);
  useEffect(() => {
    box.current = value;
  });
  return box;
}
