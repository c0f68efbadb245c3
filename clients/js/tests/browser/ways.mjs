// What lies between a page and its server, and means no good: a proxy that holds answers back, and one that breaks.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { eventually } from "../../../../tests/e2e/harness/heard.mjs";
import { freePort } from "../../../../tests/e2e/harness/tidewire.mjs";

/**
 * An nginx that was told to buffer, whatever the server says, and nothing of WebSockets. Upstream it speaks HTTP/1.0, as it
 * does unless told otherwise: chunks it would hand on as they come.
 */
export async function bufferingNginx(t, target) {
  const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), "tidewire-nginx-"))];
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`);
  writeFileSync(join(folder, "nginx.conf"), `
    daemon off; master_process off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
    events {}
    http {
      access_log off; ${temporary.join(" ")}
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://127.0.0.1:${target};
          proxy_buffering on;
          proxy_ignore_headers X-Accel-Buffering;
        }
      }
    }`);
  const debians = "/usr/sbin/nginx";
  const program = process.env.NGINX ?? (existsSync(debians) ? debians : "nginx");
  const child = spawn(program, ["-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "nginx.conf")], { stdio: "ignore" });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  t.after(async () => {
    process.off("exit", kill);
    const gone = new Promise((resolve) => child.once("close", resolve));
    kill();
    await gone;
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  await eventually("nginx lets through", () => fetch(`${url}/livez`).then(({ ok }) => ok));
  return { url };
}

/**
 * A proxy that knows requests and answers only: what asks for an upgrade goes on as a request like any other. While it is
 * `broken`, it answers 502 to everything.
 */
export async function plainProxy(t, target) {
  const proxy = { broken: false, refused: 0, upgrades: 0 };
  const server = createServer((asked, answer) => {
    const { upgrade, connection, ...headers } = asked.headers;
    if (upgrade) proxy.upgrades += 1;
    if (proxy.broken) {
      proxy.refused += 1;
      return answer.writeHead(502, { "Access-Control-Allow-Origin": "*" }).end("bad gateway");
    }
    const onward = request({ port: target, host: "127.0.0.1", method: asked.method, path: asked.url, headers }, (answered) => {
      answer.writeHead(answered.statusCode, answered.headers);
      answered.pipe(answer);
      answered.once("error", () => answer.destroy());
    });
    onward.once("error", () => answer.destroy());
    answer.once("close", () => onward.destroy());
    asked.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  /** Cuts everything, and answers 502 from now on. */
  proxy.breakDown = () => {
    proxy.broken = true;
    server.closeAllConnections();
  };
  proxy.mend = () => (proxy.broken = false);
  return proxy;
}
