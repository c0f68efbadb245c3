// A page that has loaded `/client.js` as any page would, and tells the test what its client tells it.

import { eventually } from "../../../../tests/e2e/harness/heard.mjs";

/**
 * Has `tab` connect to `url` as `client`, and listen to `names`. With `token`, a function of the test, the page asks that
 * for its tokens. Told are `{state, transport}`, `{gap, channels}` and `{data, id}`, in the order they came.
 */
export async function listen(tab, url, { names = ["prices"], token, from = url, ...options } = {}) {
  const { page } = tab;
  await page.addScriptTag({ url: `${from}/client.js` });
  if (token) await page.exposeFunction("newToken", token);
  await page.evaluate(([url, names, options, hasToken]) => {
    globalThis.client = tidewire.connect(url, { ...options, token: hasToken ? () => newToken() : undefined });
    client.on("state", ({ state, transport, error }) => tell({ state, transport, error: error?.code ?? error?.message }));
    client.on("gap", ({ reason, channels }) => tell({ gap: reason, channels }));
    for (const name of names) client.channel(name).on("message", hear);
    function hear({ data, id }) {
      tell({ data: typeof data === "string" ? data : [...data], id });
    }
  }, [url, names, options, Boolean(token)]);
  return tab;
}

/** Waits until the page is live, over `transport` where one is named. */
export const live = ({ heard }, transport) =>
  heard.find((told) => told.state === "live" && (!transport || told.transport === transport));

/** Everything that the page has heard, in its order. */
export const messages = ({ heard }) => heard.all.filter((told) => "data" in told).map(({ data }) => data);

/** The gaps that the page was told of. */
export const gaps = ({ heard }) => heard.all.filter((told) => told.gap).map(({ gap }) => gap);

/** The transports that the page was live over, without repetitions that follow each other. */
export const ways = ({ heard }) =>
  heard.all.filter(({ state }) => state === "live").map(({ transport }) => transport).filter((way, at, all) => way !== all[at - 1]);

/** Waits until the page has heard exactly `wanted`: nothing less, nothing twice, in this order. */
export async function hears(tab, wanted) {
  const shown = () => JSON.stringify(tab.heard.all.slice(-15));
  await eventually(`${wanted.length} messages are heard`, () => messages(tab).length >= wanted.length, shown);
  const heard = messages(tab);
  if (JSON.stringify(heard) !== JSON.stringify(wanted)) throw new Error(`heard ${JSON.stringify(heard)}\nnot ${JSON.stringify(wanted)}`);
}
