// `better-sse` on Express, as its guide has it: a session for each response, a channel of sessions, `broadcast`.
"use strict";
const express = require("express");
const { createChannel, createSession } = require("better-sse");

const channels = new Map();
const channelNamed = (name) => {
  if (!channels.has(name)) channels.set(name, createChannel());
  return channels.get(name);
};
const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.get("/livez", (request, response) => response.send("ok"));
app.get("/c/:channel", async (request, response) => {
  // The payload is text already: without this, every session would turn it into a JSON string.
  const session = await createSession(request, response, { serializer: String });
  channelNamed(request.params.channel).register(session);
});
app.post("/c/:channel", express.text({ type: "*/*" }), (request, response) => {
  channelNamed(request.params.channel).broadcast(request.body);
  response.json({});
});
const server = app.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
// Publishers keep their connections through pauses.
server.keepAliveTimeout = 60_000;
