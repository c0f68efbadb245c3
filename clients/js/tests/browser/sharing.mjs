// Tabs of one app that share a connection.

import { script } from "../built.mjs";

const whole = script('import * as tidewire from "./index.js"; Object.assign(globalThis, { tidewire });');

/** A tab of `app` that shares its connection and listens to `names`. */
export async function sharing(context, app, url, names, options = {}) {
  const tab = await app.open(context);
  await tab.page.addScriptTag({ content: whole });
  await tab.page.evaluate(([url, names, options]) => {
    globalThis.client = tidewire.connect(url, { tabs: true, ...options });
    client.on("state", ({ state, transport, error }) => tell({ state, transport, error: error?.message }));
    client.on("gap", ({ reason }) => tell({ gap: reason }));
    globalThis.listen = (name) => client.channel(name).on("message", ({ data, id }) => tell({ data, id }));
    names.forEach(listen);
  }, [url, names, options]);
  return tab;
}

/** The streams that the server has open, without a message that would be heard. */
export async function streams(server, channel) {
  const { channels } = await (await fetch(`${server.url}/v1/channels`)).json();
  return channels.find(({ channel: name }) => name === channel)?.receivers.sse ?? 0;
}
