// What is left of the chat's server: it says who said it.

import { createServer } from "node:http";

import { nameIn } from "../users.mjs";

async function say({ token, room, text, key }) {
  const name = await nameIn(token);
  return fetch(`${process.env.TIDEWIRE_URL}/c/chat:${room}`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${process.env.TIDEWIRE_API_KEY}`,
      "Content-Type": "application/json",
      "Tidewire-Event": "said",
      "Idempotency-Key": `${name}-${key}`,
    },
    body: JSON.stringify({ name, text }),
  });
}

const server = createServer(async (request, response) => {
  response.setHeader("Access-Control-Allow-Origin", process.env.PAGES);
  try {
    const body = Buffer.concat(await request.toArray()).toString();
    const receipt = await say(JSON.parse(body));
    response.writeHead(receipt.status).end(await receipt.text());
  } catch {
    response.writeHead(401).end();
  }
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log("ready"));
