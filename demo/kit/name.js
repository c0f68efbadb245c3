// The name that a visitor goes by, on every page of this browser. Storage may be switched off; then it lasts as long as the page.

const KEY = "tidewire.name";

/** Fills an input with the name, or with one that is made up, and remembers what is written there. */
export function nameField(input) {
  input.value = recall() ?? `guest-${Math.floor(Math.random() * 900 + 100)}`;
  input.addEventListener("change", () => remember(input.value.trim()));
}

function recall() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // See above.
  }
}
