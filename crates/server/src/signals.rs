//! Signals: what a node is told from outside.

use std::io;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM and SIGINT, or Ctrl-C elsewhere: drain and end.
    End,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals that a node listens to.
pub struct Signals {
    #[cfg(unix)]
    ends: [tokio::signal::unix::Signal; 2],
    #[cfg(unix)]
    reload: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on, so that none is lost before anybody waits for it.
    ///
    /// # Errors
    /// The system does not let us listen.
    pub fn listen() -> io::Result<Signals> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};

            let ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
            Ok(Signals { ends, reload: signal(SignalKind::hangup())? })
        }
        #[cfg(not(unix))]
        Ok(Signals {})
    }

    /// Resolves at the next one.
    pub async fn next(&mut self) -> Asked {
        #[cfg(unix)]
        {
            let [terminate, interrupt] = &mut self.ends;
            tokio::select! {
                _ = terminate.recv() => Asked::End,
                _ = interrupt.recv() => Asked::End,
                _ = self.reload.recv() => Asked::Reload,
            }
        }
        #[cfg(not(unix))]
        {
            if tokio::signal::ctrl_c().await.is_err() {
                // Without a way to be told, only a kill ends us.
                std::future::pending::<()>().await;
            }
            Asked::End
        }
    }

    /// Resolves at the next one that asks to end.
    pub async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }
}
