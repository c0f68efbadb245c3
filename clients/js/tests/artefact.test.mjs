// What the server serves at `/client.js`: small, the same bytes whoever builds it, and one global.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";

import { artefact, built } from "../build.mjs";

const GZIPPED_BYTES_MAX = 4_096;

test("the core is at most four kibibytes, gzipped", () => {
  const { length } = gzipSync(readFileSync(artefact), { level: 9 });
  assert.ok(length <= GZIPPED_BYTES_MAX, `${length} bytes`);
});

test("building it again gives the bytes that are committed", () => {
  const wanted = Buffer.from(built());
  assert.ok(wanted.equals(readFileSync(artefact)), "run `npm run build` in clients/js, and commit dist/client.js");
});

test("it leaves one global and nothing else", () => {
  const page = {};
  runInNewContext(readFileSync(artefact, "utf8"), page);
  assert.deepEqual(Object.keys(page), ["tidewire"]);
  assert.deepEqual(Object.keys(page.tidewire).sort(), ["Refusal", "connect"]);
});
