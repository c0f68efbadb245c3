//! Running a program: its output goes to a file, and to the screen only when it fails.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
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

/// A command that starts in the repository, without standard input.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
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
    let log = File::create(&path)?;
    let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
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
    let mut output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    if status.is_none() {
        output.push_str(&format!("\n{name} did not end within {} minutes\n", LONGEST.as_secs() / 60));
    }
    Ok(Outcome { succeeded: status.is_some_and(|status| status.success()), output })
}

/// No step takes longer; one that does hangs.
const LONGEST: Duration = Duration::from_secs(20 * 60);

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
