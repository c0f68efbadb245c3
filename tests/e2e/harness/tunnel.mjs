// A TCP proxy that can be cut: the network between a client and Tidewire, in a test's hands.

import { connect, createServer } from "node:net";

/** Opens a tunnel to `port` on this machine for the test `t`. */
export async function tunnel(t, port) {
  const opened = new Tunnel(port);
  t.after(() => opened.close());
  await opened.listen();
  return opened;
}

class Tunnel {
  #target;
  #listener = createServer({ allowHalfOpen: true }, (socket) => this.#carry(socket));
  #pairs = new Set();
  #closed = false;
  #held = null;

  /** The first bytes of every connection that came in, as text, oldest first. */
  heads = [];

  /** What the server sent through the tunnel, as text: the newest 64 KiB. */
  sent = "";

  /** What clients sent through the tunnel, likewise. */
  asked = "";

  constructor(target) {
    this.#target = target;
  }

  listen() {
    return new Promise((resolve) => this.#listener.listen(0, "127.0.0.1", resolve));
  }

  /** `http://127.0.0.1:port` */
  get url() {
    return `http://127.0.0.1:${this.#listener.address().port}`;
  }

  /** `ws://127.0.0.1:port` */
  get wsUrl() {
    return this.url.replace("http", "ws");
  }

  /** Resets every connection on both sides; new ones get through at once. */
  cut() {
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  /** Cuts, and resets newcomers too until `heal`. */
  cutUntilHealed() {
    this.#closed = true;
    this.cut();
  }

  /** Cuts, and has newcomers wait until `heal`, as behind somebody who holds a socket for a server that is away. */
  cutAndHold() {
    this.hold();
    this.cut();
  }

  /** Has newcomers wait until `heal`; who is connected stays. */
  hold() {
    this.#held = [];
  }

  heal() {
    const held = this.#held ?? [];
    [this.#closed, this.#held] = [false, null];
    for (const client of held) this.#carry(client);
  }

  close() {
    this.cut();
    for (const client of this.#held ?? []) client.destroy();
    return new Promise((resolve) => this.#listener.close(resolve));
  }

  #carry(client) {
    if (this.#closed) {
      client.resetAndDestroy();
      return;
    }
    if (this.#held) {
      client.once("error", () => {});
      this.#held.push(client);
      return;
    }
    client.once("data", (bytes) => this.heads.push(bytes.toString("latin1")));
    client.on("data", (bytes) => (this.asked = (this.asked + bytes.toString("latin1")).slice(-65536)));
    const server = connect({ port: this.#target, host: "127.0.0.1", allowHalfOpen: true });
    server.on("data", (bytes) => (this.sent = (this.sent + bytes.toString("latin1")).slice(-65536)));
    const pair = [client, server];
    this.#pairs.add(pair);
    client.pipe(server);
    server.pipe(client);
    for (const socket of pair) {
      socket.setNoDelay(true);
      socket.once("error", () => {});
      socket.once("close", () => {
        this.#pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
  }
}
