// What a page has of a room, where Socket.IO's own script stands before it.

export function enter(server, _app, room, token, show) {
  const socket = io(server, { auth: { token } });
  socket.on("connect", () => socket.emit("enter", room));
  socket.on("connect_error", ({ message }) => show("refused", message));
  socket.on("entered", (name) => show("entered", name));
  socket.on("left", (name) => show("left", name));
  socket.on("said", ({ name, text }) => show("said", `${name}: ${text}`));
  return {
    say: (text) => socket.emitWithAck("say", room, text),
    leave: () => socket.disconnect(),
  };
}
