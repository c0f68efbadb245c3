//! Mutants: bugs on purpose, put between the parts of production without touching them, to show that the ledger would
//! notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidewire_hub::admit::{Gap, GapReason};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::message::{Message, Payload};
use tidewire_hub::position::Position;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A full inbox drops the message and says that all is well.
    DropOnOverflow,
    /// A barrier is lifted without reading again what it held.
    SkipCatchUp,
    /// The gap of a page is left out.
    OmitGap,
    /// A gap is told that nothing explains.
    InventGap,
    /// The last message of a page is left out.
    ShortenPage,
    /// Two messages change places.
    SwapDelivers,
    /// A message is sent twice.
    RepeatDeliver,
    /// One message in many is not sent.
    LoseDeliver,
    /// A message goes out with the payload of another.
    MixPayloads,
    /// The position that heartbeats name is one ahead.
    HurryPosition,
    /// Who joins is told a place one behind the real one, and what lies between is not sent.
    JoinLate,
    /// One departure in some is not counted.
    ForgetLeave,
    /// Idempotency keys are not looked at.
    IgnoreKeys,
    /// One ring of the doorbell in some is not heard.
    LoseWakeUp,
    /// The loss at a promotion is not told. For runs over Redis, where there are any.
    DropLoss,
}

impl Mutant {
    /// Those of the memory broker.
    pub const ALL: [Mutant; 14] = [
        Mutant::DropOnOverflow,
        Mutant::SkipCatchUp,
        Mutant::OmitGap,
        Mutant::InventGap,
        Mutant::ShortenPage,
        Mutant::SwapDelivers,
        Mutant::RepeatDeliver,
        Mutant::LoseDeliver,
        Mutant::MixPayloads,
        Mutant::HurryPosition,
        Mutant::JoinLate,
        Mutant::ForgetLeave,
        Mutant::IgnoreKeys,
        Mutant::LoseWakeUp,
    ];
}

/// An outlet with a bug in front of it.
pub struct Bugged {
    mutant: Mutant,
    outlet: Arc<dyn Outlet>,
    sent: AtomicU64,
    kept_back: Mutex<Option<Arc<Message>>>,
}

impl Bugged {
    /// Puts `mutant` in front of `outlet`.
    #[must_use]
    pub fn new(mutant: Mutant, outlet: Arc<dyn Outlet>) -> Bugged {
        Bugged { mutant, outlet, sent: AtomicU64::new(0), kept_back: Mutex::default() }
    }

    fn deliver(&self, message: Arc<Message>) -> Result<(), Full> {
        let count = self.sent.fetch_add(1, Ordering::Relaxed);
        let send = |message: &Arc<Message>| self.outlet.send(Command::Deliver(message.clone()));
        match self.mutant {
            Mutant::DropOnOverflow => {
                let _ = send(&message);
                Ok(())
            }
            Mutant::SwapDelivers => {
                let mut kept_back = self.kept_back.lock().unwrap_or_else(PoisonError::into_inner);
                match kept_back.take() {
                    None if count % 16 == 5 => *kept_back = Some(message),
                    None => return send(&message),
                    Some(earlier) => {
                        let _ = (send(&message), send(&earlier));
                    }
                }
                Ok(())
            }
            Mutant::RepeatDeliver if count % 16 == 5 => send(&message).and_then(|()| send(&message)),
            Mutant::LoseDeliver if count % 16 == 5 => Ok(()),
            Mutant::MixPayloads if count % 16 == 5 => {
                let payload = Payload::binary(Bytes::from_static(b"somebody else's"));
                send(&Arc::new(Message { payload, ..Message::clone(&message) }))
            }
            _ => send(&message),
        }
    }
}

impl Outlet for Bugged {
    fn send(&self, command: Command) -> Result<(), Full> {
        match (self.mutant, command) {
            (_, Command::Deliver(message)) => self.deliver(message),
            (Mutant::OmitGap, Command::Admit(mut admit)) => {
                admit.page.gap = None;
                self.outlet.send(Command::Admit(admit))
            }
            (Mutant::InventGap, Command::Admit(mut admit)) => {
                if let (None, Some(cursor), false) =
                    (&admit.page.gap, admit.page.start, admit.channels.is_empty())
                {
                    let channels = admit.channels.to_vec();
                    admit.page.gap = Some(Gap { channels, reason: GapReason::Trimmed, cursor });
                }
                self.outlet.send(Command::Admit(admit))
            }
            (Mutant::ShortenPage, Command::Admit(mut admit)) => {
                admit.page.messages.pop();
                self.outlet.send(Command::Admit(admit))
            }
            (Mutant::JoinLate, Command::Admit(mut admit)) => {
                if let Some(start) = &mut admit.page.start {
                    start.seq = start.seq.saturating_sub(1);
                }
                self.outlet.send(Command::Admit(admit))
            }
            (Mutant::DropLoss, Command::Lost(_)) => Ok(()),
            (Mutant::HurryPosition, Command::Position(position)) => {
                let ahead = Position { seq: position.seq + 1, ..position };
                self.outlet.send(Command::Position(ahead))
            }
            (_, command) => self.outlet.send(command),
        }
    }
}
