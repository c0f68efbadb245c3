// The walks of a page.

import { fences } from "./fences.mjs";

/**
 * The walks of `page`, by name: the blocks of each in the order of the page. What is typed into a console and what is
 * expected belong to the walk of the commands before them, or to one with a server in dev mode.
 */
export function walks(page) {
  const found = new Map();
  let name;
  for (const block of fences(page)) {
    const [mark] = block.marks;
    if (block.reason !== undefined || mark === "of") continue;
    const begins = block.language === "sh" && mark;
    const goesOn = block.language === "js" || block.language === "html" || (block.language === "text" && mark === "expected");
    if (!begins && !goesOn) continue;
    name = begins ? mark : (name ?? "dev");
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(block);
  }
  return found;
}
