// The game as two players and somebody who watches see it.

import assert from "node:assert/strict";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { choose, live, visitors } from "./demo.mjs";

/** A match nobody defends takes five serves; a busy machine lets the sea slow down. */
const MATCH_MS = 60_000;

const start = (t) => tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });

const play = async (page, name) => {
  await page.getByPlaceholder("Name").fill(name);
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await page.getByRole("button", { name: "Leave" }).waitFor();
};

const says = (page, words) => page.locator(".say").getByText(words).waitFor({ timeout: MATCH_MS });

/** Two players at one court: the first on the left. */
const pair = async (ada, ben) => {
  await play(ada, "Ada");
  await says(ada, "against the sea");
  await play(ben, "Ben");
  for (const [page, side, name] of [[ada, "left", "Ada"], [ben, "right", "Ben"]]) {
    await page.locator(`.player.${side}[data-mine]`, { hasText: name }).waitFor();
    await page.locator(`.player:not([data-mine])`, { hasText: name === "Ada" ? "Ben" : "Ada" }).waitFor();
  }
};

/** What is known of the only court. */
const court = async (server) => {
  const { courts: [{ id }] } = await (await fetch(`${server.url}/demo/api/game`)).json();
  const { messages } = await (await fetch(`${server.url}/c/demo-game:court:${id}?tail=1`)).json();
  return JSON.parse(messages[0].data);
};

test("two who want to play are brought together, and a third one watches them to the end", async (t) => {
  const server = await start(t);
  const [ada, ben, cem] = await visitors(t, server, "/demo/game/", ["sse", "ws", "longpoll"]);
  await pair(ada, ben);
  for (const page of [ada, ben, cem]) {
    await page.locator(".player.left").getByText("Ada").waitFor();
    await page.locator(".player.right").getByText("Ben").waitFor();
  }
  // A hand at the bottom, by POST and by frame.
  for (const [page, side] of [[ada, 0], [ben, 1]]) {
    await page.keyboard.down("ArrowDown");
    await eventually(`side ${side} is at the bottom`, async () => (await court(server)).walls[side] === 890);
    await page.keyboard.up("ArrowDown");
    await page.getByText(/Your hand is on the court after \d+ ms/).waitFor();
  }
  await choose(cem, "poll");
  await live(cem);
  await says(cem, "has won");
  for (const page of [ada, ben, cem]) await page.locator(".winners").getByText("1 won, 0 lost").waitFor();
  for (const page of [ada, ben]) await page.getByRole("button", { name: "Play again" }).click();
  // What the next match begins with is seen for seconds alone; that the last one is over no longer stays until it is over, too.
  await ada.getByRole("button", { name: "Play again" }).waitFor({ state: "hidden" });
  await cem.locator(".say").getByText("has won").waitFor({ state: "hidden" });
});

test("a place is kept for whoever loads the page anew or loses the network, and whoever leaves has lost", async (t) => {
  const server = await start(t);
  const network = await tunnel(t, server.port);
  const [[ada], [ben]] = await Promise.all([visitors(t, server, "/demo/game/", ["sse"]), visitors(t, network, "/demo/game/", ["ws"])]);
  await pair(ada, ben);
  await ada.reload();
  await ada.getByRole("button", { name: "Leave" }).waitFor();
  await ada.locator(".player.left[data-mine]", { hasText: "Ada" }).waitFor();

  network.cutUntilHealed();
  await says(ada, "Ben has gone quiet");
  network.heal();
  await ada.locator(".say").getByText("has gone quiet").waitFor({ state: "hidden" });
  await live(ben);
  await ben.getByRole("button", { name: "Leave" }).click();
  await says(ada, "The other side has left: you win");
  // The answer may take longer than the news of what it answers.
  await ada.route("**/demo/api/game/again", async (route) => {
    const response = await route.fetch();
    await says(ada, "against the sea");
    await route.fulfill({ response });
  });
  const answered = ada.waitForResponse("**/demo/api/game/again");
  await ada.getByRole("button", { name: "Play again" }).click();
  await (await answered).finished();
  await ada.evaluate(() => new Promise(requestAnimationFrame));
  await says(ada, "against the sea");
});

test("players find each other again when the server is started anew, and its winners are remembered", async (t) => {
  const server = await start(t);
  const [ada, ben] = await visitors(t, server, "/demo/game/", ["ws", "sse"]);
  await pair(ada, ben);
  await ben.getByRole("button", { name: "Leave" }).click();
  await ada.locator(".winners").getByText("1 won, 0 lost").waitFor();
  await play(ben, "Ben");
  await says(ben, "against the sea");
  await ada.getByRole("button", { name: "Leave" }).click();
  await play(ada, "Ada");
  await ada.locator(".player.right[data-mine]", { hasText: "Ada" }).waitFor();

  await server.restart();
  await Promise.all([ada, ben].map(live));
  await eventually("they have one court", async () => {
    const { courts } = await (await fetch(`${server.url}/demo/api/game`)).json();
    return courts.length === 1 && courts[0].names.toSorted().join() === "Ada,Ben";
  });
  for (const page of [ada, ben]) {
    for (const name of ["Ada", "Ben"]) await page.locator(".player", { hasText: name }).waitFor();
    await page.locator(".winners").getByText("1 won, 0 lost").waitFor();
  }
});

test("whoever reads the moves can neither leave for a player nor take the place nor make it deaf", async (t) => {
  const server = await start(t);
  const [ada, ben] = await visitors(t, server, "/demo/game/", ["sse", "ws"]);
  await pair(ada, ben);
  const { messages } = await (await fetch(`${server.url}/c/demo-game:moves?tail=256`)).json();
  const moves = messages.map(({ data }) => JSON.parse(data));
  const seats = await Promise.all([ada, ben].map((page) => page.evaluate(() => JSON.parse(sessionStorage.getItem("tidewire.seat")))));
  assert.ok(moves.length > 0);
  for (const { token } of seats) assert.ok(!JSON.stringify(messages).includes(token), "a token was published");

  const ask = (what, body) => fetch(`${server.url}/demo/api/game/${what}`, { method: "POST", body: JSON.stringify(body) });
  for (const { mark } of seats) {
    await ask("leave", { token: mark });
    assert.equal((await ask("again", { token: mark })).status, 404);
    await server.publish("demo-game:moves", `{"mark":"${mark}","n":18446744073709551615,"y":100}`, { "Tidewire-Event": "move" });
  }
  for (const [page, side] of [[ada, 0], [ben, 1]]) {
    await page.keyboard.down("ArrowDown");
    await eventually(`side ${side} is at the bottom`, async () => (await court(server)).walls[side] === 890);
    await page.keyboard.up("ArrowDown");
  }
});

test("what is no move and what is no state changes nothing", async (t) => {
  const server = await start(t);
  const [ada, ben] = await visitors(t, server, "/demo/game/", ["sse", "ws"]);
  await pair(ada, ben);
  const { courts: [{ id }] } = await (await fetch(`${server.url}/demo/api/game`)).json();
  for (const data of ["", "null", "{}", '{"mark":1}', '{"mark":"x","n":1,"y":0}', '{"ball":[],"phase":"<b>"}']) {
    await server.publish("demo-game:moves", data, { "Tidewire-Event": "move" });
    await server.publish(`demo-game:court:${id}`, data, { "Tidewire-Event": "state" });
    await server.publish("demo-game", data, { "Tidewire-Event": "hall" });
  }
  const { version } = await (await fetch(`${server.url}/demo/api/game`)).json();
  const strange = { version: version + 1, courts: [null, {}, { id, names: [1, 2], score: [] }], winners: [null, { name: {} }] };
  await server.publish("demo-game", JSON.stringify(strange), { "Tidewire-Event": "hall" });
  await ben.getByRole("button", { name: "Leave" }).click();
  await says(ada, "The other side has left: you win");
});
