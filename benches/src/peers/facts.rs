//! What a run was measured on and with: the machine, and the version of everything that took part.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::peers::options::Plan;
use crate::peers::start;

/// All facts, by name. The version of a peer stands under the peer's name.
pub fn gather(plan: &Plan) -> Vec<(String, String)> {
    let node = format!("Node {}", first_line("node", &["--version"]));
    let on_node = |package: &str| format!("{} on {node}", package_version(package));
    let tidewire = run(&mut Command::new(&plan.tidewire), &["--version"]);
    let tidewire = format!("{} at commit {}", tidewire.trim(), commit());
    let lock = fs::read_to_string(start::source().join("peers/axum/Cargo.lock")).unwrap_or_default();
    let crates = ["axum", "tokio", "tungstenite"].map(|name| format!("{name} {}", locked(&lock, name)));
    let nginx = first_line("/usr/sbin/nginx", &["-v"]).replace("nginx version: nginx/", "nginx ");
    let debian = |package| first_line("dpkg-query", &["-W", "-f", "${Version}", package]);
    let pushpin = ["pushpin", "condure", "zurl"].map(|name| format!("{name} {}", debian(name)));
    let facts = [
        ("date", first_line("date", &["-u", "+%Y-%m-%d"])),
        ("cpu", cpu()),
        ("memory", memory()),
        ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())),
        ("system", system()),
        ("rust", first_line("rustc", &["--version"])),
        (
            "run",
            format!(
                "{} rounds; fan {} s, saturate and channels {} s, {} subscribers, {} connections",
                plan.rounds,
                plan.fan.as_secs_f64(),
                plan.press.as_secs_f64(),
                plan.subscribers,
                plan.connections
            ),
        ),
        ("floor", "of the same commit".to_owned()),
        ("tidewire", tidewire.clone()),
        ("tidewire-epoll", tidewire.clone()),
        ("tidewire-uring", tidewire),
        ("uwebsockets", on_node("@trufflesuite/uws-js-unofficial")),
        ("axum", crates.join(", ")),
        ("nchan", format!("{} on {nginx}", debian("libnginx-mod-nchan"))),
        ("ws", on_node("ws")),
        ("express", on_node("express")),
        ("better-sse", on_node("better-sse")),
        ("socket.io", on_node("socket.io")),
        ("pushpin", pushpin.join(", ")),
    ];
    // A fact is one cell of one line.
    let clean = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    facts.into_iter().map(|(name, fact)| (name.to_owned(), clean(fact))).collect()
}

fn cpu() -> String {
    let text = read("/proc/cpuinfo");
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{}, {cores} cores", model.map_or("unknown", |(_, name)| name))
}

fn memory() -> String {
    let text = read("/proc/meminfo");
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<f64>().ok());
    kib.map_or("unknown".to_owned(), |kib| format!("{:.0} GiB", kib / 1_048_576.0))
}

fn system() -> String {
    let text = read("/etc/os-release");
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

/// The commit of the sources, marked where they were changed since.
fn commit() -> String {
    run(
        Command::new("git").current_dir(start::source()),
        &["describe", "--always", "--dirty", "--exclude", "*"],
    )
}

fn package_version(package: &str) -> String {
    let manifest = start::target().join("node_modules").join(package).join("package.json");
    let text = fs::read_to_string(manifest).unwrap_or_default();
    after(&text, "\"version\": \"").unwrap_or("not installed").to_owned()
}

/// The version of a crate in a lock file.
fn locked<'l>(lock: &'l str, name: &str) -> &'l str {
    after(lock, &format!("name = \"{name}\"\nversion = \"")).unwrap_or("unknown")
}

fn after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    text.split_once(mark)?.1.split('"').next()
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    run(&mut Command::new(program), arguments).lines().next().unwrap_or("not installed").to_owned()
}

/// What a program says, on either stream.
fn run(command: &mut Command, arguments: &[&str]) -> String {
    let Ok(output) = command.args(arguments).output() else { return "not installed".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_a_lock_file_and_not_that_of_a_namesake() {
        let lock = "[[package]]\nname = \"axum-core\"\nversion = \"0.5.6\"\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!((locked(lock, "axum"), locked(lock, "tokio")), ("0.8.9", "unknown"));
    }
}
