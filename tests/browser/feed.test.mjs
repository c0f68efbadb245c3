// The social feed as two people see it.

import assert from "node:assert/strict";
import test from "node:test";

import { tidewire } from "../e2e/harness/tidewire.mjs";
import { live, visitors } from "./demo.mjs";

const write = async (page, text) => {
  await page.getByPlaceholder("What is new?").fill(text);
  await page.getByRole("button", { name: "Post" }).click();
};

test("a post and a like are in every browser at once, and outlive the server", async (t) => {
  const server = await tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
  const [ada, ben] = await visitors(t, server, "/demo/feed/", ["sse", "ws"]);
  await write(ada, "Spring tide at nine");
  await ben.getByText("Spring tide at nine").waitFor();
  await ben.getByRole("button", { name: /^Like/ }).click();
  await ada.getByText("♥ 1").waitFor();

  await server.restart();
  await Promise.all([ada, ben].map(live));
  await write(ben, "Still here");
  for (const page of [ada, ben]) await page.getByText("Still here").waitFor();
  await ada.reload();
  await ada.getByText("Spring tide at nine").waitFor();
  await ada.getByText("♥ 1").waitFor();
});

test("what is no post and no like is passed over, and the next real one is not", async (t) => {
  const server = await tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
  const [ada, ben] = await visitors(t, server, "/demo/feed/", ["sse", "ws"]);
  await server.publish("demo-feed", '{"version":1,"id":1,"author":{},"text":[],"time":"now","likes":0}', { "Tidewire-Event": "post" });
  await write(ada, "Spring tide at nine");
  await ben.getByText("Spring tide at nine").waitFor();
  await server.publish("demo-feed", '{"version":2,"id":1,"likes":"many"}', { "Tidewire-Event": "like" });
  await ben.getByRole("button", { name: /^Like/ }).click();
  for (const page of [ada, ben]) await page.getByText("♥ 1").waitFor();
  assert.equal(await ben.locator(".posts li").count(), 1);
});

test("what is stored is answered as done where it cannot be told, and whoever hears the next change reads it", async (t) => {
  const server = await tidewire(t, { flags: ["--demo"], set: { "limits.message_bytes_max": "200B" } });
  const [ada] = await visitors(t, server, "/demo/feed/", ["sse"]);
  const post = async (text) => {
    const said = await fetch(`${server.url}/demo/api/feed/post`, { method: "POST", body: JSON.stringify({ author: "Ben", text }) });
    assert.equal(said.status, 200, await said.text());
  };
  await post("Too long to be told. ".repeat(20));
  await post("Short");
  await ada.getByText("Too long to be told.").waitFor();
  await ada.getByText("Short", { exact: true }).waitFor();
});
