// The README's first five minutes, run as they stand there.
//
// A fenced block with the info string `sh first-five-minutes` is run line by line; a `text expected` block after it
// holds fragments, one a line, that must appear in what the lines before it printed. Lines that follow a stream
// (`curl -N`, `tidewire sub`, anything with `&`) stay running in the background until the end.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { eventually } from "./harness/heard.mjs";
import { binary, freePort, repository, tidewire } from "./harness/tidewire.mjs";

const HOME = 8080;
const readme = join(repository, "README.md");
const blocks = existsSync(readme) ? fences(readFileSync(readme, "utf8")) : [];

test("the README's first five minutes work as they are written", { skip: nothingMarked() }, async (t) => {
  const port = (await inUse(HOME)) ? await freePort() : HOME;
  const folder = mkdtempSync(join(tmpdir(), "tidewire-readme-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const server = await tidewire(t, { port });
  symlinkSync(binary, join(folder, "tidewire"));
  const environment = { ...process.env, PATH: `${folder}:${process.env.PATH}`, TIDEWIRE_URL: server.url };
  let printed = "";

  for (const { info, lines } of blocks) {
    if (info === "text expected") {
      for (const fragment of lines) {
        await eventually(`the README's lines print ${JSON.stringify(fragment)}`, () => printed.includes(fragment), () => printed);
      }
      printed = "";
      continue;
    }
    for (const line of lines) {
      if (buildsOrServes(line)) continue;
      const command = line.replaceAll(`127.0.0.1:${HOME}`, `127.0.0.1:${port}`).replaceAll(`localhost:${HOME}`, `localhost:${port}`);
      const child = spawn("sh", ["-c", command.replace(/\s*&$/, "")], { cwd: folder, env: environment, detached: true });
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (printed += bytes));
      const ended = new Promise((resolve) => child.once("close", resolve));
      if (follows(line)) {
        t.after(() => endGroup(child.pid));
        const before = printed.length;
        await eventually(`${line} has begun`, async () => printed.length > before || (await listening(server)));
      } else {
        assert.equal(await ended, 0, `${line}\n${printed}`);
      }
    }
  }
});

/** Whether a command line is what the test has done already: building Tidewire, and starting it. */
function buildsOrServes(line) {
  return /^(cargo|git|cd) /.test(line) || /^(\.\/target\/release\/)?tidewire( serve.*)?$/.test(line);
}

/** Whether a command line follows a stream rather than ending by itself. */
function follows(line) {
  return /&$|curl .*-N|curl .*--no-buffer|tidewire sub(?!.*--count)/.test(line);
}

/** Whether anybody subscribes to anything on the server. */
async function listening(server) {
  const { channels } = await (await fetch(`${server.url}/v1/channels`)).json();
  return channels.some(({ receivers }) => receivers.sse + receivers.ws + receivers.poll > 0);
}

/** Ends a shell and what it started, if they have not ended by themselves. */
function endGroup(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

function inUse(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** The marked fenced blocks of a Markdown text: `[{info, lines}]`, comments and empty lines left out. */
function fences(markdown) {
  const found = markdown.matchAll(/^```(sh first-five-minutes|text expected)\n([\s\S]*?)^```$/gm);
  return [...found].map(([, info, body]) => ({
    info,
    lines: body.replaceAll("\\\n", " ").split("\n").map((line) => line.replace(/^\$ /, "").trim())
      .filter((line) => line && !line.startsWith("#")),
  }));
}

function nothingMarked() {
  return blocks.length === 0 && "README.md marks no block as first-five-minutes";
}
