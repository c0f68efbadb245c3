// Socket.IO over WebSocket alone: a room for each channel, `emit` to the room.
"use strict";
const http = require("node:http");
const { Server } = require("socket.io");
const { answer } = require("./channels.js");

const server = http.createServer();
const io = new Server(server, { transports: ["websocket"], serveClient: false, perMessageDeflate: false });
server.on("request", answer((channel, body) => io.to(channel).emit("m", body.toString())));
io.on("connection", (socket) => {
  socket.join(socket.handshake.query.channel);
  // Its guide on memory advises to let go of the first request.
  socket.conn.request = null;
});
// Publishers keep their connections through pauses.
server.keepAliveTimeout = 60_000;
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
