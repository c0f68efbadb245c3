// What a tab remembers: who its visitor is, and what they have read. Another tab is somebody else. Storage may be switched
// off; then it lasts as long as the page.

const PREFIX = "tidewire.chat.";

export function recall(key) {
  try {
    return sessionStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

export function remember(key, value) {
  try {
    sessionStorage.setItem(PREFIX + key, value);
  } catch {
    // See above.
  }
}

/** Somebody else begins. */
export function forget() {
  try {
    Object.keys(sessionStorage).filter((key) => key.startsWith(PREFIX)).forEach((key) => sessionStorage.removeItem(key));
  } catch {
    // See above.
  }
}
