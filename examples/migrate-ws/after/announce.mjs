// A backend that tells a room something: node announce.mjs ROOM TEXT

const [, , room, text] = process.argv;
const answer = await fetch(`${process.env.TIDEWIRE_URL}/c/${room}`, { method: "POST", body: text });
if (!answer.ok) throw new Error(await answer.text());
