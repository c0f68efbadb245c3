// The console in Chromium: who logs in, what moves, what can be done, and what a viewer cannot.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { guarded, token } from "../e2e/harness/keys.mjs";
import { redisServer } from "../e2e/harness/redis.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { alone, browser, eventSource, tab, webSocket } from "./tab.mjs";

const context = await browser({ after });

const admin = "correct horse battery";
const viewer = "only looking around";

/** A server in dev mode with passwords of its own. */
function serve(t, { set = {}, ...more } = {}) {
  return tidewire(t, { set: { "admin.password": admin, "admin.viewer_password": viewer, "limits.retry": "50ms", ...set }, ...more });
}

/** Opens the console at `view` and logs in. Whatever its policy stops, and whatever its script throws, fails the test. */
async function login(t, url, password = admin, view = "") {
  const page = await (await alone(t, context)).newPage();
  const wrong = [];
  page.on("console", (said) => said.type() === "error" && wrong.push(said.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  t.after(() => assert.deepEqual(wrong.filter((text) => !/Failed to load resource|ERR_/.test(text)), []));
  await page.goto(`${url}/admin${view}`);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("button", { name: "Log out" }).waitFor();
  return page;
}

test("dev mode makes up a password and says it, and nobody comes in with another", async (t) => {
  const server = await tidewire(t);
  const page = await (await alone(t, context)).newPage();
  await page.goto(`${server.url}/admin`);
  await page.getByLabel("Password").fill("tidewire");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("not a password").waitFor();
  await eventually("the server has said its password", () => /password \S+/.test(server.said));
  await page.getByLabel("Password").fill(/password (\S+)/.exec(server.said)[1]);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "This node" }).waitFor();
  const [cookie] = (await context.cookies(server.url)).filter(({ name }) => name.startsWith("tidewire_console"));
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password").waitFor();
});

test("figures move while somebody looks, over an EventSource of the server's own", async (t) => {
  const server = await serve(t);
  const page = await login(t, server.url);
  await page.getByRole("banner").getByText("Live").waitFor();
  const subscribers = page.locator("figure", { has: page.getByRole("heading", { name: "Subscribers" }) });
  await subscribers.getByText("SSE 1").waitFor();
  const listener = await tab(t, context);
  await eventSource(listener, `${server.url}/c/prices`);
  await webSocket(listener, `${server.wsUrl}/c/prices`);
  await subscribers.getByText("SSE 2").waitFor();
  await subscribers.getByText("WebSocket 1").waitFor();
  assert.ok((await subscribers.locator("canvas").count()) === 1, "and there is a chart");
});

test("a channel is found, its messages come as text, and one that is sent reaches its subscribers", async (t) => {
  const server = await serve(t);
  await server.publish("prices:eu", '<img src=x onerror="document.title = 1"> before');
  await server.publish("news", "nothing");
  const page = await login(t, server.url, admin, "#/channels");
  await page.getByRole("link", { name: "news" }).waitFor();
  await page.getByLabel("Search channels").fill("ices");
  await page.getByRole("link", { name: "news" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "prices:eu" }).click();
  const messages = page.getByRole("list", { name: "Messages" });
  await messages.getByText('<img src=x onerror="document.title = 1"> before').waitFor();
  const listener = await tab(t, context);
  await eventSource(listener, `${server.url}/c/prices:eu`, ["quote"]);
  await listener.heard.find(({ type }) => type === "$ready");
  await page.getByLabel("Message", { exact: true }).fill("live <b>1</b>");
  await page.getByLabel("Event (optional)").fill("quote");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  assert.equal((await listener.heard.find(({ type }) => type === "quote")).data, "live <b>1</b>");
  await messages.getByText("live <b>1</b>").waitFor();
  await page.getByLabel("Message", { exact: true }).fill("AP+A");
  await page.getByLabel("Sent as").selectOption("base64");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await messages.getByText("00 ff 80").waitFor();
  await page.getByText("EventSource", { exact: true }).click();
  await page.getByText(`new EventSource("${server.url}/c/prices:eu")`).waitFor();
});

test("an EventSource that is kicked comes back, and hears what it missed", async (t) => {
  const server = await serve(t);
  const listener = await tab(t, context);
  await eventSource(listener, `${server.url}/c/kicked`);
  await listener.heard.find(({ type }) => type === "$ready");
  const page = await login(t, server.url, admin, "#/connections?channel=kicked");
  await page.getByRole("button", { name: /^Kick/ }).click();
  await page.getByRole("button", { name: /^Really kick/ }).click();
  await page.getByText("The connection was ended.").waitFor();
  await listener.heard.find(({ type }) => type === "$ready");
  await server.publish("kicked", "after");
  assert.equal((await listener.heard.next()).data, "after");
});

test("a WebSocket that is kicked is told 4403", async (t) => {
  const server = await serve(t);
  const listener = await tab(t, context);
  await webSocket(listener, `${server.wsUrl}/c/kicked`);
  await listener.heard.find((item) => item === "open");
  const page = await login(t, server.url, admin, "#/connections?channel=kicked");
  await page.getByRole("button", { name: /^Kick/ }).click();
  await page.getByRole("button", { name: /^Really kick/ }).click();
  assert.deepEqual(await listener.heard.next(), { code: 4403, reason: "forbidden" });
});

test("who was refused is shown with the reason and what to do, and without the secret that was sent", async (t) => {
  const server = await serve(t);
  const page = await login(t, server.url, admin, "#/refusals");
  await page.getByText("Nobody was refused since this node started.").waitFor();
  const foreign = await tab(t, context, { host: "foreign.example" });
  await eventSource(foreign, `${server.url}/c/prices?ticket=canary`);
  await page.getByText("origin_refused").waitFor();
  await page.getByText("Add the page's origin to auth.origins").waitFor();
  await page.getByText("SSE /c/prices", { exact: true }).waitFor();
  await page.getByLabel("Search refusals").fill("foreign.example sse");
  assert.equal(await page.getByText("origin_refused").count(), 1);
  await page.getByLabel("Search refusals").fill("nowhere");
  await page.getByText("None of those that are remembered").waitFor();
  assert.ok(!(await page.content()).includes("canary"));
});

test("s51_a_viewer_has_no_buttons_and_the_server_refuses_what_they_would_do", async (t) => {
  const server = await serve(t);
  const listener = await tab(t, context);
  await eventSource(listener, `${server.url}/c/prices`);
  await listener.heard.find(({ type }) => type === "$ready");
  const page = await login(t, server.url, viewer, "#/connections?channel=prices");
  await page.getByText("read only").waitFor();
  await page.getByRole("cell", { name: "SSE" }).waitFor();
  assert.equal(await page.getByRole("button", { name: /Kick/ }).count(), 0);
  await page.goto(`${server.url}/admin#/channels/prices`);
  await page.getByText("Copy as").waitFor();
  assert.equal(await page.getByRole("button", { name: "Send" }).count(), 0);
  const answers = await page.evaluate(async () => {
    const { csrf } = await (await fetch("/admin/session")).json();
    const ask = (path, body) => fetch(path, { method: "POST", headers: { "Tidewire-Csrf": csrf }, body: JSON.stringify(body) });
    const { connections } = await (await fetch("/admin/connections?channel=prices")).json();
    const tries = [["/admin/kick", { id: connections[0].id }], ["/admin/publish", { channel: "prices", data: "x" }], ["/admin/revoke", { sub: "a" }]];
    return Promise.all(tries.map(async ([path, body]) => (await ask(path, body)).status));
  });
  assert.deepEqual(answers, [403, 403, 403]);
  await server.publish("prices", "still here");
  assert.equal((await listener.heard.next()).data, "still here");
});

test("outside dev mode a connection shows its subject, and revoking that ends it", async (t) => {
  const keys = guarded({ origins: ["https://app.example"] });
  const server = await tidewire(t, { ...keys, set: { ...keys.set, "admin.password": admin } });
  const alice = await fetch(`${server.url}/c/chat`, {
    headers: { Accept: "text/event-stream", Authorization: `Bearer ${token("alice", ["chat"])}` },
  });
  assert.equal(alice.status, 200);
  const page = await login(t, server.url, admin, "#/connections?who=ali");
  await page.getByRole("cell", { name: "alice", exact: true }).waitFor();
  await page.getByRole("button", { name: /^Revoke/ }).click();
  await page.getByRole("button", { name: /^Really revoke/ }).click();
  const heard = await alice.text();
  assert.match(heard, /event: \$expired\ndata: .*revoked/);
  await page.getByText("No connection of this node matches.").waitFor();
});

test("one console shows all nodes that share a Redis, and this one while that is away", async (t) => {
  const redis = await redisServer(t);
  const network = await tunnel(t, redis);
  const served = [new URL(network.url).port, redis].map((port) => serve(t, { set: { "broker.url": `redis://127.0.0.1:${port}` } }));
  const [first, second] = await Promise.all(served);
  const page = await login(t, first.url);
  const nodes = page.getByRole("region", { name: "Nodes" });
  const row = ({ port }) => nodes.getByRole("row", { name: `127.0.0.1:${port}-` });
  for (const server of [first, second]) await row(server).getByText("Redis, ready").waitFor();
  network.cutUntilHealed();
  await page.getByText("The feed is silent").waitFor();
  await row(second).getByText("silent").waitFor();
  await row(first).getByText("ready", { exact: true }).waitFor();
  network.heal();
  await row(second).getByText("ready", { exact: true }).waitFor();
});

test("a page that was left alone is asked to log in again when its session ends", async (t) => {
  const server = await serve(t);
  const page = await login(t, server.url, admin, "#/channels");
  const other = await context.newPage();
  await other.goto(`${server.url}/admin`);
  await other.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password").waitFor();
});
