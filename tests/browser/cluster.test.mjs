// Two people whose connections lie on different nodes, behind a balancer that knows nothing of either: they chat, they
// write to each other alone, and a node that dies between them costs nothing (docs/operations.md, "What nodes share").

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { front } from "../e2e/harness/front.mjs";
import { eventually } from "../e2e/harness/heard.mjs";
import { guarded, token } from "../e2e/harness/keys.mjs";
import { redisServer } from "../e2e/harness/redis.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { site } from "./pages.mjs";
import { alone, browser, eventSource, webSocket } from "./tab.mjs";

const browsers = { alice: await browser({ after }), bob: await browser({ after }) };

/** What somebody may do who is in the lobby: chat, hear what is for them, and write to `friends`. */
function guest(sub, friends) {
  const heard = ["chat:*", `user:${sub}`];
  return token(sub, [], { channels: { subscribe: heard, publish: ["chat:*", ...friends.map((friend) => `user:${friend}`)], history: heard } });
}

const tokens = { alice: guest("alice", ["bob"]), bob: guest("bob", ["alice"]), carol: guest("carol", []) };

/** Two nodes that share a Redis, the balancer `by` in front, and Alice and Bob, logged in to apps of their own. */
async function lobby(t, by, { retry = "50ms" } = {}) {
  const apps = { alice: await site(t, "localhost", tokens.alice), bob: await site(t, "localhost", tokens.bob) };
  const origins = Object.values(apps).map(({ origin }) => origin);
  const set = { "broker.url": `redis://127.0.0.1:${await redisServer(t)}`, trusted_proxies: "127.0.0.1", "limits.retry": retry };
  const nodes = [await tidewire(t, guarded({ origins, set })), await tidewire(t, guarded({ origins, set }))];
  const { port } = await front(t, by, nodes);
  const person = async (name) => apps[name].login(await alone(t, browsers[name]));
  return { nodes, url: `http://localhost:${port}`, alice: await person("alice"), bob: await person("bob") };
}

/** Which of `nodes` the balancer led a connection to that `open` opens, as what counts them says. */
async function led(nodes, figure, open) {
  const counts = () => Promise.all(nodes.map((node) => count(node, figure)));
  const before = await counts();
  await open();
  const grown = (await counts()).map((now, at) => now - before[at]);
  assert.deepEqual(grown.toSorted(), [...Array(nodes.length - 1).fill(0), 1], `${figure} rose by ${grown}`);
  return nodes[grown.indexOf(1)];
}

/** The figure of one node, from its own `/metrics`. */
async function count(node, figure) {
  const text = await (await fetch(`${node.url}/metrics`, { headers: node.credentials })).text();
  return Number(new RegExp(`^${figure} (\\d+)$`, "m").exec(text)[1]);
}

/** Opens a connection until the balancer, which asks nobody, leads it to another node than `other`. */
async function ledElsewhere({ nodes, url }, other, figure, open, close) {
  for (let tries = 0; tries < 20; tries += 1) {
    const node = await led(nodes, figure, open);
    if (node !== other) return node;
    const before = await count(node, figure);
    await close();
    await eventually("it is closed", async () => (await count(node, figure)) < before);
    // Whoever takes turns is given another turn.
    await fetch(`${url}/livez`);
  }
  throw new Error("every connection was led to one node");
}

/** Opens an EventSource with a ticket that the page buys with the cookie of its login. */
async function listen(person, url, channels) {
  const ticket = await person.page.evaluate(async (url) => {
    const answer = await fetch(`${url}/v1/tickets`, { method: "POST", credentials: "include" });
    return answer.status === 200 ? (await answer.json()).ticket : `${answer.status} ${await answer.text()}`;
  }, url);
  await eventSource(person, `${url}/c/${channels}?ticket=${ticket}`, channels.split(","), { withCredentials: true });
  await person.heard.find(({ type }) => type === "$ready");
}

/** Opens a WebSocket with the cookie of the page's login. */
async function join(person, url) {
  await webSocket(person, `${url.replace("http", "ws")}/c/chat:lobby`);
  await person.heard.find((item) => item === "open");
}

/** Runs in a page. Publishes with a token, again and again until it is known to have happened. */
async function write([url, channel, text, token]) {
  const headers = { Authorization: `Bearer ${token}`, "Idempotency-Key": crypto.randomUUID() };
  for (;;) {
    // A balancer that answers itself is no answer to a page of another origin.
    const answer = await fetch(`${url}/c/${channel}`, { method: "POST", body: text, headers }).catch(() => ({ status: 503 }));
    if (answer.status === 200) return (await answer.json()).id;
    if (answer.status < 500) return `${answer.status} ${await answer.text()}`;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const closeSource = ({ page }) => page.evaluate(() => source.close());
const closeSocket = ({ page }) => page.evaluate(() => socket.close());
const events = ({ heard }) => heard.all.filter(({ id, type }) => id && !type.startsWith("$"));

for (const by of ["nginx", "haproxy"]) {
  test(`m6_alice_on_one_node_chats_with_bob_on_another_and_writes_to_him_alone_through_${by}`, async (t) => {
    const scene = await lobby(t, by);
    const { nodes, url, alice, bob } = scene;
    const hers = await led(nodes, 'tidewire_connections{transport="sse"}', () => listen(alice, url, "chat:lobby,user:alice"));
    await ledElsewhere(scene, hers, 'tidewire_connections{transport="sse"}', () => listen(bob, url, "chat:lobby,user:bob"), () => closeSource(bob));
    const joined = await led(nodes, 'tidewire_connections{transport="ws"}', () => join(alice, url));
    await ledElsewhere(scene, joined, 'tidewire_connections{transport="ws"}', () => join(bob, url), () => closeSocket(bob));

    await bob.page.evaluate(() => socket.send("hello, all"));
    for (const person of [alice, bob]) {
      await person.heard.find((item) => item === "hello, all");
      await eventually("the stream hears it too", () => events(person).length === 1);
    }
    assert.deepEqual(events(alice), events(bob), "one message, with one id");
    assert.deepEqual([events(bob)[0].type, events(bob)[0].data], ["chat:lobby", "hello, all"]);
    await alice.page.evaluate(() => socket.send("hello, Bob"));
    await bob.heard.find((item) => item === "hello, Bob");

    const id = await alice.page.evaluate(write, [url, "user:bob", "between us", tokens.alice]);
    assert.deepEqual(await bob.heard.find(({ type }) => type === "user:bob"), { type: "user:bob", data: "between us", id });
    const answer = await bob.page.evaluate(write, [url, "user:alice", "yes?", tokens.bob]);
    assert.deepEqual(await alice.heard.find(({ type }) => type === "user:alice"), { type: "user:alice", data: "yes?", id: answer });
    assert.ok(!alice.heard.all.some((item) => item.data === "between us"), "she wrote it, and does not hear it");
  });

  test(`nobody_else_reads_or_writes_what_is_for_bob_through_${by}`, async (t) => {
    const { nodes, url } = await lobby(t, by);
    const every = [url, ...nodes.map((node) => node.url)];
    const ask = async (base, who, how = {}) => {
      const headers = { Authorization: `Bearer ${tokens[who]}`, ...how.headers };
      return (await fetch(`${base}/c/user:bob`, { ...how, headers })).status;
    };
    for (const base of every) {
      assert.equal(await ask(base, "carol"), 403, "she polls");
      assert.equal(await ask(base, "carol", { headers: { Accept: "text/event-stream" } }), 403, "she listens");
      assert.equal(await ask(base, "carol", { method: "POST", body: "from Carol" }), 403, "she writes");
      assert.equal(await ask(base, "alice"), 403, "Alice may write, and not read");
      assert.equal(await ask(base, "bob", { method: "POST", body: "to myself" }), 403, "Bob may read, and not write");
    }
    const all = token("carol", ["*", "user:*", "user:bob"]);
    const reads = await fetch(`${url}/c/user:bob`, { headers: { Authorization: `Bearer ${all}` } });
    assert.equal(reads.status, 403, "whatever a token says");
    const headers = { Authorization: `Bearer ${tokens.bob}` };
    const history = await (await fetch(`${url}/c/user:bob?cursor=earliest`, { headers })).json();
    assert.deepEqual(history.messages, []);
  });

  test(`f1_what_is_written_to_bob_while_his_node_is_killed_reaches_him_once_and_from_the_other_through_${by}`, async (t) => {
    // Long enough for the message to be written before he is back.
    const scene = await lobby(t, by, { retry: "500ms" });
    const { nodes, url, alice, bob } = scene;
    const his = await led(nodes, 'tidewire_connections{transport="sse"}', () => listen(bob, url, "user:bob"));
    const other = nodes.find((node) => node !== his);
    const before = await alice.page.evaluate(write, [url, "user:bob", "before", tokens.alice]);
    assert.deepEqual(await bob.heard.next(), { type: "message", data: "before", id: before });

    await his.crash();
    const id = await alice.page.evaluate(write, [url, "user:bob", "while it is dead", tokens.alice]);
    const again = await bob.heard.next();
    assert.deepEqual([again.type, JSON.parse(again.data).cursor], ["$ready", before], "his cursor holds at the other node");
    assert.deepEqual(await bob.heard.next(), { type: "message", data: "while it is dead", id });
    assert.equal(await count(other, 'tidewire_connections{transport="sse"}'), 1);
    const history = await bob.page.evaluate(
      (url) => fetch(url, { credentials: "include" }).then((answer) => answer.json()),
      `${url}/c/user:bob?cursor=${before}`,
    );
    assert.deepEqual(history.messages.map(({ data, id }) => ({ data, id })), [{ data: "while it is dead", id }]);

    const last = await alice.page.evaluate(write, [url, "user:bob", "after", tokens.alice]);
    assert.deepEqual(await bob.heard.next(), { type: "message", data: "after", id: last });
    assert.deepEqual(events(bob).map(({ data }) => data), ["before", "while it is dead", "after"], "each of them once");
    assert.ok(!bob.heard.all.some(({ type }) => type === "closed" || type === "$gap"));
  });

  test(`f28_while_every_node_is_away_an_event_source_waits_and_misses_nothing_behind_${by}`, async (t) => {
    const { nodes, url, alice, bob } = await lobby(t, by);
    await listen(bob, url, "user:bob");
    await alice.page.evaluate(write, [url, "user:bob", "before", tokens.alice]);
    assert.equal((await bob.heard.next()).data, "before");
    await Promise.all(nodes.map((node) => node.crash()));
    // The balancer itself answers now. Bob's page has another origin than it.
    const asked = () => bob.page.evaluate(() => performance.getEntriesByType("resource").length);
    const before = await asked();
    await eventually("he has tried to come back", async () => (await asked()) > before);
    await Promise.all(nodes.map((node) => node.start()));
    await alice.page.evaluate(write, [url, "user:bob", "after", tokens.alice]);
    assert.equal((await bob.heard.find(({ type }) => type === "message")).data, "after");
    assert.ok(!bob.heard.all.some(({ type }) => type === "closed" || type === "$gap"));
  });
}
