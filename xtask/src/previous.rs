//! The binary of another version, for whoever asks how the two get on.

use std::path::PathBuf;

use crate::run;

/// The version that is meant when none is named: the commit before this one.
pub const BEFORE: &str = "HEAD^";

/// The release binary of `revision`, built in `target/previous` from a work tree of its own.
///
/// # Errors
/// What went wrong: there is no such revision, or it cannot be built.
pub fn binary(revision: &str) -> Result<PathBuf, String> {
    let _alone = run::alone("previous")?;
    let folder = run::target().join("previous");
    let source = folder.join("source");
    // A work tree whose folder somebody has removed is still in git's list.
    step("git worktree prune", "git", &["worktree", "prune"])?;
    let named = source.display().to_string();
    // Here, since `HEAD^` is another one in that work tree.
    let commit = step("git rev-parse", "git", &["rev-parse", "--verify", &format!("{revision}^{{commit}}")])?;
    let commit = commit.trim();
    if source.exists() {
        step("git checkout", "git", &["-C", &named, "checkout", "--quiet", "--detach", commit])?;
    } else {
        step("git worktree add", "git", &["worktree", "add", "--quiet", "--detach", &named, commit])?;
    }
    let mut cargo = run::command("cargo", &["build", "--release", "--bin", "tidewire"]);
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", folder.join("build"));
    let built = run::logged("previous", &mut cargo);
    if !built.succeeded {
        return Err(format!("{revision} cannot be built:\n{}", built.output));
    }
    Ok(folder.join("build/release/tidewire"))
}

fn step(name: &str, program: &str, arguments: &[&str]) -> Result<String, String> {
    let outcome = run::logged(name, &mut run::command(program, arguments));
    if outcome.succeeded { Ok(outcome.output) } else { Err(format!("{name} failed:\n{}", outcome.output)) }
}
