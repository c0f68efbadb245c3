// A fresh reader: a user of this machine who was made a moment ago, with an empty home and nothing in the environment.
//
// Whoever is not root cannot make users, and is the reader themselves, with an empty home and nothing in the environment.

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { binary } from "../e2e/harness/tidewire.mjs";

let made = 0;

/** A reader for the test `t`: what they start is started in their home, and ends with the test. */
export function reader(t) {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-reader-"));
  chmodSync(folder, 0o755);
  const home = join(folder, "home");
  const bin = join(folder, "bin");
  mkdirSync(home);
  mkdirSync(bin);
  // Copied: other users may not pass the folder that it was built in, nor that of the Node that runs this.
  copyFileSync(binary, join(bin, "tidewire"));
  copyFileSync(process.execPath, join(bin, "node"));
  const user = process.getuid() === 0 ? makeUser(home) : undefined;
  const groups = new Set();
  t.after(() => {
    groups.forEach(endGroup);
    if (user) execFileSync("/usr/sbin/userdel", ["--force", user.name], { stdio: "ignore" });
    rmSync(folder, { recursive: true, force: true });
  });
  return new Reader({ home, bin, user, groups });
}

class Reader {
  #groups;
  #user;

  constructor({ home, bin, user, groups }) {
    this.home = home;
    this.environment = {
      HOME: home, LANG: "C.UTF-8",
      PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`,
    };
    this.#user = user;
    this.#groups = groups;
  }

  /** Starts a program of theirs, in a process group of its own. */
  start(program, args, { cwd = this.home, env = {} } = {}) {
    const as = this.#user ? { uid: this.#user.uid, gid: this.#user.gid } : {};
    const child = spawn(program, args, { cwd, env: { ...this.environment, ...env }, detached: true, ...as });
    child.stdin.on("error", () => {});
    this.#groups.add(child.pid);
    child.once("close", () => this.#groups.delete(child.pid));
    return child;
  }

  /** Gives them a file or a folder. */
  own(path) {
    if (this.#user) execFileSync("chown", ["-R", `${this.#user.uid}:${this.#user.gid}`, path]);
  }

  /** A copy of a folder of the repository in their home. */
  copy(from, name) {
    const to = join(this.home, name);
    cpSync(from, to, { recursive: true, filter: (path) => !/\/(node_modules|target|dist)$/.test(path) });
    this.own(to);
    return to;
  }
}

function makeUser(home) {
  const name = `tw-reader-${process.pid}-${(made += 1)}`;
  execFileSync("/usr/sbin/useradd", ["--no-create-home", "--home-dir", home, "--shell", "/bin/sh", "--user-group", name]);
  const id = (flag) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }));
  const user = { name, uid: id("-u"), gid: id("-g") };
  chownSync(home, user.uid, user.gid);
  return user;
}

/** Ends a process and what it has started, if they have not ended by themselves. */
export function endGroup(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
