// Server-Sent Events by hand on Express: a head, then one `write` for every response that is open.
"use strict";
const express = require("express");
const { Channels } = require("./channels.js");

const channels = new Channels();
const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.get("/livez", (request, response) => response.send("ok"));
app.get("/c/:channel", (request, response) => {
  const { channel } = request.params;
  response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.flushHeaders();
  channels.join(channel, response);
  response.on("close", () => channels.leave(channel, response));
});
app.post("/c/:channel", express.text({ type: "*/*" }), (request, response) => {
  const block = Buffer.from(`data: ${request.body}\n\n`);
  for (const subscriber of channels.of(request.params.channel)) subscriber.write(block);
  response.json({});
});
const server = app.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
// Publishers keep their connections through pauses.
server.keepAliveTimeout = 60_000;
