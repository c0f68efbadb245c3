//! Who dialed: the process at the other end of a loopback connection, as `/proc` tells it. So one proxy in front of a
//! Redis can tell the nodes apart, and its replica from both.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

/// Who holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A node, by number.
    Node(usize),
    /// A Redis server, by number.
    Redis(usize),
    /// Anybody else.
    Other,
}

/// Processes that are known. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Owners(Arc<Mutex<Vec<(u32, Owner)>>>);

impl Owners {
    /// `process` is `owner` from now on.
    pub fn register(&self, process: u32, owner: Owner) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, other)| *other != owner);
        known.push((process, owner));
    }

    /// Who dialed `listener` from `port`, both of 127.0.0.1.
    #[must_use]
    pub fn of(&self, port: u16, listener: u16) -> Owner {
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let ends = [format!("0100007F:{port:04X}"), format!("0100007F:{listener:04X}")];
        let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let inode =
            row.filter(|row| row.len() > 9 && row[1] == ends[0] && row[2] == ends[1]).map(|row| row[9]);
        let Some(socket) = inode.map(|inode| format!("socket:[{inode}]")).next() else { return Owner::Other };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let holds = |process: u32| {
            let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            descriptors.flat_map(|entry| fs::read_link(entry.path())).any(|link| *link == *socket)
        };
        known.iter().find(|(process, _)| holds(*process)).map_or(Owner::Other, |(_, owner)| *owner)
    }
}
