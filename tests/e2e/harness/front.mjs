// Debian's nginx and HAProxy in front of several nodes, told nothing but what `tidewire proxy-config` prints.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { eventually } from "./heard.mjs";
import { binary, freePort, repository } from "./tidewire.mjs";

/** What stands around the printed configuration, and how the program is told to use both. */
const fronts = {
  nginx: {
    frame: "nginx/frame.conf",
    flags: (folder, frame) => ["-p", folder, "-e", join(folder, "error.log"), "-c", frame],
  },
  haproxy: { frame: "haproxy/frame.cfg", flags: (_, frame, ours) => ["-db", "-f", frame, "-f", ours] },
};

/** Puts `name`, nginx or haproxy, in front of `nodes` for the test `t`, and gives `{port}`. Nothing sticks to a node. */
export async function front(t, name, nodes) {
  const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), "tidewire-front-"))];
  const write = (file, text) => {
    writeFileSync(join(folder, file), text);
    return join(folder, file);
  };
  const upstreams = nodes.flatMap((node) => ["--upstream", `127.0.0.1:${node.port}`]);
  const printed = execFileSync(binary, ["proxy-config", name, "--listen", `127.0.0.1:${port}`, ...upstreams]);
  const ours = write("tidewire.conf", printed);
  const around = readFileSync(join(repository, "tests/proxies", fronts[name].frame), "utf8");
  const frame = write("frame.conf", around.replaceAll("${folder}", folder));
  const child = spawn(program(name), fronts[name].flags(folder, frame, ours), { stdio: ["ignore", "pipe", "pipe"] });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  t.after(async () => {
    process.off("exit", kill);
    const gone = new Promise((resolve) => child.once("close", resolve));
    kill();
    await gone;
    rmSync(folder, { recursive: true, force: true });
  });
  await eventually(`${name} lets through`, () => fetch(`http://127.0.0.1:${port}/livez`).then(({ ok }) => ok), () => said);
  return { port };
}

/** Where a proxy is: `$NGINX` and the like, or in the folder of Debian's, which is not on everyone's `PATH`. */
function program(name) {
  const debians = `/usr/sbin/${name}`;
  return process.env[name.toUpperCase()] ?? (existsSync(debians) ? debians : name);
}
