// Pages of a site of a test's own: who is logged in there, and who means harm.

import { createServer } from "node:http";

import { open } from "./tab.mjs";

/** Serves empty pages at `http://{host}:{port}` for the test `t`; `/login` has its visitor logged in with `token`. */
export async function site(t, host, token = "") {
  const server = createServer((request, response) => {
    // The weakest cookie that there can be: browsers send it along wherever they are asked from.
    const login = { "Set-Cookie": `session=${token}; Path=/; HttpOnly; Secure; SameSite=None` };
    response.writeHead(200, { "Content-Type": "text/html", ...(request.url === "/login" ? login : {}) });
    response.end("<!doctype html><title>a page</title>");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const origin = `http://${host}:${server.address().port}`;
  return {
    origin,
    /** Opens a page of this site in a new tab. */
    open: (context) => open(context, `${origin}/`),
    /** Opens a page of this site whose visitor has logged in there. */
    login: (context) => open(context, `${origin}/login`),
  };
}
