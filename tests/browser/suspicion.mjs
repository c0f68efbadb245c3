// Watches what a page must never do, whatever it is told: run what came as text, build elements of it, or complain.

import { PAYLOADS } from "./payloads.mjs";

/** Watches `page`, from its next document on. What it has done wrong is in `crimes`. */
export async function watched(page) {
  const crimes = [];
  page.on("dialog", (dialog) => {
    crimes.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("pageerror", (error) => crimes.push(`error: ${error}`));
  // A refusal is what hostile input gets; the browser tells of it as of a failure.
  page.on("console", (message) => {
    const isRefusal = message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isRefusal) crimes.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const { hostname, pathname } = new URL(request.url());
    if (hostname === "canary.example" || pathname.endsWith("/canary")) crimes.push(`request: ${request.url()}`);
  });
  await page.exposeFunction("crime", (what) => void crimes.push(what));
  await page.addInitScript(watch);
  return crimes;
}

/** Runs in the page, before anything of its own. */
function watch() {
  globalThis.canary = () => crime("canary");
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile, lineNumber }) =>
    crime(`policy: ${violatedDirective} ${blockedURI} at ${sourceFile}:${lineNumber}`));
  const forbidden = "script,iframe,object,embed,base,meta,link,style,math,marquee,video,audio,template,noscript,frameset";
  const addresses = ["src", "href", "action", "formaction", "data", "poster", "srcset", "xlink:href", "style", "background"];
  const judge = (element) => {
    if (element.matches(forbidden)) crime(`element: ${element.outerHTML.slice(0, 200)}`);
    for (const { name, value } of element.attributes) {
      const isCode = name.startsWith("on") || name === "srcdoc" || (addresses.includes(name) && value.includes("canary"));
      if (isCode) crime(`attribute: ${element.outerHTML.slice(0, 200)}`);
    }
  };
  // The document itself is not on trial: what comes once it is there is.
  addEventListener("DOMContentLoaded", () => {
    new MutationObserver((changes) => {
      for (const { target, addedNodes, type } of changes) {
        if (type === "attributes") judge(target);
        for (const node of addedNodes) {
          if (node.nodeType !== Node.ELEMENT_NODE) continue;
          judge(node);
          node.querySelectorAll("*").forEach(judge);
        }
      }
    }).observe(document, { subtree: true, childList: true, attributes: true });
  });
}

/** Types every payload into every field of the page, and sends every form with it. */
export async function typeEverywhere(page) {
  for (const payload of PAYLOADS) {
    await page.evaluate(typeOne, payload).catch((error) => {
      // A page may load itself anew for who has another name now.
      if (!/context was destroyed|navigation/i.test(error.message)) throw error;
    });
    await page.waitForLoadState();
  }
}

/** Runs in the page. */
async function typeOne(payload) {
  const forms = new Set();
  for (const field of document.querySelectorAll("input:not([type]), input[type=text], input[type=search], textarea")) {
    if (field.readOnly || field.disabled) continue;
    field.value = payload;
    for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, { bubbles: true }));
    if (field.form) forms.add(field.form);
  }
  for (const form of forms) {
    const button = form.querySelector("button:not([type=button]):not(:disabled), input[type=submit]:not(:disabled)");
    if (form.checkVisibility() && button) form.requestSubmit(button);
  }
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}
