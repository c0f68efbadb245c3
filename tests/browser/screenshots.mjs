// Takes a picture of every page in every look: node screenshots.mjs FOLDER

import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

import { LOOKS, look, useOnce } from "./looks.mjs";
import { SHOWN, show, showing } from "./pages_shown.mjs";
import { browser } from "./tab.mjs";

const folder = resolve(process.argv[2] ?? "screenshots");
mkdirSync(folder, { recursive: true });

const ends = [];
const run = { after: (end) => ends.unshift(end) };
try {
  const server = await showing(run);
  const context = await browser(run);
  for (const shown of SHOWN) {
    const page = await context.newPage();
    await show(page, server, shown);
    await useOnce(page, "Spring tide at nine");
    for (const each of LOOKS) {
      await look(page, each);
      const name = `${shown.path.replaceAll("/", " ").trim().replaceAll(" ", "-") || "index"}-${each.name.replace(" ", "-")}.png`;
      await page.screenshot({ path: join(folder, name), fullPage: true });
      console.log(join(folder, name));
    }
    await page.close();
  }
} finally {
  for (const end of ends) await end();
}
