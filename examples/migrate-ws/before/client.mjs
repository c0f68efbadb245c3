// What a page has of a room.

export function join(server, room, show) {
  const socket = new WebSocket(`${server}/rooms/${room}`);
  socket.onmessage = ({ data }) => show(data);
  return { say: (text) => socket.send(text) };
}
