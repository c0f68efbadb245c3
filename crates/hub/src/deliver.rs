//! Delivery: what the control plane tells an outlet, and the contract of an outlet.

use std::sync::Arc;
use std::time::Duration;

use crate::admit::{Admit, Cause, ConnId, Loss};
use crate::grant::Grant;
use crate::limits::Limits;
use crate::message::Message;
use crate::position::Position;
use crate::presence::News;
use crate::reason::Reason;
use crate::revocation::Revocation;
use crate::survey::Survey;

/// What an outlet is told. It obeys in inbox order; nothing is sorted, nothing overtakes (delivery rule R2).
#[derive(Clone, Debug)]
pub enum Command {
    /// Let a connection in, or hand it the next page.
    Admit(Box<Admit>),
    /// Answer a connection's request with a refusal and end it.
    Refuse {
        /// Which connection.
        conn: ConnId,
        /// Why.
        reason: Reason,
        /// The same in the request's own terms.
        detail: Box<str>,
        /// See [`crate::admit::Subscribe::cause`].
        cause: Cause,
    },
    /// Send a message to every subscriber of its channel.
    Deliver(Arc<Message>),
    /// Tell every subscriber of these channels what was lost on them.
    Lost(Arc<Loss>),
    /// Every message up to here, on every channel this outlet is interested in, is in the inbox before this.
    Position(Position),
    /// The log goes on in another generation from this position on. Of what was queued in the one before, everything up to
    /// `survived` is part of it; who was told more has been told of the loss (delivery rule R17).
    Fence {
        /// Up to where this outlet has been fed.
        position: Position,
        /// The seq up to which the two are the same.
        survived: u64,
    },
    /// Tell the subscribers of a channel who may see its presence. One that finds the inbox full is not told.
    Presence(Arc<News>),
    /// Answer a connection's publish.
    Answer {
        /// Which connection.
        conn: ConnId,
        /// The whole response.
        answer: Vec<u8>,
        /// Whether the connection ends with it.
        ends: bool,
    },
    /// Send a control frame to a `tidewire.v1` WebSocket.
    Reply {
        /// Which connection.
        conn: ConnId,
        /// The JSON text.
        text: Box<str>,
    },
    /// Take channels away from a connection.
    Leave {
        /// Which connection.
        conn: ConnId,
        /// Which of its channels.
        channels: crate::channel::ChannelSet,
    },
    /// The messages of one `Received` are dealt with: read on.
    Continue {
        /// Which connection.
        conn: ConnId,
    },
    /// End a connection in an orderly way.
    Close {
        /// Which connection.
        conn: ConnId,
        /// Why.
        reason: Reason,
    },
    /// Give a connection other rights, and take away the channels that they do not hold for.
    Renew {
        /// Which connection.
        conn: ConnId,
        /// What it may do from now on.
        grant: Arc<Grant>,
        /// How long, from now; nothing where the rights do not end.
        lasts: Option<Duration>,
        /// The `id` of the frame that asked, as JSON.
        tag: Option<Box<str>>,
    },
    /// End every connection whose rights this revocation ends. Whoever is let in after it was recorded is in the inbox
    /// after it (security rule S26).
    Revoke(Arc<Revocation>),
    /// Tell who is connected.
    Survey(Arc<Survey>),
    /// Hold to other bounds from now on (a reload).
    Limit(Arc<Limits>),
    /// Stop accepting, and end every connection at a random moment within this time.
    Drain {
        /// How long the wave takes.
        within: Duration,
    },
}

/// The contract of an outlet: an inbox that any thread may put commands into.
pub trait Outlet: Send + Sync {
    /// Puts a command into the inbox and wakes the outlet. Never blocks.
    ///
    /// # Errors
    /// Only a [`Command::Deliver`] can find the inbox full, where the sequencer raises a barrier for this outlet
    /// (delivery rule R13), and a [`Command::Presence`], which is lost. Other commands answer one event of the outlet's
    /// own each, which bounds them, or come from the console, which sends one at a time.
    fn send(&self, command: Command) -> Result<(), Full>;
}

/// The inbox has no room for another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;
