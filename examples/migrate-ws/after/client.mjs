// What a page has of a room, where <script src="https://live.example/client.js"> stands before it.

export function join(server, room, show) {
  const channel = tidewire.connect(server).channel(room);
  channel.on("message", ({ data }) => show(data));
  return { say: (text) => channel.publish(text) };
}
