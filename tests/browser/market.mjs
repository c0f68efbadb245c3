// The table of the stock ticker, held to what the server says.

import { PATIENCE_MS } from "./demo.mjs";

/** Waits until the ten shares at the top of the page cost what its server says. */
export function agrees(page) {
  return page.waitForFunction(async () => {
    const { shares } = await (await fetch("/demo/api/ticker")).json();
    const rows = [...document.querySelectorAll("tbody tr")].slice(0, 10);
    return rows.length === 10 && rows.every((row) => {
      const { price } = shares.find(({ symbol }) => symbol === row.querySelector("b").textContent);
      return row.querySelector(".price").textContent === (price / 100).toFixed(2);
    });
  }, undefined, { timeout: PATIENCE_MS, polling: 20 });
}
