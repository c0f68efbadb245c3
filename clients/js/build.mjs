// Builds `dist/client.js`, which the server serves at `/client.js`. The same sources and the same esbuild, which the
// lock file fixes, give the same bytes; a test says so (docs/decisions/0023-the-built-client-is-committed.md).

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { buildSync } from "esbuild";

/** The minified core, as one global. */
export function built() {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL("src/global.ts", import.meta.url))],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    // What our own files call each other by; nobody else does.
    mangleProps: /^(ask|bearer|ends|forget|opens|published|request|tell|told|want)$/,
    legalComments: "none",
    write: false,
  });
  return outputFiles[0].contents;
}

/** Where it lies. */
export const artefact = new URL("dist/client.js", import.meta.url);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(artefact, built());
}
