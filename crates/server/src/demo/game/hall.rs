//! The hall: every court there is, who stands at it, and how a match goes from two hands to a winner.
//!
//! ```text
//! practice ── somebody joins ──▶ soon ──▶ play ── a point ──▶ soon ── … ── the last point ──▶ over ── both again ──▶ soon
//!                                  ▲        │ nothing is heard of one                          ▲
//!                                  └─ away ◀┘ ── for too long, or it leaves ───────────────────┘
//! ```

use serde::Serialize;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use super::Winner;
use super::court::{Court, HIGH, Seen, Side};

/// Courts at once. Whoever wants another is told that all are taken.
pub(super) const COURTS_MAX: usize = 32;

/// A player of whom nothing was heard for this long is away: a page says something every second.
const QUIET_MS: u64 = 2_500;

/// How long a place is kept for whoever is away.
const KEPT_MS: u64 = 15_000;

/// How long a match that is over can be looked at.
const SHOWN_MS: u64 = 30_000;

/// Before a match, and before each serve.
const BEGIN_MS: u64 = 3_000;
const SERVE_MS: u64 = 1_200;

const POINTS_TO_WIN: u8 = 5;

/// Moves that may overtake each other: ten seconds of them, far more than are ever on their way. A number that is further
/// behind is no late move but a beginning, as where somebody else has published the greatest number there is.
const LATE_MAX: u64 = 256;

/// Where nothing moves, every so many steps say so: for whoever has just come to watch.
const STILL_STEPS: u64 = 5;

/// Every court. Time is an argument: milliseconds on a clock that never steps.
#[derive(Debug)]
pub(super) struct Hall {
    /// One more with every change of what is shown: a page that misses one knows it.
    version: u64,
    courts: Vec<Match>,
    /// Those who are shown, as they were stored last: whoever looks does not wait for the disk.
    winners: Vec<Winner>,
    steps: u64,
    /// Whether what is shown of the hall has changed since [`Hall::has_changed`] was asked.
    is_changed: bool,
}

#[derive(Debug)]
struct Match {
    id: String,
    seats: [Option<Seat>; 2],
    court: Court,
    score: [u8; 2],
    phase: Phase,
    since_ms: u64,
    is_news: bool,
}

#[derive(Debug)]
struct Seat {
    token: String,
    mark: String,
    name: String,
    heard_ms: u64,
    /// The number of the last move, which tells its page how long the way was.
    heard: u64,
    hand: f64,
    wants_again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
enum Phase {
    /// One is there, and the sea plays the other side.
    Practice,
    /// The buoy is served to `side` at `at_ms`.
    Soon {
        side: Side,
        #[serde(skip)]
        at_ms: u64,
    },
    Play,
    /// `side` has gone quiet.
    Away {
        side: Side,
    },
    /// `side` has won; by points, or since the other left.
    Over {
        side: Side,
        left: bool,
    },
}

/// A place at a court.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Seated {
    pub(super) court: String,
    pub(super) side: Side,
    /// What its player proves it with, and nobody else ever sees.
    pub(super) token: String,
    /// What its moves are published with. Anybody can read it: it moves a hand, and is good for nothing else.
    pub(super) mark: String,
}

/// Words that nobody has yet, for a place and the court it may need.
pub(super) struct Fresh {
    pub(super) court: String,
    pub(super) token: String,
    pub(super) mark: String,
}

/// What a court is like at one step.
#[derive(Debug, Serialize)]
pub(super) struct State {
    /// The number of the step.
    step: u64,
    #[serde(flatten)]
    phase: Phase,
    /// How long the phase still takes, in milliseconds; 0 where nobody knows.
    left_ms: u64,
    score: [u8; 2],
    /// The last move that was heard of each side.
    heard: [u64; 2],
    #[serde(flatten)]
    seen: Seen,
}

/// A court as the hall shows it.
#[derive(Debug, Serialize)]
pub(super) struct Listed<'a> {
    id: &'a str,
    names: [Option<&'a str>; 2],
    score: [u8; 2],
    #[serde(flatten)]
    phase: Phase,
}

/// A match that was decided.
#[derive(Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) winner: String,
    pub(super) loser: String,
}

/// What one step brought about.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Courts by their ids.
    pub(super) states: Vec<(String, State)>,
    pub(super) decided: Vec<Decided>,
}

impl Hall {
    /// An empty hall, whose versions are greater than `version`.
    pub(super) fn new(version: u64, winners: Vec<Winner>) -> Hall {
        Hall { version, courts: Vec::new(), winners, steps: 0, is_changed: false }
    }

    /// Gives whoever holds `token` its place again; anybody else one where somebody waits, or at a court of its own.
    ///
    /// # Errors
    /// `overloaded` where all courts are taken.
    pub(super) fn join(
        &mut self,
        name: String,
        token: Option<&str>,
        fresh: Fresh,
        now_ms: u64,
    ) -> Result<Seated, Refusal> {
        let Fresh { court: id, token: new_token, mark } = fresh;
        if let Some((game, side)) = token.and_then(|token| self.find(|seat| seat.token == token))
            && let Some(seat) = &mut game.seats[side]
        {
            (seat.name, seat.heard_ms) = (name, now_ms);
            let (token, mark) = (seat.token.clone(), seat.mark.clone());
            let seated = Seated { court: game.id.clone(), side, token, mark };
            self.is_changed = true;
            return Ok(seated);
        }
        let seat = Seat {
            token: new_token.clone(),
            mark: mark.clone(),
            name,
            heard_ms: now_ms,
            heard: 0,
            hand: HIGH / 2.0,
            wants_again: false,
        };
        let waits = |game: &&mut Match| game.phase == Phase::Practice && game.quiet_ms(0, now_ms) < QUIET_MS;
        self.is_changed = true;
        if let Some(game) = self.courts.iter_mut().find(waits) {
            game.seats[1] = Some(seat);
            game.begin(now_ms);
            return Ok(Seated { court: game.id.clone(), side: 1, token: new_token, mark });
        }
        if self.courts.len() >= COURTS_MAX {
            return Err(Refusal::new(Reason::Overloaded, "all courts are taken; watch one until it is free"));
        }
        self.courts.push(Match {
            id: id.clone(),
            seats: [Some(seat), None],
            court: Court::serve(1, 0.5),
            score: [0; 2],
            phase: Phase::Practice,
            since_ms: now_ms,
            is_news: true,
        });
        Ok(Seated { court: id, side: 0, token: new_token, mark })
    }

    /// Takes back the place of whoever holds `token`, and gives the match to the other side.
    pub(super) fn leave(&mut self, token: &str, now_ms: u64) -> Option<Decided> {
        let (game, side) = self.find(|seat| seat.token == token)?;
        let decided = game.vacate(side, now_ms);
        self.is_changed = true;
        decided
    }

    /// Whoever holds `token` wants another match. It begins once both do; alone, one practises until somebody joins.
    ///
    /// # Errors
    /// `not_found` where the place is not kept any more.
    pub(super) fn again(&mut self, token: &str, now_ms: u64) -> Result<(), Refusal> {
        let gone = || Refusal::new(Reason::NotFound, "this match is not kept any more");
        let (game, side) = self.find(|seat| seat.token == token).ok_or_else(gone)?;
        if let (Some(seat), Phase::Over { .. }) = (&mut game.seats[side], game.phase) {
            seat.wants_again = true;
            game.begin_again(now_ms);
            self.is_changed = true;
        }
        Ok(())
    }

    /// The hand whose moves have this `mark` is at `hand`. A move that comes after a later one counts for nothing.
    pub(super) fn hear(&mut self, mark: &str, number: u64, hand: i32, now_ms: u64) {
        let Some((game, side)) = self.find(|seat| seat.mark == mark) else { return };
        let Some(seat) = &mut game.seats[side] else { return };
        seat.heard_ms = now_ms;
        let is_late = (1..=LATE_MAX).contains(&seat.heard.saturating_sub(number));
        if !is_late {
            (seat.heard, seat.hand) = (number, f64::from(hand).clamp(0.0, HIGH));
        }
    }

    /// Lets `seconds` pass on every court; they end at `now_ms`. `chance` is any number.
    pub(super) fn step(&mut self, now_ms: u64, seconds: f64, chance: u64) -> Step {
        self.steps += 1;
        let is_still_told = self.steps.is_multiple_of(STILL_STEPS);
        let mut step = Step::default();
        // From -1 to 1.
        let slant = (chance % 2_001) as f64 / 1_000.0 - 1.0;
        for game in &mut self.courts {
            step.decided.extend(game.step(now_ms, seconds, slant));
            self.is_changed |= game.is_news;
            if game.moves() || game.is_news || is_still_told {
                step.states.push((game.id.clone(), game.state(self.steps, now_ms)));
            }
            game.is_news = false;
        }
        let before = self.courts.len();
        self.courts.retain(|game| !game.is_done(now_ms));
        self.is_changed |= self.courts.len() != before;
        step
    }

    /// Whether there is anything to show that was not there when this was asked last. That makes a version.
    pub(super) fn has_changed(&mut self) -> bool {
        self.version += u64::from(self.is_changed);
        std::mem::take(&mut self.is_changed)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// These are the winners now.
    pub(super) fn honour(&mut self, winners: Vec<Winner>) {
        (self.winners, self.is_changed) = (winners, true);
    }

    pub(super) fn winners(&self) -> &[Winner] {
        &self.winners
    }

    pub(super) fn is_empty(&self) -> bool {
        self.courts.is_empty()
    }

    pub(super) fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        self.courts.iter().map(|game| Listed {
            id: &game.id,
            names: [0, 1].map(|side: Side| game.seats[side].as_ref().map(|seat| seat.name.as_str())),
            score: game.score,
            phase: game.phase,
        })
    }

    fn find(&mut self, is_meant: impl Fn(&Seat) -> bool) -> Option<(&mut Match, Side)> {
        self.courts.iter_mut().find_map(|game| {
            let side = game.seats.iter().position(|seat| seat.as_ref().is_some_and(&is_meant))?;
            Some((game, side))
        })
    }
}

impl Match {
    fn begin(&mut self, now_ms: u64) {
        self.score = [0; 2];
        for seat in self.seats.iter_mut().flatten() {
            seat.wants_again = false;
        }
        self.serve(1, BEGIN_MS, now_ms);
    }

    fn begin_again(&mut self, now_ms: u64) {
        if !self.seats.iter().flatten().all(|seat| seat.wants_again) {
            return;
        }
        if self.seats.iter().all(Option::is_some) {
            return self.begin(now_ms);
        }
        // Whoever is alone waits on the left.
        if self.seats[0].is_none() {
            self.seats.swap(0, 1);
        }
        self.score = [0; 2];
        self.turn(Phase::Practice, now_ms);
    }

    fn serve(&mut self, side: Side, wait_ms: u64, now_ms: u64) {
        self.court.serve_again(side, 0.0);
        self.turn(Phase::Soon { side, at_ms: now_ms + wait_ms }, now_ms);
    }

    fn turn(&mut self, phase: Phase, now_ms: u64) {
        (self.phase, self.since_ms, self.is_news) = (phase, now_ms, true);
    }

    fn step(&mut self, now_ms: u64, seconds: f64, slant: f64) -> Option<Decided> {
        let quiet = [0, 1].map(|side| self.quiet_ms(side, now_ms));
        let away = [0, 1].into_iter().find(|side| quiet[*side] > QUIET_MS);
        match self.phase {
            Phase::Practice => {
                self.move_hands(seconds);
                if let Some(side) = self.court.drift(seconds) {
                    self.court.serve_again(1 - side, slant);
                }
            }
            Phase::Soon { side, at_ms } => {
                self.move_hands(seconds);
                if let Some(side) = away {
                    self.turn(Phase::Away { side }, now_ms);
                } else if now_ms >= at_ms {
                    self.court.serve_again(side, slant);
                    self.turn(Phase::Play, now_ms);
                }
            }
            Phase::Play => {
                self.move_hands(seconds);
                if let Some(side) = away {
                    self.turn(Phase::Away { side }, now_ms);
                } else if let Some(side) = self.court.drift(seconds) {
                    return self.score(1 - side, now_ms);
                }
            }
            Phase::Away { side } => {
                if quiet[side] > KEPT_MS {
                    return self.vacate(side, now_ms);
                }
                match away {
                    Some(other) if quiet[side] <= QUIET_MS => self.turn(Phase::Away { side: other }, now_ms),
                    Some(_) => {}
                    None => self.serve(side, SERVE_MS, now_ms),
                }
            }
            Phase::Over { .. } => {}
        }
        None
    }

    fn move_hands(&mut self, seconds: f64) {
        let [left, right] = &self.seats;
        let hand = |seat: &Option<Seat>| seat.as_ref().map_or(HIGH / 2.0, |seat| seat.hand);
        let mut hands = [hand(left), hand(right)];
        if self.phase == Phase::Practice {
            hands[1] = self.court.idle_hand(1, seconds);
        }
        self.court.follow(hands, seconds);
    }

    fn score(&mut self, side: Side, now_ms: u64) -> Option<Decided> {
        self.score[side] += 1;
        if self.score[side] < POINTS_TO_WIN {
            // Whoever lost the point has the next serve come towards it.
            self.serve(1 - side, SERVE_MS, now_ms);
            return None;
        }
        self.turn(Phase::Over { side, left: false }, now_ms);
        self.decided(side)
    }

    /// Frees the place of `side`. Where a match was on, the other side has won it.
    fn vacate(&mut self, side: Side, now_ms: u64) -> Option<Decided> {
        let decided = match self.phase {
            Phase::Soon { .. } | Phase::Play | Phase::Away { .. } => {
                self.turn(Phase::Over { side: 1 - side, left: true }, now_ms);
                self.decided(1 - side)
            }
            Phase::Practice | Phase::Over { .. } => None,
        };
        self.seats[side] = None;
        self.is_news = true;
        decided
    }

    fn decided(&self, side: Side) -> Option<Decided> {
        let name = |side: Side| Some(self.seats[side].as_ref()?.name.clone());
        Some(Decided { winner: name(side)?, loser: name(1 - side)? })
    }

    /// How long nothing was heard of `side`; not at all where nobody is.
    fn quiet_ms(&self, side: Side, now_ms: u64) -> u64 {
        self.seats[side].as_ref().map_or(0, |seat| now_ms.saturating_sub(seat.heard_ms))
    }

    fn moves(&self) -> bool {
        matches!(self.phase, Phase::Practice | Phase::Soon { .. } | Phase::Play)
    }

    /// Whether nobody is coming back to it.
    fn is_done(&self, now_ms: u64) -> bool {
        let is_left = self.seats.iter().flatten().all(|seat| now_ms.saturating_sub(seat.heard_ms) > KEPT_MS);
        let is_seen =
            matches!(self.phase, Phase::Over { .. }) && now_ms.saturating_sub(self.since_ms) > SHOWN_MS;
        is_left || is_seen
    }

    fn state(&self, step: u64, now_ms: u64) -> State {
        let left_ms = match self.phase {
            Phase::Soon { at_ms, .. } => at_ms.saturating_sub(now_ms),
            Phase::Away { side } => KEPT_MS.saturating_sub(self.quiet_ms(side, now_ms)),
            Phase::Practice | Phase::Play | Phase::Over { .. } => 0,
        };
        let heard = [0, 1].map(|side: Side| self.seats[side].as_ref().map_or(0, |seat| seat.heard));
        State { step, phase: self.phase, left_ms, score: self.score, heard, seen: self.court.seen() }
    }
}

#[cfg(test)]
mod tests;
