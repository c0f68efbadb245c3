// A walk: the blocks of a page that are done one after the other, by one reader in one folder.
//
// Commands are typed into one shell, so that a variable which one line sets is there in the next. `tidewire serve` is
// what somebody types in another terminal: it goes on, and one that is typed again for the same address ends the first as
// Ctrl-C does. A line that ends in `&` goes on too, and the next line waits until it is connected. Addresses are those
// that the page names, unless somebody has them: then others stand in for them, everywhere alike.

import assert from "node:assert/strict";
import { after } from "node:test";
import { connect } from "node:net";
import { join } from "node:path";

import { browser } from "../browser/tab.mjs";
import { eventually, PATIENCE_MS } from "../e2e/harness/heard.mjs";
import { redisServer } from "../e2e/harness/redis.mjs";
import { freePort, repository } from "../e2e/harness/tidewire.mjs";
import { reader } from "./place.mjs";

/** Where the pages have a Tidewire, where a second and a third one, and where Redis. */
const HOME = 8080;
const ADMIN = 9090;
const REDIS = 6379;

/** How long a command may take that ends by itself. */
const COMMAND_MS = 60_000;

/** One browser for all walks of a file, started with the first line that is typed into a console. */
const ends = [];
let chromium;
after(async () => {
  for (const end of ends) await end();
});

/** Does the blocks of a walk, and gives the number of commands, and of lines typed into a console. */
export async function walk(t, blocks) {
  const text = blocks.map(({ body }) => body).join("\n");
  const ports = await addresses(t, text);
  // Outside dev mode a server has a second address. In it that is none, unless it is named.
  const scene = new Scene(t, reader(t), ports, { guarded: /^tidewire init|auth\./m.test(text) });
  const folder = blocks[0].marks.find((mark) => mark.startsWith("in:"))?.slice("in:".length);
  if (folder) scene.enter(folder);
  if (blocks[0].marks.includes("dev") || blocks[0].language !== "sh") await scene.serve("tidewire serve");
  for (const block of blocks) {
    if (block.language === "text") {
      for (const fragment of block.lines) await scene.has(fragment, block.where);
      scene.forget();
    } else if (block.language === "js") {
      await scene.console(block);
    } else if (block.language === "html") {
      await scene.page(block);
    } else {
      for (const line of block.lines) await scene.command(line, block.where);
    }
  }
  assert.deepEqual(scene.errors, [], "what was typed into a console threw nothing");
  return scene.count;
}

class Scene {
  count = 0;
  errors = [];
  #t;
  #reader;
  #ports;
  #guarded;
  #folder;
  #shell;
  #printed = "";
  #servers = new Map();
  #pages = new Map();
  #ended = 0;

  constructor(t, reader, ports, { guarded }) {
    this.#t = t;
    this.#guarded = guarded;
    this.#reader = reader;
    this.#ports = ports;
    this.#shell = reader.start("sh", [], { env: this.#settings() });
    for (const stream of [this.#shell.stdout, this.#shell.stderr]) stream.setEncoding("utf8").on("data", (text) => (this.#printed += text));
  }

  /** Begins in a copy of a folder of the repository. */
  enter(folder) {
    this.#folder = this.#reader.copy(join(repository, folder), folder);
    this.#shell.stdin.write(`cd ${this.#folder}\n`);
  }

  /** Does one line, and waits until it has ended, or, where it goes on, until it is connected. */
  async command(line, where) {
    this.count += 1;
    if (/^tidewire serve\b/.test(line)) return this.serve(line.replace(/\s*&$/, ""));
    const typed = this.#at(line);
    const before = line.endsWith("&") ? await this.#connected(typed) : 0;
    const mark = `ended-${(this.#ended += 1)}`;
    this.#shell.stdin.write(`${typed}\n${line.endsWith("&") ? "" : `printf '${mark} %s\\n' "$?"\n`}`);
    if (line.endsWith("&")) {
      await eventually(`${where}: ${line} is connected`, async () => (await this.#connected(typed)) > before, () => this.#printed);
      return undefined;
    }
    const ended = new RegExp(`${mark} (\\d+)\\n`);
    await this.#until(() => ended.test(this.#printed), `${where}: ${line} ends`, COMMAND_MS);
    const [, status] = ended.exec(this.#printed);
    this.#printed = this.#printed.replace(ended, "");
    assert.equal(status, "0", `${where}: ${line}\n${this.#printed}`);
    return undefined;
  }

  /** Starts a server in another terminal, in place of the one that was started for the same address. */
  async serve(line) {
    const before = this.#servers.get(listen(line));
    if (before) {
      process.kill(-before.pid, "SIGINT");
      await before.over;
    }
    const child = this.#reader.start("sh", ["-c", `exec ${this.#at(line)}`], { cwd: this.#folder, env: this.#settings() });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
    const over = new Promise((resolve) => child.once("close", resolve));
    this.#servers.set(listen(line), { pid: child.pid, over });
    await this.#until(() => said.includes(" is ready on ") || child.exitCode !== null, `${line} is ready`, PATIENCE_MS);
    assert.equal(child.exitCode, null, `${line} ended:\n${said}`);
  }

  /** Opens a page with a block in it, where the server stands for `https://live.example.com`. */
  async page(block) {
    this.count += 1;
    const home = `http://127.0.0.1:${this.#ports.get(HOME)}`;
    const page = await this.#tab("livez");
    const before = await this.#connected("");
    await page.setContent(`<!doctype html>\n${block.body.replaceAll("https://live.example.com", home)}`);
    await eventually(`${block.where} is connected`, async () => (await this.#connected("")) > before, () => this.#printed);
  }

  /** Types a block into the console of a page, whose words are printed as those of commands are. */
  async console(block) {
    this.count += 1;
    const at = block.marks.includes("page") ? "livez" : "c/prices";
    if (!this.#pages.has(at)) this.#pages.set(at, await this.#tab(at));
    const before = await this.#connected("");
    // What the pages call to show something is the reader's own.
    const body = this.#at(block.body);
    // A console waits at its top level; what a test evaluates does only within a function.
    const typed = /^.*\bawait\b/m.test(body) ? `(async () => {\n${body}\n})()` : body;
    await this.#pages.get(at).evaluate(`globalThis.show ??= console.log;\n${typed}`);
    if (/EventSource|WebSocket|connect\(/.test(block.body)) {
      await eventually(`${block.where} is connected`, async () => (await this.#connected("")) > before, () => this.#printed);
    }
  }

  /** A tab with a page of the server, whose console is printed. */
  async #tab(at) {
    chromium ??= browser({ after: (end) => ends.push(end) });
    const page = await (await chromium).newPage();
    this.#t.after(() => page.close());
    page.on("console", (message) => (this.#printed += `${message.text()}\n`));
    page.on("pageerror", (error) => this.errors.push(error.stack));
    await page.goto(`http://127.0.0.1:${this.#ports.get(HOME)}/${at}`);
    return page;
  }

  /** Waits until `fragment` was printed since `forget`. */
  async has(fragment, where) {
    const wanted = this.#at(fragment);
    await eventually(`${where}: ${JSON.stringify(wanted)} is printed`, () => this.#printed.includes(wanted), () => this.#printed);
  }

  forget() {
    this.#printed = "";
  }

  /** How many subscribers the server has that a command line asks; the servers of all addresses count as one. */
  async #connected(line) {
    const [, port = this.#ports.get(HOME)] = /127\.0\.0\.1:(\d+)/.exec(line) ?? [];
    const answer = await fetch(`http://127.0.0.1:${port}/v1/channels`);
    // Who is asked for credentials tells nobody who listens. Then what is printed has to do.
    if (!answer.ok) return this.#printed.length;
    const { channels } = await answer.json();
    return channels.reduce((sum, { receivers }) => sum + receivers.sse + receivers.ws + receivers.poll, 0);
  }

  /** What stands in for the addresses that somebody has, where no command line names them. */
  #settings() {
    const [home, admin] = [HOME, ADMIN].map((port) => this.#ports.get(port));
    const server = home === HOME ? {} : { TIDEWIRE_LISTEN: `127.0.0.1:${home}`, TIDEWIRE_URL: `http://127.0.0.1:${home}` };
    return this.#guarded && admin !== ADMIN ? { ...server, TIDEWIRE_ADMIN_LISTEN: `127.0.0.1:${admin}` } : server;
  }

  #at(text) {
    return text.replaceAll(/(127\.0\.0\.1|localhost):(\d{4,5})/g, (whole, host, port) => `${host}:${this.#ports.get(Number(port)) ?? port}`);
  }

  async #until(holds, what, patience) {
    const deadline = Date.now() + patience;
    while (!holds()) {
      if (Date.now() > deadline) throw new Error(`waited in vain until ${what}:\n${this.#printed}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** The address that a command line has a server listen at. */
function listen(line) {
  return /--listen (\S+)/.exec(line)?.[1] ?? "";
}

/** What stands for each address of `text`: itself where it is free. Where Redis is asked for, there is one. */
async function addresses(t, text) {
  const ports = new Map();
  const named = [...text.matchAll(/(?:127\.0\.0\.1|localhost):(\d{4,5})/g)].map(([, port]) => Number(port));
  for (const port of new Set([HOME, ADMIN, ...named])) {
    if (port !== REDIS) ports.set(port, (await inUse(port)) ? await freePort() : port);
  }
  if (named.includes(REDIS) || /redis-cli/.test(text)) ports.set(REDIS, await redisServer(t));
  return ports;
}

function inUse(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
