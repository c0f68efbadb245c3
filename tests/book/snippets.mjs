// What is done with the blocks that are no walk: each is read by whoever it is for.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parseAllDocuments } from "yaml";

import { binary, repository, tidewire } from "../e2e/harness/tidewire.mjs";

/** By language: what reads a block. */
export const readers = {
  json({ body, where }) {
    for (const text of parts(body, where)) JSON.parse(text);
  },

  yaml({ body }) {
    for (const document of parseAllDocuments(body)) assert.deepEqual(document.errors, []);
  },

  /** A part of a program, or of an example in the documentation of a crate: there it is compiled. */
  rust({ body, where }) {
    const plain = (text) => text.split("\n").map((line) => line.replace(/^\s*\/\/[/!] ?/, "").trim()).filter(Boolean).join("\n");
    const found = spawnSync("git", ["ls-files", "crates/**.rs", "examples/**.rs"], { cwd: repository, encoding: "utf8" }).stdout.split("\n");
    const stands = found.filter(Boolean).some((path) => plain(readFileSync(join(repository, path), "utf8")).includes(plain(body)));
    assert.ok(stands, `${where}: this stands in no program of examples and in no example of a crate, so nothing compiles it`);
  },

  /** As a whole configuration of the server, or as one of cargo's. What it names on this machine is made for it: secrets, keys, certificates. */
  toml({ body }) {
    if (/^\[(dependencies|package|features)\]/m.test(body)) {
      const read = ["-c", "import sys, tomllib; tomllib.loads(sys.stdin.read())"];
      const { status, stderr } = spawnSync("python3", read, { input: body, encoding: "utf8" });
      return assert.equal(status, 0, stderr);
    }
    return inFolder((folder) => {
      const text = body.replaceAll(/"((?:[A-Z0-9]+:)?(?:[\w-]+:)?)(\/?[\w./-]+\.(?:pem|secret)|\/run\/secrets\/[\w-]+)"/g, (_, before, path) => {
        const name = path.split("/").at(-1);
        writeFileSync(join(folder, name), name.endsWith(".pem") ? publicKey() : "a-secret-of-more-than-32-bytes-for-a-test\n", { mode: 0o600 });
        return `"${before}${name}"`;
      });
      writeFileSync(join(folder, "tidewire.toml"), text.replaceAll("PUT-THE-HASH-HERE", "0".repeat(64)));
      // A part of a configuration stands beside something that lets somebody in.
      const env = /^\[auth\]/m.test(text) ? bare() : { ...bare(), TIDEWIRE_AUTH__HS256_SECRET: "a-secret-of-more-than-32-bytes-for-a-test" };
      const { status, stdout, stderr } = spawnSync(binary, ["check"], { cwd: folder, encoding: "utf8", env });
      // A binary without a feature says so of a key that belongs to it, and has read it.
      const problems = stderr.split("\n").filter((line) => line.startsWith("error: ") && !line.includes("this binary was built without"));
      assert.ok(status === 0 || problems.length === 0, `${stdout}${stderr}`);
    });
  },

  nginx({ body }) {
    inFolder((folder) => {
      const server = /^\s*server\s*{/m.test(body) ? body : `server { listen 127.0.0.1:1; ${body} }`;
      const map = "map $http_upgrade $connection_upgrade { default upgrade; '' ''; } upstream tidewire { server 127.0.0.1:8080; }";
      const file = join(folder, "nginx.conf");
      writeFileSync(file, `error_log stderr; pid ${folder}/pid; events {} http { access_log off; ${map}\n${server}\n}`);
      passes("nginx", ["-t", "-p", folder, "-c", file]);
    });
  },

  haproxy({ body }) {
    inFolder((folder) => {
      const file = join(folder, "haproxy.cfg");
      const timeouts = "defaults\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n";
      const front = /^frontend /m.test(body) ? "" : "frontend front\n    mode http\n    bind 127.0.0.1:1\n    default_backend tidewire\n";
      writeFileSync(file, `${timeouts}${front}${body}`);
      passes("haproxy", ["-c", "-f", file]);
    });
  },

  caddy({ body }) {
    inFolder((folder) => {
      const file = join(folder, "Caddyfile");
      writeFileSync(file, body);
      passes("caddy", ["validate", "--adapter", "caddyfile", "--config", file], { HOME: folder, XDG_DATA_HOME: folder });
    });
  },

  /** A unit of systemd, by its own program where that is there, and by its shape where it is not. */
  ini({ body, where }) {
    assert.match(body, /^\[\w+\]$/m, where);
    for (const line of body.split("\n")) assert.match(line, /^(#.*|\[\w+\]|\w+=.*|)$/, `${where}: ${line}`);
    const [, name] = /^# .*\/([\w@.-]+\.(?:service|socket|timer))$/m.exec(body) ?? [];
    if (!name || !exists("systemd-analyze")) return;
    inFolder((folder) => {
      writeFileSync(join(folder, name), body.replaceAll(/\/usr\/(local\/)?bin\/tidewire/g, binary));
      // What a unit names beside itself is not there; what is wrong with it is told all the same.
      const { stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", join(folder, name)], { encoding: "utf8" });
      assert.doesNotMatch(stderr, new RegExp(`${name.replaceAll(".", "\\.")}:\\d+:`), where);
    });
  },

  /** A request is sent to a server, and an answer is compared with the one that came to the request before it. */
  async http({ body, where }, page) {
    if (/^HTTP\/1\.1 /.test(body)) {
      const [head, text] = split(body);
      assert.ok(page.answer, `${where}: no request stands before it`);
      const [gotten, got] = split(page.answer);
      assert.equal(gotten[0], head[0], where);
      for (const field of head.slice(1)) {
        const [name, value] = field.split(": ");
        const found = gotten.find((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}: `));
        assert.ok(found, `${where}: ${name}\n${page.answer}`);
        if (name !== "ETag") assert.equal(found.slice(name.length + 2), value, where);
      }
      if (text.trim()) assert.deepEqual(shape(JSON.parse(got)), shape(JSON.parse(text)), where);
      return;
    }
    page.server ??= await tidewire(page.t);
    // A cursor of the page is nobody's: the page speaks of one that the server gave.
    const poll = await (await fetch(`${page.server.url}/c/prices`)).json();
    if (/cursor=/.test(body)) await page.server.publish("prices", "42.10", { "Tidewire-Event": "trade" });
    const [head, text] = split(body.replace(/cursor=[\w.]+/, `cursor=${poll.cursor}`));
    const fields = [...head, "Host: 127.0.0.1", "Connection: close", ...(text.trim() ? [`Content-Length: ${text.trim().length}`] : [])];
    page.answer = await exchange(page.server.port, `${fields.join("\r\n")}\r\n\r\n${text.trim()}`);
  },
};

/** Whether `text` stands in the file of the repository that the block names. */
export function quotes({ body, marks, where }) {
  const path = join(repository, marks[1]);
  assert.ok(existsSync(path), `${where}: there is no ${marks[1]}`);
  assert.ok(readFileSync(path, "utf8").includes(body), `${where}: this is not what ${marks[1]} says; the file is right`);
}

/** The JSON texts of a block: the whole of it, or each line, or what stands between empty lines. */
function parts(body, where) {
  const reads = (text) => {
    try {
      return JSON.parse(text), true;
    } catch {
      return false;
    }
  };
  const ways = [[body], body.split("\n"), body.split("\n\n")].map((texts) => texts.map((text) => text.trim()).filter(Boolean));
  const way = ways.find((texts) => texts.every(reads));
  assert.ok(way, `${where}: this is not JSON`);
  return way;
}

/** Names and kinds of values, for messages that differ in what they say. */
function shape(value) {
  if (Array.isArray(value)) return value.map(shape);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shape(inner)]).sort());
  return value === null ? "null" : typeof value;
}

function split(message) {
  const [head, ...rest] = message.replaceAll("\r\n", "\n").split("\n\n");
  return [head.trim().split("\n"), rest.join("\n\n")];
}

function exchange(port, bytes) {
  return new Promise((resolve, reject) => {
    let got = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes)).setEncoding("utf8");
    socket.on("data", (text) => (got += text)).once("end", () => resolve(got)).once("error", reject);
    socket.setTimeout(15_000, () => reject(new Error(`no answer to ${bytes}`)));
  });
}

function passes(program, args, env = {}) {
  const found = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map((folder) => join(folder, program)).find(existsSync);
  assert.ok(found, `${program} is not on this machine`);
  const { status, stdout, stderr } = spawnSync(found, args, { encoding: "utf8", env: { ...process.env, ...env } });
  assert.equal(status, 0, `${stdout}${stderr}`);
}

function exists(program) {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}

function bare() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIDEWIRE_")));
}

function publicKey() {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" });
}

function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-snippet-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
