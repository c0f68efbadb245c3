// Asks a demonstration's own backend, below /demo/api/. What it refuses is told in its own words.

/** Longer than any answer takes. A request that hangs on a dead network would otherwise keep its page waiting for minutes. */
const PATIENCE_MS = 15_000;

/** Sends `body` as JSON, or asks with GET where there is none; gives back what the answer holds. */
export async function ask(path, body, { token } = {}) {
  const answer = await fetch(`/demo/api/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      ...(body !== undefined && { "Content-Type": "application/json" }),
      ...(token && { Authorization: `Bearer ${token}` }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(said.detail ?? `the server answered ${answer.status}`), said);
  return said;
}
