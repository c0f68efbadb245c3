// Lines to try name the server that this page is from.

/** Writes it into every `.origin`. */
export function showOrigin() {
  for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
}
