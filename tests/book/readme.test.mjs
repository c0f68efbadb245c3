// The README, as it stands there: each of its walks by a reader of its own, who has an empty home and no configuration.

import assert from "node:assert/strict";
import test from "node:test";

import { walk } from "./walk.mjs";
import { walks } from "./pages.mjs";

const found = walks("README.md");

test("the README has its walks", () => {
  assert.deepEqual([...found.keys()], ["first-five-minutes", "who-belongs", "several"]);
});

for (const [name, blocks] of found) {
  test(`the README's walk ${name} works as it is written`, async (t) => {
    const commands = await walk(t, blocks);
    assert.ok(commands > 3);
  });
}
