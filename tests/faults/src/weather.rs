//! Weather: what a proxied connection goes through, each way.

/// Both ways of a connection. `up` is from who dialed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// From who dialed to who listens.
    pub up: Way,
    /// And back.
    pub down: Way,
}

/// One way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Whether bytes pass.
    pub flow: Flow,
    /// Every piece waits so long.
    pub latency_ms: u64,
    /// And up to so much longer.
    pub jitter_ms: u64,
    /// How fast; 0 is as fast as it goes.
    pub bytes_per_second: u64,
    /// Every byte in a write of its own.
    pub sliced: bool,
    /// After so many more bytes the connection is reset; 0 is never.
    pub reset_after: u64,
}

/// Whether bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They do.
    #[default]
    Pass,
    /// Nothing is read, so the window closes; what waits passes later. A slow path, a network that comes back.
    Hold,
    /// All is read and kept, the window stays open; it passes later.
    Hoard,
    /// All is read and thrown away, the FIN included: half-open for one side. There is no way back, so the connection is
    /// reset when the weather changes.
    Swallow,
}

impl Way {
    /// A way on which bytes go like this.
    #[must_use]
    pub fn flowing(flow: Flow) -> Way {
        Way { flow, ..Way::default() }
    }
}

impl Weather {
    /// The same both ways.
    #[must_use]
    pub fn both(way: Way) -> Weather {
        Weather { up: way, down: way }
    }

    /// Only towards who listens.
    #[must_use]
    pub fn up(way: Way) -> Weather {
        Weather { up: way, ..Weather::default() }
    }

    /// Only towards who dialed.
    #[must_use]
    pub fn down(way: Way) -> Weather {
        Weather { down: way, ..Weather::default() }
    }

    /// Whether bytes are thrown away.
    #[must_use]
    pub fn swallows(&self) -> bool {
        [self.up.flow, self.down.flow].contains(&Flow::Swallow)
    }
}
