// Monitoring: every node's measurements, over every transport.

import assert from "node:assert/strict";
import test from "node:test";

import { redisServer } from "../e2e/harness/redis.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { TRANSPORTS, live, switchTo, visitors } from "./demo.mjs";

const fact = (page, name) => page.locator(`[data-fact="${name}"]`);

/** Waits until more measurements have come than there are now. */
async function goesOn(page) {
  const before = Number(await fact(page, "messages").first().textContent());
  await page.waitForFunction((before) => Number(document.querySelector('[data-fact="messages"]').textContent) > before, before);
}

test("measurements go on over every transport and after a restart", async (t) => {
  const server = await tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
  const [ada, ben] = await visitors(t, server, "/demo/host/", ["sse", "ws"]);
  for (const page of [ada, ben]) await fact(page, "latency").getByText(/ms/).waitFor();
  for (const transport of TRANSPORTS) {
    await switchTo(ada, transport);
    await goesOn(ada);
  }
  await server.restart();
  await Promise.all([ada, ben].map(live));
  await Promise.all([ada, ben].map(goesOn));
  assert.equal(await ada.locator("section.panel").count(), 1, "the node is the same one");
});

test("nodes that share a Redis are shown side by side, and nonsense is not", async (t) => {
  const port = await redisServer(t);
  const node = () => tidewire(t, { flags: ["--demo"], set: { "broker.url": `redis://127.0.0.1:${port}` } });
  const [one, other] = await Promise.all([node(), node()]);
  const [page] = await visitors(t, one, "/demo/host/", ["sse"]);
  for (const { port } of [one, other]) await page.getByRole("heading", { name: new RegExp(`:${port}$`) }).waitFor();
  for (const nonsense of ["", "null", "{}", '{"node":7}', '{"node":"x","cpu":{"total":"high"},"time":1}']) {
    await one.publish("demo:host", nonsense);
  }
  await goesOn(page);
  assert.equal(await page.locator("section.panel").count(), 2);
});
