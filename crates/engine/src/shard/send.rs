//! Sending: what the sockets of a slice have waiting leaves together (delivery rules R24 and R25).
//!
//! ```text
//! picked slots ──▶ shares: one frame as it lies, or many side by side ──▶ Kernel::write_many ──▶ what each took
//! ```
//!
//! Sketch: a batch of a channel's subscribers lends out one and the same frame. Where several frames wait, they are
//! copied side by side once, for all neighbours in the batch that wait for the same ones.

use std::io;
use std::ops::Range;

use crate::kernel::{Kernel, Write};

use super::lanes::Lane;
use super::slot::{Form, Slots};
use super::turn::Shard;

/// Sockets that are written together at most.
pub(super) const BATCH: usize = 256;

/// Waiting frames of one socket are copied side by side up to this.
const GATHERED_BYTES: usize = 64 << 10;

/// The same for all sockets that are written together; those for which there is no room left wait for the next time.
const OUTWARD_BYTES: usize = 4 * GATHERED_BYTES;

/// Sockets picked to be written, and the lists that writing them needs.
#[derive(Default)]
pub(super) struct Batch {
    /// Each once. Their slots count as standing in their lanes meanwhile.
    pub(super) picked: Vec<u32>,
    /// What each is offered.
    shares: Vec<Share>,
    /// Frames side by side.
    outward: Vec<u8>,
    outcomes: Vec<io::Result<usize>>,
}

/// What a socket is offered.
enum Share {
    /// The only frame that waits, or what is left of it.
    Frame,
    /// Several, gathered.
    Gathered(Range<usize>),
}

impl<K: Kernel> Shard<K> {
    /// Writes every socket that was picked, once.
    pub(super) fn send(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.picked.retain(|index| self.slots.at(*index).socket.is_some());
        let Batch { picked, shares, outward, outcomes } = &mut batch;
        let mut left = &picked[..];
        while !left.is_empty() {
            lay_out(&self.slots, left, shares, outward);
            let (now, later) = left.split_at(shares.len());
            let calls = write(&mut self.kernel, &self.slots, (now, shares, outward), outcomes);
            self.counters.write_calls.add(calls);
            for ((index, share), outcome) in now.iter().zip(&*shares).zip(outcomes.drain(..)) {
                let gathered = match share {
                    Share::Frame => None,
                    Share::Gathered(range) => Some(range.len()),
                };
                self.sent(*index, gathered, outcome);
            }
            left = later;
        }
        batch.picked.clear();
        self.batch = batch;
    }

    /// Takes note of what one socket took, of its first frame or of what was gathered.
    fn sent(&mut self, index: u32, gathered: Option<usize>, outcome: io::Result<usize>) {
        let now = self.clock.tick();
        let slot = self.slots.at(index);
        slot.lane = Lane::None;
        match outcome {
            Ok(count) => {
                let offered = gathered.unwrap_or_else(|| slot.queue.first_bytes().map_or(0, <[u8]>::len));
                self.counters.writes.add(1);
                self.counters.bytes_out.add(count as u64);
                slot.queue.advance(count, now);
                if matches!(slot.form, Form::Sse(..)) {
                    slot.beat = now;
                }
                slot.blocked = count < offered;
                if slot.blocked {
                    self.counters.writes_short.add(1);
                } else if !slot.queue.is_empty() {
                    // More than one write's worth: behind everybody else.
                    return self.line_up(index, Lane::Broad);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => slot.blocked = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return self.line_up(index, Lane::Broad);
            }
            Err(_) => return self.doom(index),
        }
        self.written(index);
    }
}

impl Batch {
    /// Gives back the room that a storm needed.
    pub(super) fn slim(&mut self) {
        self.outward.clear();
        self.outward.shrink_to(GATHERED_BYTES);
    }
}

/// Decides what each socket is offered, for as many of them as there is room.
fn lay_out<S>(slots: &Slots<S>, picked: &[u32], shares: &mut Vec<Share>, outward: &mut Vec<u8>) {
    shares.clear();
    outward.clear();
    let mut last: Option<(u32, Range<usize>)> = None;
    for index in picked {
        let queue = &slots.peek(*index).queue;
        if queue.is_single() {
            shares.push(Share::Frame);
            continue;
        }
        let same = last.as_ref().filter(|(other, _)| slots.peek(*other).queue.is_like(queue));
        let range = match same {
            Some((_, range)) => range.clone(),
            None if OUTWARD_BYTES - outward.len() < GATHERED_BYTES => return,
            None => {
                let start = outward.len();
                gather(outward, queue.slices());
                start..outward.len()
            }
        };
        last = Some((*index, range.clone()));
        shares.push(Share::Gathered(range));
    }
}

/// Copies waiting frames side by side, so that many small ones cost one plain write.
fn gather<'q>(outward: &mut Vec<u8>, slices: impl Iterator<Item = &'q [u8]>) {
    let end = outward.len() + GATHERED_BYTES;
    for slice in slices {
        let room = end - outward.len();
        outward.extend_from_slice(&slice[..slice.len().min(room)]);
        if outward.len() == end {
            return;
        }
    }
}

/// Offers each socket its share. Returns how many system calls it took.
fn write<K: Kernel>(
    kernel: &mut K,
    slots: &Slots<K::Socket>,
    (picked, shares, outward): (&[u32], &[Share], &[u8]),
    outcomes: &mut Vec<io::Result<usize>>,
) -> u64 {
    let mut writes = Vec::with_capacity(picked.len());
    for (index, share) in picked.iter().zip(shares) {
        let slot = slots.peek(*index);
        let bytes = match share {
            Share::Frame => slot.queue.first_bytes(),
            Share::Gathered(range) => Some(&outward[range.clone()]),
        };
        if let (Some(socket), Some(bytes)) = (&slot.socket, bytes) {
            writes.push(Write { socket, bytes });
        }
    }
    debug_assert_eq!(writes.len(), picked.len(), "who is picked has a socket, and something to send");
    kernel.write_many(&writes, outcomes)
}
