// The backend behind Pushpin: it tells who hears which channel, by GRIP, and holds no connection itself.
"use strict";
const http = require("node:http");
const { channelOf } = require("./channels.js");

const server = http.createServer((request, response) => {
  const channel = channelOf(request.url);
  if (request.headers["content-type"] === "application/websocket-events") {
    return opened(request, response, channel);
  }
  if (request.headers.accept !== "text/event-stream") return response.end("ok");
  response.writeHead(200, {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "Grip-Hold": "stream",
    "Grip-Channel": channel,
  });
  response.end();
});

/** WebSocket over HTTP: an OPEN is answered with an OPEN, and a control message that subscribes. */
function opened(request, response, channel) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const events = Buffer.concat(parts).toString();
    response.setHeader("Content-Type", "application/websocket-events");
    response.setHeader("Sec-WebSocket-Extensions", "grip");
    if (!events.startsWith("OPEN\r\n")) return response.end(events.startsWith("CLOSE") ? events : "");
    const control = `c:${JSON.stringify({ type: "subscribe", channel })}`;
    response.end(`OPEN\r\nTEXT ${control.length.toString(16)}\r\n${control}\r\n`);
  });
}

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
