// The small label in a panel's head that says how its connection is doing.

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Reconnecting",
  refused: "Refused",
};

/** Shows one of the words above. A screen reader hears it, so the same word is not written twice. */
export function showState(label, state) {
  if (label.dataset.state === state && label.textContent === WORDS[state]) return;
  label.dataset.state = state;
  label.textContent = WORDS[state];
}
