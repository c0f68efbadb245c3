//! What goes out in DATA frames.

use bytes::{Buf, Bytes};
use tidewire_engine::trunk::Owed;

/// Bytes that are on their way out. Dropped when they are in a frame, which is when whoever wrote them has room again.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Bytes,
    _owed: Option<Owed>,
}

impl Chunk {
    /// Of an outlet.
    pub(super) fn of_outlet(bytes: Bytes, owed: Owed) -> Chunk {
        Chunk { bytes, _owed: Some(owed) }
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        Chunk { bytes, _owed: None }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
