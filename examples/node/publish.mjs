// Publishes a message and prints its id: node publish.mjs CHANNEL EVENT DATA KEY

import { setTimeout as sleep } from "node:timers/promises";

const { TIDEWIRE_URL, TIDEWIRE_API_KEY } = process.env;
const ATTEMPT_MS = 5_000;
const TOTAL_MS = 30_000;
const BACKOFF_MAX_MS = 4_000;

/**
 * Publishes `data`, and resolves to the id of the message.
 *
 * `key` names what has happened, such as an order and its new state. Under one key there is one message, however often
 * it is published; that makes every repetition harmless.
 */
export async function publish(channel, event, data, key) {
  const request = new Request(`${TIDEWIRE_URL}/c/${encodeURIComponent(channel)}`, {
    method: "POST",
    headers: {
      "Authorization": `Bearer ${TIDEWIRE_API_KEY}`,
      "Content-Type": "application/json",
      "Tidewire-Event": event,
      "Idempotency-Key": key,
    },
    body: data,
    redirect: "manual",
  });
  const deadline = Date.now() + TOTAL_MS;
  for (let attempt = 0; ; attempt++) {
    let problem;
    let retryAfterMs = 0;
    try {
      const answer = await fetch(request.clone(), { signal: AbortSignal.timeout(ATTEMPT_MS) });
      const body = await answer.text();
      if (answer.status === 200) return JSON.parse(body).id;
      problem = new Error(reason(answer.status, body));
      const mayPass = answer.status === 408 || answer.status === 429 || answer.status >= 500;
      if (!mayPass) throw problem;
      retryAfterMs = 1_000 * (Number(answer.headers.get("Retry-After")) || 0);
    } catch (error) {
      if (error === problem) throw error;
      // Whether it was published is unknown, and need not be known.
      problem = new Error(`no answer: ${error.cause?.message ?? error.message}`);
    }
    const waitMs = retryAfterMs + Math.random() * Math.min(250 * 2 ** attempt, BACKOFF_MAX_MS);
    if (Date.now() + waitMs > deadline) throw problem;
    await sleep(waitMs);
  }
}

/** What the server says of a refusal, or the status if it was somebody else on the way. */
function reason(status, body) {
  try {
    const { code, detail } = JSON.parse(body);
    return `${code}: ${detail}`;
  } catch {
    return `HTTP ${status}`;
  }
}

if (process.argv.length !== 6 || !TIDEWIRE_URL || !TIDEWIRE_API_KEY) {
  console.error("usage: TIDEWIRE_URL=… TIDEWIRE_API_KEY=… node publish.mjs CHANNEL EVENT DATA KEY");
  process.exit(2);
}
try {
  console.log(await publish(...process.argv.slice(2)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
