// `examples/react`, built as its README says, in Chromium.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";

import { page as build } from "../../../../examples/react/build.mjs";
import { alone, browser } from "../../../../tests/browser/tab.mjs";
import { eventually } from "../../../../tests/e2e/harness/heard.mjs";
import { repository, tidewire } from "../../../../tests/e2e/harness/tidewire.mjs";
import { tunnel } from "../../../../tests/e2e/harness/tunnel.mjs";

const chromium = await browser({ after });

/** The example of the Tidewire at `url`, built, and served from an origin of its own. */
async function served(t, url) {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-react-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  await build(url, folder);
  const types = { html: "text/html", css: "text/css", js: "text/javascript" };
  const server = createServer((request, answer) => {
    const name = request.url === "/" ? "index.html" : request.url.slice(1);
    answer.writeHead(200, { "Content-Type": types[name.split(".").pop()] }).end(readFileSync(join(folder, name)));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** The room in a new tab: what `says` types in, and what `shows`. */
async function room(context, url) {
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`${error}`));
  await page.goto(url);
  const shows = (selector, text) => page.locator(selector, { hasText: text }).first().waitFor({ timeout: 15_000 });
  return {
    page,
    complaints,
    shows,
    texts: () => page.locator(".log li p").allInnerTexts(),
    async says(name, text) {
      await page.getByLabel("Your name").fill(name);
      await page.getByLabel("Message").fill(text);
      await page.getByRole("button").click();
      await shows(".log li p", text);
    },
  };
}

test("the room of the React example shows what was said before and since, who is there, and what a cut kept back", async (t) => {
  // The configuration that the example comes with.
  const config = join(repository, "examples/react/tidewire.toml");
  const server = await tidewire(t, { flags: ["--config", config], set: { "limits.presence_grace": "200ms" } });
  const network = await tunnel(t, server.port);
  await server.publish("room:lobby", "from a shell");
  const [context, url] = [await alone(t, chromium), await served(t, network.url)];

  const ada = await room(context, url);
  await ada.shows(".state", /^Live over sse$/);
  assert.deepEqual(await ada.texts(), ["from a shell"]);
  const bob = await room(context, url);
  for (const { shows } of [ada, bob]) await shows(".members", /^2 here$/);
  await ada.says("Ada", "hello");
  await bob.shows(".log li", /^Ada.*hello$/s);
  await bob.says("Bob", "<img src=x onerror=alert(1)>");
  await ada.shows(".log li p", "<img src=x onerror=alert(1)>");

  network.cutUntilHealed();
  await ada.shows(".state", /^Reconnecting$/);
  await server.publish("room:lobby", JSON.stringify({ name: "Cleo", text: "while they were away" }));
  network.heal();
  const said = ["from a shell", "hello", "<img src=x onerror=alert(1)>", "while they were away"];
  for (const { texts } of [ada, bob]) await eventually("everything is shown once", async () => assert.deepEqual(await texts(), said) ?? true);

  await bob.page.close();
  await ada.shows(".members", /^1 here$/);
  assert.deepEqual([ada.complaints, bob.complaints], [[], []]);
});

test("the room of the React example says so where messages were missed, and shows what is kept", async (t) => {
  const server = await tidewire(t, { set: { "history.messages_max": "2", "namespace.room.presence": true } });
  const network = await tunnel(t, server.port);
  const { shows, texts } = await room(await alone(t, chromium), await served(t, network.url));
  await shows(".notice", /^Nobody has said anything yet\.$/);
  await shows(".state", /^Live/);
  network.cutUntilHealed();
  await shows(".state", /^Reconnecting$/);
  for (const text of ["1", "2", "3", "4"]) await server.publish("room:lobby", text);
  network.heal();
  await shows(".notice", /^Some messages are no longer kept, and were missed\.$/);
  await eventually("what is kept is shown", async () => assert.deepEqual(await texts(), ["3", "4"]) ?? true);
});
