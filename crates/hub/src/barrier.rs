//! The barrier: what holds for an outlet whose inbox was full (delivery rule R13).

use std::sync::Arc;

use crate::deliver::Outlet;

/// An outlet as the sequencer sees it.
pub(crate) struct Feed {
    pub(crate) outlet: Arc<dyn Outlet>,
    /// While a barrier is up: every message up to this seq has entered the inbox, and none above it. Nothing is
    /// buffered meanwhile, since the log is the buffer.
    pub(crate) held_after: Option<u64>,
}

/// The outlets of a partition.
#[derive(Default)]
pub(crate) struct Feeds {
    feeds: Vec<Feed>,
    pub(crate) barriers: u64,
}

impl Feeds {
    pub(crate) fn attach(&mut self, outlet: Arc<dyn Outlet>) -> usize {
        self.feeds.push(Feed { outlet, held_after: None });
        self.feeds.len() - 1
    }

    pub(crate) fn get(&self, index: usize) -> &Feed {
        &self.feeds[index]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.iter()
    }

    pub(crate) fn hold(&mut self, index: usize, after: u64) {
        self.feeds[index].held_after = Some(after);
        self.barriers += 1;
    }

    /// Holds an outlet at what it has been fed, or at less.
    pub(crate) fn hold_at(&mut self, index: usize, after: u64) {
        self.feeds[index].held_after = Some(after);
    }

    /// Holds every outlet that is not held yet.
    pub(crate) fn hold_all(&mut self, after: u64) {
        for index in 0..self.feeds.len() {
            if self.feeds[index].held_after.is_none() {
                self.hold(index, after);
            }
        }
    }

    pub(crate) fn lift(&mut self, index: usize) -> Option<u64> {
        self.feeds[index].held_after.take()
    }

    /// Up to where an outlet has been fed: the head, unless it is held back.
    pub(crate) fn fed(&self, index: usize, head: u64) -> u64 {
        self.feeds[index].held_after.unwrap_or(head)
    }

    /// The lowest seq that an outlet still waits behind.
    pub(crate) fn lowest_held(&self) -> Option<u64> {
        self.feeds.iter().filter_map(|feed| feed.held_after).min()
    }
}
