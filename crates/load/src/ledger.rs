//! The ledger: which message was published, who has seen it, and what went wrong.
//!
//! Several publishers race, so the generator cannot know in which order the server will place their messages. It
//! knows what order means, though (promise 1): every subscriber sees the *same* order. The first subscriber to see
//! a message writes it down as the next of that order, and everybody is held to it, byte for byte and place for
//! place. That a publisher's own messages keep their order is checked where they enter it.

/// Counts one run. Memory: 16 bytes a message and 32 a subscriber; time: a few loads a delivery.
#[derive(Default)]
pub struct Ledger {
    /// The order that everybody must see: place -> message.
    order: Vec<u32>,
    /// Message -> place, or [`UNSEEN`].
    places: Vec<u32>,
    /// Message -> who published it.
    publishers: Vec<u32>,
    /// Message -> subscribers that have yet to see it.
    waiting: Vec<u32>,
    /// Publisher -> its newest message in the order.
    newest: Vec<u32>,
    readers: Vec<Reader>,
    delivered: u64,
    /// Deliveries that are no longer due, since their message was refused.
    excused: u64,
    complete: usize,
    wrong: Wrong,
}

/// Where one subscriber stands.
#[derive(Default)]
struct Reader {
    /// The place of the next message it must see.
    next: usize,
    /// What it skipped, by number. Empty in a healthy run.
    skipped: Vec<u32>,
}

/// What went wrong, in deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Wrong {
    /// Published and not seen.
    pub lost: u64,
    /// Seen again.
    pub duplicated: u64,
    /// Seen after a message that others saw later, or after a later message of its own publisher.
    pub out_of_order: u64,
    /// Seen, and never published.
    pub corrupt: u64,
}

const UNSEEN: u32 = u32::MAX;
/// Stands for a publisher until [`Ledger::attribute`] tells.
const UNKNOWN: u32 = u32::MAX;

impl Ledger {
    /// Adds subscribers; all messages from now on are due to them.
    pub fn expect_readers(&mut self, count: usize) {
        self.readers.resize_with(count, Reader::default);
    }

    /// Writes down that `publisher` sends a message, and gives it its number.
    pub fn publish(&mut self, publisher: usize) -> u32 {
        let number = self.places.len() as u32;
        self.places.push(UNSEEN);
        self.publishers.push(publisher as u32);
        self.waiting.push(self.readers.len() as u32);
        number
    }

    /// Writes down that the first `count` messages were sent, by whom [`Ledger::attribute`] tells at the end.
    pub fn publish_to(&mut self, count: usize) {
        if count > self.places.len() {
            self.places.resize(count, UNSEEN);
            self.publishers.resize(count, UNKNOWN);
            self.waiting.resize(count, self.readers.len() as u32);
        }
    }

    /// Tells who published each message, and holds publishers to the order of their own.
    pub fn attribute(&mut self, publisher_of: impl Fn(u32) -> usize) {
        self.newest.clear();
        for place in 0..self.order.len() {
            let number = self.order[place];
            self.publishers[number as usize] = publisher_of(number) as u32;
            self.hold_to_own_order(number);
        }
    }

    /// Writes down that message `number` was refused: nobody has to see it.
    pub fn refuse(&mut self, number: u32) {
        if let Some(waiting) = self.waiting.get_mut(number as usize).filter(|waiting| **waiting > 0) {
            self.excused += u64::from(std::mem::take(waiting));
            self.complete += 1;
        }
    }

    /// Holds this ledger to the order of another one, whose readers heard the same channel.
    pub fn agree(&mut self, other: &Ledger) {
        let mut newest = 0;
        for number in &self.order {
            // What only one of them saw has no place to compare.
            let Some(&place) = other.places.get(*number as usize).filter(|place| **place != UNSEEN) else {
                continue;
            };
            self.wrong.out_of_order += u64::from(place < newest);
            newest = newest.max(place);
        }
    }

    /// Writes down that `reader` saw message `number`. True if it had not before.
    pub fn deliver(&mut self, reader: usize, number: u32) -> bool {
        let Some(&place) = self.places.get(number as usize) else {
            self.wrong.corrupt += 1;
            return false;
        };
        let place = if place == UNSEEN { self.append(number) } else { place as usize };
        let at = &mut self.readers[reader];
        if place < at.next {
            let Some(index) = at.skipped.iter().position(|&skipped| skipped == number) else {
                self.wrong.duplicated += 1;
                return false;
            };
            at.skipped.swap_remove(index);
            self.wrong.out_of_order += 1;
        } else {
            at.skipped.extend_from_slice(&self.order[at.next..place]);
            at.next = place + 1;
        }
        self.delivered += 1;
        self.waiting[number as usize] -= 1;
        if self.waiting[number as usize] == 0 {
            self.complete += 1;
        }
        true
    }

    /// Whether every subscriber has seen the first `count` messages, in the order of their publishing.
    pub fn is_complete_to(&self, count: usize) -> bool {
        self.waiting.iter().take(count).all(|waiting| *waiting == 0)
    }

    /// Messages published.
    pub fn published(&self) -> usize {
        self.places.len()
    }

    /// Counts bytes that hold no message that was ever published.
    pub fn corrupt(&mut self) {
        self.wrong.corrupt += 1;
    }

    /// Messages published and not yet seen by every subscriber.
    pub fn outstanding(&self) -> usize {
        self.places.len() - self.complete
    }

    /// Deliveries so far, each counted once.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// What went wrong, if nothing more arrives.
    pub fn wrong(&self) -> Wrong {
        let due = self.places.len() as u64 * self.readers.len() as u64;
        Wrong { lost: due - self.delivered - self.excused, ..self.wrong }
    }

    fn append(&mut self, number: u32) -> usize {
        let place = self.order.len();
        self.order.push(number);
        self.places[number as usize] = place as u32;
        if self.publishers[number as usize] != UNKNOWN {
            self.hold_to_own_order(number);
        }
        place
    }

    fn hold_to_own_order(&mut self, number: u32) {
        let publisher = self.publishers[number as usize] as usize;
        if self.newest.len() <= publisher {
            self.newest.resize(publisher + 1, 0);
        }
        if number < self.newest[publisher] {
            self.wrong.out_of_order += 1;
        }
        self.newest[publisher] = self.newest[publisher].max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes `count` messages round robin from two publishers and replays what each reader saw.
    fn check(count: usize, seen: &[&[u32]], expected: Wrong) {
        let mut ledger = Ledger::default();
        ledger.expect_readers(seen.len());
        for number in 0..count {
            ledger.publish(number % 2);
        }
        for (reader, numbers) in seen.iter().enumerate() {
            for &number in *numbers {
                ledger.deliver(reader, number);
            }
        }
        assert_eq!(ledger.wrong(), expected);
    }

    #[test]
    fn publishers_may_overtake_each_other_when_everybody_sees_it_so() {
        check(4, &[&[1, 0, 2, 3], &[1, 0, 2, 3]], Wrong::default());
    }

    #[test]
    fn subscribers_who_differ_are_out_of_order() {
        check(3, &[&[0, 1, 2], &[1, 0, 2]], Wrong { out_of_order: 1, ..Wrong::default() });
    }

    #[test]
    fn a_publisher_that_overtakes_itself_is_out_of_order() {
        check(3, &[&[2, 1, 0]], Wrong { out_of_order: 1, ..Wrong::default() });
    }

    #[test]
    fn a_hole_and_a_missing_tail_are_lost() {
        check(4, &[&[0, 1, 2, 3], &[0, 2]], Wrong { lost: 2, ..Wrong::default() });
    }

    #[test]
    fn what_nobody_saw_is_lost_to_all() {
        check(2, &[&[0], &[0], &[0]], Wrong { lost: 3, ..Wrong::default() });
    }

    #[test]
    fn a_message_seen_again_is_a_duplicate_and_replaces_nothing() {
        check(2, &[&[0, 0, 1], &[0, 0]], Wrong { duplicated: 2, lost: 1, ..Wrong::default() });
    }

    #[test]
    fn a_message_never_published_is_corrupt() {
        check(1, &[&[0, 7]], Wrong { corrupt: 1, ..Wrong::default() });
    }

    #[test]
    fn who_published_may_be_told_at_the_end() {
        let mut ledger = Ledger::default();
        ledger.expect_readers(1);
        ledger.publish_to(4);
        for number in [1, 0, 3, 2] {
            ledger.deliver(0, number);
        }
        ledger.attribute(|number| number as usize % 2);
        assert_eq!(ledger.wrong(), Wrong::default());
        ledger.attribute(|number| number as usize / 2);
        assert_eq!(ledger.wrong(), Wrong { out_of_order: 2, ..Wrong::default() });
    }

    #[test]
    fn a_refused_message_is_due_to_nobody_whether_or_not_some_saw_it() {
        let mut ledger = Ledger::default();
        ledger.expect_readers(2);
        ledger.publish_to(3);
        ledger.deliver(0, 0);
        for number in [0, 1, 1, 9] {
            ledger.refuse(number);
        }
        assert_eq!(ledger.wrong(), Wrong { lost: 2, ..Wrong::default() });
        assert_eq!(ledger.outstanding(), 1);
    }

    #[test]
    fn ledgers_of_one_channel_have_to_agree_about_what_both_saw() {
        let of = |numbers: &[u32]| {
            let mut ledger = Ledger::default();
            ledger.expect_readers(1);
            ledger.publish_to(4);
            for number in numbers {
                ledger.deliver(0, *number);
            }
            ledger
        };
        let mut one = of(&[1, 0, 2, 3]);
        one.agree(&of(&[1, 0, 3]));
        assert_eq!(one.wrong(), Wrong::default());
        one.agree(&of(&[0, 1, 2, 3]));
        assert_eq!(one.wrong(), Wrong { out_of_order: 1, ..Wrong::default() });
    }

    #[test]
    fn a_message_is_outstanding_until_the_last_subscriber_has_it() {
        let mut ledger = Ledger::default();
        ledger.expect_readers(2);
        let number = ledger.publish(0);
        ledger.deliver(0, number);
        assert_eq!(ledger.outstanding(), 1);
        ledger.deliver(1, number);
        assert_eq!(ledger.outstanding(), 0);
    }
}
