// Messages as an attacker would have them: those that a page does understand, with a payload for every word.

import { Heard, eventually } from "../e2e/harness/heard.mjs";
import { PAYLOADS } from "./payloads.mjs";

/** Shapes of messages that are forged, for each channel and event. */
const SHAPES_MAX = 4;

/** How often a page may load itself anew while a channel is forged: once for every name that was typed. */
const LOADS_MAX = PAYLOADS.length;

/** What `page` listens to, and what it is sent, from now on: `{channels, heard, loads}`; `loads()` grows with each of its loads. */
export async function overhear(context, page) {
  const [channels, heard] = [new Set(), new Heard()];
  const add = (url) => {
    const [, names] = new URL(url).pathname.match(/^\/c\/(.+)$/) ?? [];
    if (names) for (const name of decodeURIComponent(names).split(",")) channels.add(name);
  };
  page.on("request", (request) => add(request.url()));
  page.on("websocket", (socket) => add(socket.url()));
  const session = await context.newCDPSession(page);
  session.on("Network.eventSourceMessageReceived", ({ data }) => heard.push(data));
  session.on("Network.webSocketFrameReceived", ({ response }) => heard.push(response.payloadData));
  await session.send("Network.enable");
  let loads = 0;
  page.on("framenavigated", (frame) => frame === page.mainFrame() && (loads += 1));
  return { channels, heard, loads: () => loads };
}

/**
 * Publishes every payload to `channel`: bare, as event and as key, and in everything that was ever said there. Waits until
 * the page has been sent all of it, where one may publish there at all. `live` resolves once the page hears.
 */
export async function forge(server, channel, { heard, loads }, live) {
  for (let tried = 0; tried < LOADS_MAX; tried += 1) {
    const before = loads();
    await live();
    await forgeOnce(server, channel, heard, () => loads() !== before);
    // Who has another name now loads the page anew, and what came meanwhile has reached nobody.
    if (loads() === before) return;
  }
  throw new Error(`the page loads itself anew for ever, ${LOADS_MAX} times during ${channel}`);
}

async function forgeOnce(server, channel, heard, isAnew) {
  await publish(server, PAYLOADS.flatMap((data) => [{ channel, data }, { channel, data, event: data }, { channel, data, key: data }]));
  const answer = await fetch(`${server.url}/c/${channel}?cursor=earliest`, { headers: server.credentials });
  const { messages = [] } = await answer.json();
  const shapes = new Map();
  for (const { event, data } of messages) {
    const shape = read(data);
    // The newest of each kind: what has a version is understood by the next one only.
    if (shape) shapes.set(`${event} ${Object.keys(shape).sort()}`, { event: event ?? undefined, shape });
  }
  let version = Math.max(0, ...[...shapes.values()].map(({ shape }) => (Number.isInteger(shape.version) ? shape.version : 0)));
  const words = (payload) => (leaf) => (typeof leaf === "string" ? payload : leaf);
  const everything = (payload) => () => payload;
  // What looks right comes first: a page that is told what is no change reads anew, and versions that it heard of lead nowhere.
  await publish(server, [words, everything].flatMap((change) => [...shapes.values()].slice(-SHAPES_MAX).flatMap(({ event, shape }) =>
    PAYLOADS.map((payload) => {
      const data = changed(shape, change(payload), payload);
      if ("version" in shape) data.version = version += 1;
      return { channel, event, data: JSON.stringify(data) };
    }))));
  const end = `the end of ${channel}, after ${heard.all.length}`;
  const [{ code }] = await publish(server, [{ channel, data: end }]);
  // A page may have left the channel meanwhile.
  const isLeft = async () => {
    const { channels } = await (await fetch(`${server.url}/v1/channels`, { headers: server.credentials })).json();
    const { receivers } = channels.find((each) => each.channel === channel) ?? { receivers: {} };
    return !(receivers.sse || receivers.ws || receivers.poll);
  };
  const isHeard = () => heard.all.some((sent) => sent.includes(end));
  if (!code) await eventually(`${channel} has reached the page`, async () => isAnew() || isHeard() || (await isLeft()));
}

/** Resolves to what became of each. What is refused is the server's affair, and no failure. */
async function publish(server, messages) {
  const results = [];
  for (let at = 0; at < messages.length; at += 50) {
    const answer = await fetch(`${server.url}/v1/publish`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...server.credentials },
      body: JSON.stringify({ messages: messages.slice(at, at + 50) }),
    });
    if (answer.status !== 200) throw new Error(`publish: ${answer.status} ${await answer.text()}`);
    results.push(...(await answer.json()).results);
  }
  return results;
}

function read(data) {
  try {
    const value = JSON.parse(data);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** `value` with every leaf changed, and with a name that nobody expects. */
function changed(value, change, payload) {
  if (Array.isArray(value)) return value.map((each) => changed(each, change, payload));
  if (value === null || typeof value !== "object") return change(value);
  const entries = Object.entries(value).map(([name, each]) => [name, changed(each, change, payload)]);
  return { ...Object.fromEntries(entries), [payload]: payload };
}
