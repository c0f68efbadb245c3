//! The console's password: out of a file, the environment, or typed without an echo. Never a flag, which every process
//! on the machine may read.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use tidewire_server::config::{Secret, is_hash};

use crate::exit::Failure;

/// The longest password that a console looks at, in bytes.
const BYTES_MAX: usize = 1_024;

/// The variables that hold one: ours, and those of a server whose environment we share, as in its container.
const VARIABLES: [&str; 3] =
    ["TIDEWIRE_ADMIN_PASSWORD", "TIDEWIRE_ADMIN__VIEWER_PASSWORD", "TIDEWIRE_ADMIN__PASSWORD"];

/// The password that was given, if one was.
///
/// # Errors
/// The file cannot be read, or holds none.
pub(super) fn given(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    if let Some(file) = file {
        return of_file(file).map(Some);
    }
    for name in VARIABLES {
        match std::env::var(name) {
            // Whoever has a hash has no password.
            Ok(password) if !password.is_empty() && !is_hash(&password) => {
                return Ok(Some(Secret::new(&password)));
            }
            _ => {}
        }
        if let Some(file) = std::env::var_os(format!("{name}_FILE")).filter(|file| !file.is_empty()) {
            return of_file(Path::new(&file)).map(Some);
        }
    }
    Ok(None)
}

fn of_file(path: &Path) -> Result<Secret, Failure> {
    let wrong =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("the password in {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let mut text = String::new();
    file.take(BYTES_MAX as u64 + 2).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    let password = text.trim_end_matches(['\r', '\n']);
    match password.len() {
        0 => Err(wrong(&"the file is empty")),
        1..=BYTES_MAX if is_hash(password) => {
            Err(wrong(&"this is the hash of a password; the password itself opens the console"))
        }
        1..=BYTES_MAX => Ok(Secret::new(password)),
        _ => Err(wrong(&format_args!("it is longer than {BYTES_MAX} bytes"))),
    }
}

/// Whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A terminal that shows nothing of what is typed, from the first question until the last answer was good: some type on
/// while an answer is looked at.
pub(super) struct Unseen;

impl Unseen {
    /// # Errors
    /// The terminal cannot be had.
    pub(super) fn begin() -> Result<Unseen, Failure> {
        enable_raw_mode().map(|()| Unseen).map_err(|error| broken(&error))
    }

    /// Asks for the password of the console at `authority`.
    ///
    /// # Errors
    /// Whoever was asked would rather not, or the terminal is gone.
    pub(super) async fn ask(&self, authority: &str) -> Result<Secret, Failure> {
        say(&format!("Password of the console at {authority}: "));
        // Aside, so that a signal is heard meanwhile: what it ended at once would leave the terminal without its echo.
        let typed = tokio::task::spawn_blocking(type_unseen).await;
        say("\r\n");
        let typed = typed.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        typed.map_err(|error| broken(&error))?.ok_or_else(|| Failure::Runtime("no password was given".into()))
    }

    /// Says that it was not.
    pub(super) fn refuse(&self) {
        say("This is not a password of the console.\r\n");
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = disable_raw_mode();
    }
}

/// Where nobody reads, nobody is asked.
fn say(words: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(words.as_bytes()).and_then(|()| out.flush());
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::Runtime(format!("the terminal cannot be read: {error}"))
}

fn type_unseen() -> std::io::Result<Option<Secret>> {
    let mut typed = String::with_capacity(BYTES_MAX);
    loop {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(Some(Secret::new(&typed))),
            KeyCode::Esc => return Ok(None),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(None),
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => typed.clear(),
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char(char) if typed.len() < BYTES_MAX => typed.push(char),
            _ => {}
        }
    }
}
