// The notification bell: what users of one tenant are told, and that nobody else is.

import assert from "node:assert/strict";
import test from "node:test";

import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { live, switchTo, visitors } from "./demo.mjs";
import { browser, eventSource, open, webSocket } from "./tab.mjs";

const demo = { flags: ["--demo"], set: { "limits.retry": "50ms" } };

/** Logs in without a page: asks the backend, and the server, in this user's name. */
async function logIn(server, tenant, user, lasts_s) {
  const ask = async (path, body, token) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const method = body === undefined ? "GET" : "POST";
    const answer = await fetch(`${server.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
    return { status: answer.status, ...(await answer.json()) };
  };
  const { token, channel } = await ask("/demo/api/bell/login", { tenant, user, lasts_s });
  return { token, channel, ask: (path, body) => ask(path, body, token), asNobody: (path, body) => ask(path, body) };
}

/** What the list shows, apart from the backend's own news. */
async function shown(page) {
  const items = await page.locator(".notifications li").evaluateAll((items) =>
    items.map((item) => [item.querySelector("b").textContent, item.querySelector("p").textContent]));
  return items.filter(([from]) => from !== "backend").map(([, text]) => text);
}

async function send(page, text) {
  await page.getByPlaceholder("What should everybody know?").fill(text);
  await page.getByRole("button", { name: "Send", exact: true }).click();
}

const told = (page, text) => page.locator(".notifications").getByText(text, { exact: true });

test("a tenant's users are told at once, and what is read in one window is read in all", async (t) => {
  const server = await tidewire(t, demo);
  const [ada, ben] = await visitors(t, server, "/demo/bell/?as=acme:ada", ["sse", "ws"]);
  await ben.getByLabel("Ben of Acme").check();
  await ben.waitForURL(/as=acme%3Aben/);
  await live(ben);
  const [again] = await visitors(t, server, "/demo/bell/?as=acme:ada", ["longpoll"]);

  await send(ben, "The pier is closed");
  for (const page of [ada, ben, again]) await told(page, "The pier is closed").waitFor();
  await ada.locator("li", { hasText: "The pier is closed" }).getByRole("button", { name: "Mark as read" }).click();
  const unread = (page) => page.locator("li.unread", { hasText: "The pier is closed" });
  for (const page of [ada, again]) await unread(page).waitFor({ state: "detached" });
  assert.equal(await unread(ben).count(), 1, "what Ada has read, Ben has not");

  await server.restart();
  await Promise.all([ada, ben, again].map(live));
  await send(ada, "Open again");
  for (const page of [ada, ben, again]) {
    await told(page, "Open again").waitFor();
    assert.deepEqual(await shown(page), ["Open again", "The pier is closed"]);
  }
  assert.deepEqual([await unread(ada).count(), await unread(ben).count()], [0, 1]);

  const cleo = await logIn(server, "borealis", "cleo");
  const { notifications } = await cleo.ask("/demo/api/bell");
  assert.deepEqual(notifications.filter(({ from }) => from !== "backend"), []);
});

test("the page shows what the server says to who looks at another tenant's channel", async (t) => {
  const server = await tidewire(t, demo);
  const [ada] = await visitors(t, server, "/demo/bell/?as=acme:ada", ["sse"]);
  for (const [button, answer] of [["Read it with my token", /^403 forbidden/], ["Buy a ticket for it", /^403 forbidden/], ["Read it without a token", /^401 unauthorized/]]) {
    await ada.getByRole("button", { name: button }).click();
    await ada.locator(".answer").getByText(answer).waitFor();
  }
});

test("no transport and no ticket opens a bell to who may not hear it", async (t) => {
  const server = await tidewire(t, demo);
  const [ada, cleo] = [await logIn(server, "acme", "ada"), await logIn(server, "borealis", "cleo")];
  for (const [who, status] of [["asNobody", 401], ["ask", 403]]) {
    const asked = cleo[who];
    for (const path of [`/c/${ada.channel}`, `/c/${ada.channel}?tail=5`, `/c/${ada.channel}?cursor=earliest&wait=1`]) {
      assert.equal((await asked(path)).status, status, `${who} ${path}`);
    }
    assert.equal((await asked(`/c/${ada.channel}`, { text: "forged" })).status, status, `${who} publishes`);
    assert.equal((await asked("/v1/tickets", { channels: [ada.channel] })).status, status, `${who} buys a ticket`);
    const batch = await asked("/v1/publish", { messages: [{ channel: ada.channel, data: "forged" }] });
    assert.deepEqual(batch.results.map(({ code }) => code), [status === 401 ? "unauthorized" : "forbidden"], who);
  }
  for (const path of ["/demo/api/bell", "/demo/api/bell/read"]) {
    assert.equal((await cleo.asNobody(path, path.endsWith("read") ? {} : undefined)).status, 401, path);
  }

  // Streams: with nothing, with a foreign ticket, and with one that was spent.
  const ticketOf = async (user) => (await user.ask("/v1/tickets", {})).ticket;
  const context = await browser(t);
  const streamed = async (query) => {
    const tab = await open(context, `${server.url}/livez`);
    await eventSource(tab, `${server.url}/c/${ada.channel}${query}`, ["$refused"]);
    const { type, data } = await tab.heard.next();
    return type === "$refused" ? JSON.parse(data).code : type;
  };
  const socketed = async (query) => {
    const tab = await open(context, `${server.url}/livez`);
    await webSocket(tab, `${server.wsUrl}/c/${ada.channel}${query}`);
    const first = await tab.heard.next();
    if (first !== "open") return first.code;
    // Whoever is let in hears what comes.
    await ada.ask("/demo/api/bell/send", { text: "for the socket" });
    const second = await tab.heard.next();
    return second.code ?? "open";
  };
  const foreign = async () => `?ticket=${await ticketOf(cleo)}`;
  assert.deepEqual([await streamed(""), await streamed(await foreign())], ["unauthorized", "forbidden"]);
  // Refused before the handshake, which a page is told no more of.
  assert.deepEqual([await socketed(""), await socketed(await foreign())], [1006, 1006]);
  const once = `?ticket=${await ticketOf(ada)}`;
  assert.deepEqual([await socketed(once), await socketed(once)], ["open", 1006], "a ticket opens once");

  const api = await cleo.ask("/demo/api/login", { name: "acme:ada" });
  const forged = await fetch(`${server.url}/demo/api/bell`, { headers: { Authorization: `Bearer ${api.token}` } });
  assert.equal(forged.status, 403, "a token of the chat, whatever the name, opens no bell");
});

test("tokens that end while messages come lose none and double none", async (t) => {
  const server = await tidewire(t, demo);
  const way = await tunnel(t, server.port);
  const page = "/demo/bell/?as=acme:ada&lasts_s=12";
  const pages = [...await visitors(t, server, page, ["sse", "ws"]), ...await visitors(t, way, page, ["longpoll"])];
  const ben = await logIn(server, "acme", "ben");
  const texts = [];
  const renewed = (page) => page.getByText(/^Token [3-9] ends/).waitFor({ timeout: 60_000 });
  let isOver = false;
  const all = Promise.all(pages.map(renewed)).finally(() => (isOver = true));
  while (!isOver && texts.length < 45) {
    texts.unshift(`Message ${texts.length + 1}`);
    assert.equal((await ben.ask("/demo/api/bell/send", { text: texts[0] })).status, 200);
    if (texts.length === 5) way.cut();
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
  await all;
  for (const page of pages) {
    await told(page, texts[0]).waitFor();
    assert.deepEqual(await shown(page), texts);
  }
  await switchTo(pages[0], "poll");
});
