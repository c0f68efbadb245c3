// A shop on Express that tells pages about their orders.

import express from "express";

const app = express();
const watching = new Map();

app.get("/orders/:id/events", (request, response) => {
  response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  response.set("Access-Control-Allow-Origin", "*");
  response.flushHeaders();
  const { id } = request.params;
  const pages = watching.get(id) ?? new Set();
  watching.set(id, pages.add(response));
  const heartbeat = setInterval(() => response.write(":\n\n"), 15_000);
  request.on("close", () => {
    clearInterval(heartbeat);
    pages.delete(response);
    if (pages.size === 0) watching.delete(id);
  });
});

function tell(id, state) {
  const event = `event: state\ndata: ${JSON.stringify({ id, state })}\n\n`;
  for (const page of watching.get(id) ?? []) page.write(event);
}

app.post("/orders/:id/:state", (request, response) => {
  const { id, state } = request.params;
  tell(id, state);
  response.sendStatus(204);
});
app.listen(process.env.PORT, "127.0.0.1", () => console.log("ready"));
