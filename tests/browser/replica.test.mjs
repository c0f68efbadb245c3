// The copy of a state that most demonstrations keep, held to what a page may be told and in which order.

import assert from "node:assert/strict";
import test from "node:test";
import { setImmediate as settled } from "node:timers/promises";

import { Replica } from "../../demo/kit/replica.js";

/** A replica of a state that is read by hand: `answer(state)` or `fail()` ends the oldest read. */
async function replica(t) {
  const reads = [];
  const shown = [];
  const listeners = {};
  const live = {
    on: (_, event, listener) => ((listeners[event] = listener), () => {}),
    onGap: (listener) => ((listeners.gap = listener), () => {}),
    onState: (listener) => ((listeners.state = listener), () => {}),
  };
  const one = new Replica(live, "channel", {
    path: "state",
    read: () => new Promise((resolve, reject) => reads.push({ resolve, reject })),
    show: ({ version }) => shown.push(`read ${version}`),
    apply: { change: ({ version, isForged }) => (isForged ? false : shown.push(`told ${version}`) > 0) },
    failed: () => shown.push("failed"),
  });
  t.after(() => one.close());
  await new Promise((resolve) => setTimeout(resolve));
  return {
    reads, shown,
    async live() {
      listeners.state({ state: "live" });
      await settled();
    },
    async gap() {
      listeners.gap();
      await settled();
    },
    async told(change) {
      listeners.change({ data: JSON.stringify(change) });
      await settled();
    },
    async answer(version) {
      reads.shift().resolve({ version });
      await settled();
    },
    async fail() {
      reads.shift().reject(new Error("the network is gone"));
      await settled();
    },
  };
}

test("what is no change does not take the place of the one that is", async (t) => {
  const { live, told, answer, reads, shown } = await replica(t);
  await live();
  await answer(4);
  await told({ version: 5, isForged: true });
  await told({ version: 5 });
  assert.equal(reads.length, 1);
  await answer(4);
  await told({ version: 6 });
  assert.deepEqual(shown, ["read 4", "read 4", "told 5", "told 6"]);
});

test("a gap while the state is being read leads to one more read", async (t) => {
  const { live, gap, told, answer, reads, shown } = await replica(t);
  await live();
  await gap();
  await gap();
  await told({ version: 7 });
  assert.equal(reads.length, 1);
  await answer(4);
  assert.equal(reads.length, 1);
  await answer(7);
  await told({ version: 8 });
  assert.equal(reads.length, 0);
  assert.deepEqual(shown, ["read 4", "read 7", "told 8"]);
});

test("a read that fails is repeated when the page is live again", async (t) => {
  const { live, gap, told, fail, answer, reads, shown } = await replica(t);
  await live();
  await answer(4);
  await live();
  assert.equal(reads.length, 0);
  await gap();
  await told({ version: 5 });
  await fail();
  assert.equal(reads.length, 0);
  await live();
  await answer(5);
  assert.deepEqual(shown, ["read 4", "failed", "read 5"]);
});
