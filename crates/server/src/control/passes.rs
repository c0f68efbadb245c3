//! Passes: subscriptions that the API server has let in itself, on their way through a pipe to an outlet. The console's
//! are: whoever is logged in there has a session, which is nothing that a gate knows. And those that an application decides
//! on: whom it asks about them comes along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::Grant;

use crate::inquiry::Inquiry;

/// What a subscription carries, in place of what a gate would say.
#[derive(Clone, Debug)]
pub enum Pass {
    /// It is in.
    Granted {
        /// Its rights.
        grant: Arc<Grant>,
        /// What it hears, in place of what its request names.
        channels: ChannelSet,
    },
    /// It goes the way of all others, and this is asked where that leads to the gate.
    Inquiry(Inquiry),
}

/// Passes that wait for their subscription to arrive: one a request that is being relayed.
#[derive(Debug, Default)]
pub struct Passes {
    waiting: Mutex<HashMap<u64, Pass>>,
    last: AtomicU64,
}

impl Passes {
    /// Gives out a pass. It is good once, and until what is given back is dropped.
    #[must_use]
    pub fn issue(self: &Arc<Passes>, pass: Pass) -> Issued {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.waiting().insert(number, pass);
        Issued { passes: self.clone(), number }
    }

    /// The pass of this number.
    #[must_use]
    pub fn redeem(&self, number: u64) -> Option<Pass> {
        self.waiting().remove(&number)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Pass>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that was given out.
#[derive(Debug)]
pub struct Issued {
    passes: Arc<Passes>,
    number: u64,
}

impl Issued {
    /// What it is known by, never 0. It stays within this process: no client can say it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.passes.waiting().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_good_once_and_not_beyond_its_request() {
        let passes = Arc::new(Passes::default());
        let pass = Pass::Granted {
            grant: Arc::new(Grant::everything()),
            channels: ChannelSet::parse("a", 1).unwrap(),
        };
        let issued = passes.issue(pass.clone());
        assert!(passes.redeem(issued.number()).is_some() && passes.redeem(issued.number()).is_none());
        let number = passes.issue(pass).number();
        assert!(number > 0 && passes.redeem(number).is_none(), "its request has gone");
    }
}
