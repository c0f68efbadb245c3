//! Processes of the cluster: each started here, in a folder of its own, and ended with its owner.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, what it says at the end of `folder/name.log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, folder: &Path, name: &str, input: Stdio) -> io::Result<Process> {
        let said = File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?;
        command.current_dir(folder).stdin(input).stdout(said.try_clone()?).stderr(said);
        Ok(Process { child: command.spawn()? })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, signal);
        }
    }

    /// Ends it now, without a word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended by itself, and how.
    pub fn has_ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
