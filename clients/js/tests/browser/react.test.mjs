// The hooks, in React's own browser build: components hear for as long as they are there.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { site } from "../../../../tests/browser/pages.mjs";
import { alone, browser } from "../../../../tests/browser/tab.mjs";
import { guarded, token } from "../../../../tests/e2e/harness/keys.mjs";
import { tidewire } from "../../../../tests/e2e/harness/tidewire.mjs";
import { script } from "../built.mjs";

const chromium = await browser({ after });

const app = script(`
  import { StrictMode, useState } from "react";
  import { createRoot } from "react-dom/client";
  import { connect } from "./core.js";
  import { TidewireProvider, useChannel, useConnection, useMessages, usePresence } from "./react.js";

  function Room({ name }) {
    const messages = useMessages(name, { keep: 3 });
    const members = usePresence(name);
    return <>
      <ol>{messages.map(({ id, data }) => <li key={id}>{data}</li>)}</ol>
      <p id="members">{members ? members.members.map(({ subject }) => subject).sort().join() : "?"}</p>
    </>;
  }

  function Alerts() {
    const [alert, setAlert] = useState("none");
    useChannel("chat:alerts", ({ data }) => setAlert(data + " after " + alert), "alert");
    return <p id="alert">{alert}</p>;
  }

  function Page() {
    const [room, setRoom] = useState("chat:a");
    const { state } = useConnection();
    return <>
      <p id="state">{state}</p>
      <button onClick={() => setRoom("chat:b")}>other room</button>
      <Room name={room} />
      <Alerts />
    </>;
  }

  globalThis.start = (url, token) => {
    const client = connect(url, { token, transports: "sse" });
    globalThis.root = createRoot(document.body);
    globalThis.client = client;
    root.render(<StrictMode><TidewireProvider client={client}><Page /></TidewireProvider></StrictMode>);
  };
`);

test("components hear their channel, show who is there, and let go when they are gone", async (t) => {
  const pages = await site(t, "localhost");
  const server = await tidewire(t, guarded({ origins: [pages.origin], set: { "namespace.chat.presence": true } }));
  const { page } = await pages.open(await alone(t, chromium));
  const errors = [];
  page.on("pageerror", (error) => errors.push(`${error}`));
  const rights = (sub) => token(sub, ["chat:*"], { channels: { subscribe: ["chat:*"], publish: ["chat:*"], presence: ["chat:*"] } });
  await page.addScriptTag({ content: app });
  await page.evaluate(([url, token]) => start(url, token), [`http://localhost:${server.port}`, rights("alice")]);
  const shows = (selector, text) => page.locator(selector, { hasText: text }).first().waitFor({ timeout: 15_000 });

  await shows("#state", /^live$/);
  await shows("#members", /^alice$/);
  for (const data of ["1", "2", "3", "4"]) await server.publish("chat:a", data);
  await shows("ol", /^234$/);
  await server.publish("chat:alerts", "ignored");
  await server.publish("chat:alerts", "fire", { "Tidewire-Event": "alert" });
  await shows("#alert", /^fire after none$/);
  await server.publish("chat:alerts", "flood", { "Tidewire-Event": "alert" });
  await shows("#alert", /^flood after fire after none$/);

  await page.locator("button").click();
  await shows("#state", /^live$/);
  await server.receivers("chat:b", { sse: 1 });
  await server.publish("chat:a", "not for this room");
  await server.publish("chat:b", "hello b");
  await shows("ol", /hello b$/);
  assert.equal(await page.locator("ol", { hasText: "not for this room" }).count(), 0);

  await page.evaluate(() => root.unmount());
  await page.waitForFunction(() => client.state.state === "idle");
  assert.deepEqual(errors, []);
});
