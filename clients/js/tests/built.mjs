// A source file as a module: what is tested is what is written, and nothing has to be built first.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { buildSync } from "esbuild";

const folder = mkdtempSync(join(tmpdir(), "tidewire-client-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Imports `src/{name}` with everything that it needs. */
export function source(name) {
  const outfile = join(folder, name.replace(/\.tsx?$/, ".mjs"));
  const entry = fileURLToPath(new URL(`../src/${name}`, import.meta.url));
  buildSync({ entryPoints: [entry], bundle: true, format: "esm", target: "es2022", outfile });
  return import(pathToFileURL(outfile));
}

/** A script for a page: `code`, which may import from `src`, with everything that it needs. */
export function script(code) {
  const resolveDir = fileURLToPath(new URL("../src", import.meta.url));
  const stdin = { contents: code, resolveDir, loader: "tsx" };
  const define = { "process.env.NODE_ENV": '"development"' };
  return buildSync({ stdin, bundle: true, jsx: "automatic", format: "iife", target: "es2022", define, write: false }).outputFiles[0].text;
}
