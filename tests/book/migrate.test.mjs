// The guides for who moves here: the same little story in Chromium, before with what the guide begins with, after with
// Tidewire, by the programs of `examples/migrate-*` as they stand there, over a real Redis. And what the guide says is gained.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import test, { after, before } from "node:test";

import { browser } from "../browser/tab.mjs";
import { eventually } from "../e2e/harness/heard.mjs";
import { redisServer } from "../e2e/harness/redis.mjs";
import { freePort, repository } from "../e2e/harness/tidewire.mjs";
import { reader } from "./place.mjs";

const ends = [];
const forFile = { after: (end) => ends.push(end) };
const examples = join(repository, "examples");
/** The same, where another user may read them: a clone may lie where only its owner may. */
const programs = mkdtempSync(join(tmpdir(), "tidewire-migrate-"));
let chromium;
let pages;
before(async () => {
  chmodSync(programs, 0o755);
  for (const name of ["migrate-ws", "migrate-sse", "migrate-socket-io"]) {
    cpSync(join(examples, name), join(programs, name), { recursive: true });
  }
  pages = await served();
  chromium = await browser(forFile);
});
after(async () => {
  for (const end of ends.reverse()) await end();
  rmSync(programs, { recursive: true, force: true });
});

test("a room on ws and ioredis hears both of its processes, and so does one on Tidewire", async (t) => {
  const redis = await redisServer(t);
  const env = { REDIS_URL: `redis://127.0.0.1:${redis}` };
  const someone = reader(t);
  await t.test("before", async (t) => {
    const ports = [await freePort(), await freePort()];
    for (const port of ports) await program(t, someone, "node", [join(programs, "migrate-ws/before/server.mjs")], { ...env, PORT: port });
    await roomStory(t, someone, "before", ports.map((port) => `ws://127.0.0.1:${port}`), env);
  });
  await t.test("after", async (t) => {
    const ports = [await freePort(), await freePort()];
    const nodes = [];
    for (const port of ports) nodes.push(await node(t, someone, port, "migrate-ws/after/tidewire.toml", { 6379: redis }));
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const rooms = await roomStory(t, someone, "after", urls, { TIDEWIRE_URL: urls[1] });

    // What is gained: the first page's node is replaced, and what was said meanwhile is heard.
    await nodes[0].end();
    await announce(t, someone, "after", "while nobody was there", { TIDEWIRE_URL: urls[1] });
    await node(t, someone, ports[0], "migrate-ws/after/tidewire.toml", { 6379: redis });
    await rooms[0].hears("while nobody was there");
  });
});

test("pages of an order hear its state from Express, and from Tidewire", async (t) => {
  const someone = reader(t);
  await t.test("before", async (t) => {
    const port = await freePort();
    await program(t, someone, "node", [join(programs, "migrate-sse/before/app.mjs")], { PORT: port });
    await orderStory(t, "before", `http://127.0.0.1:${port}`, `http://127.0.0.1:${port}`);
  });
  await t.test("after", async (t) => {
    const [port, live] = [await freePort(), await freePort()];
    const tidewire = await node(t, someone, live);
    await program(t, someone, "node", [join(programs, "migrate-sse/after/app.mjs")], { PORT: port, TIDEWIRE_URL: tidewire.url });
    const [app, page] = [`http://127.0.0.1:${port}`, await orderStory(t, "after", tidewire.url, `http://127.0.0.1:${port}`)];

    // What is gained: a page that was away hears what it missed, once, though the application said it twice.
    await page.page.context().setOffline(true);
    await page.page.evaluate(() => globalThis.order.close());
    for (const again of [1, 2]) assert.equal((await fetch(`${app}/orders/42/delivered`, { method: "POST" })).status, 204, again);
    await page.page.context().setOffline(false);
    await page.page.evaluate((url) => {
      globalThis.back = new EventSource(`${url}/c/orders:42?cursor=${globalThis.cursor}`);
      globalThis.back.addEventListener("state", ({ data }) => globalThis.tell(["again", JSON.parse(data).state]));
    }, tidewire.url);
    await page.hears(["again", "delivered"]);
    assert.equal(page.heard.filter(([what, state]) => what === "again" && state === "delivered").length, 1);
  });
});

test("a chat on Socket.IO has rooms, receipts, presence and tokens, and so has one on Tidewire", async (t) => {
  const secret = randomBytes(32).toString("base64url");
  process.env.SECRET = secret;
  const { tokenOf } = await import("../../examples/migrate-socket-io/users.mjs");
  const someone = reader(t);
  await t.test("before", async (t) => {
    const port = await freePort();
    const env = { PORT: port, SECRET: secret, PAGES: pages.origin };
    await program(t, someone, "node", [join(programs, "migrate-socket-io/before/server.mjs")], env);
    const server = `http://127.0.0.1:${port}`;
    const receipt = await chatStory(t, "before", server, `${server}/socket.io/socket.io.js`, server, tokenOf);
    assert.deepEqual(receipt, { delivered: true });
  });
  await t.test("after", async (t) => {
    const [port, live, admin] = [await freePort(), await freePort(), await freePort()];
    const key = `tw_${randomBytes(32).toString("base64url")}`;
    const file = "migrate-socket-io/after/tidewire.toml";
    const tidewire = await node(t, someone, live, file, {}, { secret, key, admin });
    const env = { PORT: port, SECRET: secret, PAGES: pages.origin, TIDEWIRE_URL: tidewire.url, TIDEWIRE_API_KEY: key };
    await program(t, someone, "node", [join(programs, "migrate-socket-io/after/app.mjs")], env);
    const receipt = await chatStory(t, "after", tidewire.url, `${tidewire.url}/client.js`, `http://127.0.0.1:${port}`, tokenOf);
    assert.equal(receipt.channel, "chat:lobby");
    assert.match(receipt.id, /^[a-z0-9]+\.[a-z0-9]+$/);
  });
});

async function roomStory(t, someone, when, servers, env) {
  const rooms = [];
  for (const server of servers) {
    const room = await tab(t, when === "after" ? `${server}/client.js` : undefined);
    await room.page.evaluate(async ([when, server]) => {
      const { join } = await import(`/migrate-ws/${when}/client.mjs`);
      globalThis.room = join(server, "lobby", globalThis.tell);
    }, [when, server]);
    rooms.push(room);
  }
  // Both are in once both hear what is said to everybody.
  await eventually("both pages are in the room", async () => {
    await announce(t, someone, when, "is anybody there?", env);
    return rooms.every(({ heard }) => heard.includes("is anybody there?"));
  });
  await rooms[0].page.evaluate(() => globalThis.room.say("hello"));
  for (const room of rooms) await room.hears("hello");
  await announce(t, someone, when, "closing soon", env);
  for (const room of rooms) await room.hears("closing soon");
  return rooms;
}

async function announce(t, someone, when, text, env) {
  const told = someone.start("node", [join(programs, `migrate-ws/${when}/announce.mjs`), "lobby", text], { env });
  assert.equal(await new Promise((resolve) => told.once("close", resolve)), 0, text);
}

async function orderStory(t, when, server, app) {
  const order = await tab(t);
  await order.page.evaluate(async ([when, server]) => {
    const { watch } = await import(`/migrate-sse/${when}/client.mjs`);
    globalThis.order = watch(server, "42", globalThis.tell);
    globalThis.order.addEventListener("state", ({ lastEventId }) => (globalThis.cursor = lastEventId));
    await new Promise((resolve) => globalThis.order.addEventListener(when === "after" ? "$ready" : "open", resolve));
  }, [when, server]);
  for (const state of ["paid", "sent"]) assert.equal((await fetch(`${app}/orders/42/${state}`, { method: "POST" })).status, 204);
  await order.hears("paid");
  await order.hears("sent");
  assert.deepEqual(order.heard, ["paid", "sent"]);
  return order;
}

async function chatStory(t, when, server, script, app, tokenOf) {
  const enter = async (token) => {
    const one = await tab(t, script);
    await one.page.evaluate(async ([when, server, app, token]) => {
      const { enter } = await import(`/migrate-socket-io/${when}/client.mjs`);
      globalThis.room = enter(server, app, "lobby", token, (...what) => globalThis.tell(what));
    }, [when, server, app, token]);
    return one;
  };
  const mallory = await enter("nonsense");
  await mallory.hears(["refused", "unauthorized"]);
  const alice = await enter(await tokenOf("alice"));
  await alice.hears(["entered", "alice"]);
  const bob = await enter(await tokenOf("bob"));
  await alice.hears(["entered", "bob"]);
  const receipt = await alice.page.evaluate(() => globalThis.room.say("hello"));
  await bob.hears(["said", "alice: hello"]);
  await bob.page.evaluate(() => globalThis.room.leave());
  await alice.hears(["left", "bob"]);
  assert.ok(!mallory.heard.some(([what]) => what === "said"));
  return receipt;
}

/** A tab of the pages' own origin, with a script before everything where there is one. It hears what its page tells. */
async function tab(t, script) {
  const page = await chromium.newPage();
  t.after(() => page.close());
  const heard = [];
  await page.exposeFunction("tell", (item) => heard.push(item));
  await page.goto(`${pages.origin}/`);
  if (script) await page.addScriptTag({ url: script });
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const hears = (item) => eventually(`a page hears ${JSON.stringify(item)}`, () => heard.some((one) => same(one, item)), () => JSON.stringify(heard));
  return { page, heard, hears };
}

/** A Tidewire with a configuration of the examples, in which stands what a test has: its ports, its keys, its pages. */
async function node(t, someone, port, file, ports = {}, { secret, key, admin } = {}) {
  const flags = ["serve", "--listen", `127.0.0.1:${port}`];
  if (file) {
    let text = readFileSync(join(examples, file), "utf8").replace("https://app.example", pages.origin);
    for (const [from, to] of Object.entries(ports)) text = text.replaceAll(`:${from}`, `:${to}`);
    if (key) text = text.replace("PUT-THE-HASH-HERE", createHash("sha256").update(key).digest("hex"));
    const path = join(someone.home, `${port}.toml`);
    writeFileSync(path, text);
    if (secret) writeFileSync(join(someone.home, "tidewire.secret"), secret, { mode: 0o600 });
    someone.own(someone.home);
    flags.push("--config", path);
  }
  if (admin) flags.push("--admin-listen", `127.0.0.1:${admin}`);
  return { url: `http://127.0.0.1:${port}`, ...(await program(t, someone, "tidewire", flags)) };
}

/** Starts a program, and waits until it says that it is ready. */
async function program(t, someone, name, args, env = {}) {
  const strings = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, String(value)]));
  const child = someone.start(name, args, { env: strings });
  const over = new Promise((resolve) => child.once("close", resolve));
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const end = () => (child.exitCode === null && child.kill("SIGKILL"), over);
  t.after(end);
  await eventually(`${name} is ready`, () => /\bready\b/.test(said), () => said);
  return { end };
}

/** What serves the pages of the examples: the origin that they come from. */
async function served() {
  const types = { ".mjs": "text/javascript" };
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://here").pathname;
    if (path === "/") return response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>a page</title>");
    try {
      const body = readFileSync(join(examples, path));
      return response.writeHead(200, { "Content-Type": types[extname(path)] ?? "text/plain" }).end(body);
    } catch {
      return response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return { origin: `http://127.0.0.1:${server.address().port}` };
}
