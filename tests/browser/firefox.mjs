// A tab of Debian's Firefox, with a fresh profile, in the words of `tab.mjs`: what is asked of Chromium is asked of it too.
//
// It is driven by WebDriver BiDi, which Firefox speaks by itself on a WebSocket. What is used of that is little enough to
// stand here: libraries that speak all of it want a newer Node than the tests do.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import WebSocket from "ws";

/** How long Firefox may take to start, or to do what it is told. */
const PATIENCE_MS = 30_000;

const settings = {
  // It calls nobody.
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.safebrowsing.downloads.remote.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "http://127.0.0.1:9/none",
  "toolkit.telemetry.enabled": false,
  // What is JSON is a page like any other, and not one of Firefox's own.
  "devtools.jsonview.enabled": false,
  // A name that is not this machine's own and yet leads here.
  "network.dns.localDomains": "foreign.example",
};

/**
 * Starts a Firefox for a whole file with `{ after }`, or for one test; `FIREFOX` names another than Debian's. It has what
 * the tests use of a context of Chromium's: `newPage`, `pages` and `clearCookies`.
 */
export async function firefox(t) {
  const profile = mkdtempSync(join(tmpdir(), "tidewire-firefox-"));
  const lines = Object.entries(settings).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  writeFileSync(join(profile, "user.js"), lines.join(""));
  const flags = ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile];
  // A home of its own: Firefox keeps things beside its profile, too.
  const child = spawn(process.env.FIREFOX ?? "firefox-esr", flags, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HOME: profile } });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const gone = new Promise((resolve) => child.once("close", resolve));
  let bidi;
  t.after(async () => {
    bidi?.close();
    process.off("exit", kill);
    child.kill("SIGTERM");
    const impatience = setTimeout(kill, 5_000);
    await gone;
    clearTimeout(impatience);
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  bidi = await Bidi.connect(`${await address(child)}/session`);
  await bidi.ask("session.new", { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
  await bidi.ask("session.subscribe", { events: ["script.message", "log.entryAdded"] });
  return new Context(bidi, (await bidi.ask("browsingContext.getTree", {})).contexts[0].context);
}

/** Where a Firefox that has just been started listens. */
function address(child) {
  return new Promise((resolve, reject) => {
    let said = "";
    const timer = setTimeout(() => reject(new Error(`Firefox does not listen:\n${said}`)), PATIENCE_MS);
    child.once("error", reject).once("close", (code) => reject(new Error(`Firefox ended with ${code}:\n${said}`)));
    child.stderr.setEncoding("utf8").on("data", (text) => {
      // It is not silent later either, and what is not read would make it wait.
      said = (said + text).slice(-65536);
      const found = said.match(/listening on (ws:\S+)/);
      if (found) {
        clearTimeout(timer);
        resolve(found[1]);
      }
    });
  });
}

/** Commands and their answers, matched by number, and events. */
class Bidi {
  #socket;
  #count = 0;
  #waiting = new Map();
  #ears = new Set();

  static async connect(url) {
    const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 0 });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    return new Bidi(socket);
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (bytes) => this.#hear(JSON.parse(bytes)));
    socket.on("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("Firefox has gone"));
      this.#waiting.clear();
    });
    socket.on("error", () => {});
  }

  ask(method, params) {
    const id = (this.#count += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id)?.reject(new Error(`Firefox does not answer ${method}`)), PATIENCE_MS);
      this.#waiting.set(id, { method, resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** Calls `ear` with every event, as `(method, params)`, until what it returns is called. */
  on(ear) {
    this.#ears.add(ear);
    return () => this.#ears.delete(ear);
  }

  close() {
    this.#socket.terminate();
  }

  #hear({ type, id, method, params, result, error, message }) {
    if (type === "event") return this.#ears.forEach((ear) => ear(method, params));
    const asked = this.#settle(id);
    if (type === "success") asked?.resolve(result);
    else asked?.reject(new Error(`${asked.method}: ${error}: ${message}`));
  }

  #settle(id) {
    const asked = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(asked?.timer);
    return asked;
  }
}

class Context {
  #bidi;
  #pages;

  constructor(bidi, first) {
    this.#bidi = bidi;
    this.#pages = [new Page(bidi, first, () => {})];
  }

  /** Opens an empty tab, which is in front of the others. */
  async newPage() {
    const { context } = await this.#bidi.ask("browsingContext.create", { type: "tab" });
    const page = new Page(this.#bidi, context, () => this.#pages.splice(this.#pages.indexOf(page), 1));
    this.#pages.push(page);
    return page;
  }

  pages() {
    return [...this.#pages];
  }

  clearCookies() {
    return this.#bidi.ask("storage.deleteCookies", {});
  }
}

/** A tab. What goes in and comes out travels as JSON. */
class Page {
  #bidi;
  #context;
  #closed;
  #ears = [];

  /** What the page said to its console as an error, and what it threw. */
  complaints = [];

  constructor(bidi, context, closed) {
    this.#bidi = bidi;
    this.#context = context;
    this.#closed = closed;
    this.#listen("log.entryAdded", ({ source, level, text }) => {
      // Firefox before 153 says so of each EventSource of a page that is left.
      const isFarewell = /^The connection to \S+ was interrupted while the page was loading\.$/.test(text);
      if (source.context === context && level === "error" && !isFarewell) this.complaints.push(text);
    });
  }

  async goto(url) {
    await this.#bidi.ask("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
  }

  /** Goes `delta` pages on in the history of the tab, or back. */
  async traverse(delta) {
    await this.#bidi.ask("browsingContext.traverseHistory", { context: this.#context, delta });
  }

  /** Has its tab be the one that is looked at. */
  async bringToFront() {
    await this.#bidi.ask("browsingContext.activate", { context: this.#context });
  }

  /** Calls a function in the page with `argument`, and resolves to what it returns or promises. */
  async evaluate(called, argument = null) {
    const functionDeclaration = `async (argument) => JSON.stringify(await (${called})(JSON.parse(argument)))`;
    const { type, result, exceptionDetails } = await this.#bidi.ask("script.callFunction", {
      functionDeclaration,
      awaitPromise: true,
      target: { context: this.#context },
      arguments: [{ type: "string", value: JSON.stringify(argument) }],
    });
    if (type === "exception") throw new Error(exceptionDetails.text);
    return result.value === undefined ? undefined : JSON.parse(result.value);
  }

  /** Gives the page, and those that follow it in this tab, a function `name` which is called here. */
  async exposeFunction(name, called) {
    const channel = `${this.#context} ${name}`;
    const call = {
      functionDeclaration: `(channel) => {
        const waiting = new Map();
        let count = 0;
        globalThis[${JSON.stringify(name)}] = (...given) => new Promise((resolve) => {
          waiting.set((count += 1), resolve);
          channel(JSON.stringify({ count, given }));
        });
        globalThis[${JSON.stringify(name)}].answer = ({ count, value }) => {
          waiting.get(count)?.(value);
          waiting.delete(count);
        };
      }`,
      arguments: [{ type: "channel", value: { channel } }],
    };
    this.#listen("script.message", async (told) => {
      if (told.channel !== channel) return;
      const { count, given } = JSON.parse(told.data.value);
      const value = await called(...given);
      // A page that has gone meanwhile needs no answer.
      await this.evaluate(([name, answer]) => globalThis[name]?.answer(answer), [name, { count, value }]).catch(() => {});
    });
    await this.#bidi.ask("script.addPreloadScript", { ...call, contexts: [this.#context] });
    await this.#bidi.ask("script.callFunction", { ...call, awaitPromise: false, target: { context: this.#context } });
  }

  /** Adds a script by its address or its text, and waits until it has run. */
  addScriptTag({ url, content }) {
    return this.evaluate(([url, content]) => new Promise((resolve, reject) => {
      const script = document.createElement("script");
      if (url) script.src = url;
      else script.textContent = content;
      script.onload = () => resolve();
      script.onerror = () => reject(new Error(`${url} cannot be loaded`));
      document.head.append(script);
      if (!url) resolve();
    }), [url, content]);
  }

  async close() {
    for (const off of this.#ears) off();
    this.#closed();
    await this.#bidi.ask("browsingContext.close", { context: this.#context });
  }

  #listen(wanted, ear) {
    this.#ears.push(this.#bidi.on((method, params) => method === wanted && ear(params)));
  }
}
