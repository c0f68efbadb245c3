//! One short story for each rule of delivery (R…) and for the security rules (S…) that live in the engine: production
//! code over the fake kernel, time turned by hand.

#![allow(clippy::unwrap_used, reason = "a test ends where it is wrong")]

mod deadlines;
mod gaps;
mod handover;
mod order;
mod publishing;
mod rig;
mod slow;
mod sockets;
