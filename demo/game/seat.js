// The place of this tab at a court, for as long as the tab lives. Storage may be switched off; then it lasts as long as the page.

const KEY = "tidewire.seat";

/** The place that was taken before the page was loaded anew, or `null`. */
export function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return typeof kept?.token === "string" ? kept : null;
  } catch {
    return null;
  }
}

export function remember(seat) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(seat));
  } catch {
    // See above.
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
}
