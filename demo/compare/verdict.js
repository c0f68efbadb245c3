// Shows what the server makes of the figures: the verdict of `tidewire compare`.

import { bytes, count, time } from "./words.js";

/** Fills the panel. */
export function showVerdict(panel, judged, names) {
  say(panel.querySelector(".headline"), judged.headline);
  say(panel.querySelector(".summary"), [judged.summary, ...judged.unjudged.map((why) => `Not judged: ${why}.`)].join(" "));
  panel.querySelector(".case").hidden = judged.case.rows.length === 0;
  say(panel.querySelector(".crowd"), count(judged.case.clients));
  say(panel.querySelector(".crowd-words"), judged.crowd ?? "");
  fill(panel.querySelector("tbody"), judged.case.rows, (row) => {
    const line = document.createElement("tr");
    const name = Object.assign(document.createElement("th"), { scope: "row", textContent: names[row.transport][0] });
    const cells = [
      count(row.requests_per_s),
      `${bytes(row.up_bytes_per_s)}/s`,
      `${bytes(row.down_bytes_per_s)}/s`,
      row.cores === null ? "–" : count(row.cores),
      row.memory === null ? "–" : bytes(row.memory),
      time(row.age_p99_ms),
    ];
    line.append(name, ...cells.map((textContent) => Object.assign(document.createElement("td"), { textContent })));
    return line;
  });
  const paragraphs = [...judged.reasons, ...judged.otherwise];
  const list = panel.querySelector(".reasons");
  list.replaceChildren(...paragraphs.flatMap(({ about, text }) => [
    Object.assign(document.createElement("dt"), { textContent: about }),
    Object.assign(document.createElement("dd"), { textContent: text }),
  ]));
}

// A number that has a space between its thousands stays on one line.
function say(element, words) {
  const text = words.replaceAll(/(\d) (?=\d{3})/g, "$1\u00a0");
  if (element.textContent !== text) element.textContent = text;
}

function fill(body, rows, line) {
  body.replaceChildren(...rows.map(line));
}
