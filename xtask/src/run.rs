//! Running a program: its output goes to a file, and to the screen only when it fails.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The root of the repository.
pub fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Where everything goes that is not source.
pub fn target() -> PathBuf {
    repository().join("target")
}

/// A command that starts in the repository, without standard input. What cargo builds goes where the tests look for it: whoever
/// has `CARGO_TARGET_DIR` elsewhere would have them look at an old binary.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(&program);
    if program.as_ref() == "cargo" {
        command.env("CARGO_TARGET_DIR", target());
    }
    command.args(arguments).current_dir(repository()).stdin(Stdio::null());
    command
}

/// The same command, whose program gives way to those of the usual priority.
pub fn nice(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "10"]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

/// Held while `what` is made or installed. Lanes, and other runs, would each find the same folder missing, and make it under each
/// other's feet. Who holds one may ask for what that needs first, never the other way round: a venv, a Node in it, a folder of npm.
///
/// # Errors
/// There is nowhere to make anything.
pub fn alone(what: &str) -> Result<File, String> {
    alone_in(&target().join("xtask"), what)
}

fn alone_in(folder: &Path, what: &str) -> Result<File, String> {
    let path = folder.join(format!("{}.lock", what.replace(['/', ' '], "-")));
    let lock = || {
        fs::create_dir_all(folder)?;
        let file = File::create(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error: io::Error| format!("{}: {error}", path.display()))
}

/// How a program ended.
pub struct Outcome {
    /// Whether it ended with 0.
    pub succeeded: bool,
    /// What it printed, standard output and error together.
    pub output: String,
}

/// Runs `command` to its end, its output in `target/xtask/<name>.log`.
pub fn logged(name: &str, command: &mut Command) -> Outcome {
    match try_logged(name, command) {
        Ok(outcome) => outcome,
        Err(error) => Outcome { succeeded: false, output: format!("{command:?}: {error}\n") },
    }
}

fn try_logged(name: &str, command: &mut Command) -> io::Result<Outcome> {
    let folder = target().join("xtask");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}.log", name.replace(' ', "-")));
    // A file of its own, also while another run writes one of this name: what is counted is what this program said.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut log = File::options().read(true).append(true).create(true).open(&path)?;
    let mut child = command.stdout(log.try_clone()?).stderr(log.try_clone()?).spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > LONGEST {
            // What it has started first. A process group would do both at once, and keep an interrupt from reaching them.
            let _ = Command::new("pkill").args(["-KILL", "-P", &child.id().to_string()]).status();
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let mut said = Vec::new();
    log.seek(SeekFrom::Start(0))?;
    log.read_to_end(&mut said)?;
    let mut output = String::from_utf8_lossy(&said).into_owned();
    if status.is_none() {
        output.push_str(&format!("\n{name} did not end within {} minutes\n", LONGEST.as_secs() / 60));
    }
    Ok(Outcome { succeeded: status.is_some_and(|status| status.success()), output })
}

/// No step takes longer, be it the binary that is built in what time others leave; one that does hangs.
const LONGEST: Duration = Duration::from_secs(40 * 60);

/// Runs a program with its output on the screen, and ends as it ends.
pub fn through(program: &str, arguments: &[&str]) -> ExitCode {
    status(&mut command(program, arguments))
}

/// The same for a command that is made already.
pub fn status(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            ExitCode::FAILURE
        }
    }
}

/// Whether `program` can be found and says its version.
pub fn exists(program: &str) -> bool {
    let mut asked = Command::new(program);
    asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_alone_though_another_run_has_one_of_the_same_name() {
        let folder = target().join("xtask");
        let (name, over) = (format!("test-{}", std::process::id()), folder.join("test-over"));
        let _ = fs::remove_file(&over);
        let patient = "echo 12 passed; until [ -e test-over ]; do sleep 0.01; done";
        let log = folder.join(format!("{name}.log"));
        let first = {
            let (name, folder) = (name.clone(), folder.clone());
            fs::create_dir_all(&folder).unwrap();
            thread::spawn(move || logged(&name, command("sh", &["-c", patient]).current_dir(folder)))
        };
        while fs::read_to_string(&log).unwrap_or_default().is_empty() {
            thread::yield_now();
        }
        let second = logged(&name, &mut command("echo", &["3 failed"]));
        fs::write(&over, "").unwrap();
        assert_eq!(first.join().unwrap().output, "12 passed\n");
        assert_eq!(second.output, "3 failed\n");
        fs::remove_file(over).unwrap();
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn cargo_builds_where_tests_look_whatever_the_environment_has() {
        let built = command("cargo", &["build"]);
        let folder =
            built.get_envs().find(|(name, _)| *name == "CARGO_TARGET_DIR").and_then(|(_, value)| value);
        assert_eq!(folder, Some(target().as_os_str()));
        assert_eq!(command("git", &[]).get_envs().count(), 0);
    }

    #[test]
    fn only_one_makes_a_thing_at_a_time_and_another_thing_can_be_made_beside_it() {
        let folder = std::env::temp_dir().join(format!("tidewire-alone-{}", std::process::id()));
        let held = alone_in(&folder, "npm tests/browser").unwrap();
        let other = File::open(folder.join("npm-tests-browser.lock")).unwrap();
        assert!(other.try_lock().is_err(), "it is held");
        drop(alone_in(&folder, "venv").unwrap());
        drop(held);
        assert!(other.try_lock().is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
