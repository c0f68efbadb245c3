//! A subscriber: it connects to some node, goes on from its cursor, and comes back after any end.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::heard::{self, Heard};
use crate::http::{Body, Connection, wrong};
use crate::rng::Rng;
use crate::run::Run;
use crate::sse::{Blocks, Shape};
use crate::websocket::{self, Frames};

/// How it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A stream of events.
    Sse(Shape),
    /// A WebSocket that speaks `tidewire.v1`.
    WebSocket,
    /// Polls that wait.
    LongPoll,
    /// Polls that do not.
    ShortPoll,
}

/// Every way, by turns.
pub const WAYS: [Way; 6] = [
    Way::Sse(Shape::Single),
    Way::WebSocket,
    Way::Sse(Shape::Multi),
    Way::LongPoll,
    Way::Sse(Shape::Envelope),
    Way::ShortPoll,
];

/// What one subscriber does.
#[derive(Debug)]
pub struct Subscriber {
    /// Its place in the ledger.
    pub who: usize,
    /// How it listens.
    pub way: Way,
    /// To what.
    pub channels: Vec<String>,
}

/// Nodes of a campaign send a heartbeat every second, so a connection that is silent for longer is dead.
const PATIENCE: Duration = Duration::from_millis(3_500);

impl Subscriber {
    /// Listens until the run is over.
    pub async fn run(self, run: Run, mut rng: Rng) {
        while !run.is_over() {
            let (node, port) = run.node(&mut rng);
            let cursor = run.ledger().opens(self.who, node, run.now());
            let why = match self.connect(&run, port, cursor, &mut rng).await {
                Ok(why) => why,
                Err(error) => error.to_string(),
            };
            let now = run.now();
            if !run.is_over() {
                run.ledger().ended(self.who, &why, now);
            }
            sleep(Duration::from_millis(rng.range(20, 250))).await;
        }
    }

    async fn connect(
        &self,
        run: &Run,
        port: u16,
        cursor: Option<String>,
        rng: &mut Rng,
    ) -> io::Result<String> {
        match self.way {
            Way::Sse(shape) => self.stream(run, port, cursor, shape).await,
            Way::WebSocket => self.socket(run, port, cursor).await,
            Way::LongPoll | Way::ShortPoll => self.poll(run, port, cursor, rng).await,
        }
    }

    async fn stream(&self, run: &Run, port: u16, cursor: Option<String>, shape: Shape) -> io::Result<String> {
        let mut connection = Connection::open(port, PATIENCE).await?;
        let query = if shape == Shape::Envelope { "?format=json" } else { "" };
        let mut fields = vec![("Accept", "text/event-stream")];
        fields.extend(cursor.as_deref().map(|cursor| ("Last-Event-ID", cursor)));
        let head =
            connection.ask(&format!("GET /c/{}{query}", self.channels.join(",")), &fields, None).await?;
        if head.status != 200 {
            return Ok(format!("status {}", head.status));
        }
        let (body, mut blocks) = (head.body(), Blocks::new(shape));
        while let Some(bytes) = connection.next(&body).await? {
            if run.is_over() {
                return Ok("over".into());
            }
            if let Some(why) = self.take(run, blocks.hear(&bytes))? {
                return Ok(why);
            }
        }
        if body == Body::Chunked && !blocks.is_between() {
            run.ledger().violated("wire", run.now(), "an orderly end inside a block (R14)");
        }
        Ok("the stream ended".into())
    }

    async fn socket(&self, run: &Run, port: u16, cursor: Option<String>) -> io::Result<String> {
        let mut connection = Connection::open(port, PATIENCE).await?;
        let cursor = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", websocket::KEY),
            ("Sec-WebSocket-Protocol", "tidewire.v1"),
        ];
        let head =
            connection.ask(&format!("GET /c/{}{cursor}", self.channels.join(",")), &fields, None).await?;
        if head.status != 101 {
            return Ok(format!("status {}", head.status));
        }
        if head.field("sec-websocket-accept") != Some(websocket::ACCEPT) {
            return Err(wrong("a handshake with another key"));
        }
        let mut frames = Frames::default();
        while let Some(bytes) = connection.next(&Body::UntilClose).await? {
            if run.is_over() {
                return Ok("over".into());
            }
            let heard = frames.hear(&bytes);
            for heard in heard.iter().flatten() {
                if let Heard::Ping(payload) = heard {
                    connection.send(&websocket::pong(payload)).await?;
                }
            }
            if let Some(why) = self.take(run, heard)? {
                return Ok(why);
            }
        }
        Ok("the socket ended".into())
    }

    async fn poll(&self, run: &Run, port: u16, cursor: Option<String>, rng: &mut Rng) -> io::Result<String> {
        let mut connection = Connection::open(port, PATIENCE).await?;
        let mut cursor = cursor;
        // A connection serves a few polls; then another node does.
        for _ in 0..rng.range(1, 20) {
            let query = match (&cursor, self.way) {
                (Some(cursor), Way::LongPoll) => format!("?wait=1&cursor={cursor}"),
                (Some(cursor), _) => format!("?cursor={cursor}"),
                (None, _) => String::new(),
            };
            let head =
                connection.ask(&format!("GET /c/{}{query}", self.channels.join(",")), &[], None).await?;
            let body = connection.body(&head).await?;
            if run.is_over() {
                break;
            }
            if head.status != 200 {
                return Ok(format!("status {}", head.status));
            }
            let value = serde_json::from_slice(&body).map_err(|_| wrong("a page that is no JSON"))?;
            let page = heard::page(&value).map_err(|broken| wrong(&broken))?;
            if cursor.is_none() {
                run.ledger().ready(self.who, None, run.now());
            } else {
                // Each poll is a resume.
                run.ledger().resumes(self.who);
            }
            cursor = page.0.iter().rev().find_map(|heard| match heard {
                Heard::At(cursor) => Some(cursor.clone()),
                _ => None,
            });
            self.take(run, Ok(page.0))?;
            if cursor.is_none() {
                return Err(wrong("a page without a cursor"));
            }
            if head.field("connection") == Some("close") {
                break;
            }
            if self.way == Way::ShortPoll && !page.1 {
                sleep(Duration::from_millis(rng.range(50, 300))).await;
            }
        }
        Ok("polled".into())
    }

    /// Writes down what was heard; an end is given back.
    fn take(&self, run: &Run, heard: Result<Vec<Heard>, heard::Broken>) -> io::Result<Option<String>> {
        let now = run.now();
        let mut ledger = run.ledger();
        let heard = heard.map_err(|broken| {
            ledger.violated("wire", now, broken.clone());
            wrong(&broken)
        })?;
        for heard in heard {
            match heard {
                Heard::Ready(cursor) => ledger.ready(self.who, cursor.as_deref(), now),
                Heard::Message(seen) => ledger.hears(self.who, &seen, now),
                Heard::At(cursor) => ledger.reached(self.who, &cursor, now),
                Heard::Gap(gap) => ledger.gap(self.who, &gap, now),
                Heard::Ping(_) => {}
                Heard::Ended(why) => return Ok(Some(why)),
            }
        }
        Ok(None)
    }
}
