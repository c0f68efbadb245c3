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

/// Asks for it on the terminal, and shows nothing of it.
///
/// # Errors
/// Whoever was asked would rather not, or the terminal cannot be had.
pub(super) fn ask(authority: &str) -> Result<Secret, Failure> {
    let broken = |error: std::io::Error| Failure::Runtime(format!("the terminal cannot be read: {error}"));
    let mut out = std::io::stderr().lock();
    // First no echo, and then the question: some are quick to answer.
    enable_raw_mode().map_err(broken)?;
    let _ = write!(out, "Password of the console at {authority}: ").and_then(|()| out.flush());
    let typed = type_unseen();
    let _ = disable_raw_mode();
    let _ = writeln!(out);
    typed.map_err(broken)?.ok_or_else(|| Failure::Runtime("no password was given".into()))
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
