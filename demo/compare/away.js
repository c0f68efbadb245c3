// What the hidden comparison counts, told by itself to the tab before it.

import { plural } from "./words.js";

let first = null;

new BroadcastChannel("tidewire.compare").addEventListener("message", ({ data: lanes }) => {
  first ??= lanes;
  lanes.forEach(({ name, deliveries, requests }, at) => {
    const heard = plural(deliveries - first[at].deliveries, "message");
    const asked = plural(requests - first[at].requests, "request");
    document.querySelector(`[data-lane="${name}"]`).textContent = `${heard}, ${asked}`;
  });
});
