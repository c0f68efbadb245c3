//! A made-up comparison for the tests of this folder.

use super::comparison::{Comparison, Setting};
use super::measurement::Transport;
use super::measurement::tests::measured;

/// All four transports with each of these crowds, a message a second.
pub(super) fn compared(crowds: &[u64]) -> Comparison {
    let transports = [Transport::Poll, Transport::Longpoll, Transport::Sse, Transport::Ws];
    let runs = crowds
        .iter()
        .flat_map(|&clients| transports.iter().map(move |&transport| measured(transport, clients)))
        .collect();
    let setting = Setting {
        url: None,
        size: 128,
        poll_interval_s: 5.0,
        seconds: 10,
        rounds: 1,
        crowd: 10_000,
        head_bytes: 0,
        machine: "a processor, 2 cores, Linux 6".into(),
        version: "Tidewire 0.1.0".into(),
        began_s: 1_800_000_000,
        command: "tidewire compare".into(),
    };
    Comparison { setting, runs }
}
