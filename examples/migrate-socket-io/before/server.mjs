// A chat on Socket.IO: rooms, acknowledgements, who is there, and recovery of connections.

import { createServer } from "node:http";

import { Server } from "socket.io";

import { nameIn } from "../users.mjs";

const server = createServer();
const io = new Server(server, { cors: { origin: process.env.PAGES }, connectionStateRecovery: {} });

io.use(async (socket, next) => {
  try {
    socket.data.name = await nameIn(socket.handshake.auth.token);
    next();
  } catch {
    next(new Error("unauthorized"));
  }
});

io.on("connection", (socket) => {
  const { name } = socket.data;
  socket.on("enter", (room) => {
    socket.join(room);
    io.to(room).emit("entered", name);
  });
  socket.on("say", (room, text, acknowledge) => {
    io.to(room).emit("said", { name, text });
    acknowledge({ delivered: true });
  });
  socket.on("disconnecting", () => {
    for (const room of socket.rooms) io.to(room).emit("left", name);
  });
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log("ready"));
