// What a page has of a room, where <script src="https://live.example/client.js"> stands before it.

export function enter(server, app, room, token, show) {
  const client = tidewire.connect(server, { token });
  const channel = client.channel(`chat:${room}`);
  client.on("state", async ({ state, error }) => {
    if (state === "refused") show("refused", error.code);
    // Who was there before; the channel tells of changes.
    if (state !== "live") return;
    for (const { subject } of (await channel.presence()).members) show("entered", subject);
  });
  channel.on("$presence", ({ event, subject }) => show(event === "join" ? "entered" : "left", subject));
  channel.on("said", ({ data }) => {
    const { name, text } = JSON.parse(data);
    show("said", `${name}: ${text}`);
  });
  return {
    say: async (text) => {
      const body = JSON.stringify({ token, room, text, key: crypto.randomUUID() });
      const answer = await fetch(`${app}/say`, { method: "POST", body });
      if (!answer.ok) throw new Error(`not said: ${answer.status}`);
      return answer.json();
    },
    leave: () => client.close(),
  };
}
