// Shows what a channel carries. Everything that came over the wire is rendered as text.

const SHOWN_MAX = 200;
const channels = decodeURIComponent(location.pathname.slice("/c/".length));
const one = (id) => document.getElementById(id);

one("channel").textContent = channels;
document.title = `${channels} – Tidewire`;
if (channels.includes(",")) one("publish").hidden = true;

const stream = new EventSource(`${location.pathname}?format=json&tail=20`);
stream.addEventListener("$ready", () => { one("state").textContent = "Live"; });
stream.addEventListener("error", () => {
  one("state").textContent = stream.readyState === EventSource.CLOSED ? "Refused" : "Reconnecting";
});
stream.addEventListener("$gap", (event) => {
  const gap = JSON.parse(event.data);
  show("gap", `messages may be missing: ${gap.reason}`, gap.cursor);
});
stream.onmessage = (event) => {
  const { channel, id, event: name, data, base64, time } = JSON.parse(event.data);
  const payload = data ?? `${base64} (base64)`;
  show("message", payload, [channel, name, id, new Date(time).toLocaleTimeString()].filter(Boolean).join(" · "));
};

one("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = one("payload").value;
  const answer = await fetch(location.pathname, { method: "POST", body }).then((response) => response.json());
  one("outcome").textContent = answer.id ? `Published ${answer.id}` : `${answer.detail} ${answer.hint}`;
  if (answer.id) one("payload").value = "";
});

function show(kind, text, note) {
  const item = document.createElement("li");
  const pre = document.createElement("pre");
  const small = document.createElement("small");
  item.className = kind;
  pre.textContent = text;
  small.textContent = note;
  item.append(pre, small);
  one("messages").prepend(item);
  while (one("messages").childElementCount > SHOWN_MAX) one("messages").lastElementChild.remove();
}
