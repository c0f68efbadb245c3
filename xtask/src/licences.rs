//! The licences of everything that a binary is made of, text for text: what MIT, BSD and Apache ask of whoever passes it on.
//!
//! Which licences may be in it is `deny.toml`'s to say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::release;
use crate::run;

/// The crate that is the binary.
pub const BINARY: &str = "tidewire-cli";

/// Prints those of the binary for this machine, as an image is given them.
pub fn print() -> ExitCode {
    let licences = release::host().and_then(|host| of(BINARY, &host));
    match licences {
        // Whoever has read enough may go.
        Ok(licences) => {
            std::io::stdout().write_all(licences.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("licences     {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every crate of others in `package` for `target`, and the texts that come with them, each once.
///
/// # Errors
/// cargo does not say what it is made of.
pub fn of(package: &str, target: &str) -> Result<String, String> {
    let tree = [
        "tree",
        "--locked",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        package,
    ];
    let listed = cargo(run::command("cargo", &tree).args(["--target", target]))?;
    // `serde v1.0.228`, and behind it where one of ours is, or that it is a proc macro.
    let in_it: BTreeSet<(String, String)> = listed
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap_or(rest).to_owned()))
        .collect();
    let metadata = ["metadata", "--locked", "--format-version=1", "--filter-platform", target];
    let metadata: Value = serde_json::from_str(&cargo(&mut run::command("cargo", &metadata))?)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let mut list = String::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for crate_ in metadata["packages"].as_array().into_iter().flatten() {
        let field = |name: &str| crate_[name].as_str().unwrap_or_default().to_owned();
        let (name, version) = (field("name"), field("version"));
        if crate_["source"].is_null() || !in_it.contains(&(name.clone(), version.clone())) {
            continue;
        }
        let title = format!("{name} {version}");
        list.push_str(&format!("{title}: {}\n", field("license")));
        for text in texts_of(Path::new(&field("manifest_path"))) {
            texts.entry(text).or_default().push(title.clone());
        }
    }
    let mut page = format!("{HEAD}\n{list}");
    for (text, crates) in texts {
        page.push_str(&format!("\n{}\nOf {}\n\n{}\n", "-".repeat(80), crates.join(", "), text.trim_end()));
    }
    Ok(page)
}

const HEAD: &str = "\
What the binary `tidewire` holds of others, with the licence of each, and below the texts that came with them. Where a
crate offers several, any of them may be chosen.
";

/// The licences and notices beside a manifest.
fn texts_of(manifest: &Path) -> Vec<String> {
    let Some(entries) = manifest.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let is_one = |name: &str| {
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"].iter().any(|word| name.starts_with(word))
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths
        .filter(|path| path.file_name().is_some_and(|name| is_one(&name.to_string_lossy().to_uppercase())))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

fn cargo(command: &mut std::process::Command) -> Result<String, String> {
    // Its notes on standard error are no part of what it says.
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
