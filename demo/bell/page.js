// The bell of one user of one tenant, and three ways to look at somebody else's, none of which works.

import { clock } from "../kit/format.js";
import { Live, head } from "../kit/live.js";
import { Login } from "../kit/login.js";
import { showOrigin } from "../kit/origin.js";
import { Replica } from "../kit/replica.js";

const TENANTS = {
  acme: { title: "Acme", users: { ada: "Ada", ben: "Ben" } },
  borealis: { title: "Borealis", users: { cleo: "Cleo", dan: "Dan" } },
};

const KEPT_MAX = 50;
const TEXT_CHARS_MAX = 200;

const $ = (selector) => document.querySelector(selector);
const list = $(".notifications");
const notice = $(".notice");
const title = document.title;

const { tenant, user } = whoAmI();
// `?lasts_s=20` shows sooner how a token is renewed.
const lasts_s = Number(new URLSearchParams(location.search).get("lasts_s")) || undefined;
const login = new Login("bell/login", { tenant, user, lasts_s });
const live = new Live({ token: login.token });
head(live);
showOrigin();
offerUsers();
showToken();
offerTries();

let notifications = [];

new Replica(live, `demo-bell:${tenant}:${user}`, {
  path: "bell",
  read: login.ask,
  show(state) {
    notifications = state.notifications;
    draw();
  },
  apply: {
    notification(told) {
      if (typeof told.from !== "string" || typeof told.text !== "string" || !Number.isFinite(told.time)) return;
      notifications = [told, ...notifications].slice(0, KEPT_MAX);
      draw();
    },
    read({ ids }) {
      const read = new Set(Array.isArray(ids) ? ids : []);
      notifications = notifications.map((told) => (read.has(told.id) ? { ...told, read: true } : told));
      draw();
    },
  },
  failed: complain,
});

function draw() {
  const unread = notifications.filter(({ read }) => !read).length;
  const focused = list.contains(document.activeElement) && document.activeElement.closest("li").dataset.id;
  list.replaceChildren(...notifications.map(entry));
  if (focused) [...list.children].find(({ dataset }) => dataset.id === focused)?.querySelector("button")?.focus();
  $(".nothing").hidden = notifications.length > 0;
  $(".read-all").disabled = unread === 0;
  $(".count").textContent = unread ? `${unread} unread` : "";
  document.title = unread ? `(${unread}) ${title}` : title;
}

function entry({ id, from, text, time, read }) {
  const item = document.createElement("li");
  item.dataset.id = id;
  item.classList.toggle("unread", !read);
  const header = document.createElement("header");
  header.append(words("b", TENANTS[tenant].users[from] ?? from.slice(0, 32)), words("time", clock(time)));
  item.append(header, words("p", text.slice(0, TEXT_CHARS_MAX)));
  if (!read) {
    const button = Object.assign(words("button", "Mark as read"), { type: "button", className: "quiet" });
    button.addEventListener("click", () => change("bell/read", { id }));
    item.append(button);
  }
  return item;
}

$(".read-all").addEventListener("click", () => change("bell/read", {}));

$(".send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  const draft = text.value;
  text.value = "";
  if (!(await change("bell/send", { text: draft }))) text.value ||= draft;
});

async function change(path, body) {
  try {
    await login.ask(path, body);
    notice.hidden = true;
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

function complain(error) {
  notice.textContent = error.message;
  notice.hidden = false;
}

// Who one is holds for the tab, so that two tabs are two users; `?as=borealis:cleo` is for links.
function whoAmI() {
  const asked = new URLSearchParams(location.search).get("as");
  const known = [asked, recall(), "acme:ada"].find((name) => {
    const [tenant, user] = name?.split(":") ?? [];
    return Object.hasOwn(TENANTS, tenant) && Object.hasOwn(TENANTS[tenant].users, user);
  });
  const [tenant, user] = known.split(":");
  return { tenant, user };
}

function offerUsers() {
  for (const [id, { title, users }] of Object.entries(TENANTS)) {
    const group = Object.assign(document.createElement("div"), { className: "tenant" });
    group.append(words("b", title));
    for (const [name, shown] of Object.entries(users)) {
      const label = document.createElement("label");
      const checked = id === tenant && name === user;
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "user", value: `${id}:${name}`, checked });
      input.setAttribute("aria-label", `${shown} of ${title}`);
      // Who one is decides what one hears: everything begins anew.
      input.addEventListener("change", () => {
        remember(input.value);
        const address = new URL(location);
        address.searchParams.set("as", input.value);
        location.replace(address);
      });
      label.append(input, words("span", shown));
      group.append(label);
    }
    $(".who").append(group);
  }
}

function showToken() {
  let ends_at = 0;
  let count = 0;
  login.onToken((next) => {
    [ends_at, count] = [next, count + 1];
    show();
  });
  const show = () => {
    if (!count) return;
    const left_s = Math.max(0, Math.ceil((ends_at - Date.now()) / 1_000));
    $(".token").textContent = `Token ${count} ends in ${left_s} s, and is followed by the next.`;
  };
  setInterval(show, 1_000);
}

/** What the server says to who looks where they may not. */
function offerTries() {
  const channel = tenant === "acme" ? "demo-bell:borealis:cleo" : "demo-bell:acme:ada";
  $(".elsewhere code").textContent = channel;
  const tries = {
    read: (Authorization) => fetch(`/c/${channel}?tail=1`, { headers: { Accept: "application/json", Authorization } }),
    ticket: (Authorization) => fetch("/v1/tickets", { method: "POST", headers: { Authorization }, body: JSON.stringify({ channels: [channel] }) }),
    nobody: () => fetch(`/c/${channel}?tail=1`, { headers: { Accept: "application/json" } }),
  };
  for (const button of document.querySelectorAll("[data-try]")) {
    button.addEventListener("click", async () => {
      try {
        const { token } = await login.who();
        const answer = await tries[button.dataset.try](`Bearer ${token}`);
        const { code, detail } = await answer.json();
        const pre = $(".answer");
        pre.textContent = `${answer.status} ${code ?? ""}\n${detail ?? "It may be read."}`;
        pre.hidden = false;
      } catch (error) {
        complain(error);
      }
    });
  }
}

// Names and texts run in their own direction, so that a right-to-left one does not turn its neighbours around.
function words(tag, text) {
  return Object.assign(document.createElement(tag), { dir: "auto", textContent: text });
}

// Storage may be switched off; then the address says it.
function recall() {
  try {
    return sessionStorage.getItem("tidewire.bell.as");
  } catch {
    return null;
  }
}

function remember(name) {
  try {
    sessionStorage.setItem("tidewire.bell.as", name);
  } catch {
    // See above.
  }
}
