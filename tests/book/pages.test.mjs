// Every fenced block of the README and of the book: it is run, or read by whoever it is for, or it says why not.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";

import { binary } from "../e2e/harness/tidewire.mjs";
import { fences, pages } from "./fences.mjs";
import { walks } from "./pages.mjs";
import { quotes, readers } from "./snippets.mjs";
import { walk } from "./walk.mjs";

/** What a line of a drawing, or of what goes over the wire, does not begin with. */
const COMMAND = /^(\$ |tidewire \w|curl |cargo |npm |node |docker |systemctl |redis-cli |sudo |apt(-get)? )/m;

const counts = { run: 0, read: 0, quoted: 0, drawn: 0, "not run": 0 };
for (const page of pages) {
  test(`every block of ${page} says what is done with it`, () => {
    for (const { where, language, marks, reason, body } of fences(page)) {
      const [mark] = marks;
      if (reason !== undefined) {
        assert.ok(reason.length > 8, `${where}: say why it is not run`);
        counts["not run"] += 1;
      } else if (mark === "of") {
        counts.quoted += 1;
      } else if (language === "sh") {
        assert.ok(mark, `${where}: name the walk that this is a part of, or say \`sh not run: why\``);
        counts.run += 1;
      } else if (language === "js") {
        assert.ok(mark === "console" || mark === "page", `${where}: \`js console\`, \`js page\`, \`js of PATH\`, or \`js not run: why\``);
        counts.run += 1;
      } else if (language === "html") {
        assert.ok(mark === "page", `${where}: \`html page\`, or \`html not run: why\``);
        counts.run += 1;
      } else if (language === "text") {
        assert.ok(mark === "expected" || marks.length === 0, `${where}: ${mark} is nothing that a text is`);
        assert.ok(mark === "expected" || !COMMAND.test(body) || isUsage(body), `${where}: a command stands in it, which nobody runs`);
        counts.drawn += mark === "expected" ? 0 : 1;
      } else {
        assert.ok(readers[language] && marks.length === 0, `${where}: nothing here reads \`${[language, ...marks].join(" ")}\``);
        counts.read += 1;
      }
    }
  });

  test(`what ${page} quotes stands in the files that it names`, () => {
    fences(page).filter(({ marks }) => marks[0] === "of").forEach(quotes);
  });

  const snippets = fences(page).filter(({ language, reason, marks }) => readers[language] && reason === undefined && marks.length === 0);
  if (snippets.length > 0) {
    test(`what ${page} shows is read by whoever it is for`, async (t) => {
      const here = { t };
      for (const block of snippets) {
        try {
          await readers[block.language](block, here);
        } catch (error) {
          throw new Error(`${block.where}: ${error.message}`, { cause: error });
        }
      }
    });
  }

  // The README's walks are in a file of their own.
  if (page === "README.md") continue;
  for (const [name, blocks] of walks(page)) {
    test(`the walk ${name} of ${page} works as it is written`, (t) => walk(t, blocks));
  }
}

/** Whether a text is how a command is written, as the command itself says it. */
function isUsage(body) {
  const line = body.trim();
  if (!/^tidewire \S.*$/.test(line)) return false;
  const [, command] = /^tidewire ((?:[a-z-]+ ?)+)/.exec(`${line} `) ?? [];
  const { stdout } = spawnSync(binary, [...command.trim().split(" "), "--help"], { encoding: "utf8" });
  return stdout.includes(`Usage: ${line}\n`);
}

test("blocks are counted", (t) => {
  t.diagnostic(`blocks of the README and the book: ${Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(", ")}`);
  assert.ok(counts.run > counts["not run"]);
});
