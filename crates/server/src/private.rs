//! A server of our own: this binary, on this machine, in dev mode with nothing set, for as long as whoever started it.
//!
//! What the commands that measure run against, and the demonstration that compares. It ends when it is dropped; and when
//! its parent ends in any way, a crash included, since then the pipe closes that is its standard input.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server that answers. Dropping it ends the process.
#[derive(Debug)]
pub struct Private {
    child: Child,
    /// `http://127.0.0.1:` and its port.
    pub url: String,
    /// The same, to connect to.
    pub address: SocketAddr,
    /// Its process.
    pub process: u32,
    /// Kept open: the server may have more to say.
    _says: BufReader<ChildStdout>,
}

impl Private {
    /// Starts one with nothing set but `more` flags, whatever this folder or the environment would set, and waits until it
    /// is ready. Blocks for as long as that takes, some tens of milliseconds.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it is ready.
    pub fn start(more: &[&str]) -> io::Result<Private> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--config", "/dev/null"]);
        command.arg("--until-stdin-ends").args(more);
        for (name, _) in std::env::vars_os() {
            // A child that inherited a service manager would speak to it in our name.
            let is_of_manager =
                ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"].iter().any(|of| name == *of);
            if is_of_manager || name.to_string_lossy().starts_with("TIDEWIRE_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Ends(Some(command.spawn()?));
        let stdout = child.0.as_mut().and_then(|child| child.stdout.take());
        let mut says = BufReader::new(stdout.ok_or_else(|| io::Error::other("it has no output"))?);
        let mut line = String::new();
        loop {
            line.clear();
            // It says where it listens once it does, and ends without a word here if it cannot.
            if says.read_line(&mut line)? == 0 {
                return Err(io::Error::other("it ended before it was ready"));
            }
            let Some(url) = ready(&line) else { continue };
            let address = url.trim_start_matches("http://").parse().map_err(io::Error::other)?;
            if let Some(child) = child.0.take() {
                return Ok(Private { process: child.id(), child, url, address, _says: says });
            }
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A process that ends unless it is taken out.
struct Ends(Option<Child>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// A drain would only take time: every figure has been read.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
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
