//! A release: built, packed, described, and looked at as somebody who downloads it would.
//!
//! ```text
//! clean tree ─▶ lint, deny ─▶ static binary ─▶ stage ─▶ tar.gz, .deb ─▶ SBOM ─▶ SHA256SUMS ─▶ tests/release
//! ```
//!
//! Everything ends up in `target/release-VERSION`. Nothing is sent anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::licences;
use crate::machine;
use crate::run;
use crate::schedule;
use crate::tally::Tally;
use crate::tier::Tier;

/// Only to see what would come out: of whatever is here, committed or not, and without looking at the code.
const TRY: &str = "--try";

/// Makes the release of this commit.
pub fn make(arguments: &[String]) -> Tally {
    let checked =
        if arguments.iter().any(|argument| argument == TRY) { Ok(Tally::default()) } else { check() };
    let made = checked.and_then(|tally| Ok((tally, Release::of_this_commit()?.make()?)));
    match made {
        Ok((tally, folder)) => {
            println!("{}", folder.display());
            tally + Tier::released(folder).run()
        }
        Err(error) => {
            println!("release      {error}");
            Tally { passed: 0, failed: 1 }
        }
    }
}

/// Whether this is fit to be released.
fn check() -> Result<Tally, String> {
    let changed = step("git status", &mut run::command("git", &["status", "--porcelain"]))?;
    if !changed.trim().is_empty() {
        return Err(format!(
            "a release is of a commit, and this is in none ({TRY} makes one all the same):\n{changed}"
        ));
    }
    let tally = schedule::in_turn([Tier::fmt(), Tier::clippy(), Tier::deny()]);
    if tally.failed > 0 { Err("what is not clean is not released".into()) } else { Ok(tally) }
}

/// What is released, and for which machine.
struct Release {
    version: String,
    /// As rustc calls it: `x86_64-unknown-linux-gnu`.
    host: String,
    /// When the commit was made, in seconds since 1970: the time that everything in the release has.
    epoch: String,
}

impl Release {
    fn of_this_commit() -> Result<Release, String> {
        let manifest = read(&run::repository().join("Cargo.toml"))?;
        let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
        Ok(Release {
            version: version.ok_or("Cargo.toml states no version")?.to_owned(),
            host: host()?,
            epoch: step("git log", &mut run::command("git", &["log", "-1", "--format=%ct"]))?
                .trim()
                .to_owned(),
        })
    }

    /// Does everything, and says where it is.
    fn make(&self) -> Result<PathBuf, String> {
        let folder = run::target().join(format!("release-{}", self.version));
        anew(&folder)?;
        let binary = self.build()?;
        let stage = self.stage(&binary, &folder)?;
        self.pack(&stage, &folder)?;
        self.debian(&folder)?;
        self.describe(&folder)?;
        sums(&folder)?;
        Ok(folder)
    }

    /// A binary that needs nothing of the system that it runs on (decision 32), and the same wherever it is built.
    fn build(&self) -> Result<PathBuf, String> {
        let target = dist();
        let mut cargo = run::command(
            "cargo",
            &["build", "--release", "--locked", "--package", "tidewire-cli", "--target"],
        );
        cargo.arg(&self.host).env("CARGO_TARGET_DIR", &target).env("SOURCE_DATE_EPOCH", &self.epoch);
        // Paths of this machine are nobody's business, and would make the bytes depend on it.
        let home = cargo_home()?;
        let places = [(home.as_path(), "/cargo"), (&run::repository(), "/tidewire")];
        let remapped =
            |flag: &str| places.map(|(from, to)| format!("{flag}={}={to}", from.display())).join(" ");
        cargo.env("RUSTFLAGS", format!("{STATIC} {}", remapped("--remap-path-prefix")));
        cargo.env("CFLAGS", remapped("-ffile-prefix-map"));
        step("release build", &mut cargo)?;
        Ok(target.join(&self.host).join("release/tidewire"))
    }

    /// What is packed, as the tarball has it: `target/dist/stage`.
    fn stage(&self, binary: &Path, folder: &Path) -> Result<PathBuf, String> {
        let stage = dist().join("stage");
        anew(&stage)?;
        for part in ["bin", "man", "completions", "systemd"] {
            anew(&stage.join(part))?;
        }
        let packed = stage.join("bin/tidewire");
        let debug = folder.join(format!("{}.debug", self.name()));
        // Backtraces need line tables and users need not: those are beside the packages, found by the build id.
        step("objcopy", run::command("objcopy", &["--only-keep-debug"]).arg(binary).arg(&debug))?;
        step("strip", run::command("strip", &["--strip-all", "-o"]).arg(&packed).arg(binary))?;
        step("man", run::command(&packed, &["man"]).arg(stage.join("man")))?;
        for page in files(&stage.join("man"))? {
            step("gzip", run::command("gzip", &["-9", "--no-name"]).arg(page))?;
        }
        for (shell, name) in SHELLS {
            let script = step("completions", &mut run::command(&packed, &["completions", shell]))?;
            write(&stage.join("completions").join(name), &script)?;
        }
        for unit in ["tidewire.service", "tidewire.socket", "tidewire.sysusers"] {
            copy(&run::repository().join("ops/systemd").join(unit), &stage.join("systemd").join(unit))?;
        }
        for document in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md"] {
            copy(&run::repository().join(document), &stage.join(document))?;
        }
        write(&stage.join("tidewire.toml"), &default_configuration()?)?;
        write(&stage.join("THIRD-PARTY"), &licences::of(licences::BINARY, &self.host)?)?;
        Ok(stage)
    }

    /// The tarball, whose bytes depend on what is in it and on nothing else.
    fn pack(&self, stage: &Path, folder: &Path) -> Result<(), String> {
        let archive = folder.join(format!("{}.tar.gz", self.name()));
        let mut tar = run::command(
            "tar",
            &["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"],
        );
        tar.arg(format!("--mtime=@{}", self.epoch)).arg(format!("--transform=s,^\\.,{},", self.name()));
        tar.args(["--use-compress-program=gzip -9 --no-name", "--create", "--file"]).arg(&archive);
        step("tar", tar.arg("--directory").arg(stage).arg("."))?;
        Ok(())
    }

    /// The Debian package, of the same files.
    fn debian(&self, folder: &Path) -> Result<(), String> {
        let tool = machine::cargo_tool("cargo-deb")?;
        write(&dist().join("changelog.Debian"), &self.debian_changelog()?)?;
        let mut deb =
            run::command(tool, &["--package", "tidewire-cli", "--no-build", "--no-strip", "--target"]);
        deb.arg(&self.host).env("CARGO_TARGET_DIR", dist()).env("SOURCE_DATE_EPOCH", &self.epoch);
        step("cargo deb", deb.arg("--output").arg(folder))?;
        Ok(())
    }

    /// What Debian asks of a package beside the changelog of what is in it: that this version was packaged, when, and by whom.
    fn debian_changelog(&self) -> Result<String, String> {
        let manifest = read(&run::repository().join("crates/cli/Cargo.toml"))?;
        let maintainer =
            manifest.lines().find_map(|line| line.strip_prefix("maintainer = \"")?.strip_suffix('"'));
        let maintainer = maintainer.ok_or("crates/cli/Cargo.toml names no maintainer")?;
        let at = format!("--date=@{}", self.epoch);
        let date = step("date", run::command("date", &["--utc", "--rfc-email"]).arg(at).env("LC_ALL", "C"))?;
        Ok(format!(
            "tidewire ({}-1) unstable; urgency=medium\n\n  * What is new stands in changelog.gz.\n\n -- {maintainer}  {date}",
            self.version
        ))
    }

    /// What it is made of, for machines: CycloneDX.
    fn describe(&self, folder: &Path) -> Result<(), String> {
        let tool = machine::cargo_tool("cargo-cyclonedx")?;
        let name = self.name();
        let mut sbom =
            run::command(tool, &["cyclonedx", "--format", "json", "--spec-version", "1.5", "--target"]);
        sbom.arg(&self.host).args(["--manifest-path", "crates/cli/Cargo.toml", "--override-filename", &name]);
        step("cargo cyclonedx", sbom.env("SOURCE_DATE_EPOCH", &self.epoch))?;
        // It writes beside every manifest of the workspace.
        let ours = run::repository().join("crates/cli").join(format!("{name}.json"));
        // Where our own crates lie is nobody's business.
        let here = run::repository().display().to_string();
        let outcome = read(&ours).and_then(|bill| {
            write(&folder.join(format!("{name}.cdx.json")), &bill.replace(&here, "/tidewire"))
        });
        let listed = step("git ls-files", &mut run::command("git", &["ls-files", "*Cargo.toml"]))?;
        for manifest in listed.lines() {
            let stray = run::repository().join(manifest).with_file_name(format!("{name}.json"));
            if stray.exists() {
                fs::remove_file(&stray).map_err(|error| format!("{}: {error}", stray.display()))?;
            }
        }
        outcome
    }

    fn name(&self) -> String {
        format!("tidewire-{}-{}", self.version, self.host)
    }
}

/// What makes a binary that needs nothing: no library, and no `/dev/urandom` either, which the crate `getrandom` reads where it
/// does not find getrandom(2) by its name, as without a dynamic linker it never does. The `Dockerfile` says the same.
const STATIC: &str = "-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"";

/// Each shell with the name under which it looks for a script.
const SHELLS: [(&str, &str); 5] = [
    ("bash", "tidewire.bash"),
    ("zsh", "_tidewire"),
    ("fish", "tidewire.fish"),
    ("elvish", "tidewire.elv"),
    ("powershell", "tidewire.ps1"),
];

/// Where the release is built: beside the other builds, since other flags would have everything built anew each time.
fn dist() -> PathBuf {
    run::target().join("dist")
}

/// The commented default file with dev mode off: what a package starts asks who may come in, or says that nobody has said.
fn default_configuration() -> Result<String, String> {
    let text = read(&run::repository().join("crates/server/src/config/tidewire.toml"))?;
    let is_there = text.lines().any(|line| line == "#dev = \"auto\"");
    if !is_there {
        return Err("the default configuration has no line `#dev = \"auto\"`".into());
    }
    Ok(text.replace("\n#dev = \"auto\"\n", "\ndev = false\n"))
}

fn sums(folder: &Path) -> Result<(), String> {
    let mut names: Vec<String> = Vec::new();
    for file in files(folder)? {
        names.extend(file.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    let text = step("sha256sum", run::command("sha256sum", &[]).args(&names).current_dir(folder))?;
    write(&folder.join("SHA256SUMS"), &text)
}

/// This machine, as rustc calls it.
pub fn host() -> Result<String, String> {
    let rustc = step("rustc", &mut run::command("rustc", &["-vV"]))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say which machine it is on")?.to_owned())
}

fn cargo_home() -> Result<PathBuf, String> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let usual = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    set.or_else(usual).ok_or_else(|| "neither CARGO_HOME nor HOME is set".into())
}

fn step(name: &str, command: &mut Command) -> Result<String, String> {
    let outcome = run::logged(name, command);
    if outcome.succeeded { Ok(outcome.output) } else { Err(format!("{name} failed:\n{}", outcome.output)) }
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Ok(files)
}

/// An empty folder.
fn anew(folder: &Path) -> Result<(), String> {
    let removed = if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) };
    removed
        .and_then(|()| fs::create_dir_all(folder))
        .map_err(|error| format!("{}: {error}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
