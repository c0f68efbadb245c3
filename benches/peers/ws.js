// The `ws` package, as its README broadcasts: one `send` for every client that is open.
"use strict";
const http = require("node:http");
const { WebSocket, WebSocketServer } = require("ws");
const { Channels, channelOf, answer } = require("./channels.js");

const channels = new Channels();
const server = http.createServer(
  answer((channel, body) => {
    for (const client of channels.of(channel)) {
      // A buffer, so that no client's `send` encodes the text again.
      if (client.readyState === WebSocket.OPEN) client.send(body, { binary: false });
    }
  }),
);
const sockets = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: false });
sockets.on("connection", (client, request) => {
  const channel = channelOf(request.url);
  channels.join(channel, client);
  client.on("close", () => channels.leave(channel, client));
  client.on("error", () => client.terminate());
});
// Publishers keep their connections through pauses.
server.keepAliveTimeout = 60_000;
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
