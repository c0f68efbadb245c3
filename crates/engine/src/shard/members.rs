//! Members: which connections of this shard listen to which channel.
//!
//! A room is a channel with its members' slots, side by side in memory, since a delivery walks them all. Each member
//! knows its seat, so that leaving swaps the last member into it.

use std::collections::HashMap;

use smallvec::SmallVec;
use tidewire_hub::channel::Channel;

/// Where a connection sits, once for each of its channels.
pub(super) type Seats = SmallVec<[Seat; 1]>;

/// One seat in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) room: u32,
    pub(super) at: u32,
}

/// All rooms of a shard.
#[derive(Default)]
pub(super) struct Members {
    by_channel: HashMap<Channel, u32>,
    rooms: Vec<Option<Room>>,
    free: Vec<u32>,
}

struct Room {
    channel: Channel,
    slots: Vec<u32>,
}

impl Members {
    /// The members of a channel, as slots.
    pub(super) fn of(&self, channel: &Channel) -> &[u32] {
        let room = self.by_channel.get(channel).and_then(|room| self.rooms[*room as usize].as_ref());
        room.map_or(&[], |room| &room.slots)
    }

    /// The channel of a seat.
    pub(super) fn channel(&self, seat: Seat) -> &Channel {
        &self.rooms[seat.room as usize].as_ref().expect("a seat is in a room that exists").channel
    }

    /// Seats `slot` in the room of `channel`.
    pub(super) fn join(&mut self, channel: &Channel, slot: u32) -> Seat {
        let index = match self.by_channel.get(channel) {
            Some(index) => *index,
            None => self.open(channel),
        };
        let room = self.rooms[index as usize].as_mut().expect("an indexed room exists");
        room.slots.push(slot);
        Seat { room: index, at: room.slots.len() as u32 - 1 }
    }

    /// Empties a seat. Names the channel, and the slot that was moved into the seat, if another one was.
    pub(super) fn leave(&mut self, seat: Seat) -> (Channel, Option<u32>) {
        let room = self.rooms[seat.room as usize].as_mut().expect("a seat is in a room that exists");
        let channel = room.channel.clone();
        room.slots.swap_remove(seat.at as usize);
        let moved = room.slots.get(seat.at as usize).copied();
        if room.slots.is_empty() {
            self.rooms[seat.room as usize] = None;
            self.by_channel.remove(&channel);
            self.free.push(seat.room);
        } else if room.slots.len() * 4 < room.slots.capacity() {
            room.slots.shrink_to(room.slots.len() * 2);
        }
        (channel, moved)
    }

    fn open(&mut self, channel: &Channel) -> u32 {
        let room = Some(Room { channel: channel.clone(), slots: Vec::new() });
        let index = match self.free.pop() {
            Some(index) => {
                self.rooms[index as usize] = room;
                index
            }
            None => {
                self.rooms.push(room);
                self.rooms.len() as u32 - 1
            }
        };
        self.by_channel.insert(channel.clone(), index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_moves_the_last_member_into_the_seat() {
        let channel = Channel::parse("a").unwrap();
        let mut members = Members::default();
        let seats: Vec<Seat> = (10..13).map(|slot| members.join(&channel, slot)).collect();
        assert_eq!(members.of(&channel), [10, 11, 12]);
        assert_eq!(members.leave(seats[0]), (channel.clone(), Some(12)));
        assert_eq!(members.of(&channel), [12, 11]);
        assert_eq!(members.leave(seats[1]), (channel.clone(), None));
        assert_eq!(members.leave(seats[0]), (channel.clone(), None));
        assert!(members.of(&channel).is_empty() && members.by_channel.is_empty());
        assert_eq!(members.join(&channel, 1), Seat { room: 0, at: 0 }, "an empty room is used again");
    }
}
