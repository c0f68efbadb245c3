// One connection for all tabs: seven of them over HTTP/1.1, where a browser opens six to a host.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { site } from "../../../../tests/browser/pages.mjs";
import { alone, browser } from "../../../../tests/browser/tab.mjs";
import { eventually } from "../../../../tests/e2e/harness/heard.mjs";
import { guarded, token } from "../../../../tests/e2e/harness/keys.mjs";
import { tidewire } from "../../../../tests/e2e/harness/tidewire.mjs";
import { tunnel } from "../../../../tests/e2e/harness/tunnel.mjs";
import { gaps, hears, live } from "./page.mjs";
import { sharing, streams } from "./sharing.mjs";

const chromium = await browser({ after });

test("f27_seven_tabs_over_http_1_share_one_stream_and_each_hears_everything", async (t) => {
  const server = await tidewire(t);
  const network = await tunnel(t, server.port);
  const [context, app] = [await alone(t, chromium), await site(t, "localhost")];
  const tabs = [];
  for (let n = 0; n < 7; n += 1) tabs.push(await sharing(context, app, network.url, ["prices"]));
  for (const tab of tabs) await live(tab, "shared");
  assert.equal(await streams(server, "prices"), 1);
  const wanted = ["1", "2", "3"];
  for (const data of wanted) await server.publish("prices", data);
  for (const tab of tabs) await hears(tab, wanted);
  const counted = await tabs[6].page.evaluate(() => client.stats());
  assert.deepEqual([counted.messages, counted.bytes, counted.state, counted.transport], [3, 3, "live", "shared"]);

  // The tab that holds the connection is closed, while messages are on their way.
  await tabs.shift().page.close();
  for (const data of ["4", "5"]) await server.publish("prices", data);
  wanted.push("4", "5");
  for (const tab of tabs) await hears(tab, wanted);
  await eventually("there is one stream again", async () => (await streams(server, "prices")) === 1);

  // The network is cut under all of them.
  network.cutUntilHealed();
  for (const tab of tabs) await tab.heard.find(({ state }) => state === "waiting");
  await server.publish("prices", "6");
  wanted.push("6");
  network.heal();
  for (const tab of tabs) await hears(tab, wanted);
  for (const tab of tabs) assert.deepEqual(gaps(tab), []);
});

test("tabs hear what they asked for, and what nobody asks for any more is let go of", async (t) => {
  const server = await tidewire(t);
  const [context, app] = [await alone(t, chromium), await site(t, "localhost")];
  const first = await sharing(context, app, server.url, ["prices"]);
  await live(first);
  const second = await sharing(context, app, server.url, ["news"]);
  await live(second);
  await first.page.evaluate(() => listen("scores"));
  await eventually("all three are listened to", async () => (await streams(server, "scores")) === 1 && (await streams(server, "news")) === 1);
  await eventually("the tab is live again", () => first.page.evaluate(() => client.state.state === "live"));
  await server.publish("prices", "for the first");
  await server.publish("news", "for the second");
  await server.publish("scores", "for the first too");
  await hears(first, ["for the first", "for the first too"]);
  await hears(second, ["for the second"]);
  await second.page.close();
  await eventually("nobody listens to the news", async () => (await streams(server, "news")) === 0);
  await server.publish("prices", "still here");
  await hears(first, ["for the first", "for the first too", "still here"]);
});

test("what the shared connection is refused, each of its tabs is told", async (t) => {
  const [context, app] = [await alone(t, chromium), await site(t, "localhost")];
  const server = await tidewire(t, guarded({ origins: [app.origin] }));
  const own = { token: token("alice", ["prices"]) };
  const url = `http://localhost:${server.port}`;
  const first = await sharing(context, app, url, ["prices"], own);
  await live(first, "shared");
  const second = await sharing(context, app, url, ["salaries"], own);
  for (const tab of [first, second]) {
    const { error } = await tab.heard.find(({ state }) => state === "refused");
    assert.match(error, /salaries/);
  }
});

test("on a page without TLS a browser has no locks, and each tab connects by itself", async (t) => {
  const [context, app] = [await alone(t, chromium), await site(t, "foreign.example")];
  const server = await tidewire(t, guarded({ origins: [app.origin] }));
  const tab = await sharing(context, app, server.url, ["prices"], { token: token("alice", ["prices"]) });
  await live(tab, "sse");
  await server.publish("prices", "1");
  await hears(tab, ["1"]);
});
