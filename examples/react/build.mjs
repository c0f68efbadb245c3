// Builds the page into `dist`: node build.mjs, or node build.mjs --serve to have it built anew whenever it is asked for.

import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build, context } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** What esbuild is told: the page of the Tidewire at `url`, into `outdir`. */
const options = (url, outdir) => ({
  entryPoints: [here("src/main.jsx")],
  outdir,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  define: { TIDEWIRE_URL: JSON.stringify(url), "process.env.NODE_ENV": '"production"' },
  alias: {
    // The client as it is in this repository. Where it is a package, this goes.
    "@tidewire/client": here("../../clients/js/src"),
    // And with it this: hooks work in the React that draws the page, and in no other.
    react: here("node_modules/react"),
  },
});

/** Builds the page of the Tidewire at `url` into `outdir`. */
export async function page(url, outdir) {
  await mkdir(outdir, { recursive: true });
  await copyFile(here("index.html"), `${outdir}/index.html`);
  await build(options(url, outdir));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const url = process.env.TIDEWIRE_URL ?? "http://127.0.0.1:8080";
  await page(url, here("dist"));
  if (process.argv[2] === "--serve") {
    const watched = await context(options(url, here("dist")));
    const { port } = await watched.serve({ host: "127.0.0.1", port: 5173, servedir: here("dist") });
    console.log(`http://127.0.0.1:${port}/ shows what ${url} tells it`);
  }
}
