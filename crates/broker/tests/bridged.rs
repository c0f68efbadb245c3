//! Bridged channels: what every broker does with messages that come from elsewhere.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::sync::{Arc, Mutex};

use tidewire_broker::memory::{Memory, Options};
use tidewire_hub::admit::{
    Admit, Cause, ConnId, Gap, GapReason, Join, Loss, OutletId, Page, Subscribe, Transport,
};
use tidewire_hub::bridge::{Bridged, Relay};
use tidewire_hub::broker::{Broker, Now};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, POLL_PAGE, PageLimit, Retention, Retentions, STREAM_PAGE};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Cursor, Gen, Position, Start};
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;

const NOW: Now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000, micros: 0 };

/// A broker that bridges `events` and `jobs`, with one outlet.
struct Bench {
    broker: Memory,
    outlet: OutletId,
    inbox: Arc<Inbox>,
}

#[derive(Default)]
struct Inbox {
    commands: Mutex<Vec<Command>>,
    /// Messages that still fit.
    room: Mutex<Option<usize>>,
}

impl Outlet for Inbox {
    fn send(&self, command: Command) -> Result<(), Full> {
        if let (Command::Deliver(_), Some(room)) = (&command, &mut *self.room.lock().unwrap()) {
            *room = room.checked_sub(1).ok_or(Full)?;
        }
        self.commands.lock().unwrap().push(command);
        Ok(())
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::keeping(1_000)
    }

    fn keeping(messages_max: usize) -> Bench {
        let kept = Retention { messages_max, ..Retention::default() };
        let options = Options {
            limits: Arc::new(Limits::default()),
            retentions: Retentions::new(kept, []),
            generation: Gen::from_random(0x5eed),
            revocations: Arc::default(),
        };
        let broker = Memory::new(&options).bridging(Bridged::new(&["events", "jobs"].map(channel), &[]));
        let inbox = Arc::new(Inbox::default());
        Bench { outlet: broker.attach(inbox.clone()), broker, inbox }
    }

    fn publish(&self, name: &str, text: &str) -> Result<Position, Reason> {
        let payload = Payload::text(text.to_owned().into()).unwrap();
        let (channel, publisher) = (channel(name), "test".into());
        let publish = Publish { channel, event: None, payload, key: None, publisher, trace: None };
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        self.broker.publish(publish, NOW, Box::new(move |result| *told.lock().unwrap() = Some(result)));
        let outcome = outcome.lock().unwrap().take();
        outcome.unwrap().map(|receipt| receipt.position.unwrap())
    }

    fn relay(&self, name: &str, text: &str) {
        self.broker.relay(&channel(name), Payload::text(text.to_owned().into()).unwrap(), NOW);
    }

    fn subscribe(&self, names: &str, start: Start, join: Join, page: PageLimit) -> Admit {
        let subscribe = Subscribe {
            outlet: self.outlet,
            conn: ConnId(7),
            transport: Transport::Sse,
            grant: Arc::new(Grant::everything()),
            channels: ChannelSet::parse(names, 100).unwrap(),
            start,
            page,
            join,
            cause: Cause::Arrival(Box::default()),
        };
        self.broker.subscribe(subscribe, NOW);
        match self.take().pop() {
            Some(Command::Admit(admit)) => *admit,
            other => panic!("expected an Admit, got {other:?}"),
        }
    }

    fn stream(&self, names: &str, start: Start) -> Admit {
        self.subscribe(names, start, Join::WhenCaughtUp, STREAM_PAGE)
    }

    fn read(&self, names: &str, start: Start) -> Page {
        self.subscribe(names, start, Join::Never, POLL_PAGE).page
    }

    fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.inbox.commands.lock().unwrap())
    }

    /// What has entered the inbox, each in a word.
    fn told(&self) -> Vec<String> {
        let word = |command: Command| match command {
            Command::Deliver(message) => {
                let id = message.id().map_or("-".into(), |id| id.seq.to_string());
                format!("{id} {}", message.payload.as_text().unwrap())
            }
            Command::Lost(loss) => lost(&loss),
            other => panic!("unexpected {other:?}"),
        };
        self.take().into_iter().map(word).collect()
    }

    fn fits(&self, messages: usize) {
        *self.inbox.room.lock().unwrap() = Some(messages);
    }

    /// The outlet has emptied its inbox.
    fn emptied(&self) {
        *self.inbox.room.lock().unwrap() = None;
        self.broker.catch_up(self.outlet, NOW);
    }
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

fn after(position: Position) -> Start {
    Start::After(Cursor::At(position))
}

fn lost(loss: &Loss) -> String {
    let everybody = loss.channels.values().all(|seq| *seq == Loss::EVERYBODY);
    let names: Vec<&str> = loss.channels.keys().map(Channel::as_str).collect();
    let whom = if everybody { "everybody" } else { "some" };
    format!("{} {} {whom} at {}", loss.reason.as_str(), names.join(","), loss.cursor.seq)
}

fn gap(page: &Page) -> Option<(GapReason, String, u64)> {
    let Gap { channels, reason, cursor } = page.gap.clone()?;
    let names: Vec<&str> = channels.iter().map(Channel::as_str).collect();
    Some((reason, names.join(","), cursor.seq))
}

#[test]
fn r8_a_relayed_message_goes_to_who_listens_and_takes_no_place() {
    let bench = Bench::new();
    bench.relay("events", "nobody hears this");
    bench.stream("events,orders", Start::Live);
    bench.publish("orders", "a").unwrap();
    bench.relay("events", "b");
    bench.relay("jobs", "of no interest");
    bench.relay("orders", "not bridged");
    bench.publish("orders", "c").unwrap();
    assert_eq!(bench.told(), ["1 a", "- b", "2 c"]);
    let page = bench.read("events,orders", Start::Earliest);
    assert_eq!((page.messages.len(), page.cursor.seq), (2, 2), "and none is kept");
}

#[test]
fn r8_nothing_is_placed_on_a_bridged_channel() {
    let bench = Bench::new();
    assert_eq!(bench.publish("events", "a"), Err(Reason::Forbidden));
    assert_eq!(bench.publish("orders", "b").unwrap().seq, 1);
}

#[test]
fn r8_who_comes_back_to_a_bridged_channel_with_any_cursor_is_told_of_a_gap() {
    let bench = Bench::new();
    let seen = bench.publish("orders", "a").unwrap();
    bench.publish("orders", "b").unwrap();
    let transient = |names: &str, seq| Some((GapReason::Transient, names.to_owned(), seq));
    let page = bench.stream("events", after(seen)).page;
    assert_eq!((gap(&page), page.start), (transient("events", 1), Some(seen)));
    assert_eq!(page.whole, None, "no cursor is a way back without a gap");
    assert_eq!(
        gap(&bench.read("events,jobs", Start::After(Cursor::Unreadable))),
        transient("events,jobs", 2)
    );
    let page = bench.stream("events,orders", after(seen)).page;
    assert_eq!((gap(&page), page.messages.len()), (transient("events", 1), 1), "orders has lost nothing");
}

#[test]
fn r8_a_start_without_a_cursor_misses_nothing() {
    let bench = Bench::new();
    bench.publish("orders", "a").unwrap();
    for start in [Start::Live, Start::Earliest, Start::Tail(5)] {
        let admit = bench.stream("events,orders", start);
        assert_eq!((gap(&admit.page), admit.joined), (None, true), "{start:?}");
    }
}

#[test]
fn r5_a_gap_of_the_log_names_the_bridged_channels_too() {
    let bench = Bench::keeping(1);
    let seen = bench.publish("orders", "a").unwrap();
    for text in ["b", "c"] {
        bench.publish("orders", text).unwrap();
    }
    let trimmed = Some((GapReason::Trimmed, "orders,events".to_owned(), 2));
    assert_eq!(gap(&bench.read("events,orders", after(seen))), trimmed);
    let elsewhere = Position { generation: Gen::from_random(1), ..seen };
    let epoch = Some((GapReason::Epoch, "orders,events".to_owned(), 2));
    assert_eq!(gap(&bench.read("events,orders", after(elsewhere))), epoch);
}

#[test]
fn r10_who_catches_up_in_pages_is_told_with_the_page_that_joins() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.publish("orders", "x").unwrap();
    }
    let page = PageLimit { messages_max: 2, bytes_max: 1_000 };
    let next = |start| {
        let admit = bench.subscribe("events,orders", start, Join::WhenCaughtUp, page);
        (gap(&admit.page), admit.joined, admit.page.cursor)
    };
    let (first, joined, cursor) = next(Start::Earliest);
    assert_eq!((first, joined), (None, false));
    bench.relay("events", "missed, for it has not joined");
    let (last, joined, _) = next(after(cursor));
    assert_eq!((last, joined), (Some((GapReason::Transient, "events".into(), 2)), true));
}

#[test]
fn a_long_poll_with_a_cursor_waits_and_is_told_of_the_gap_with_its_answer() {
    let bench = Bench::new();
    let seen = bench.publish("orders", "a").unwrap();
    let poll = |names: &str, start| bench.subscribe(names, start, Join::WhenEmpty, POLL_PAGE);
    let waits = poll("events,orders", after(seen));
    assert_eq!((gap(&waits.page).unwrap().0, waits.joined), (GapReason::Transient, true));
    assert!(poll("events", Start::After(Cursor::Unreadable)).joined);
    assert!(!poll("events,orders", Start::After(Cursor::Unreadable)).joined, "the log has something to say");
}

#[test]
fn a_disturbance_is_told_to_who_listens_to_a_bridged_channel() {
    let bench = Bench::new();
    bench.publish("orders", "a").unwrap();
    bench.stream("events,orders", Start::Live);
    bench.broker.disturbed(&["events", "jobs", "orders"].map(channel));
    assert_eq!(bench.told(), ["transient events everybody at 1"]);
    bench.broker.leave(bench.outlet, Transport::Sse, &["events", "orders"].map(channel), NOW);
    bench.broker.disturbed(&[channel("events")]);
    assert!(bench.told().is_empty());
}

#[test]
fn r13_what_finds_a_full_inbox_is_announced_in_its_place_and_once() {
    let bench = Bench::new();
    bench.stream("events,orders", Start::Live);
    bench.fits(1);
    for text in ["a", "b", "c"] {
        bench.relay("events", text);
    }
    assert_eq!(bench.told(), ["- a", "transient events everybody at 0"]);
    bench.emptied();
    bench.relay("events", "d");
    bench.fits(0);
    bench.relay("events", "e");
    assert_eq!(bench.told(), ["- d", "transient events everybody at 0"], "a second loss is another gap");
}

#[test]
fn r13_a_loss_behind_a_barrier_names_no_place_that_the_outlet_has_not_reached() {
    let bench = Bench::new();
    bench.stream("events,orders", Start::Live);
    bench.fits(1);
    for text in ["a", "b"] {
        bench.publish("orders", text).unwrap();
    }
    bench.relay("events", "c");
    bench.broker.disturbed(&[channel("events")]);
    let at_the_barrier = "transient events everybody at 1";
    assert_eq!(bench.told(), ["1 a", at_the_barrier, at_the_barrier]);
    // Who joins behind the barrier knows nothing of that loss, and hears of the next.
    bench.stream("events", Start::Live);
    bench.relay("events", "d");
    bench.relay("events", "e");
    assert_eq!(bench.told(), [at_the_barrier]);
    bench.emptied();
    bench.relay("events", "f");
    assert_eq!(bench.told(), ["2 b", "- f"]);
}
