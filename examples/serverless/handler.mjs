// A function that a platform calls with an event, and that tells browsers about it. It holds no connection and needs
// nothing installed. The event is one of a shop:
//
//   { "id": "evt_81", "type": "shipped", "order": 7781, "details": { "carrier": "DHL" } }

import { setTimeout as sleep } from "node:timers/promises";

const { TIDEWIRE_URL, TIDEWIRE_API_KEY } = process.env;
const ATTEMPT_MS = 2_000;
// Less than what the platform gives the function, so that it ends with a reason and is not merely stopped.
const TOTAL_MS = 8_000;
const BACKOFF_MAX_MS = 2_000;

/**
 * Publishes the event to `orders:{order}`, and returns the id of the message.
 *
 * Platforms call again if a function fails, and sometimes if it did not. The key of the message is the event's own id, so
 * that browsers hear of it once, however often this runs within five minutes (`limits.key_ttl` of the server). Where every
 * attempt fails it throws, and the platform does what it is set up to do: it calls again later, or puts the event aside.
 */
export async function handler(event) {
  const { id: key, type, order, details } = event ?? {};
  if (typeof key !== "string" || typeof type !== "string" || !Number.isInteger(order)) {
    throw new TypeError("the event has no id, type or order");
  }
  const request = new Request(`${TIDEWIRE_URL}/c/orders:${order}`, {
    method: "POST",
    headers: {
      "Authorization": `Bearer ${TIDEWIRE_API_KEY}`,
      "Content-Type": "application/json",
      "Tidewire-Event": type,
      "Idempotency-Key": key,
    },
    body: JSON.stringify({ ...details, order }),
    redirect: "manual",
  });
  const deadline = Date.now() + TOTAL_MS;
  for (let attempt = 1; ; attempt++) {
    const { id, error, retryAfterMs } = await attemptOf(request.clone());
    if (!error) return { id };
    const waitMs = retryAfterMs + Math.random() * Math.min(100 * 2 ** attempt, BACKOFF_MAX_MS);
    const isLast = !error.mayPass || Date.now() + waitMs + ATTEMPT_MS > deadline;
    console.warn(JSON.stringify({ event: key, attempt, error: error.message, isLast }));
    if (isLast) throw error;
    await sleep(waitMs);
  }
}

/** Why a message was not published; `mayPass` says whether the same request may succeed later. */
export class PublishError extends Error {
  name = "PublishError";

  constructor(message, mayPass, options) {
    super(message, options);
    this.mayPass = mayPass;
  }
}

async function attemptOf(request) {
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(ATTEMPT_MS) });
    const body = await answer.text();
    if (answer.status === 200) return { id: JSON.parse(body).id };
    const mayPass = answer.status === 408 || answer.status === 429 || answer.status >= 500;
    const retryAfterMs = 1_000 * (Number(answer.headers.get("Retry-After")) || 0);
    return { error: new PublishError(reason(answer.status, body), mayPass), retryAfterMs };
  } catch (cause) {
    // Whether it was published is unknown, and need not be known.
    return { error: new PublishError(`no answer: ${cause.cause?.message ?? cause.message}`, true, { cause }), retryAfterMs: 0 };
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
