// What the server embeds: the same bytes whoever builds them, and nothing that a strict policy would stop.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";
import { gzipSync } from "node:zlib";

import { artefacts, built } from "../build.mjs";

const GZIPPED_BYTES_MAX = 50 << 10;

test("building it again gives the bytes that are committed", () => {
  const files = built();
  assert.deepEqual(readdirSync(artefacts).sort(), [...files.keys()].sort());
  for (const [name, bytes] of files) {
    assert.ok(bytes.equals(readFileSync(new URL(name, artefacts))), `${name}: run \`npm run build\` in admin, and commit dist`);
  }
});

test("the console is at most fifty kibibytes, gzipped", () => {
  const bytes = [...built()].filter(([name]) => !name.startsWith("inspector")).map(([, bytes]) => bytes);
  const { length } = gzipSync(Buffer.concat(bytes), { level: 9 });
  assert.ok(length <= GZIPPED_BYTES_MAX, `${length} bytes`);
});

test("pages load nothing from elsewhere and hold no script or style of their own", () => {
  for (const [name, bytes] of built()) {
    if (!name.endsWith(".html")) continue;
    const page = bytes.toString("utf8");
    assert.doesNotMatch(page, /https?:|\/\/[a-z]|<style|style=|\son[a-z]+=/i, name);
    assert.doesNotMatch(page, /<script(?![^>]*\ssrc=)/i, name);
  }
});
