// Forty payloads, wherever a page shows what somebody else may have written (security rule S51): nothing runs, nothing
// is built of them, and the policy has nothing to forbid.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { forge, overhear } from "./forgery.mjs";
import { useOnce } from "./looks.mjs";
import { SHOWN, hears, show, showing } from "./pages_shown.mjs";
import { PAYLOADS } from "./payloads.mjs";
import { typeEverywhere, watched } from "./suspicion.mjs";
import { alone, browser, tab } from "./tab.mjs";

const chromium = await browser({ after });
const server = await showing({ after });

for (const shown of SHOWN) {
  test(`s51_${shown.path}_shows_forty_payloads_as_text`, async (t) => {
    assert.deepEqual([PAYLOADS.length, new Set(PAYLOADS).size], [40, 40]);
    const context = await alone(t, chromium);
    const page = await context.newPage();
    const crimes = await watched(page);
    const overheard = await overhear(context, page);
    await show(page, server, shown);
    // One honest word first, so that there is something to forge.
    await useOnce(page, "Spring tide at nine");
    await typeEverywhere(page);
    for (const channel of overheard.channels) await forge(server, channel, overheard, () => hears(page, shown));
    // What was stored is shown once more, to somebody who comes later and by a link of an attacker's.
    for (const payload of [PAYLOADS[1], PAYLOADS[23]]) {
      const hostile = encodeURIComponent(payload);
      await show(page, server, shown, `?transport=${hostile}&${hostile}=${hostile}#${hostile}`);
    }
    assert.deepEqual(crimes, []);
  });
}

test("s51_an_address_that_holds_a_payload_is_refused_or_shown_as_text_and_repeated_by_no_answer", async (t) => {
  const page = await (await alone(t, chromium)).newPage();
  const crimes = await watched(page);
  for (const payload of PAYLOADS) {
    for (const folder of ["/c/", "/demo/", "/"]) {
      const path = folder + encodeURIComponent(payload);
      const answer = await fetch(`${server.url}${path}`, { headers: { Accept: "text/html" } });
      const text = await answer.text();
      assert.equal(answer.headers.get("x-content-type-options"), "nosniff", path);
      if (answer.status === 200) {
        // The inspector's page, which is the same for every channel.
        assert.match(answer.headers.get("content-security-policy"), /default-src 'none'/, path);
        assert.ok(!text.includes("canary"), path);
      } else {
        assert.match(answer.headers.get("content-type"), /^application\/problem\+json/, path);
      }
    }
    await page.goto(`${server.url}/c/${encodeURIComponent(payload)}`).catch(() => {});
  }
  assert.deepEqual(crimes, []);
});

test("a page that takes text for markup is caught, whatever its policy: so much for the judge", async (t) => {
  const context = await alone(t, chromium);
  const { page: careless } = await tab(t, context);
  const crimes = await watched(careless);
  await careless.reload();
  const caught = [];
  for (const payload of PAYLOADS) {
    crimes.length = 0;
    await careless.evaluate((payload) => {
      document.body.innerHTML = `<p>${payload}</p>`;
      document.body.innerHTML = `<p title="${payload}"></p><p title='${payload}'></p><a href="${payload}">x</a>`;
    }, payload);
    await careless.evaluate(() => new Promise(requestAnimationFrame));
    if (crimes.length) caught.push(payload);
  }
  assert.ok(caught.length >= 30, `${caught.length}: ${PAYLOADS.filter((payload) => !caught.includes(payload)).join("\n")}`);
});
