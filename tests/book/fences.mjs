// The fenced blocks of a page, and what their info strings ask for.
//
// An info string is a language, and then what the tests do with the block:
//
//   sh NAME            a part of the walk NAME of its page: run line by line in one terminal, see `walk.mjs`
//   sh NAME in:FOLDER  the same, and begins in a copy of a folder of the repository
//   sh dev             the same, where a server in dev mode is there already
//   js console         typed into the console of a page that the walk's server serves
//   js page            the same, in an empty page whose origin is the server's own: what a page of yours would hold
//   html page          a page that is opened, where `https://live.example.com` is the walk's server
//   text expected      fragments, one a line, that the blocks of the walk before it have printed since the last such block
//   LANG of PATH       a part of that file of the repository, to the letter; the file has tests of its own
//   LANG not run: WHY  nothing is done with it, for the reason that stands there
//   text               a drawing, or what goes over the wire, or how a command is written, as its --help says it
//
// What is done with `toml`, `json`, `http`, `nginx`, `haproxy`, `caddy`, `ini`, `rust` and `yaml` alone is in `snippets.mjs`.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, normalize } from "node:path";

import { repository } from "../e2e/harness/tidewire.mjs";

/** The pages of the book, the README first, as `docs/SUMMARY.md` has them; and the decisions, which it names as a folder. */
export const pages = contents().filter((page) => existsSync(join(repository, page)));

/** What `docs/SUMMARY.md` names, from the root of the repository, whether it is there or not. */
export function contents() {
  const named = [...readFileSync(join(repository, "docs/SUMMARY.md"), "utf8").matchAll(/\]\(([^)]+)\)/g)];
  return named.map(([, path]) => normalize(`docs/${path}`)).flatMap((path) => {
    if (path.endsWith(".md")) return [path];
    return readdirSync(join(repository, path)).sort().map((name) => `${path}/${name}`);
  });
}

/** The fenced blocks of `page`, in order: `{where, language, marks, reason, body, lines}`. */
export function fences(page) {
  const found = [];
  let open;
  for (const [index, line] of readFileSync(join(repository, page), "utf8").split("\n").entries()) {
    const fence = /^(\s*)(`{3,})(.*)$/.exec(line);
    if (!open && fence) {
      const [, reason] = /not run: (.+)$/.exec(fence[3]) ?? [];
      // Rust's own tools separate by commas what they are told.
      const [language = "", ...marks] = fence[3].replace(/not run: .+$/, "").trim().replace(/,(ignore|no_run)\b/, "").split(/\s+/);
      open = { where: `${page}:${index + 1}`, indent: fence[1], ticks: fence[2], language, marks, reason, body: "" };
    } else if (open && fence && fence[2].length >= open.ticks.length && !fence[3]) {
      found.push({ ...open, lines: commands(open.body) });
      open = undefined;
    } else if (open) {
      open.body += `${line.slice(open.indent.length)}\n`;
    }
  }
  if (open) throw new Error(`${open.where}: this block has no end`);
  return found;
}

/** What a block says line by line: comments and empty lines left out, and lines that a backslash goes on put together. */
function commands(body) {
  return body.replaceAll("\\\n", " ").split("\n").map((line) => line.replace(/^\$ /, "").trim())
    .filter((line) => line && !line.startsWith("#"));
}
