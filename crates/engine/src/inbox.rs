//! The inbox of an outlet: where the control plane puts commands, from any thread (delivery rules R2 and R31).

use std::sync::{Arc, OnceLock};

use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::limits::Limits;

use crate::sync::Mutex;

/// Messages that an inbox holds at most. A shard that falls this far behind re-reads the log instead.
const MESSAGES_MAX: usize = 16_384;

/// Changes of presence that an inbox holds at most. Beyond: they are lost, and told as missed.
const CHANGES_MAX: usize = 16_384;

/// Room for commands that an inbox keeps between two turns.
const IDLE_COMMANDS: usize = 1_024;

/// Wakes an outlet's thread. Called with no lock held.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// Commands for one outlet, in the order they came.
///
/// Messages are bounded by count and bytes and changes of presence by count, beyond which [`Outlet::send`] answers
/// [`Full`]; every other command answers one event of the outlet's own, which bounds them by its connections, or comes from
/// the console, which sends one at a time.
pub struct Inbox {
    waiting: Mutex<Waiting>,
    wake: OnceLock<Wake>,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<Command>,
    messages: usize,
    bytes: usize,
    changes: usize,
    /// A message found no room since the outlet last took everything.
    overflowed: bool,
    /// The outlet waits, or is about to, and has seen no command.
    sleeping: bool,
}

impl Inbox {
    /// An empty inbox. Its messages may hold a sixteenth of the memory budget.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Inbox> {
        Inbox::with_bounds(MESSAGES_MAX, limits.memory_budget / 16)
    }

    /// An empty inbox with bounds of its own, for tests that want it to overflow.
    #[must_use]
    pub fn with_bounds(messages_max: usize, bytes_max: usize) -> Arc<Inbox> {
        Arc::new(Inbox { waiting: Mutex::default(), wake: OnceLock::new(), messages_max, bytes_max })
    }

    /// Names what wakes the outlet. Only the first call counts.
    pub(crate) fn wake_with(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }

    /// Moves everything that waits into `commands`, which must be empty. True where messages were turned away.
    pub(crate) fn take(&self, commands: &mut Vec<Command>) -> bool {
        let mut waiting = self.waiting();
        std::mem::swap(&mut waiting.commands, commands);
        waiting.commands.shrink_to(IDLE_COMMANDS);
        (waiting.messages, waiting.bytes, waiting.changes) = (0, 0, 0);
        waiting.sleeping = false;
        std::mem::take(&mut waiting.overflowed)
    }

    /// Says that the outlet is about to wait. False where something has come meanwhile, so that it must not.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut waiting = self.waiting();
        // The flag and the look are one step under the lock, so no command falls between them (R31).
        waiting.sleeping = waiting.commands.is_empty();
        waiting.sleeping
    }

    fn waiting(&self) -> impl std::ops::DerefMut<Target = Waiting> + '_ {
        // Nothing panics while it holds this lock; were it so, the commands would still be whole.
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Outlet for Inbox {
    fn send(&self, command: Command) -> Result<(), Full> {
        let mut waiting = self.waiting();
        if let Command::Deliver(message) = &command {
            let bytes = message.cost_bytes();
            if waiting.messages >= self.messages_max || waiting.bytes + bytes > self.bytes_max {
                // Even an empty inbox takes one message, or a tiny bound would hold for ever.
                if waiting.messages > 0 {
                    waiting.overflowed = true;
                    return Err(Full);
                }
            }
            waiting.messages += 1;
            waiting.bytes += bytes;
        }
        if let Command::Presence(_) = &command {
            if waiting.changes >= CHANGES_MAX {
                return Err(Full);
            }
            waiting.changes += 1;
        }
        waiting.commands.push(command);
        let was_sleeping = std::mem::take(&mut waiting.sleeping);
        drop(waiting);
        if let (true, Some(wake)) = (was_sleeping, self.wake.get()) {
            wake();
        }
        Ok(())
    }
}

/// Every interleaving of a sender and an outlet that is about to sleep; a lost wake-up is a deadlock that loom reports.
/// Run by `cargo xtask unit` with `--cfg tidewire_loom`.
#[cfg(all(test, tidewire_loom))]
mod tests {
    use super::*;
    use loom::sync::{Arc as LoomArc, Condvar, Mutex as LoomMutex};
    use tidewire_hub::admit::ConnId;

    #[test]
    fn r31_no_command_sleeps_in_the_inbox() {
        loom::model(|| {
            let inbox = Inbox::with_bounds(8, 8);
            let bell = LoomArc::new((LoomMutex::new(false), Condvar::new()));
            let ringer = bell.clone();
            inbox.wake_with(Box::new(move || {
                *ringer.0.lock().unwrap() = true;
                ringer.1.notify_one();
            }));
            let senders: Vec<_> = (0..2)
                .map(|number| {
                    let inbox = inbox.clone();
                    loom::thread::spawn(move || {
                        inbox.send(Command::Continue { conn: ConnId(number) }).unwrap()
                    })
                })
                .collect();
            let mut taken = Vec::new();
            let mut count = 0;
            while count < 2 {
                if inbox.may_sleep() {
                    let mut rung = bell.0.lock().unwrap();
                    while !std::mem::take(&mut *rung) {
                        rung = bell.1.wait(rung).unwrap();
                    }
                }
                inbox.take(&mut taken);
                count += taken.drain(..).count();
            }
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }
}
