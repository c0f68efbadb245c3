// A server that asks who comes, and what opens it: a secret for tokens, and a backend's API key.

import { createHash, createHmac, randomBytes } from "node:crypto";

const secret = randomBytes(32).toString("base64url");
const apiKey = `tw_${randomBytes(32).toString("base64url")}`;
const hash = createHash("sha256").update(apiKey).digest("hex");

/** What `tidewire(t, …)` takes for a server that lets in pages of `origins`, by token, ticket or the cookie `session`. */
export function guarded({ origins = [], set = {} } = {}) {
  return {
    set: {
      admin_listen: "same",
      "auth.origins": origins.join(","),
      "auth.cookie": "session",
      "auth.api_keys": `tests:publish+subscribe+admin:${hash}`,
      // All of a test comes from one address, in a hurry.
      "limits.address_connections_max": 0,
      "limits.address_arrivals_per_second_max": 0,
      "limits.address_failures_per_minute_max": 0,
      ...set,
    },
    env: { TIDEWIRE_AUTH__HS256_SECRET: secret },
    credentials: { Authorization: `Bearer ${apiKey}` },
  };
}

/** A token of `sub` that may do everything on `channels` for `lasts_s` seconds. */
export function token(sub, channels, { lasts_s = 600, ...claims } = {}) {
  const rights = { subscribe: channels, publish: channels, history: channels };
  const now_s = Math.floor(Date.now() / 1000);
  const parts = [{ alg: "HS256", typ: "JWT" }, { sub, iat: now_s, exp: now_s + lasts_s, channels: rights, ...claims }];
  const signed = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
