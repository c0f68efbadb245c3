//! A made-up comparison, for the tests of whoever reads or shows one.

use crate::comparison::{Comparison, Setting};
use crate::measurement::{Cost, Faults, Latency, Measurement, Transport};

/// All four transports with each of these crowds, a message a second.
pub fn compared(crowds: &[u64]) -> Comparison {
    let runs = crowds
        .iter()
        .flat_map(|&clients| Transport::ALL.iter().map(move |&transport| measured(transport, clients)))
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

/// A made-up run of ten seconds: 128 bytes, a message a second, polls every five.
pub fn measured(transport: Transport, clients: u64) -> Measurement {
    let messages = 10;
    let deliveries = clients * messages;
    let (requests, up, down, p50_ms, p99_ms, cpu_us, memory) = match transport {
        Transport::Poll => (clients * 2, 140, 2_000, 2_500.0, 4_950.0, 60, 900.0),
        Transport::Longpoll => (clients * messages, 150, 480, 2.0, 9.0, 45, 1_100.0),
        Transport::Sse => (0, 0, 160, 1.0, 4.0, 6, 600.0),
        Transport::Ws => (0, 0, 132, 1.0, 4.0, 6, 600.0),
    };
    let asked = if requests == 0 { deliveries } else { requests };
    Measurement {
        transport,
        clients,
        rate: 1.0,
        published: messages,
        wall_s: 10.0,
        requests,
        empty: 0,
        bytes_up: requests * up,
        bytes_down: asked * down,
        deliveries,
        latency: Some(Latency { mean_ms: p50_ms, p50_ms, p99_ms }),
        server: Some(Cost { cpu_s: (asked * cpu_us) as f64 / 1e6, memory_per_client: Some(memory) }),
        cpu_spread: None,
        generator_busy: 0.3,
        late_itself: 0,
        faults: Faults::default(),
    }
}
