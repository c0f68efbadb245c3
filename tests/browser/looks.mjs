// The four ways in which a page is looked at: light and dark, on a desk and in a hand.

const WIDTHS = { wide: { width: 1280, height: 900 }, narrow: { width: 360, height: 740 } };

export const LOOKS = ["light", "dark"].flatMap((colorScheme) =>
  Object.entries(WIDTHS).map(([name, viewport]) => ({ name: `${colorScheme} ${name}`, colorScheme, viewport })));

/** Has `page` be looked at in one of them. */
export async function look(page, { colorScheme, viewport }) {
  await page.emulateMedia({ colorScheme });
  await page.setViewportSize(viewport);
  // What changes gradually has changed by then; figures that move go on.
  await page.evaluate(() => Promise.all(document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime < 2_000)
    .map(({ finished }) => finished.catch(() => {}))));
}

/** Has something be on the page: a word in every field, and every form sent. */
export function useOnce(page, words) {
  return page.evaluate((words) => {
    const forms = new Set();
    for (const field of document.querySelectorAll("input:not([type]), input[type=text], textarea")) {
      if (field.readOnly || field.disabled || !field.form?.checkVisibility()) continue;
      if (!field.value) field.value = words;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      forms.add(field.form);
    }
    for (const form of forms) {
      const button = form.querySelector("button:not([type=button]):not(:disabled), input[type=submit]:not(:disabled)");
      if (button) form.requestSubmit(button);
    }
  }, words);
}
