// The four ways to hear a channel. Each opens one connection, tells what comes, and says once that it is over; who comes
// back, when and how is the link's.

import { Refusal } from "./http.js";
import type { Line, Transport, TransportName, World } from "./types.js";

/** How long a long poll waits. Proxies often give up after 30 s. */
const WAIT_S = 25;

/** The rest between two short polls. */
const REST_MS = 5_000;

/** An empty answer to a long poll within this was not the server's. */
const HURRY_MS = 1_000;

/** A WebSocket that is silent for so long is asked whether it is still there, and is dead after as long again. */
const SILENCE_MS = 20_000;

const EVENTS = ["message", "$ready", "$gap", "$presence", "$expired", "$refused"];

const sse: Transport = ({ address, world, options, hear, failed }) => {
  const source = new world.EventSource(address, { withCredentials: options.credentials! });
  for (const type of EVENTS) {
    source.addEventListener(type, ({ data }: MessageEvent) => hear(type.replace("$", ""), JSON.parse(data)));
  }
  // A browser comes back by itself from a stream that was cut, but to the same address, whose ticket is spent; from
  // anything but a 200 it never does. Both are the link's to mend.
  source.onerror = () => failed();
  return source;
};

const ws: Transport = ({ address, world, hear, failed }) => {
  const socket = new world.WebSocket(address.replace(/^http/, "ws"), ["tidewire.v1"]);
  let silent = 0;
  let timer: ReturnType<World["setTimeout"]>;
  const watch = () => {
    timer = world.setTimeout(watch, SILENCE_MS);
    if (silent++ > 1) failed();
    else if (silent > 1) send({ type: "ping" });
  };
  const send = (frame: object) => socket.send(JSON.stringify(frame));
  socket.onopen = watch;
  socket.onmessage = ({ data }) => {
    silent = 0;
    const frame = JSON.parse(data);
    hear(frame.type, frame);
  };
  // A refusal of the whole connection is final; what came before the handshake has no code, and is asked about.
  socket.onclose = ({ code, reason }) => failed(/^440[03-5]/.test(code as any) ? new Refusal(reason, code - 4000) : undefined);
  return {
    send,
    close() {
      world.clearTimeout(timer);
      socket.close();
    },
  };
};

const polls = (wait_s: number): Transport => ({ page, world, options, hear, failed }): Line => {
  const abort = new AbortController();
  let timer: ReturnType<World["setTimeout"]>;
  // The first answer comes at once, and says that the way is open.
  const ask = async (wait?: number) => {
    try {
      const asked_at = world.Date.now();
      const answer = await page(abort, wait);
      hear("page", answer);
      if (abort.signal.aborted) return;
      // What cuts a wait short would have it asked for without a rest.
      const has_waited = wait_s && (!wait || answer.messages[0] || world.Date.now() - asked_at > HURRY_MS);
      if (answer.more || has_waited) ask(wait_s);
      else timer = world.setTimeout(() => ask(wait_s), options.poll_ms ?? REST_MS);
    } catch (error) {
      failed(error as Error);
    }
  };
  ask();
  return {
    close() {
      world.clearTimeout(timer);
      abort.abort();
    },
  };
};

/** Best first. */
export const TRANSPORTS: Record<TransportName, Transport> = { sse, ws, longpoll: polls(WAIT_S), poll: polls(0) };
