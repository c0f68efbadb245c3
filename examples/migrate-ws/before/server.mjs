// A room server on ws and Redis Pub/Sub. Several of these processes run behind a load balancer.

import { createServer } from "node:http";

import { Redis } from "ioredis";
import { WebSocketServer } from "ws";

const speaker = new Redis(process.env.REDIS_URL);
const listener = new Redis(process.env.REDIS_URL);
const rooms = new Map();

listener.on("message", (room, text) => {
  for (const socket of rooms.get(room) ?? []) socket.send(text);
});

const server = createServer();
new WebSocketServer({ server }).on("connection", async (socket, { url }) => {
  const room = url.slice("/rooms/".length);
  const members = rooms.get(room) ?? new Set();
  rooms.set(room, members.add(socket));
  await listener.subscribe(room);

  socket.on("message", (text) => speaker.publish(room, String(text)));
  socket.on("close", () => {
    members.delete(socket);
    if (members.size === 0) listener.unsubscribe(room);
  });
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log("ready"));
