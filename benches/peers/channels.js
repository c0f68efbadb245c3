// What the servers on Node's own `http` share: who hears which channel, and publishing by POST to its address.
"use strict";

/** Channel name -> who hears it. */
class Channels {
  #members = new Map();

  join(channel, member) {
    const members = this.#members.get(channel) ?? new Set();
    this.#members.set(channel, members.add(member));
  }

  leave(channel, member) {
    const members = this.#members.get(channel);
    members?.delete(member);
    if (members?.size === 0) this.#members.delete(channel);
  }

  of(channel) {
    return this.#members.get(channel) ?? [];
  }
}

/** `/c/prices` -> `prices`. */
const channelOf = (url) => url.slice("/c/".length);

/** Handles `POST /c/CHANNEL` by `publish(channel, body)`, and `GET /livez`. */
const answer = (publish) => (request, response) => {
  if (request.method !== "POST") return response.end("ok");
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    publish(channelOf(request.url), Buffer.concat(parts));
    response.setHeader("Content-Length", 2);
    response.end("{}");
  });
};

module.exports = { Channels, channelOf, answer };
