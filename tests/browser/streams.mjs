// Many streams of one page.

/** Opens an EventSource on each of `count` channels: it tells `{ready}`, `{closed}` or `{channel, data}`. */
export function eventSources({ page }, url, count) {
  return page.evaluate(([url, count]) => {
    globalThis.sources = Array.from({ length: count }, (_, channel) => {
      const source = new EventSource(`${url}/c/c${channel}`);
      source.addEventListener("$ready", () => tell({ ready: channel }));
      source.addEventListener("error", () => source.readyState === EventSource.CLOSED && tell({ closed: channel }));
      source.onmessage = ({ data }) => tell({ channel, data });
      return source;
    });
  }, [url, count]);
}

/** What is told in the next `count` items that `wanted` picks. */
export async function each(heard, count, wanted) {
  const found = new Set();
  while (found.size < count) found.add(wanted(await heard.find((item) => wanted(item) !== undefined)));
  return found;
}
