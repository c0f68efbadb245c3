// One `redis-server` per test: started on a free port, in an empty folder, and gone when the test ends.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "./tidewire.mjs";

/** Starts a Redis for the test `t`, and gives its port. Whoever comes at once may have to try again. */
export async function redisServer(t) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "tidewire-e2e-redis-"));
  const flags = ["--bind", "127.0.0.1", "--port", String(port), "--save", "", "--dir", folder];
  const child = spawn("redis-server", flags, { stdio: "ignore" });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  t.after(() => {
    process.off("exit", kill);
    kill();
    rmSync(folder, { recursive: true, force: true });
  });
  return port;
}
