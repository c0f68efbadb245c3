// The chat as two people see it.

import assert from "node:assert/strict";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { TRANSPORTS, live, switchTo, visitors } from "./demo.mjs";

const demo = { flags: ["--demo"], set: { "limits.retry": "50ms" } };

/** Two visitors by these names. */
async function two(t, server, names, transports) {
  const pages = await visitors(t, server, "/demo/chat/", transports);
  await Promise.all(pages.map(async (page, at) => {
    await page.getByLabel("You are").fill(names[at]);
    await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Rename" }).click()]);
    await live(page);
  }));
  return pages;
}

async function say(page, text) {
  await page.locator(".say input").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const heard = (page, text) => page.locator(".log").getByText(text, { exact: true });

/** The login's answer for a name. */
async function login(server, name) {
  const answer = await fetch(`${server.url}/demo/api/login`, { method: "POST", body: JSON.stringify({ name }) });
  assert.equal(answer.status, 200);
  return answer.json();
}

test("what is said is heard once over every transport, and outlives the server", async (t) => {
  const server = await tidewire(t, demo);
  const [ada, ben] = await two(t, server, ["Ada", "Ben"], ["sse", "ws"]);
  await Promise.all([ada.locator(".members").getByText("Ben").waitFor(), ben.locator(".members").getByText("Ada").waitFor()]);
  await say(ada, "Spring tide at nine");
  await heard(ben, "Spring tide at nine").waitFor();
  await ada.getByText(/^Your message came back after \d+ ms/).waitFor();

  for (const transport of TRANSPORTS) {
    // It is said while the other is between two transports.
    await Promise.all([switchTo(ben, transport), say(ada, `Do you hear me over ${transport}?`)]);
    await heard(ben, `Do you hear me over ${transport}?`).waitFor();
  }
  await switchTo(ben, "ws");

  await server.restart();
  await Promise.all([ada, ben].map(live));
  await say(ben, "Still here");
  for (const page of [ada, ben]) {
    await heard(page, "Still here").waitFor();
    const texts = await page.locator(".log p").allTextContents();
    assert.deepEqual(texts, ["Spring tide at nine", ...TRANSPORTS.map((name) => `Do you hear me over ${name}?`), "Still here"]);
  }
});

test("a room that one opens is there for all, and marks what was not read", async (t) => {
  const server = await tidewire(t, demo);
  const [ada, ben] = await two(t, server, ["Ada", "Ben"], ["sse", "sse"]);
  await ada.getByPlaceholder("New room").fill("Night Watch");
  await ada.getByRole("button", { name: "Open" }).click();
  await ada.getByRole("heading", { name: "# night-watch" }).waitFor();
  await ben.getByRole("button", { name: "# night-watch" }).waitFor();
  await say(ada, "All is quiet");
  await say(ada, "A light in the east");
  await ben.getByRole("button", { name: "# night-watch 2 unread" }).click();
  await heard(ben, "A light in the east").waitFor();
  await ben.getByRole("button", { name: "# night-watch", exact: true }).waitFor();
  // Who is here is told for each room.
  await ada.locator(".members").getByText("Ben").waitFor();
  await ben.getByRole("button", { name: "# harbour" }).click();
  await ada.locator(".members").getByText("Ben").waitFor({ state: "detached" });
});

test("what is written to one alone is told to nobody else, whatever they show", async (t) => {
  const server = await tidewire(t, demo);
  const [ada, ben] = await two(t, server, ["Ada", "Ben"], ["ws", "longpoll"]);
  await ada.getByRole("button", { name: "Write to Ben alone" }).click();
  await say(ada, "The spare key is under the buoy");
  await ben.getByRole("button", { name: "Ada 1 unread" }).click();
  await heard(ben, "The spare key is under the buoy").waitFor();
  await say(ben, "Thank you");
  await heard(ada, "Thank you").waitFor();

  const { channel, token: own } = await login(server, "Ben");
  const { token: eves } = await login(server, "Eve");
  const read = (token) => fetch(`${server.url}/c/${channel}?cursor=earliest`, { headers: token && { Authorization: `Bearer ${token}` } });
  assert.deepEqual([channel, (await read()).status, (await read(eves)).status], ["user:Ben", 401, 403]);
  const kept = await fetch(`${server.url}/demo/api/chat/direct`, { headers: { Authorization: `Bearer ${eves}` } });
  assert.deepEqual((await kept.json()).messages, []);
  const his = await fetch(`${server.url}/demo/api/chat/direct`, { headers: { Authorization: `Bearer ${own}` } });
  assert.equal((await his.json()).messages.length, 2);
});

test("a page whose network was away shows what was said meanwhile", async (t) => {
  const server = await tidewire(t, demo);
  const way = await tunnel(t, server.port);
  const [ada] = await two(t, server, ["Ada"], ["sse"]);
  const [ben] = await two(t, way, ["Ben"], ["ws"]);
  await say(ada, "Before the storm");
  await heard(ben, "Before the storm").waitFor();
  way.cutUntilHealed();
  await eventually("the page notices", async () => (await ben.locator("header.top .state").getAttribute("data-state")) !== "live");
  await say(ada, "During the storm");
  await heard(ada, "During the storm").waitFor();
  way.heal();
  await heard(ben, "During the storm").waitFor();
  assert.deepEqual(await ben.locator(".log p").allTextContents(), ["Before the storm", "During the storm"]);
});

test("a name and a text are shown as text, and what is no message is passed over", async (t) => {
  const server = await tidewire(t, demo);
  const [eve, ben] = await two(t, server, ["<b>Eve</b>", "Ben"], ["sse", "ws"]);
  await say(eve, "<img src=x onerror=alert(1)>");
  await heard(ben, "<img src=x onerror=alert(1)>").waitFor();
  for (const nonsense of ["", "null", "[]", '{"version":2}', '{"version":3,"from":{},"text":[]}']) {
    await server.publish("demo-chat:room:harbour", nonsense, { "Tidewire-Event": "said" });
  }
  await server.publish("demo-chat:rooms", '{"version":1,"room":"a:b"}', { "Tidewire-Event": "opened" });
  await say(eve, "after the nonsense");
  await heard(ben, "after the nonsense").waitFor();
  assert.equal(await ben.locator(".log img, .log b b").count(), 0);
});
