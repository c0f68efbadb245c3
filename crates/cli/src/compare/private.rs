//! A server of our own: this binary, on this machine, in dev mode, for as long as a run takes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::exit::Failure;

/// A server that answers. Dropping it ends the process.
pub(crate) struct Private {
    running: Running,
    pub url: String,
    pub process: u32,
    /// Kept open: the server may have more to say.
    _says: BufReader<ChildStdout>,
}

/// The server that runs now, shared with whoever has to end it when we are told to end.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Option<Child>>>);

impl Private {
    /// Starts one with nothing set, whatever this folder or the environment would set, and waits until it is ready.
    pub(crate) fn start(running: &Running) -> Result<Private, Failure> {
        let failed = |why: String| Failure::Runtime(format!("cannot start a server to measure: {why}"));
        let binary = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(binary);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--config", "/dev/null"]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEWIRE_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let process = child.id();
        let stdout = child.stdout.take();
        running.set(Some(child));
        let mut says = BufReader::new(stdout.ok_or_else(|| failed("it has no output".into()))?);
        let mut line = String::new();
        loop {
            line.clear();
            // It says where it listens once it does, and ends without a word here if it cannot.
            let count = says.read_line(&mut line).map_err(|error| failed(error.to_string()))?;
            if count == 0 {
                running.set(None);
                return Err(failed("it ended before it was ready".into()));
            }
            if let Some(url) = ready(&line) {
                return Ok(Private { running: running.clone(), url, process, _says: says });
            }
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.running.set(None);
    }
}

impl Running {
    /// Ends the one that runs. A drain would only take time: every figure has been read.
    pub(crate) fn set(&self, next: Option<Child>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = std::mem::replace(&mut *running, next) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address in the line that says that a server is ready.
fn ready(line: &str) -> Option<String> {
    let rest = line.split_once(" is ready on ")?.1;
    let url = rest.split_whitespace().next()?;
    Some(url.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_ready_server_has_its_address() {
        let line = "│ Tidewire 0.1.0 is ready on http://127.0.0.1:41725 in dev mode.  │\n";
        assert_eq!(ready(line).as_deref(), Some("http://127.0.0.1:41725"));
        assert_eq!(ready("Tidewire 0.1.0 is ready on http://[::1]:80.").as_deref(), Some("http://[::1]:80"));
        assert_eq!(ready("Only this machine may connect"), None);
    }
}
