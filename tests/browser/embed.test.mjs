// The room of examples/embed in two browsers: an axum application that Tidewire is part of, and no script of ours but its page's.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { browser } from "./tab.mjs";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(repository, "target");

execFileSync("cargo", ["build", "--quiet", "--locked", "-p", "embed"], { cwd: repository, stdio: "inherit" });

/** Starts the application for the test `t`; on `port`, where one before it was. */
async function room(t, port = 0) {
  const child = spawn(join(target, "debug/embed"), { env: { ...process.env, PORT: `${port}` }, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  const url = await new Promise((resolve, reject) => {
    child.stdout.on("data", (piece) => {
      said += piece;
      const url = said.match(/listening on (http:\S+)\n/)?.[1];
      if (url) resolve(url);
    });
    child.once("exit", () => reject(new Error(`it ended: ${said}`)));
  });
  return { child, url, port: Number(new URL(url).port) };
}

async function comeIn(context, url, name) {
  const page = await context.newPage();
  await page.goto(url);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Come in" }).click();
  await page.getByText("connected", { exact: true }).waitFor();
  return page;
}

async function say(page, text) {
  await page.getByLabel("Say").fill(text);
  await page.getByRole("button", { name: "Say it" }).click();
}

test("two_visitors_of_an_application_hear_each_other_and_a_private_word_stays_private", async (t) => {
  const { url } = await room(t);
  const [first, second] = [await browser(t), await browser(t)];
  const [ann, ben] = [await comeIn(first, url, "ann"), await comeIn(second, url, "ben")];
  await say(ann, "hello <b>ben</b>");
  await ben.getByText("ann: hello <b>ben</b>", { exact: true }).waitFor();
  await say(ben, "HELLO YOURSELF");
  await ben.getByText("Please do not shout.").waitFor();
  await ann.getByText("ben: HELLO YOURSELF").waitFor();
  assert.equal(await ann.getByText("Please do not shout.").count(), 0);
});

test("a_page_outlives_its_application_and_says_what_it_does_not_know", async (t) => {
  const before = await room(t);
  const page = await comeIn(await browser(t), before.url, "ann");
  await say(page, "before");
  await page.getByText("ann: before").waitFor();
  before.child.kill("SIGTERM");
  const [code] = await once(before.child, "exit");
  assert.equal(code, 0);
  await page.getByText("coming back", { exact: true }).waitFor();
  await room(t, before.port);
  // Sessions were in memory: nobody is logged in there, and a page that is told so stops asking.
  await page.getByText("closed", { exact: true }).waitFor();
});
