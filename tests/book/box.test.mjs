// The box that dev mode prints: what stands in it is what a reader does, line by line, as it is printed.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { browser } from "../browser/tab.mjs";
import { eventually } from "../e2e/harness/heard.mjs";
import { freePort } from "../e2e/harness/tidewire.mjs";
import { reader } from "./place.mjs";

const ends = [];
let chromium;
before(async () => (chromium = await browser({ after: (end) => ends.push(end) })));
after(async () => {
  for (const end of ends) await end();
});

const worlds = {
  "in dev mode": { flags: "", reach: "everybody on it may do everything." },
  "with the demonstrations": { flags: "--demo", reach: "everybody on it may do almost everything." },
  "over TLS": { flags: "--tls-self-signed", reach: "everybody on it may do everything." },
  "for the network": { flags: "--dev-public", host: "0.0.0.0", reach: "may publish and subscribe: --dev-public." },
};

for (const [name, { flags, host = "127.0.0.1", reach }] of Object.entries(worlds)) {
  test(`every line of the box works as it is printed, ${name}`, async (t) => {
    const someone = reader(t);
    const port = await freePort();
    const { rows, words } = await box(someone, `tidewire serve --listen ${host}:${port} ${flags}`);
    const labels = ["page", "publish", "subscribe", "EventSource", "WebSocket", "health", "console", "terminal"];
    assert.deepEqual([...rows.keys()], labels, "there is no line that this test does not do");
    const curl = rows.get("publish").split(" -d ")[0];

    assert.ok(words.some((line) => line.includes(reach)), words.join("\n"));
    const [console_, password] = rows.get("console").split("  password ");
    for (const address of [rows.get("page"), ...rows.get("health").split("  "), console_]) {
      assert.equal(await status(someone, curl, address), "200", address);
    }

    // Whoever may come from elsewhere is asked for the password.
    const asked = flags === "--dev-public" ? `TIDEWIRE_ADMIN_PASSWORD='${password}' ` : "";
    const looked = shell(someone, `${asked}${rows.get("terminal")} --once`);
    assert.equal(await looked.over, 0, looked.printed);
    assert.match(looked.printed, new RegExp(`^Node +\\S*:${port}-`));

    const listening = shell(someone, rows.get("subscribe"));
    await eventually("the subscriber of the box is ready", () => listening.printed.includes("event: $ready"), () => listening.printed);
    const page = await chromium.newPage();
    let logged = "";
    page.on("console", (message) => (logged += `${message.text()}\n`));
    await page.goto(rows.get("page"));
    for (const line of [rows.get("EventSource"), rows.get("WebSocket")]) await page.evaluate(line);
    await eventually("the page listens twice", async () => {
      const probe = shell(someone, rows.get("publish").replace(" hello ", " probe "));
      await probe.over;
      const { receivers } = JSON.parse(probe.printed.slice(probe.printed.indexOf("{")));
      return receivers.sse >= 2 && receivers.ws >= 1;
    });
    const published = shell(someone, rows.get("publish"));
    assert.equal(await published.over, 0, published.printed);
    assert.match(published.printed, /"channel":"prices"/);
    await eventually("the subscriber of the box hears it", () => listening.printed.includes("data: hello\n"), () => listening.printed);
    const hellos = () => logged.split("\n").filter((line) => line === "hello").length;
    await eventually("both lines of the console hear it", () => hellos() >= 2, () => logged);

    await page.goto(console_);
    await page.fill("input[type=password]", password);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => !document.querySelector("input[type=password]"));
    await page.close();
  });
}

test("with the demonstrations, channels that the box names want a token, and no others do", async (t) => {
  const someone = reader(t);
  const port = await freePort();
  const { words } = await box(someone, `tidewire serve --listen 127.0.0.1:${port} --demo`);
  const named = words.find((line) => line.includes("want a token"));
  assert.ok(named, words.join("\n"));
  for (const [channel, wanted] of [["user:ada", "401"], ["demo-bell:acme:ada", "401"], ["prices", "200"]]) {
    assert.equal(await status(someone, "curl -d hello", `http://127.0.0.1:${port}/c/${channel}`), wanted, channel);
  }
});

test("the way out of dev mode that the box names is there", async (t) => {
  const someone = reader(t);
  const { words } = await box(someone, `tidewire serve --listen 127.0.0.1:${await freePort()}`);
  const [, way] = /`([^`]+)`/.exec(words.at(-1));
  const made = shell(someone, `${way} && tidewire check`);
  assert.equal(await made.over, 0, made.printed);
});

/** Starts a server, and gives what its box says: labelled rows, and the rest as words. */
async function box(someone, line) {
  const server = shell(someone, `exec ${line}`);
  await eventually(`${line} prints its box`, () => server.printed.includes("┘"), () => server.printed);
  const lines = server.printed.split("\n").filter((line) => line.startsWith("│")).map((line) => line.slice(2, -2).trim());
  const row = /^(\S+) {2,}(.+)$/;
  return {
    rows: new Map(lines.filter((line) => row.test(line)).map((line) => row.exec(line).slice(1))),
    words: lines.filter((line) => line && !row.test(line)),
  };
}

async function status(someone, curl, address) {
  const asked = shell(someone, `${curl} -s -o /dev/null -w '%{http_code}' '${address}'`);
  await asked.over;
  return asked.printed;
}

function shell(someone, line) {
  const child = someone.start("sh", ["-c", line]);
  const run = { printed: "", over: new Promise((resolve) => child.once("close", resolve)) };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (run.printed += text));
  child.stdin.end();
  return run;
}
