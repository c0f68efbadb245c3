//! House rules that no compiler checks: the invariants of `ARCHITECTURE.md`, and documents that must not drift.

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidewire_hub::reason::{Reason, Retry};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below `folder`, with its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let skipped = path.ends_with("target") || path.ends_with("node_modules");
            if path.is_dir() && !skipped {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn dependencies(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(manifest).parse().unwrap();
    let mut names = BTreeSet::new();
    collect(&manifest, &mut names);
    names
}

fn collect(table: &toml::Table, names: &mut BTreeSet<String>) {
    for (key, value) in table {
        let Some(value) = value.as_table() else { continue };
        match key.as_str() {
            "dependencies" | "dev-dependencies" => names.extend(value.keys().cloned()),
            "target" => {
                value.values().filter_map(toml::Value::as_table).for_each(|table| collect(table, names));
            }
            _ => {}
        }
    }
}

#[test]
fn invariant_1_the_hub_knows_no_socket_clock_or_runtime() {
    let allowed = ["bytes", "simdutf8", "smallvec"].map(String::from);
    assert_eq!(dependencies("crates/hub/Cargo.toml"), BTreeSet::from(allowed));
    for (path, text) in sources("crates/hub/src") {
        for word in
            ["std::fs", "std::thread", "Instant", "SystemTime", "TcpStream", "TcpListener", "async fn"]
        {
            assert!(!text.contains(word), "{path} speaks of {word}");
        }
    }
}

#[test]
fn invariant_2_unsafe_code_is_in_one_room_and_each_block_has_its_argument() {
    for (path, text) in sources("crates") {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !code.contains("unsafe {") && !code.contains("unsafe fn") && !code.contains("unsafe impl") {
                continue;
            }
            assert!(path.starts_with("crates/engine/src/sys/"), "{path}:{}: {line}", at + 1);
            let above = lines[at.saturating_sub(4)..at].join("\n");
            assert!(above.contains("SAFETY:") || above.contains("# Safety"), "{path}:{}: {line}", at + 1);
        }
    }
    for room in ["hub", "transport", "broker", "auth", "server", "load", "compare", "tidewire"] {
        assert!(read(&format!("crates/{room}/src/lib.rs")).contains("#![forbid(unsafe_code)]"), "{room}");
    }
}

#[test]
fn rooms_depend_on_each_other_as_the_map_draws_it() {
    let knows = [
        ("hub", &[][..]),
        ("transport", &["hub"]),
        ("engine", &["hub", "transport"]),
        ("broker", &["hub"]),
        ("auth", &["hub"]),
        ("load", &[]),
        ("compare", &[]),
    ];
    for (room, allowed) in knows {
        for name in dependencies(&format!("crates/{room}/Cargo.toml")) {
            let Some(other) = name.strip_prefix("tidewire-") else { continue };
            assert!(allowed.contains(&other), "{room} knows {other}");
        }
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let reasons = read("docs/dependencies.md");
    let rooms =
        ["hub", "transport", "engine", "broker", "auth", "server", "load", "compare", "cli", "tidewire"];
    for room in rooms {
        for name in dependencies(&format!("crates/{room}/Cargo.toml")) {
            let words = reasons.split(|char: char| !char.is_alphanumeric() && char != '-' && char != '_');
            let named = name.starts_with("tidewire") || words.into_iter().any(|word| word == name);
            assert!(named, "{room} depends on {name}: docs/dependencies.md does not say why");
        }
    }
}

#[test]
fn no_dependency_needs_a_newer_rust_than_we_state() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let stated = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(
        read("xtask/src/tier.rs").contains(&format!("const MSRV: &str = \"{stated}\";")),
        "xtask tries another"
    );
    let metadata =
        ["metadata", "--locked", "--format-version=1", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output =
        std::process::Command::new(env!("CARGO")).args(metadata).current_dir(root()).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().unwrap()).collect() };
    for package in metadata["packages"].as_array().unwrap() {
        let Some(needed) = package["rust-version"].as_str().or(package["rust_version"].as_str()) else {
            continue;
        };
        let mut needs = of(needed);
        needs.truncate(2);
        assert!(needs <= of(stated), "{} needs Rust {needed}; we state {stated}", package["name"]);
    }
}

#[test]
fn the_protocol_lists_every_reason_as_the_code_has_it() {
    let (protocol, openapi) = (read("docs/protocol.md"), read("docs/openapi.yaml"));
    for reason in Reason::ALL {
        let retry = match reason.retry() {
            Retry::Never => "never",
            Retry::Later => "later",
            Retry::Resume => "resume",
        };
        let row = protocol
            .lines()
            .find(|line| {
                let cells = [format!("`{}`", reason.code()), reason.status().to_string()];
                line.starts_with('|') && cells.iter().all(|cell| line.contains(cell))
            })
            .unwrap_or_else(|| panic!("docs/protocol.md has no row for {}", reason.code()));
        for cell in [reason.status().to_string(), reason.close_code().to_string(), retry.to_owned()] {
            assert!(row.contains(&cell), "{row}\nlacks {cell}");
        }
        assert!(openapi.contains(reason.code()), "docs/openapi.yaml does not know {}", reason.code());
    }
}

#[test]
fn a_file_holds_one_idea() {
    for folder in ["crates", "benches", "xtask"] {
        for (path, text) in sources(folder) {
            let count = text.lines().count();
            assert!(count <= 600, "{path} has {count} lines: which two ideas does it hold?");
        }
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    for (path, text) in sources("crates") {
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
            assert!(!text.contains(word), "{path} holds a {word}");
        }
    }
}
