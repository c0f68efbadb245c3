// The book as a reader goes through it: every page is in its table of contents, and every link leads somewhere.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import test from "node:test";

import { repository } from "../e2e/harness/tidewire.mjs";
import { contents, pages } from "./fences.mjs";

const book = contents();

test("every page of docs stands in the table of contents, once", () => {
  const written = readdirSync(join(repository, "docs")).filter((name) => name.endsWith(".md") && name !== "SUMMARY.md");
  for (const name of written) {
    assert.equal(book.filter((target) => target === `docs/${name}`).length, 1, `docs/${name} in docs/SUMMARY.md`);
  }
});

for (const page of book) {
  if (!existsSync(join(repository, page))) {
    // `cargo xtask book` shows it without a link.
    test(`${page} is a page that is not written yet`, (t) => t.skip(`docs/SUMMARY.md names ${page}`));
    continue;
  }
  test(`every link of ${page} leads somewhere`, () => {
    for (const { where, target, anchor } of links(page)) {
      if (!existsSync(join(repository, target))) {
        assert.ok(book.includes(target), `${where}: there is no ${target}`);
        continue;
      }
      if (target.endsWith(".md")) assert.ok(book.includes(target), `${where}: ${target} is no page of docs/SUMMARY.md, so the book has no place for this to lead to`);
      if (anchor) assert.ok(anchors(target).includes(anchor), `${where}: ${target} has no #${anchor}; it has ${anchors(target).map((name) => `#${name}`).join(" ")}`);
    }
  });
}

test("no two headings of a page have one name that something links to", () => {
  const linked = new Set(pages.flatMap((page) => links(page).map(({ target, anchor }) => `${target}#${anchor}`)));
  for (const page of pages) {
    const twice = anchors(page).filter((anchor) => /-\d+$/.test(anchor) && linked.has(`${page}#${anchor}`));
    assert.deepEqual(twice, [], page);
  }
});

/** The links of a page that lead into the repository, from its root: `{where, target, anchor}`. */
function links(page) {
  const text = readFileSync(join(repository, page), "utf8").replace(/^```[\s\S]*?^```$/gm, (block) => block.replace(/[^\n]/g, " ")).replace(/`[^`\n]*`/g, (code) => " ".repeat(code.length));
  return [...text.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].filter(([, href]) => !/^[a-z]+:/.test(href)).map(({ 1: href, index }) => {
    const [path, anchor] = href.split("#");
    const target = path ? relative(repository, resolve(repository, dirname(page), path)) : page;
    return { where: `${page}:${text.slice(0, index).split("\n").length}`, target, anchor };
  });
}

/** The anchors of a page's headings, as GitHub and mdBook both name them. */
function anchors(page) {
  const seen = new Map();
  const text = readFileSync(join(repository, page), "utf8").replace(/^```[\s\S]*?^```$/gm, "");
  return [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll("`", "");
    const name = plain.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return count === 0 ? name : `${name}-${count}`;
  });
}
