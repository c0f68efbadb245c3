// Every page, judged by axe-core and by hand: light and dark, wide and narrow, by keyboard, and without motion.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import test, { after } from "node:test";

import { LOOKS, look, useOnce } from "./looks.mjs";
import { SHOWN, show, showing } from "./pages_shown.mjs";
import { watched } from "./suspicion.mjs";
import { alone, browser } from "./tab.mjs";

const chromium = await browser({ after });
const server = await showing({ after });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Stops of the Tab key from either end of a page. */
const STOPS_MAX = 60;

for (const shown of SHOWN) {
  test(`${shown.path}_has_no_serious_finding_of_axe_and_fits_its_window_in_every_look`, async (t) => {
    const page = await (await alone(t, chromium)).newPage();
    const crimes = await watched(page);
    await show(page, server, shown);
    await useOnce(page, "Spring tide at nine");
    await page.evaluate(axe);
    const found = [];
    for (const each of LOOKS) {
      await look(page, each);
      found.push(...(await page.evaluate(judge)).map((finding) => `${each.name}: ${finding}`));
      const [wanted, had] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      if (wanted > had) found.push(`${each.name}: ${wanted} px wide in ${had} px`);
    }
    assert.deepEqual([found, crimes], [[], []]);
  });

  test(`${shown.path}_is_used_by_keyboard_and_shows_where_one_is`, async (t) => {
    const page = await (await alone(t, chromium)).newPage();
    const [kinds, unseen] = [new Set(), new Set()];
    for (const key of ["Tab", "Shift+Tab"]) {
      // With what the test before has left on it.
      await show(page, server, shown);
      const reached = new Set();
      while (reached.size < STOPS_MAX) {
        await page.keyboard.press(key);
        const stop = await page.evaluate(focused);
        if (!stop || reached.has(stop.number)) break;
        reached.add(stop.number);
        kinds.add(stop.kind);
        if (!stop.isSeen) unseen.add(stop.what);
      }
    }
    assert.deepEqual([...unseen], [], "stops without a mark");
    assert.deepEqual(await page.evaluate(unreached, [...kinds]), [], "what cannot be reached");
  });

  test(`${shown.path}_moves_nothing_where_less_motion_is_asked_for`, async (t) => {
    const page = await (await alone(t, chromium)).newPage();
    await page.emulateMedia({ reducedMotion: "reduce" });
    await show(page, server, shown);
    const moving = await page.evaluate(() => document.getAnimations()
      .filter(({ playState, effect }) => playState === "running" && effect.getComputedTiming().activeDuration > 100)
      .map(({ effect, animationName, transitionProperty }) => `${animationName ?? transitionProperty} of ${effect.target.outerHTML.slice(0, 80)}`));
    assert.deepEqual(moving, []);
  });
}

/** Runs in the page, where axe is. What is serious or worse, with where it is. */
async function judge() {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 120)} ${any[0]?.message ?? ""}`).join(" | ")}`);
}

/** Runs in the page. What has the focus, of which kind it is, and whether one sees that; nothing at the end of the page. */
function focused() {
  const element = document.activeElement;
  if (!element || element === document.body || element === document.documentElement) return null;
  globalThis.numbers ??= new Map();
  if (!numbers.has(element)) numbers.set(element, numbers.size);
  const marks = (each) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(each);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
  };
  // A radio button may be drawn by what stands beside it.
  const isSeen = [element, element.nextElementSibling, element.parentElement].some((each) => each && marks(each));
  const kind = `${element.tagName} ${element.type === "radio" ? element.name : element.className} in ${element.parentElement.className}`;
  return { number: numbers.get(element), kind, isSeen, what: element.outerHTML.slice(0, 120) };
}

/** Runs in the page. What is there to be used, and is of no kind that was among the stops: of two hundred rows a few are. */
function unreached(kinds) {
  const controls = "a[href], button:not(:disabled), input:not(:disabled), select:not(:disabled), textarea:not(:disabled), summary, [role=button]";
  const kind = (element) =>
    `${element.tagName} ${element.type === "radio" ? element.name : element.className} in ${element.parentElement.className}`;
  return [...document.querySelectorAll(controls)]
    // Of a composite widget one element is a stop, and arrows do the rest.
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && element.tabIndex >= 0 && !element.closest("[inert]"))
    .filter((element) => !kinds.includes(kind(element)) && !kinds.some((each) => element.type === "radio" && each.startsWith(`INPUT ${element.name} `)))
    .map((element) => element.outerHTML.slice(0, 120));
}
