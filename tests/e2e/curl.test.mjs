// curl, as the README uses it: publishing needs no SDK, and a stream can be watched with nothing but a shell.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import test from "node:test";

import { Heard } from "./harness/heard.mjs";
import { tidewire } from "./harness/tidewire.mjs";

test("curl -d publishes, whatever Content-Type it sends", async (t) => {
  const server = await tidewire(t);
  const receipt = JSON.parse(await curl(t, "-d", "hello", `${server.url}/c/prices`).text);
  assert.equal(receipt.channel, "prices");
  assert.match(receipt.id, /^[a-z0-9]+\.[a-z0-9]+$/);
  assert.deepEqual(receipt.receivers, { sse: 0, ws: 0, poll: 0 });
});

test("curl -N shows the stream block by block", async (t) => {
  const server = await tidewire(t);
  const { lines } = curl(t, "-N", "-H", "Accept: text/event-stream", `${server.url}/c/prices`);
  assert.match(await lines.next(), /^retry: \d+$/);
  await lines.find((line) => line === "event: $ready");
  const { id } = await server.publish("prices", "42");
  await lines.find((line) => line === "data: 42");
  assert.ok(lines.all.includes(`id: ${id}`) || (await lines.find((line) => line === `id: ${id}`)));
});

test("curl over HTTP/1.0 gets a stream that ends with the connection, not in chunks", async (t) => {
  const server = await tidewire(t);
  const { lines } = curl(t, "-i", "-N", "--http1.0", "-H", "Accept: text/event-stream", `${server.url}/c/prices`);
  await lines.find((line) => line === "event: $ready");
  const head = lines.all.slice(0, lines.all.indexOf("")).map((line) => line.toLowerCase());
  assert.match(head[0], /^http\/1\.[01] 200/);
  assert.ok(!head.some((line) => line.startsWith("transfer-encoding")), head.join("\n"));
  await server.publish("prices", "42");
  await lines.find((line) => line === "data: 42");
});

test("s44_a_stream_tells_caches_and_proxies_to_keep_out", async (t) => {
  const server = await tidewire(t);
  const { lines } = curl(t, "-i", "-N", "-H", "Accept: text/event-stream", `${server.url}/c/prices`);
  await lines.find((line) => line === "event: $ready");
  const head = lines.all.slice(0, lines.all.indexOf("")).map((line) => line.toLowerCase());
  for (const wanted of [
    "content-type: text/event-stream",
    "cache-control: no-store, no-transform",
    "x-accel-buffering: no",
    "x-content-type-options: nosniff",
    "transfer-encoding: chunked",
  ]) {
    assert.ok(head.some((line) => line.startsWith(wanted)), `${wanted} is missing in\n${head.join("\n")}`);
  }
});

test("a refusal explains itself to whoever typed the command", async (t) => {
  const server = await tidewire(t);
  const problem = JSON.parse(await curl(t, "-d", "x", `${server.url}/c/bad*name`).text);
  assert.equal(problem.status, 400);
  assert.equal(problem.code, "channel_invalid");
  for (const field of ["title", "detail", "hint"]) assert.equal(typeof problem[field], "string", field);
});

/** Runs curl for the test `t`: its lines as they come, and its whole output once it has ended. */
function curl(t, ...args) {
  const child = spawn("curl", ["--silent", "--show-error", "--globoff", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const lines = new Heard();
  let text = "";
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (piece) => {
    text += piece;
    const parts = (rest + piece).split(/\r?\n/);
    rest = parts.pop();
    for (const line of parts) lines.push(line);
  });
  return { lines, text: new Promise((resolve) => child.once("close", () => resolve(text))) };
}
