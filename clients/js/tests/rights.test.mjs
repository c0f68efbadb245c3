// Who the page is: tokens in headers, tickets in addresses, and new ones in time.

import assert from "node:assert/strict";
import test from "node:test";

import { source } from "./built.mjs";
import { settled, World } from "./world.mjs";

const { connect } = await source("core.ts");

const jwt = (world, lasts_s, n = 0) =>
  `e.${Buffer.from(JSON.stringify({ sub: "ä?>", n, exp: Math.floor(world.now / 1000) + lasts_s })).toString("base64url")}.s`;

const empty = { messages: [], cursor: "a.0", more: false, gap: null };

/** A page whose token comes from `token(world, n)`, and how often it was asked for. */
async function page(token, options = {}) {
  const world = new World();
  const asked = { tokens: 0 };
  world.tickets = 0;
  world.answer = ({ url }) => ({ json: url.endsWith("/v1/tickets") ? { ticket: `t${(world.tickets += 1)}`, expires_in: 30 } : empty });
  const client = connect("http://server", { world, token: token && (() => token(world, (asked.tokens += 1))), ...options });
  client.channel("prices").on("message", () => {});
  await settled();
  return { world, client, asked };
}

const bearer = ({ headers }) => headers.Authorization;

test("s49_a_token_is_in_no_address: a stream is opened by a ticket that it bought", async () => {
  const { world } = await page((world) => jwt(world, 600));
  const [bought] = world.requests;
  assert.deepEqual([bought.url, bought.method], ["http://server/v1/tickets", "POST"]);
  assert.equal(world.source.query.get("ticket"), "t1");
  const token = bearer(bought).split(" ")[1];
  assert.ok(![...world.requests, ...world.sources].some(({ url }) => url.includes(token)));
});

test("s23_every_stream_is_opened_by_a_ticket_of_its_own", async () => {
  const { world, asked } = await page((world) => jwt(world, 600));
  world.source.ready("a.1");
  world.source.fail();
  await world.pass(500);
  assert.deepEqual(world.sources.map(({ query }) => query.get("ticket")), ["t1", "t2"]);
  assert.equal(asked.tokens, 1, "by the token that is still good");
});

test("a poll sends its token and buys nothing", async () => {
  const { world } = await page((world) => jwt(world, 600), { transports: "poll" });
  assert.deepEqual(world.requests.map(({ url }) => url), ["http://server/c/prices?"]);
  assert.match(bearer(world.requests[0]), /^Bearer e\./);
});

test("a token that is about to end is not used", async () => {
  const { world, asked } = await page((world, n) => jwt(world, 600, n));
  world.source.ready("a.1");
  await world.pass(595_000);
  world.source.fail();
  await world.pass(500);
  assert.equal(asked.tokens, 2);
});

test("s25_a_stream_whose_rights_end_comes_back_with_a_new_token_and_its_cursor", async () => {
  const { world, client, asked } = await page((world, n) => jwt(world, 600, n));
  world.source.ready("a.1");
  world.source.message("a.2");
  await world.pass(10_000);
  world.source.say("$expired", { reason: "expired" });
  world.source.fail();
  await world.pass(500);
  assert.deepEqual([asked.tokens, world.sources.length, world.source.query.get("cursor")], [2, 2, "a.2"]);
  world.source.ready("a.2");
  assert.equal(client.state.state, "live");
});

test("s25_a_websocket_is_given_its_next_token_before_the_old_one_ends", async () => {
  const { world, asked } = await page((world, n) => jwt(world, 600, n), { transports: ["ws"] });
  world.socket.ready("a.1");
  const heartbeat = async (seconds) => {
    for (let n = 0; n < seconds / 10; n += 1) {
      await world.pass(10_000);
      world.socket.say({ type: "pong" });
    }
  };
  await heartbeat(600);
  const refreshes = () => world.socket.sent.filter(({ type }) => type === "refresh");
  assert.equal(refreshes().length, 1);
  world.socket.say({ type: "ack", id: refreshes()[0].id });
  await heartbeat(600);
  assert.deepEqual([refreshes().length, asked.tokens, world.sockets.length], [2, 3, 1]);
});

test("a token that is refused is asked for once more, and then that is that", async () => {
  const { world, client, asked } = await page(undefined, { token: undefined });
  client.close();
  const refusing = new World();
  refusing.answer = () => ({ status: 401, json: { code: "unauthorized" } });
  let tokens = 0;
  const refused = connect("http://server", { world: refusing, token: () => `t${(tokens += 1)}` });
  refused.channel("prices").on("message", () => {});
  await refusing.pass(120_000);
  assert.deepEqual([tokens, refusing.requests.length, refused.state.state, refused.state.error.code], [2, 2, "refused", "unauthorized"]);
  assert.deepEqual(refusing.requests.map(bearer), ["Bearer t1", "Bearer t2"]);
  assert.deepEqual([asked.tokens, world.requests.length], [0, 0]);
});

test("rights that were revoked are not asked for again", async () => {
  const { world, client } = await page((world) => jwt(world, 600));
  world.source.ready("a.1");
  world.source.say("$expired", { reason: "revoked" });
  await world.pass(60_000);
  assert.deepEqual([client.state.state, client.state.error.code, world.sources.length], ["refused", "revoked", 1]);
});

test("a backend that gives no token is asked again after a while", async () => {
  let tokens = 0;
  const { world, client } = await page((world) => {
    tokens += 1;
    if (tokens < 3) throw new Error("the backend is away");
    return jwt(world, 600);
  });
  assert.equal(client.state.state, "waiting");
  await world.pass(5_000);
  assert.equal(world.source.query.get("ticket"), "t1");
});

test("tickets that the page's backend buys open streams, sockets and polls alike", async () => {
  let tickets = 0;
  const ticket = () => `own ${(tickets += 1)}`;
  for (const transports of ["sse", "ws", "poll"]) {
    const { world } = await page(undefined, { transports, ticket });
    const { url } = [...world.sources, ...world.sockets, ...world.requests][0];
    assert.match(url, new RegExp(`ticket=own%20${tickets}&`));
    assert.ok(!world.requests.some(({ url }) => url.endsWith("/v1/tickets")));
  }
});

test("cookies go along where the page says so", async () => {
  const { world } = await page(undefined, { credentials: true });
  assert.equal(world.source.how.withCredentials, true);
  await world.pass(3_000);
  assert.equal(world.requests[0].credentials, "include");
});
