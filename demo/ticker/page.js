// The stock ticker: a copy of the market that its backend keeps, brought up to date tick by tick.

import { rate } from "../kit/format.js";
import { Live, head } from "../kit/live.js";
import { showOrigin } from "../kit/origin.js";
import { Replica } from "../kit/replica.js";
import { Detail } from "./detail.js";
import { Table } from "./table.js";
import { Watch } from "./watch.js";

const notice = document.querySelector(".notice");
const search = document.querySelector('[name="search"]');
const watched = document.querySelector('[name="watched"]');

const live = new Live();
head(live);
showOrigin();

const watch = new Watch(showMarks);
const detail = new Detail(live, { failed: complain });
const table = new Table({ watch, choose: choose });

/** What came since the figures were shown last. */
const came = { messages: 0, prices: 0, bytes: 0, late_ms: 0 };
let gaps = 0;

new Replica(live, "demo-ticker", {
  path: "ticker",
  show({ version, shares }) {
    table.show(shares);
    showVersion(version);
    const wanted = detail.share?.symbol ?? decodeURIComponent(location.hash.slice(1));
    const again = table.shares.find(({ symbol }) => symbol === wanted);
    if (again) detail.show(again);
    showMarks();
  },
  apply: {
    tick({ version, prices, time }) {
      if (!Array.isArray(prices) || !prices.every(isPrice) || !Number.isInteger(time)) return false;
      table.take(prices, time);
      showVersion(version);
      if (detail.share && prices.some(([at]) => table.shares[at] === detail.share)) detail.paint();
      return true;
    },
  },
  failed: complain,
});

live.on("demo-ticker", "tick", ({ data, time }) => {
  came.messages += 1;
  came.bytes += data.length;
  came.prices += data.split("],[").length;
  came.late_ms = Math.max(0, Date.now() - time);
});

live.onGap(({ reason }) => {
  gaps += 1;
  const times = gaps > 1 ? ` This is the ${gaps}th time.` : "";
  complain({ message: `Prices were missed until ${new Date().toLocaleTimeString()} ($gap: ${reason}), and the table was read anew.${times}` });
});

setInterval(() => {
  if (document.hidden) return;
  const { messages, prices, bytes, late_ms } = came;
  document.querySelector(".figures").textContent = messages
    ? `${prices} prices a second, in ${messages} messages with ${rate(bytes)}; the last was on its way for ${late_ms} ms`
    : "No prices came in the last second";
  Object.assign(came, { messages: 0, prices: 0, bytes: 0 });
}, 1_000);

search.addEventListener("input", showFound);
watched.addEventListener("change", showFound);
document.querySelector(".detail button.star").addEventListener("click", () => watch.toggle(detail.share.symbol));

function choose(share) {
  detail.show(share);
  history.replaceState(null, "", `#${share.symbol}`);
  showMarks();
  const title = document.querySelector("#detail-title");
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "nearest" });
}

/** In dev mode anybody may publish: what is told has to look like it. */
function isPrice(price) {
  return Array.isArray(price) && price.every(Number.isSafeInteger) && price[0] >= 0 && price[1] > 0;
}

/** For whoever holds the table to what the server says, as the tests do. */
function showVersion(version) {
  document.querySelector("tbody").dataset.version = version;
}

function showMarks() {
  table.mark(detail.share);
  if (detail.share) {
    const star = document.querySelector(".detail button.star");
    const isWatched = watch.has(detail.share.symbol);
    star.textContent = isWatched ? "★" : "☆";
    star.setAttribute("aria-pressed", isWatched);
    star.setAttribute("aria-label", `Watch ${detail.share.symbol}`);
  }
  showFound();
}

function showFound() {
  const count = table.filter({ text: search.value, watched: watched.checked });
  document.querySelector(".scroll .nothing").hidden = count > 0 || !table.shares.length;
  document.querySelector(".count").textContent = table.shares.length ? `${count} of ${table.shares.length} shares` : "";
}

function complain({ message }) {
  notice.textContent = message;
  notice.hidden = false;
}
