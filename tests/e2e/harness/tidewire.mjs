// One Tidewire process per test: started on a free port, in an empty folder, and gone when the test ends.

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { request } from "node:https";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { eventually } from "./heard.mjs";

const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The binary under test; `TIDEWIRE_BIN` names another. */
export const binary = process.env.TIDEWIRE_BIN ?? join(repository, "target/release/tidewire");

/** Flags for every server, so that the same tests can be asked of another engine: `--set engine.io=tokio`. */
const everyFlag = (process.env.TIDEWIRE_FLAGS ?? "").split(" ").filter(Boolean);

/** The root of the repository. */
export { repository };

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/**
 * Starts a server for the test `t` and waits until it says that it is ready.
 *
 * `set` holds configuration keys as `--set` takes them, `flags` anything else for the command line, `env` the
 * environment, and `credentials` the header fields that it wants to see on what the test itself sends. With `secure` it
 * speaks TLS with a certificate that it makes up.
 */
export async function tidewire(t, { set = {}, flags = [], env = {}, credentials = {}, secure = false, port } = {}) {
  const server = new Server(port ?? (await freePort()), { set, flags, env, credentials, secure });
  t.after(() => server.end());
  await server.start();
  return server;
}

class Server {
  #set;
  #flags;
  #env;
  #child;
  #gone;
  #folder = mkdtempSync(join(tmpdir(), "tidewire-e2e-"));
  #said = "";

  constructor(port, { set, flags, env, credentials, secure }) {
    this.port = port;
    this.credentials = credentials;
    this.secure = secure;
    this.#set = set;
    this.#flags = secure ? ["--tls-self-signed", ...flags] : flags;
    this.#env = env;
  }

  /** `http://127.0.0.1:port` */
  get url() {
    return `http${this.secure ? "s" : ""}://127.0.0.1:${this.port}`;
  }

  /** `ws://127.0.0.1:port` */
  get wsUrl() {
    return this.url.replace("http", "ws");
  }

  /** What the process printed so far: the newest 64 KiB. */
  get said() {
    return this.#said;
  }

  async start() {
    const set = Object.entries(this.#set).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const args = ["serve", "--listen", `127.0.0.1:${this.port}`, ...everyFlag, ...set, ...this.#flags];
    const child = spawn(binary, args, { cwd: this.#folder, env: { ...withoutSettings(process.env), XDG_STATE_HOME: this.#folder, ...this.#env } });
    running.add(child);
    this.#child = child;
    this.#gone = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
    this.#gone.then(() => running.delete(child));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.#said = (this.#said + text).slice(-65536)));
    }
    const failed = new Promise((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`tidewire ended with ${code}:\n${this.#said}`)));
    });
    failed.catch(() => {});
    const ready = eventually("the server is ready", async () => (await this.#ask("/readyz")).status === 200);
    await Promise.race([ready, failed]);
  }

  /** Asks the process to drain, as a deployment does; does not wait. */
  terminate() {
    this.#child.kill("SIGTERM");
  }

  /** Resolves to `{code, signal}` when the process has ended. */
  get gone() {
    return this.#gone;
  }

  /** Ends the process at once, as a crash does. */
  async crash() {
    this.#child.kill("SIGKILL");
    await this.#gone;
  }

  /** A new process at the same address: a new generation of the log (memory mode). */
  async restart() {
    await this.crash();
    await this.start();
  }

  async end() {
    if (this.#child) await this.crash();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Publishes and returns the receipt `{id, channel, receivers}`. */
  async publish(channel, body, headers = {}) {
    const response = await this.#ask(`/c/${channel}`, { method: "POST", body, headers: { ...this.credentials, ...headers } });
    if (response.status !== 200) throw new Error(`publish: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** `fetch`, which has no way to trust a certificate that the server has made up. */
  #ask(path, { method = "GET", body, headers } = {}) {
    if (!this.secure) return fetch(`${this.url}${path}`, { method, body, headers });
    return new Promise((resolve, reject) => {
      const asked = request(`${this.url}${path}`, { method, headers, rejectUnauthorized: false }, async (answer) => {
        const chunks = await answer.toArray();
        resolve(new Response(Buffer.concat(chunks), { status: answer.statusCode }));
      });
      asked.once("error", reject).end(body);
    });
  }

  /** Everything that history holds of a channel, as the texts that were published. */
  async texts(channel) {
    const response = await fetch(`${this.url}/c/${channel}?cursor=earliest`, { headers: this.credentials });
    if (response.status !== 200) throw new Error(`poll: ${response.status} ${await response.text()}`);
    return (await response.json()).messages.map(({ data }) => data);
  }

  /** Waits until exactly so many subscribers listen on `channel`, asking with probes that they receive. */
  async receivers(channel, want) {
    const expected = { sse: 0, ws: 0, poll: 0, ...want };
    let seen;
    await eventually(`${channel} has receivers ${JSON.stringify(expected)}`, async () => {
      seen = (await this.publish(channel, "probe")).receivers;
      return Object.entries(expected).every(([transport, count]) => seen[transport] === count);
    }, () => JSON.stringify(seen));
  }
}

/** A port that nobody listens on at this moment, and that no client is given: those are above 32767. */
export async function freePort() {
  for (let tried = 0; tried < PORTS_TRIED_MAX; tried += 1) {
    const port = randomInt(10_240, 32_768);
    const probe = createServer();
    const isFree = await new Promise((resolve, reject) => {
      probe.once("error", (error) => (error.code === "EADDRINUSE" ? resolve(false) : reject(error)));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
  throw new Error(`none of ${PORTS_TRIED_MAX} ports is free`);
}

/** Ports that are tried before it is given up. */
const PORTS_TRIED_MAX = 100;

/** The environment without settings of ours, so that a developer's shell does not change what is tested. */
function withoutSettings(environment) {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("TIDEWIRE_")));
}
