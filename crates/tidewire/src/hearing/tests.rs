use super::*;
use bytes::Bytes;
use tidewire_hub::admit::{Cause, Page, Transport};
use tidewire_hub::grant::Grant;
use tidewire_hub::message::Payload;

fn at(seq: u64) -> Position {
    Position { generation: Gen::from_random(1), seq }
}

fn message(channel: &str, seq: u64, bridged: bool) -> Arc<Message> {
    Arc::new(Message {
        channel: Channel::parse(channel).unwrap(),
        position: at(seq),
        prev: seq.saturating_sub(1),
        event: None,
        payload: Payload::text(Bytes::from(seq.to_string())).unwrap(),
        time_ms: 0,
        bridged,
        taken_us: 0,
        trace: None,
    })
}

fn admit(conn: ConnId, channels: &str, cursor: u64, messages: &[u64], joined: bool) -> Command {
    let page = Page {
        gap: None,
        start: None,
        messages: messages.iter().map(|seq| message("a", *seq, false)).collect(),
        cursor: at(cursor),
        more: !joined,
        whole: None,
        newest: at(cursor),
    };
    Command::Admit(Box::new(Admit {
        conn,
        transport: Transport::Ws,
        grant: Arc::new(Grant::everything()),
        channels: ChannelSet::parse(channels, 9).unwrap(),
        page,
        joined,
        cause: Cause::Page,
    }))
}

fn place(hearing: &Hearing, channels: &str, messages_max: usize) -> ConnId {
    let room = Room { messages_max, bytes_max: 1_000 };
    hearing.enter(ChannelSet::parse(channels, 9).unwrap(), room).unwrap()
}

/// What a place is told until there is nothing.
fn told(hearing: &Hearing, conn: ConnId) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        told.push(match hearing.step(conn, Waker::noop()) {
            Step::Take(Waiting::Message(message)) => message.position.seq.to_string(),
            Step::Take(Waiting::Gap(gap)) => {
                format!("gap {} {} {:?}", gap.reason.as_str(), gap.cursor.seq, gap.channels)
            }
            Step::Ask { after, leave } => format!("ask {} {leave}", after.seq),
            Step::Wait => return told,
            Step::End(error) => {
                told.push(error.map_or("end".to_owned(), |error| error.code().to_owned()));
                return told;
            }
        });
    }
}

#[test]
fn r3_a_place_hears_what_is_delivered_behind_its_page_and_nothing_twice() {
    let hearing = Hearing::default();
    let conn = place(&hearing, "a", 9);
    hearing.send(admit(conn, "a", 5, &[4, 5], true)).unwrap();
    for seq in [5, 6, 7] {
        hearing.send(Command::Deliver(message("a", seq, false))).unwrap();
    }
    hearing.send(Command::Deliver(message("b", 8, false))).unwrap();
    assert_eq!(told(&hearing, conn), ["4", "5", "6", "7"]);
    assert_eq!(hearing.position(conn), Some(at(8)), "it has heard all that there is up to here");
}

#[test]
fn r10_a_page_that_was_not_all_is_followed_by_the_next_one() {
    let hearing = Hearing::default();
    let conn = place(&hearing, "a", 9);
    hearing.send(admit(conn, "a", 2, &[1, 2], false)).unwrap();
    assert_eq!(told(&hearing, conn), ["1", "2", "ask 2 false"]);
    hearing.send(admit(conn, "a", 3, &[3], true)).unwrap();
    assert_eq!(told(&hearing, conn), ["3"]);
}

#[test]
fn r14_a_place_that_is_full_goes_on_from_the_log_behind_the_last_that_it_had_room_for() {
    let hearing = Hearing::default();
    let conn = place(&hearing, "a", 2);
    hearing.send(admit(conn, "a", 0, &[], true)).unwrap();
    for seq in 1..=5 {
        hearing.send(Command::Deliver(message("a", seq, false))).unwrap();
    }
    assert_eq!(told(&hearing, conn), ["1", "2", "ask 2 true"]);
    hearing.send(Command::Deliver(message("a", 6, false))).unwrap();
    assert_eq!(told(&hearing, conn), [""; 0], "it has no seat before the broker has answered");
}

#[test]
fn what_no_log_keeps_is_a_gap_where_there_was_no_room_for_it() {
    let hearing = Hearing::default();
    let conn = place(&hearing, "a,b", 1);
    hearing.send(admit(conn, "a,b", 0, &[], true)).unwrap();
    hearing.send(Command::Deliver(message("a", 1, false))).unwrap();
    hearing.send(Command::Deliver(message("b", 1, true))).unwrap();
    hearing.send(Command::Deliver(message("a", 2, false))).unwrap();
    assert_eq!(told(&hearing, conn), ["1", "gap slow_consumer 1 [\"b\"]", "ask 1 true"]);
}

#[test]
fn r13_a_loss_is_told_to_whom_it_concerns() {
    let hearing = Hearing::default();
    let (early, late) = (place(&hearing, "a,b", 9), place(&hearing, "a", 9));
    hearing.send(admit(early, "a,b", 3, &[], true)).unwrap();
    hearing.send(admit(late, "a", 9, &[], true)).unwrap();
    let channels = [(Channel::parse("a").unwrap(), 7)].into();
    let loss = Loss { reason: GapReason::Failover, channels, cursor: at(8) };
    hearing.send(Command::Lost(Arc::new(loss))).unwrap();
    assert_eq!(told(&hearing, early), ["gap failover 8 [\"a\"]"]);
    assert_eq!(told(&hearing, late), [""; 0]);
}

#[test]
fn r12_what_was_counted_for_a_place_that_has_gone_is_given_back_once() {
    let hearing = Hearing::default();
    let given = Arc::new(Mutex::new(Vec::new()));
    let back = given.clone();
    hearing.give_back_with(move |channels| back.lock().unwrap().push(channels));
    let conn = place(&hearing, "a", 9);
    assert_eq!(hearing.leave(conn), None, "it has not joined");
    hearing.send(admit(conn, "a", 0, &[], true)).unwrap();
    assert_eq!(given.lock().unwrap().len(), 1);
    let conn = place(&hearing, "a", 9);
    hearing.send(admit(conn, "a", 0, &[], true)).unwrap();
    assert_eq!(hearing.leave(conn).map(|channels| channels.len()), Some(1));
    assert_eq!((hearing.count(), given.lock().unwrap().len()), (0, 1));
}

#[test]
fn r23_a_drain_lets_everybody_take_what_waits_and_lets_nobody_in() {
    let hearing = Hearing::default();
    let conn = place(&hearing, "a", 9);
    hearing.send(admit(conn, "a", 0, &[], true)).unwrap();
    hearing.send(Command::Deliver(message("a", 1, false))).unwrap();
    hearing.send(Command::Drain { within: std::time::Duration::ZERO }).unwrap();
    hearing.send(Command::Deliver(message("a", 2, false))).unwrap();
    assert_eq!(told(&hearing, conn), ["1", "end"]);
    let room = Room { messages_max: 1, bytes_max: 1 };
    let refused = hearing.enter(ChannelSet::parse("a", 1).unwrap(), room).unwrap_err();
    assert_eq!(refused.code(), "draining");
}
