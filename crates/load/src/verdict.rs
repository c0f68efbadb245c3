//! What went wrong, from what each thread wrote down.

use std::collections::BTreeMap;

use crate::ledger::{Ledger, Wrong};
use crate::plan::Plan;
use crate::publishing::Sent;
use crate::readers::ChannelLedger;

/// Judges every delivery of a run that is over.
pub fn judge(plan: &Plan, sent: &Sent, seen: Vec<ChannelLedger>) -> Wrong {
    let mut by_channel: BTreeMap<usize, Vec<Ledger>> = BTreeMap::new();
    for ChannelLedger { channel, ledger } in seen {
        by_channel.entry(channel).or_default().push(ledger);
    }
    let mut refused: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for &number in &sent.refused {
        let (local, channel) = split(plan, number);
        refused.entry(channel).or_default().push(local);
    }
    let mut all = Wrong::default();
    for (channel, mut ledgers) in by_channel {
        let published = sent.publishers.len();
        let published = published / plan.channels + usize::from(channel < published % plan.channels);
        for ledger in &mut ledgers {
            ledger.publish_to(published);
            refused.get(&channel).into_iter().flatten().for_each(|number| ledger.refuse(*number));
        }
        let Some((first, others)) = ledgers.split_first_mut() else { continue };
        first.attribute(|local| {
            let number = local as usize * plan.channels + channel;
            sent.publishers.get(number).copied().unwrap_or(0).into()
        });
        for other in others {
            other.agree(first);
        }
        for Wrong { lost, duplicated, out_of_order, corrupt } in ledgers.iter().map(Ledger::wrong) {
            all.lost += lost;
            all.duplicated += duplicated;
            all.out_of_order += out_of_order;
            all.corrupt += corrupt;
        }
    }
    all
}

/// The number within its channel, and the channel.
fn split(plan: &Plan, number: u32) -> (u32, usize) {
    (number / plan.channels as u32, number as usize % plan.channels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;

    /// Two channels of two subscribers; `seen` holds what one ledger after the other was told.
    fn check(publishers: &[u16], refused: &[u32], seen: &[(usize, &[u32])], expected: Wrong) {
        let plan =
            Plan { subscribers: 4, channels: 2, ..Plan::new(Target::at("127.0.0.1:1".parse().unwrap())) };
        let sent = Sent { publishers: publishers.to_vec(), refused: refused.to_vec(), ..Sent::default() };
        let seen = seen.iter().map(|(channel, numbers)| {
            let mut ledger = Ledger::default();
            ledger.expect_readers(1);
            for number in *numbers {
                let (local, _) = split(&plan, *number);
                ledger.publish_to(local as usize + 1);
                ledger.deliver(0, local);
            }
            ChannelLedger { channel: *channel, ledger }
        });
        assert_eq!(judge(&plan, &sent, seen.collect()), expected);
    }

    #[test]
    fn every_thread_has_to_see_all_of_its_channels() {
        let all = [(0, &[0, 2, 4][..]), (1, &[1, 3]), (0, &[0, 2, 4]), (1, &[1, 3])];
        check(&[0, 1, 0, 1, 0], &[], &all, Wrong::default());
        let some = [(0, &[0, 4][..]), (1, &[1]), (0, &[0, 2, 4]), (1, &[])];
        check(&[0, 1, 0, 1, 0], &[], &some, Wrong { lost: 4, ..Wrong::default() });
    }

    #[test]
    fn what_was_refused_is_missed_by_nobody() {
        let seen = [(0, &[0][..]), (1, &[1, 3]), (0, &[0, 2]), (1, &[1, 3])];
        check(&[0, 1, 0, 1], &[2], &seen, Wrong::default());
    }

    #[test]
    fn threads_that_saw_another_order_and_publishers_that_overtook_themselves_are_told() {
        let differ = [(0, &[0, 2][..]), (0, &[2, 0])];
        check(&[0, 0, 1], &[], &differ, Wrong { out_of_order: 1, ..Wrong::default() });
        let overtaken = [(0, &[2, 0][..]), (0, &[2, 0])];
        check(&[0, 0, 0], &[], &overtaken, Wrong { out_of_order: 1, ..Wrong::default() });
    }
}
