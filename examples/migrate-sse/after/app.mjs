// A shop on Express that tells pages about their orders.

import express from "express";

const app = express();

async function tell(id, state) {
  const answer = await fetch(`${process.env.TIDEWIRE_URL}/c/orders:${id}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Tidewire-Event": "state", "Idempotency-Key": `${id}-${state}` },
    body: JSON.stringify({ id, state }),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

app.post("/orders/:id/:state", async (request, response) => {
  const { id, state } = request.params;
  await tell(id, state);
  response.sendStatus(204);
});
app.listen(process.env.PORT, "127.0.0.1", () => console.log("ready"));
