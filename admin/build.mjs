// Builds `dist`, which the server embeds: the console, and the page of a channel in dev mode. The same sources and the
// same esbuild, which the lock file fixes, give the same bytes; a test says so (docs/decisions/0025-the-console.md).

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { buildSync } from "esbuild";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Pages, which are served as they are written. */
const pages = ["index.html", "inspector.html", "mark.svg"];

/** What else is in the scripts, whose licences ask to be told. */
const parts = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];

/** What `dist` holds, by name. */
export function built() {
  const { outputFiles } = buildSync({
    entryPoints: [path("src/console.tsx"), path("src/inspector.tsx"), path("src/style.css")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    outdir: path("dist"),
    write: false,
  });
  const files = outputFiles.map(({ path, contents }) => [path.split("/").at(-1), Buffer.from(contents)]);
  const licences = parts.map((name) => `${name}\n\n${readFileSync(path(`node_modules/${name}/LICENSE`), "utf8").trim()}\n`);
  files.push(["licences.txt", Buffer.from(licences.join("\n\n"))]);
  return new Map([...files, ...pages.map((name) => [name, readFileSync(path(`src/${name}`))])]);
}

/** Where it lies. */
export const artefacts = new URL("dist/", import.meta.url);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(artefacts, { recursive: true });
  for (const [name, bytes] of built()) writeFileSync(new URL(name, artefacts), bytes);
}
