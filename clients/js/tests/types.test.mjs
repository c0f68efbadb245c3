// What the compiler says, and what a page may and may not write.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";

test("the sources have the types that they say", () => {
  const folder = fileURLToPath(new URL("..", import.meta.url));
  const { status, stdout, stderr } = spawnSync("node_modules/.bin/tsc", ["--noEmit"], { cwd: folder, encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
});
