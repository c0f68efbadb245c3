// The README, run as it stands there.
//
// A fenced block with the info string `sh first-five-minutes` is run line by line; a `text expected` block after it
// holds fragments, one a line, that must appear in what the lines before it printed. Lines that follow a stream
// (`curl -N`, `tidewire sub`, anything with `&`) stay running in the background until the end.
//
// `sh who-belongs` is another walk: its lines up to `tidewire serve` prepare a folder, the server starts there, and the
// rest is one script. The fragments of `text expected of-who-belongs` must appear in what that prints.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { eventually } from "./harness/heard.mjs";
import { binary, freePort, repository, tidewire } from "./harness/tidewire.mjs";

const HOME = 8080;
const readme = readFileSync(join(repository, "README.md"), "utf8");

test("the README's first five minutes work as they are written", async (t) => {
  const { port, folder, environment } = await place(t);
  const server = await tidewire(t, { port });
  let printed = "";

  const blocks = fences("sh first-five-minutes", "text expected");
  assert.ok(blocks.length > 0);
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
      const command = at(port, line).replace(/\s*&$/, "");
      const child = spawn("sh", ["-c", command], { cwd: folder, env: environment, detached: true });
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

test("the README lets in who belongs, as it is written", async (t) => {
  const { port, folder, environment } = await place(t);
  const lines = fences("sh who-belongs").flatMap((block) => block.lines);
  const start = lines.indexOf("tidewire serve");
  assert.ok(start > 0);
  const run = (lines) => spawnSync("sh", ["-ec", at(port, lines.join("\n"))], { cwd: folder, env: environment, encoding: "utf8" });

  const prepared = run(lines.slice(0, start));
  assert.equal(prepared.status, 0, prepared.stderr);
  await tidewire(t, { port, set: { admin_listen: "same" }, flags: ["--config", join(folder, "tidewire.toml")] });
  const { status, stdout, stderr } = run(lines.slice(start + 1));
  assert.equal(status, 0, stderr);
  let rest = stdout;
  for (const fragment of fences("text expected of-who-belongs").flatMap((block) => block.lines)) {
    assert.ok(rest.includes(fragment), `${fragment}\n${stdout}\n${stderr}`);
    rest = rest.slice(rest.indexOf(fragment) + fragment.length);
  }
});

/** A port, the README's own where it is free, and a folder with the binary on the path. */
async function place(t) {
  const port = (await inUse(HOME)) ? await freePort() : HOME;
  const folder = mkdtempSync(join(tmpdir(), "tidewire-readme-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(binary, join(folder, "tidewire"));
  const path = `${folder}:${process.env.PATH}`;
  return { port, folder, environment: { ...process.env, PATH: path, TIDEWIRE_URL: `http://127.0.0.1:${port}` } };
}

/** Command lines that ask the server at `port`. */
function at(port, lines) {
  return lines.replaceAll(`127.0.0.1:${HOME}`, `127.0.0.1:${port}`).replaceAll(`localhost:${HOME}`, `localhost:${port}`);
}

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

/** The README's fenced blocks with one of these info strings: `[{info, lines}]`, comments and empty lines left out. */
function fences(...infos) {
  const found = readme.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm);
  return [...found].filter(([, info]) => infos.includes(info)).map(([, info, body]) => ({
    info,
    lines: body.replaceAll("\\\n", " ").split("\n").map((line) => line.replace(/^\$ /, "").trim())
      .filter((line) => line && !line.startsWith("#")),
  }));
}
