//! What was heard, and what somebody wants to see of it. Pure: what a server said, keys and the time are arguments.

use std::collections::{BTreeMap, VecDeque};

use ratatui::crossterm::event::KeyCode;

use super::plain::Plain;
use super::said::{About, Channels, Connections, Figures, Refusals};

/// After so long without a word a node is silent. It speaks once a second.
pub(super) const SILENT_MS: u64 = 4_000;

/// After so long without a word a node is forgotten.
const FORGOTTEN_MS: u64 = 60_000;

/// Seconds that graphs have: more than any terminal is wide.
const SECONDS_MAX: usize = 600;

/// Over how long a change is told.
const CHANGE_S: usize = 10;

/// Nodes that are remembered.
const NODES_MAX: usize = 1_024;

/// The longest filter, in characters.
const FILTER_CHARS_MAX: usize = 64;

/// Everything that the screen is made of.
pub(super) struct State {
    heard: Heard,
    /// What was heard when somebody said `p`, and is looked at until it is said again.
    frozen: Option<Box<Heard>>,
    pub view: View,
    sorted: [usize; View::ALL.len()],
    /// The row that somebody looks at, counted from the top; drawing keeps it among those that there are.
    pub selected: usize,
    pub filter: String,
    /// Whether keys are for the filter.
    pub is_typing: bool,
    pub is_help_open: bool,
}

/// What is heard of a server and its nodes.
#[derive(Clone)]
pub(super) struct Heard {
    pub now_ms: u64,
    /// The console's address.
    pub server: Plain,
    pub about: About,
    pub link: Link,
    pub nodes: BTreeMap<Plain, Node>,
    /// Second by second, the newest last.
    pub seconds: VecDeque<Second>,
    pub channels: Listed<Channels>,
    pub connections: Listed<Connections>,
    pub refusals: Listed<Refusals>,
}

/// How figures come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Link {
    /// Nothing has come yet.
    Opening,
    /// Once a second, of every node.
    Live,
    /// They are asked of one node: the stream is silent, as it is while Redis is away.
    Asked,
    /// They do not. It is tried again.
    Cut { why: Plain, again_at_ms: u64 },
}

/// A node and what it said last.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub figures: Figures,
    pub heard_at_ms: u64,
}

/// A list, and when it was heard; `why` there is none, if there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed<T> {
    pub list: Option<T>,
    pub at_ms: u64,
    pub why: Option<Plain>,
}

/// What all nodes did in one second; nothing where none said anything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Second {
    pub totals: Option<Totals>,
}

/// Sums over the nodes that are not silent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub published: f64,
    pub delivered: f64,
    pub bytes_out: f64,
    pub sse: u64,
    pub ws: u64,
    pub poll: u64,
    pub http: u64,
    pub all: u64,
    pub queued_bytes: u64,
    pub slow_consumers: u64,
    pub gaps: u64,
    pub refusals: u64,
    pub channels: u64,
    pub history_messages: u64,
    pub history_bytes: u64,
    pub memory_bytes: u64,
    pub cpu_percent: f64,
}

/// What the shell tells of a server.
#[derive(Debug)]
pub(super) enum News {
    Opened(About),
    Figures { figures: Box<Figures>, asked: bool },
    Cut { why: String, again_in_ms: u64 },
    Channels(Result<Channels, String>),
    Connections(Result<Connections, String>),
    Refusals(Result<Refusals, String>),
}

/// The tables, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Nodes,
    Channels,
    Connections,
    Refusals,
}

impl View {
    pub(super) const ALL: [View; 4] = [View::Nodes, View::Channels, View::Connections, View::Refusals];

    /// What it may be sorted by; first what it is sorted by unless somebody says otherwise.
    pub(super) fn orders(self) -> &'static [Order] {
        match self {
            View::Nodes => &[Order::Name, Order::Out, Order::Connections, Order::Queued, Order::Cpu],
            View::Channels => &[Order::Rate, Order::Subscribers, Order::Kept, Order::Name],
            View::Connections => &[Order::Queued, Order::Oldest, Order::Messages, Order::Address],
            View::Refusals => &[Order::Newest, Order::Code, Order::Address],
        }
    }

    fn next(self, by: usize) -> View {
        let at = View::ALL.iter().position(|view| *view == self).unwrap_or(0);
        View::ALL[(at + by) % View::ALL.len()]
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Name,
    Out,
    Connections,
    Queued,
    Cpu,
    Rate,
    Subscribers,
    Kept,
    Oldest,
    Messages,
    Address,
    Newest,
    Code,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Order::Name => "name",
            Order::Out => "messages out",
            Order::Connections => "connections",
            Order::Queued => "queued bytes",
            Order::Cpu => "CPU",
            Order::Rate => "messages a second",
            Order::Subscribers => "subscribers",
            Order::Kept => "messages kept",
            Order::Oldest => "age",
            Order::Messages => "messages",
            Order::Address => "address",
            Order::Newest => "time",
            Order::Code => "reason",
        }
    }
}

/// Which list is wanted now, for whoever asks the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub view: View,
    pub order: Order,
    pub filter: String,
}

/// What a key asks of the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    Nothing,
    Quit,
}

impl State {
    pub(super) fn new(server: &str) -> State {
        State {
            heard: Heard {
                now_ms: 0,
                server: Plain::of(server),
                about: About::default(),
                link: Link::Opening,
                nodes: BTreeMap::new(),
                seconds: VecDeque::new(),
                channels: Listed::default(),
                connections: Listed::default(),
                refusals: Listed::default(),
            },
            frozen: None,
            view: View::Nodes,
            sorted: [0; View::ALL.len()],
            selected: 0,
            filter: String::new(),
            is_typing: false,
            is_help_open: false,
        }
    }

    /// What is to be shown: of now, or of when it was paused.
    pub(super) fn shown(&self) -> &Heard {
        self.frozen.as_deref().unwrap_or(&self.heard)
    }

    /// What is heard now, paused or not.
    pub(super) fn heard(&self) -> &Heard {
        &self.heard
    }

    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn order(&self) -> Order {
        let orders = self.view.orders();
        orders[self.sorted[self.view as usize] % orders.len()]
    }

    pub(super) fn wanted(&self) -> Wanted {
        // What is being typed is asked for once it has been typed; until then it sifts what is here.
        Wanted { view: self.view, order: self.order(), filter: self.filter.clone() }
    }

    /// Takes what a server said.
    pub(super) fn hear(&mut self, news: News, now_ms: u64) {
        self.heard.hear(news, now_ms);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.heard.tick(now_ms);
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyCode) -> Pressed {
        if self.is_typing {
            self.type_filter(key);
            return Pressed::Nothing;
        }
        if self.is_help_open {
            self.is_help_open = false;
            return if key == KeyCode::Char('q') { Pressed::Quit } else { Pressed::Nothing };
        }
        match key {
            KeyCode::Char('q') => return Pressed::Quit,
            KeyCode::Esc if self.filter.is_empty() => return Pressed::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::Right => self.show(self.view.next(1)),
            KeyCode::BackTab | KeyCode::Left => self.show(self.view.next(View::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='4') => self.show(View::ALL[digit as usize - '1' as usize]),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = self.selected.saturating_add(1),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(10),
            KeyCode::PageDown => self.selected = self.selected.saturating_add(10),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = usize::MAX,
            KeyCode::Char('p' | ' ') => {
                self.frozen = if self.is_paused() { None } else { Some(Box::new(self.heard.clone())) };
            }
            KeyCode::Char('s') => {
                let sorted = &mut self.sorted[self.view as usize];
                *sorted = (*sorted + 1) % self.view.orders().len();
                self.selected = 0;
            }
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('?' | 'h') => self.is_help_open = true,
            _ => {}
        }
        Pressed::Nothing
    }

    fn show(&mut self, view: View) {
        (self.view, self.selected) = (view, 0);
    }

    fn type_filter(&mut self, key: KeyCode) {
        self.selected = 0;
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(char) if self.filter.chars().count() < FILTER_CHARS_MAX => {
                self.filter.push_str(&Plain::of(&char.to_string()));
            }
            _ => {}
        }
    }
}

impl Heard {
    fn hear(&mut self, news: News, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        match news {
            News::Opened(about) => self.about = about,
            News::Figures { figures, asked } => {
                self.link = if asked { Link::Asked } else { Link::Live };
                self.take(*figures);
            }
            News::Cut { why, again_in_ms } => {
                self.link = Link::Cut { why: Plain::of(&why), again_at_ms: self.now_ms + again_in_ms };
            }
            News::Channels(list) => {
                let list = list.map(|list| self.with_rates(list));
                self.channels.hear(list, self.now_ms);
            }
            News::Connections(list) => self.connections.hear(list, self.now_ms),
            News::Refusals(list) => self.refusals.hear(list, self.now_ms),
        }
    }

    fn take(&mut self, figures: Figures) {
        let name = figures.node.clone();
        if !self.nodes.contains_key(&name) {
            // A node that was started again has another number behind its address; the life before is over.
            let address = address_of(&name).to_owned();
            self.nodes.retain(|known, _| address_of(known) != address);
            if self.nodes.len() >= NODES_MAX {
                self.nodes.pop_first();
            }
        }
        self.nodes.insert(name, Node { figures, heard_at_ms: self.now_ms });
    }

    /// Rates, from this look at the channels and the one before.
    fn with_rates(&self, mut list: Channels) -> Channels {
        let elapsed_ms = self.now_ms.saturating_sub(self.channels.at_ms);
        let Some(before) = self.channels.list.as_ref().filter(|_| elapsed_ms > 0) else { return list };
        let before: BTreeMap<&Plain, u64> =
            before.channels.iter().map(|channel| (&channel.channel, channel.placed)).collect();
        for channel in &mut list.channels {
            // Where it counts less than before, it has begun again.
            let more = before.get(&channel.channel).and_then(|before| channel.placed.checked_sub(*before));
            channel.rate = more.map(|more| more as f64 * 1_000.0 / elapsed_ms as f64);
        }
        list
    }

    fn tick(&mut self, now_ms: u64) {
        let (before_s, now_s) = (self.now_ms / 1_000, now_ms.max(self.now_ms) / 1_000);
        self.now_ms = self.now_ms.max(now_ms);
        // Whoever slept for an hour has missed an hour; more than is kept needs not be told one by one.
        for _ in 0..(now_s - before_s).min(SECONDS_MAX as u64) {
            let totals = self.totals();
            self.seconds.push_back(Second { totals });
            if self.seconds.len() > SECONDS_MAX {
                self.seconds.pop_front();
            }
        }
        self.nodes.retain(|_, node| now_ms.saturating_sub(node.heard_at_ms) < FORGOTTEN_MS);
    }

    /// Whether a node has not said anything for a while.
    pub(super) fn is_silent(&self, node: &Node) -> bool {
        self.now_ms.saturating_sub(node.heard_at_ms) >= SILENT_MS
    }

    /// How long nothing has been heard of any node; nothing where nothing ever was.
    pub(super) fn silent_ms(&self) -> Option<u64> {
        let last = self.nodes.values().map(|node| node.heard_at_ms).max()?;
        Some(self.now_ms.saturating_sub(last))
    }

    /// The node that was asked, or the first of them.
    pub(super) fn own(&self) -> Option<&Node> {
        self.nodes.get(&self.about.node).or_else(|| self.nodes.values().next())
    }

    /// What the nodes do that are not silent; nothing where all are.
    pub(super) fn totals(&self) -> Option<Totals> {
        let mut totals = None;
        for node in self.nodes.values().filter(|node| !self.is_silent(node)) {
            totals.get_or_insert_with(Totals::default).add(&node.figures);
        }
        totals
    }

    /// What the nodes did in the newest second in which any of them was heard.
    pub(super) fn latest(&self) -> Option<Totals> {
        self.totals().or_else(|| self.seconds.iter().rev().find_map(|second| second.totals))
    }

    /// What they did ten seconds before: what a change is told against.
    pub(super) fn before(&self) -> Option<Totals> {
        let newest = self.seconds.len().checked_sub(1)?;
        self.seconds.get(newest.saturating_sub(CHANGE_S)).and_then(|second| second.totals)
    }

    /// What time it is for the node that was asked, in milliseconds since 1970: its refusals are told by its clock.
    pub(super) fn node_time_ms(&self) -> Option<u64> {
        let own = self.own()?;
        Some(own.figures.time.saturating_add(self.now_ms.saturating_sub(own.heard_at_ms)))
    }
}

impl<T> Listed<T> {
    fn hear(&mut self, list: Result<T, String>, now_ms: u64) {
        match list {
            Ok(list) => (self.list, self.why) = (Some(list), None),
            Err(why) => self.why = Some(Plain::of(&why)),
        }
        self.at_ms = now_ms;
    }
}

impl Totals {
    fn add(&mut self, figures: &Figures) {
        let published = figures.rate("published");
        // Nodes that share a log all count what is placed there.
        self.published = if figures.broker.is_shared() {
            self.published.max(published)
        } else {
            self.published + published
        };
        self.delivered += figures.rate("delivered");
        self.bytes_out += figures.rate("bytes_out");
        let connections = &figures.connections;
        let sums = [
            (&mut self.sse, connections.sse),
            (&mut self.ws, connections.ws),
            (&mut self.poll, connections.poll),
            (&mut self.http, connections.http),
            (&mut self.all, connections.all),
            (&mut self.queued_bytes, figures.queued_bytes),
            (&mut self.slow_consumers, figures.slow_consumers),
            (&mut self.gaps, sum(figures.gaps.values())),
            (&mut self.refusals, sum(figures.refusals.values())),
            (&mut self.channels, figures.channels),
            (&mut self.history_messages, figures.history_messages),
            (&mut self.history_bytes, figures.history_bytes),
            (&mut self.memory_bytes, figures.memory_bytes.unwrap_or(0)),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
        self.cpu_percent += figures.cpu_percent.unwrap_or(0.0);
    }
}

/// What a node is called without the number of its life.
fn address_of(node: &str) -> &str {
    node.rsplit_once('-').map_or(node, |(address, _)| address)
}

fn sum<'n>(numbers: impl Iterator<Item = &'n u64>) -> u64 {
    numbers.fold(0, |sum, number| sum.saturating_add(*number))
}
