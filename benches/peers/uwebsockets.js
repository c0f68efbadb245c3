// uWebSockets through its Node binding: topics, and `publish` from the application.
"use strict";
const uws = require("@trufflesuite/uws-js-unofficial");

const port = Number(process.argv[2]);
const app = uws.App();
app.ws("/c/:channel", {
  compression: uws.DISABLED,
  idleTimeout: 120,
  upgrade: (response, request, context) =>
    response.upgrade(
      { channel: request.getParameter(0) },
      request.getHeader("sec-websocket-key"),
      request.getHeader("sec-websocket-protocol"),
      request.getHeader("sec-websocket-extensions"),
      context,
    ),
  open: (socket) => socket.subscribe(socket.channel),
});
app.post("/c/:channel", (response, request) => {
  const channel = request.getParameter(0);
  const parts = [];
  response.onAborted(() => {});
  response.onData((part, isLast) => {
    // The binding takes its buffer back when this returns.
    parts.push(Buffer.from(part.slice(0)));
    if (!isLast) return;
    app.publish(channel, Buffer.concat(parts), false);
    response.end("{}");
  });
});
app.get("/livez", (response) => response.end("ok"));
app.listen("127.0.0.1", port, (socket) => {
  if (!socket) process.exit(1);
});
