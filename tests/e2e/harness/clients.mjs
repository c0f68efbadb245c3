// npm's `eventsource` and `ws`, each with an ear: what they hear lands in a `Heard`, and they close with the test.

import { EventSource } from "eventsource";
import WebSocket from "ws";

import { Heard } from "./heard.mjs";

/**
 * Opens an EventSource for the test `t`. Heard are `{type, data, id}`: the types named in `types`, `message`, and the
 * server's own `$ready` and `$gap`, in the order they came.
 */
export function eventSource(t, url, types = []) {
  const source = new EventSource(url);
  t.after(() => source.close());
  const heard = new Heard();
  for (const type of ["message", "$ready", "$gap", ...types]) {
    source.addEventListener(type, ({ data, lastEventId }) => heard.push({ type, data, id: lastEventId }));
  }
  return { source, heard };
}

/**
 * Opens a WebSocket for the test `t`. Heard are texts, as `read` turns them, and Buffers, then `{code, reason}` when it
 * closes.
 */
export async function webSocket(t, url, protocols = [], read = (text) => text) {
  const socket = new WebSocket(url, protocols, { perMessageDeflate: false });
  t.after(() => socket.terminate());
  const heard = new Heard();
  socket.on("message", (bytes, isBinary) => heard.push(isBinary ? bytes : read(bytes.toString("utf8"))));
  socket.on("close", (code, reason) => heard.push({ code, reason: reason.toString("utf8") }));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  socket.on("error", () => {});
  return { socket, heard };
}

/** Opens a `tidewire.v1` WebSocket: what is heard and said are objects. */
export async function v1(t, url) {
  const { socket, heard } = await webSocket(t, url, ["tidewire.v1"], JSON.parse);
  return { socket, heard, say: (frame) => socket.send(JSON.stringify(frame)) };
}
