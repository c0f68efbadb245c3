// The table of the stock ticker, held to what the server says.

import { eventually } from "../e2e/harness/heard.mjs";

/** Waits until the ten shares at the top of the page cost what its server said of the version that is shown. */
export function agrees(page) {
  // `waitForFunction` takes the promise of an answer for the answer.
  return eventually("the prices are the server's", () => page.evaluate(async () => {
    const { version, shares: latest } = await (await fetch("/demo/api/ticker")).json();
    const markets = (globalThis.markets ??= new Map()).set(String(version), latest);
    // A page is a little behind its server, and a moment later it is elsewhere.
    const shares = markets.get(document.querySelector("tbody").dataset.version);
    if (!shares) return false;
    const rows = [...document.querySelectorAll("tbody tr")].slice(0, 10);
    return rows.length === 10 && rows.every((row) => {
      const { price } = shares.find(({ symbol }) => symbol === row.querySelector("b").textContent);
      return row.querySelector(".price").textContent === (price / 100).toFixed(2);
    });
  }));
}
