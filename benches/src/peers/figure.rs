//! What is measured of a peer, as a table: the word in the raw figures, the words for people, and which way is better.

/// What is done to a peer.
#[derive(Debug)]
pub struct Scenario {
    /// In the raw figures and on the command line.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What happens, and what to know when reading it.
    pub story: &'static str,
    /// In the order of the columns. The table is sorted by the first.
    pub figures: &'static [Figure],
}

/// One column.
#[derive(Debug)]
pub struct Figure {
    /// In the raw figures.
    pub name: &'static str,
    /// For people, with the unit.
    pub title: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Whether it has a chart.
    pub is_drawn: bool,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Costs, delays, sizes.
    Less,
    /// Rates.
    More,
    /// It explains other figures, and nobody is better by it.
    Neither,
}

/// How busy the generator was: above [`BUSY_PERCENT`] a rate is its own.
pub const GENERATOR: &str = "generator";
/// See there.
pub const BUSY_PERCENT: f64 = 85.0;
/// What others took from the two cores: above [`OTHERS_PERCENT`] nothing is to be compared.
pub const OTHERS: &str = "others";
/// See there.
pub const OTHERS_PERCENT: f64 = crate::report::OTHERS_PERCENT;

/// All scenarios, in the order of the document.
pub static SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "fan",
        title: "One message to a thousand subscribers",
        story: "1 000 subscribers of one channel and 50 messages a second of 128 bytes, on a schedule that waits for nobody \
                (open loop). Latency runs from when a message should have left to when a subscriber had read it; a lost \
                delivery is infinitely late.",
        figures: &[
            drawn("cpu", "CPU seconds per million deliveries", Better::Less),
            column("p50", "p50, ms", Better::Neither),
            drawn("p99", "p99, ms", Better::Less),
            column("p99.9", "p99.9, ms", Better::Neither),
            column("max", "max, ms", Better::Neither),
            column(GENERATOR, "generator busy, %", Better::Neither),
        ],
    },
    Scenario {
        name: "saturate-4",
        title: "Saturated, four messages outstanding",
        story: "The same thousand subscribers; four messages published and not yet seen by everybody, at all times. Latency is \
                the server's queue here. More than one delivery a read means that messages travelled together: by the server's \
                choice, or because the generator came late.",
        figures: SATURATED,
    },
    Scenario {
        name: "saturate-16",
        title: "Saturated, sixteen messages outstanding",
        story: "The same with sixteen.",
        figures: SATURATED,
    },
    Scenario {
        name: "channels",
        title: "One message to one subscriber, over many channels",
        story: "1 000 channels with one subscriber each; 64 connections publish over all channels in turn, each its next message \
                once the last is answered. Nothing is pipelined.",
        figures: &[
            drawn("publishes", "publishes per second", Better::More),
            column("cpu", "CPU µs per publish", Better::Less),
            column(GENERATOR, "generator busy, %", Better::Neither),
        ],
    },
    Scenario {
        name: "idle",
        title: "Many connections at rest",
        story: "15 000 connections, 64 at a time between connect and head, all of them open while nothing happens; then all \
                leave. User memory is what the server's processes hold (`Pss`) beyond what they held when fresh. Kernel memory \
                (`Slab`) is that of the whole machine: both ends of every connection.",
        figures: &[
            drawn("user", "user KiB per connection", Better::Less),
            column("slab", "kernel KiB per connection, both ends", Better::Neither),
            column("kept", "user KiB per connection, kept after all left", Better::Less),
            column("fresh", "user MiB, fresh", Better::Neither),
            drawn("connect", "CPU µs per accepted connection", Better::Less),
            column("accepted", "accepted per second", Better::Neither),
        ],
    },
];

const SATURATED: &[Figure] = &[
    drawn("rate", "deliveries per second", Better::More),
    column("cpu", "CPU seconds per million deliveries", Better::Less),
    column("p99", "p99, ms", Better::Less),
    column("per read", "deliveries per read", Better::Neither),
    column(GENERATOR, "generator busy, %", Better::Neither),
];

impl Better {
    /// Whether `one` is better than `other`.
    pub fn prefers(self, one: f64, other: f64) -> bool {
        match self {
            Better::Less => one < other,
            Better::More => one > other,
            Better::Neither => false,
        }
    }
}

impl Scenario {
    /// The name of the file that a figure is drawn in.
    pub fn chart(&self, figure: &Figure) -> String {
        format!("{}-{}.svg", self.name, figure.name)
    }
}

const fn column(name: &'static str, title: &'static str, better: Better) -> Figure {
    Figure { name, title, better, is_drawn: false }
}

const fn drawn(name: &'static str, title: &'static str, better: Better) -> Figure {
    Figure { name, title, better, is_drawn: true }
}
