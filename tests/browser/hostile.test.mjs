// Pages that mean harm, in the browser of somebody who is logged in: everything that a page can make a browser send.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { guarded, token } from "../e2e/harness/keys.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { site } from "./pages.mjs";
import { alone, browser } from "./tab.mjs";

const chromium = await browser({ after });

/** A server, Alice in her browser, who may do everything on `prices` and is logged in, and a way that attackers take. */
async function aliceIsLoggedIn(t) {
  const app = await site(t, "localhost", token("alice", ["prices"]));
  const server = await tidewire(t, guarded({ origins: [app.origin] }));
  const context = await alone(t, chromium);
  const page = await app.login(context);
  const way = await tunnel(t, server.port);
  await server.publish("prices", "for Alice's eyes");
  return { server, context, page, way, url: way.url.replace("127.0.0.1", "localhost") };
}

/** Runs in a page. Tries everything, and tells what came of it, by the name that its request carries as `?by=`. */
async function attack(url) {
  const channel = (by) => `${url}/c/prices?cursor=earliest&by=${by}`;
  const included = { credentials: "include" };
  const posted = (body) => ({ method: "POST", body, ...included });
  const json = { "Content-Type": "application/json" };
  const batch = JSON.stringify({ messages: [{ channel: "prices", data: "of evil" }] });

  const fetched = (url, how) => fetch(url, how).then(async (answer) => `${answer.status} ${await answer.text()}`, () => "failed");
  const socket = (url, protocols) => new Promise((resolve) => {
    const socket = new WebSocket(url.replace("http", "ws"), protocols);
    socket.onmessage = ({ data }) => resolve(`heard ${data}`);
    socket.onopen = () => socket.send("of evil");
    socket.onclose = ({ code }) => resolve(`closed ${code}`);
  });
  const stream = (url, how) => new Promise((resolve) => {
    const source = new EventSource(url, how);
    source.onopen = () => resolve("opened");
    source.onmessage = ({ data }) => resolve(`heard ${data}`);
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve("closed");
  });
  const element = (name, attributes) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(name), attributes);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("failed");
    document.body.append(element);
  });
  const form = (action, value) => new Promise((resolve) => {
    const frame = Object.assign(document.createElement("iframe"), { name: `frame${Math.random()}` });
    const form = Object.assign(document.createElement("form"), { method: "POST", action, target: frame.name, enctype: "text/plain" });
    form.append(Object.assign(document.createElement("input"), { name: "of", value }));
    document.body.append(frame, form);
    frame.onload = () => resolve("submitted");
    form.submit();
  });

  return {
    socket: await socket(channel("socket")),
    socket_v1: await socket(channel("socket_v1"), ["tidewire.v1"]),
    stream: await stream(channel("stream"), { withCredentials: true }),
    stream_bare: await stream(channel("stream_bare")),
    poll: await fetched(channel("poll"), included),
    poll_blind: await fetched(channel("poll_blind"), { mode: "no-cors", ...included }),
    poll_stream: await fetched(channel("poll_stream"), { headers: { Accept: "text/event-stream" }, ...included }),
    script: await element("script", { src: channel("script") }),
    image: await element("img", { src: channel("image") }),
    publish: await fetched(channel("publish"), posted("of evil")),
    publish_blind: await fetched(channel("publish_blind"), { mode: "no-cors", ...posted("of evil") }),
    publish_json: await fetched(channel("publish_json"), { headers: json, ...posted("of evil") }),
    batch: await fetched(`${url}/v1/publish?by=batch`, { headers: json, ...posted(batch) }),
    batch_blind: await fetched(`${url}/v1/publish?by=batch_blind`, { mode: "no-cors", ...posted(batch) }),
    ticket: await fetched(`${url}/v1/tickets?by=ticket`, posted("")),
    ticket_blind: await fetched(`${url}/v1/tickets?by=ticket_blind`, { mode: "no-cors", ...posted("") }),
    beacon: `${navigator.sendBeacon(channel("beacon"), "of evil")}`,
    form: await form(channel("form"), "evil"),
    form_ticket: await form(`${url}/v1/tickets?by=form_ticket`, "evil"),
  };
}

/** What a page may learn from each: that it failed, or nothing at all. */
const LEARNT = {
  socket: "closed 1006", socket_v1: "closed 1006", stream: "closed", stream_bare: "closed",
  poll: "failed", poll_blind: "0 ", poll_stream: "failed", script: "failed", image: "failed",
  publish: "failed", publish_blind: "0 ", publish_json: "failed", batch: "failed", batch_blind: "0 ",
  ticket: "failed", ticket_blind: "0 ", beacon: "true", form: "submitted", form_ticket: "submitted",
};

/** Those that a browser sends only after a preflight, which is refused; then they are never sent. */
const PREFLIGHTED = ["publish_json", "batch"];

/** Those that a browser sends without cookies. */
const WITHOUT_COOKIES = ["stream_bare"];

/** Everything was tried, came with Alice's cookie if `cookies`, was refused, and changed nothing. */
async function checkNothingCameOfIt({ server, way }, learnt, { cookies = true } = {}) {
  assert.deepEqual(learnt, LEARNT);
  await eventually("the beacon has left", () => way.asked.includes("by=beacon"));
  const heads = way.asked.split(/(?=(?:GET|POST|OPTIONS) \/)/).filter((head) => head.includes("HTTP/1.1\r\n"));
  const sent = (by) => heads.filter((head) => new RegExp(`by=${by}[& ]`).test(head.split("\r\n")[0]));
  for (const by of Object.keys(LEARNT)) {
    const of = sent(by);
    assert.ok(of.length > 0, `${by} was sent`);
    const isPreflight = PREFLIGHTED.includes(by);
    assert.equal(of.every((head) => head.startsWith("OPTIONS")), isPreflight, by);
    const hasCookies = cookies && !isPreflight && !WITHOUT_COOKIES.includes(by);
    assert.equal(of.some((head) => /\r\ncookie: session=/i.test(head)), hasCookies, `the cookie of ${by}`);
  }
  await eventually("each was answered", () => answers(way).length >= heads.length);
  assert.deepEqual([...new Set(answers(way))], ["403"]);
  assert.doesNotMatch(way.sent, /Alice|set-cookie|"ticket"|access-control-allow/i);
  assert.deepEqual(await server.texts("prices"), ["for Alice's eyes"], "nothing was published");
}

const answers = (way) => [...way.sent.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status);

test("s1_a_page_of_another_site_can_do_nothing_with_its_visitors_cookie", async (t) => {
  const alice = await aliceIsLoggedIn(t);
  const evil = await (await site(t, "127.0.0.1")).open(alice.context);
  await checkNothingCameOfIt(alice, await evil.page.evaluate(attack, alice.url));
});

test("s1_a_page_of_the_same_site_on_another_port_can_do_no_more", async (t) => {
  const alice = await aliceIsLoggedIn(t);
  const evil = await (await site(t, "localhost")).open(alice.context);
  await checkNothingCameOfIt(alice, await evil.page.evaluate(attack, alice.url));
});

test("s4_a_sandboxed_frame_of_the_app_itself_can_do_no_more", async (t) => {
  const alice = await aliceIsLoggedIn(t);
  const { page, heard } = alice.page;
  await page.evaluate(([attack, url]) => {
    addEventListener("message", ({ data }) => tell(data));
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts allow-forms";
    frame.srcdoc = `<body><script>(${attack})(${JSON.stringify(url)}).then((learnt) => parent.postMessage(learnt, "*"))</script>`;
    document.body.append(frame);
  }, [`${attack}`, alice.url]);
  await checkNothingCameOfIt(alice, await heard.next());
});
