//! A broker with one outlet, in a test's words, whatever its backend: who asks waits for the answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidewire_hub::admit::{Admit, Cause, ConnId, Join, OutletId, Page, Subscribe, Transport};
use tidewire_hub::broker::{Broker, Now};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, POLL_PAGE, PageLimit, Retentions, STREAM_PAGE};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Cursor, Position, Start};
use tidewire_hub::presence::Attendance;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;

/// How long a backend may take to do what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a test makes a bench.
pub(crate) type Make = fn(Setting) -> Bench;

/// What a backend is made of, in a test's words.
#[derive(Clone, Default)]
pub(crate) struct Setting {
    pub(crate) limits: Limits,
    pub(crate) retentions: Retentions,
    pub(crate) attendance: Option<Arc<dyn Attendance>>,
}

/// What stands behind a bench.
pub(crate) trait Backend: Send + Sync {
    /// Its time, apart from what a test lets pass.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A clock that a test may turn.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn at(&self, elapsed: Duration) -> Now {
        let passed = self.0.load(Ordering::Relaxed) + elapsed.as_millis() as u64;
        Now { monotonic_ms: 1_000 + passed, wall_ms: 1_700_000_000_000 + passed, micros: 0 }
    }
}

/// A broker with one outlet.
pub(crate) struct Bench {
    // Before the backend, which it may need to end.
    pub(crate) broker: Box<dyn Broker>,
    pub(crate) outlet: OutletId,
    inbox: Arc<Inbox>,
    clock: Clock,
    /// The newest place that was given.
    newest: Mutex<Option<Position>>,
    pub(crate) backend: Box<dyn Backend>,
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
    pub(crate) fn new(broker: Box<dyn Broker>, clock: Clock, backend: Box<dyn Backend>) -> Bench {
        let inbox = Arc::new(Inbox::default());
        let outlet = broker.attach(inbox.clone());
        Bench { broker, outlet, inbox, clock, newest: Mutex::default(), backend }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.at(self.backend.elapsed())
    }

    /// Lets time pass. What lasts by the clock of a server does not notice.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.settles();
        self.clock.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        self.ticks();
    }

    pub(crate) fn ticks(&self) {
        self.settles();
        self.broker.tick(self.now());
    }

    pub(crate) fn catches_up(&self) {
        self.broker.catch_up(self.outlet, self.now());
    }

    pub(crate) fn has_room_for(&self, messages: Option<usize>) {
        *self.inbox.room.lock().unwrap() = messages;
    }

    pub(crate) fn publish_as(&self, publish: Publish) -> Result<Receipt, Reason> {
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        self.broker.publish(
            publish,
            self.now(),
            Box::new(move |result| *told.lock().unwrap() = Some(result)),
        );
        let outcome = wait_for("an answer to a publish", || outcome.lock().unwrap().take());
        if let Ok(receipt) = &outcome {
            *self.newest.lock().unwrap() = receipt.position;
        }
        outcome
    }

    pub(crate) fn publish(&self, name: &str, text: &str) -> Position {
        self.publish_as(publish(name, text)).unwrap().position.unwrap()
    }

    pub(crate) fn publish_all<'n>(&self, messages: impl IntoIterator<Item = (&'n str, String)>) {
        for (name, text) in messages {
            self.publish(name, &text);
        }
    }

    pub(crate) fn subscribe(&self, names: &str, start: Start, join: Join, page: PageLimit) -> Admit {
        self.settles();
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
        self.broker.subscribe(subscribe, self.now());
        wait_for("an answer to a subscription", || {
            let mut commands = self.inbox.commands.lock().unwrap();
            let at =
                commands.iter().position(|one| matches!(one, Command::Admit(_) | Command::Refuse { .. }))?;
            match commands.remove(at) {
                Command::Admit(admit) => Some(*admit),
                other => panic!("expected an Admit, got {other:?}"),
            }
        })
    }

    pub(crate) fn stream(&self, names: &str, start: Start) -> Admit {
        self.subscribe(names, start, Join::WhenCaughtUp, STREAM_PAGE)
    }

    pub(crate) fn read(&self, names: &str, start: Start) -> Page {
        self.subscribe(names, start, Join::Never, POLL_PAGE).page
    }

    /// Waits until the node has heard all that was published here: a read after it is answered only then (delivery rule R7).
    pub(crate) fn settles(&self) {
        let newest = *self.newest.lock().unwrap();
        if let Some(newest) = newest {
            self.hears(newest);
        }
    }

    /// Waits until the node has heard everything up to this place.
    pub(crate) fn hears(&self, place: Position) {
        let (told, channels) = (Arc::new(Mutex::new(None)), ChannelSet::parse("settled", 1).unwrap());
        let answer = told.clone();
        let done = Box::new(move |page| *answer.lock().unwrap() = Some(page));
        self.broker.read(channels, after(place), POLL_PAGE, self.now(), done);
        wait_for("a read", || told.lock().unwrap().take()).unwrap();
    }

    pub(crate) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.inbox.commands.lock().unwrap())
    }

    /// The outlet is told just this, once all that was published has been heard.
    #[track_caller]
    pub(crate) fn delivers(&self, wanted: &[&str]) {
        self.settles();
        assert_eq!(self.told(), wanted);
    }

    /// What the outlet was told since the last look, a line each.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = |command: Command| match command {
            Command::Deliver(message) => message.payload.as_text().unwrap().to_owned(),
            Command::Lost(loss) => format!("lost {} {:?}", loss.reason.as_str(), loss.channels),
            Command::Position(position) => format!("position {}", position.seq),
            Command::Fence { .. } => "fence".to_owned(),
            other => panic!("unexpected {other:?}"),
        };
        self.take().into_iter().map(text).collect()
    }
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn publish(name: &str, text: &str) -> Publish {
    Publish {
        channel: Channel::parse(name).unwrap(),
        event: None,
        payload: Payload::text(text.to_owned().into()).unwrap(),
        key: None,
        publisher: "test".into(),
        trace: None,
    }
}

pub(crate) fn after(position: Position) -> Start {
    Start::After(Cursor::At(position))
}

pub(crate) fn texts(page: &Page) -> Vec<&str> {
    page.messages.iter().map(|message| message.payload.as_text().unwrap()).collect()
}
