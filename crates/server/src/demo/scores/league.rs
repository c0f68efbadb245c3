//! The league: eight teams that play each other in four grounds, round after round. A second of its clock is a minute of a
//! match.
//!
//! What happens in a second depends on the seed, the season, the round, the ground and the second, and on nothing else. So
//! only seconds in which something happens have to be kept: those after them are played again, and are the same.

use serde::{Deserialize, Serialize};

/// The grounds: what their channels are called, and how people call them.
pub(super) const GROUNDS: [(&str, &str); 4] = [
    ("harbour-park", "Harbour Park"),
    ("lighthouse-road", "Lighthouse Road"),
    ("quayside", "Quayside"),
    ("the-breakwater", "The Breakwater"),
];

const TEAMS: [&str; 8] = [
    "Saltwick",
    "Marrowby",
    "Port Ellery",
    "Gull Island",
    "Northmole",
    "Tern Bay",
    "Kelpford",
    "Anchor Town",
];

const PLAYERS: [&str; 40] = [
    "Adeyemi",
    "Aoki",
    "Barros",
    "Bianchi",
    "Castillo",
    "Dahl",
    "Diallo",
    "Eriksen",
    "Farah",
    "Fontaine",
    "Garcia",
    "Haddad",
    "Hansen",
    "Ibrahim",
    "Ivanov",
    "Jensen",
    "Kaya",
    "Keita",
    "Kowalski",
    "Laurent",
    "Lindqvist",
    "Marin",
    "Mensah",
    "Moreau",
    "Nakamura",
    "Novak",
    "Okafor",
    "Olsen",
    "Park",
    "Pereira",
    "Quinn",
    "Rossi",
    "Santos",
    "Silva",
    "Sow",
    "Tanaka",
    "Traore",
    "Vidal",
    "Weber",
    "Yilmaz",
];

/// Each plays each twice.
const ROUNDS: u32 = 2 * (TEAMS.len() as u32 - 1);

/// A match: 45 minutes, a rest, 45 minutes. Each ground kicks off a little later than the one before, and after the last
/// one there is a rest until the next round.
const HALF: u32 = 45;
const REST: u32 = 8;
const KICK_OFF: u32 = 3;
const LATER: u32 = 2;
const ROUND: u32 = KICK_OFF + 4 * LATER + 2 * HALF + REST + 15;

/// Chances in a minute, out of ten thousand: about 2.7 goals and 4 cards in a match.
const HOME_GOAL: u64 = 170;
const AWAY_GOAL: u64 = 130;
const YELLOW: u64 = 420;
const RED: u64 = 20;

/// The season as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct League {
    seed: u64,
    season: u32,
    round: u32,
    /// The second of the round up to which everything has happened.
    second: u32,
    /// How much has happened since the league began.
    count: u64,
    matches: Vec<Match>,
    table: Vec<Row>,
}

/// One match of the round, by its ground.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Match {
    home: String,
    away: String,
    score: [u32; 2],
    /// What has happened, oldest first.
    log: Vec<Happening>,
}

/// Something that happened in a match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Happening {
    /// Its place among everything that has happened in the league, from 1.
    pub count: u64,
    /// Its place in its match, from 0: a page that misses one knows it.
    pub index: usize,
    season: u32,
    round: u32,
    minute: u32,
    /// The score afterwards.
    score: [u32; 2],
    /// Milliseconds since 1970.
    time: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum What {
    Goal { goal: Side, player: String },
    Card { card: Colour, side: Side, player: String },
    Period { period: Period },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Home,
    Away,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Colour {
    Yellow,
    Red,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Period {
    #[serde(rename = "first half")]
    First,
    #[serde(rename = "half time")]
    Rest,
    #[serde(rename = "second half")]
    Second,
    #[serde(rename = "full time")]
    End,
}

/// A team's row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    team: String,
    played: u32,
    won: u32,
    drawn: u32,
    lost: u32,
    scored: u32,
    conceded: u32,
    points: u32,
}

/// What the clock on every page shows.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Clock {
    season: u32,
    round: u32,
    rounds: u32,
    /// The minute of every match, in the order of the grounds: 0 before it begins.
    minutes: Vec<u32>,
}

/// What one second brought.
#[derive(Debug, Default)]
pub(super) struct News {
    /// By ground, in the order in which they happened.
    pub happenings: Vec<(usize, Happening)>,
    /// Whether matches ended or a new round began.
    pub is_table_new: bool,
}

impl League {
    /// A league before its first match.
    pub(super) fn new(seed: u64) -> League {
        let mut league = League {
            seed,
            season: 1,
            round: 1,
            second: 0,
            count: 0,
            matches: Vec::new(),
            table: fresh_table(),
        };
        league.draw_matches();
        league
    }

    /// The second of the round up to which everything has happened.
    pub(super) fn second(&self) -> u32 {
        self.second
    }

    /// Whether anything happens in this second of the round.
    pub(super) fn is_eventful(&self, second: u32) -> bool {
        second >= ROUND || (0..GROUNDS.len()).any(|ground| self.at(ground, second).is_some())
    }

    /// Lets everything up to `second` happen, at `time_ms`.
    pub(super) fn advance(&mut self, second: u32, time_ms: u64) -> News {
        let mut news = News::default();
        while self.second < second.min(ROUND) {
            self.second += 1;
            for ground in 0..GROUNDS.len() {
                if let Some(what) = self.at(ground, self.second) {
                    news.is_table_new |= what == What::Period { period: Period::End };
                    news.happenings.push((ground, self.happen(ground, what, time_ms)));
                }
            }
        }
        if self.second >= ROUND {
            self.next_round();
            news.is_table_new = true;
        }
        news
    }

    /// What the clock shows at `second`, which may be later than the last in which something happened.
    pub(super) fn clock(&self, second: u32) -> Clock {
        let minutes = (0..GROUNDS.len()).map(|ground| minute(ground, second).unwrap_or_default()).collect();
        Clock { season: self.season, round: self.round, rounds: ROUNDS, minutes }
    }

    /// The matches of the round, in the order of the grounds.
    pub(super) fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// The table, the first team first.
    pub(super) fn table(&self) -> &[Row] {
        &self.table
    }

    /// What happens there and then, if anything does.
    fn at(&self, ground: usize, second: u32) -> Option<What> {
        let since = second.checked_sub(kick_off(ground))?;
        let period = |period| Some(What::Period { period });
        match since {
            0 => return period(Period::First),
            _ if since == HALF + 1 => return period(Period::Rest),
            _ if since == HALF + REST => return period(Period::Second),
            _ if since == 2 * HALF + REST + 1 => return period(Period::End),
            _ if since > 2 * HALF + REST || (HALF + 1..HALF + REST).contains(&since) => return None,
            _ => {}
        }
        let chance = self.chance(ground, second);
        let side = if chance >> 32 & 1 == 0 { Side::Home } else { Side::Away };
        // Five names for each side.
        let player = |side| {
            let team = self.round as usize * 3 + ground * 2 + usize::from(side == Side::Away);
            PLAYERS[(team * 5 + (chance >> 40) as usize % 5) % PLAYERS.len()].to_owned()
        };
        let goal = |side| Some(What::Goal { goal: side, player: player(side) });
        let card = |colour| Some(What::Card { card: colour, side, player: player(side) });
        match chance % 10_000 {
            roll if roll < HOME_GOAL => goal(Side::Home),
            roll if roll < HOME_GOAL + AWAY_GOAL => goal(Side::Away),
            roll if roll < HOME_GOAL + AWAY_GOAL + YELLOW => card(Colour::Yellow),
            roll if roll < HOME_GOAL + AWAY_GOAL + YELLOW + RED => card(Colour::Red),
            _ => None,
        }
    }

    fn happen(&mut self, ground: usize, what: What, time: u64) -> Happening {
        self.count += 1;
        let played = &mut self.matches[ground];
        if let What::Goal { goal, .. } = what {
            played.score[usize::from(goal == Side::Away)] += 1;
        }
        let happening = Happening {
            count: self.count,
            index: played.log.len(),
            season: self.season,
            round: self.round,
            minute: minute(ground, self.second).unwrap_or_default(),
            score: played.score,
            time,
            what,
        };
        played.log.push(happening.clone());
        if happening.what == (What::Period { period: Period::End }) {
            let Match { home, away, score: [home_goals, away_goals], .. } = self.matches[ground].clone();
            self.count_match(&home, home_goals, away_goals);
            self.count_match(&away, away_goals, home_goals);
            self.table.sort_by_cached_key(rank);
        }
        happening
    }

    fn count_match(&mut self, team: &str, scored: u32, conceded: u32) {
        let Some(row) = self.table.iter_mut().find(|row| row.team == team) else { return };
        row.played += 1;
        row.scored += scored;
        row.conceded += conceded;
        match scored.cmp(&conceded) {
            std::cmp::Ordering::Greater => (row.won, row.points) = (row.won + 1, row.points + 3),
            std::cmp::Ordering::Equal => (row.drawn, row.points) = (row.drawn + 1, row.points + 1),
            std::cmp::Ordering::Less => row.lost += 1,
        }
    }

    fn next_round(&mut self) {
        self.second = 0;
        self.round += 1;
        if self.round > ROUNDS {
            (self.season, self.round, self.table) = (self.season.saturating_add(1), 1, fresh_table());
        }
        self.draw_matches();
    }

    fn draw_matches(&mut self) {
        let drawn = pairs(self.round).into_iter().map(|(home, away)| Match {
            home: TEAMS[home].to_owned(),
            away: TEAMS[away].to_owned(),
            score: [0, 0],
            log: Vec::new(),
        });
        self.matches = drawn.collect();
    }

    fn chance(&self, ground: usize, second: u32) -> u64 {
        [u64::from(self.season), u64::from(self.round), ground as u64, u64::from(second)]
            .into_iter()
            .fold(mixed(self.seed), |state, word| mixed(state ^ word))
    }
}

fn kick_off(ground: usize) -> u32 {
    // There are four grounds.
    KICK_OFF + ground as u32 * LATER
}

/// The minute that is being played, or was when play stopped; nothing before kick-off.
fn minute(ground: usize, second: u32) -> Option<u32> {
    let since = second.checked_sub(kick_off(ground))?;
    Some(if since <= HALF + REST { since.min(HALF) } else { (since - REST).min(2 * HALF) })
}

/// Who plays whom in this round, from 1 (the circle method): the first stays, the others go around it, and after half of the
/// rounds they change grounds.
fn pairs(round: u32) -> Vec<(usize, usize)> {
    let others = TEAMS.len() - 1;
    let turn = (round as usize - 1) % others;
    let seat = |at: usize| if at == 0 { 0 } else { 1 + (at - 1 + turn) % others };
    let is_back = round as usize > others;
    let pair = |at: usize| (seat(at), seat(TEAMS.len() - 1 - at));
    let swap = |(at, (home, away)): (usize, (usize, usize))| {
        if (at + turn).is_multiple_of(2) == is_back { (away, home) } else { (home, away) }
    };
    (0..TEAMS.len() / 2).map(pair).enumerate().map(swap).collect()
}

fn fresh_table() -> Vec<Row> {
    let row = |team: &&str| Row {
        team: (*team).to_owned(),
        played: 0,
        won: 0,
        drawn: 0,
        lost: 0,
        scored: 0,
        conceded: 0,
        points: 0,
    };
    let mut table: Vec<Row> = TEAMS.iter().map(row).collect();
    table.sort_by_cached_key(rank);
    table
}

fn rank(row: &Row) -> (std::cmp::Reverse<(u32, i64, u32)>, String) {
    let difference = i64::from(row.scored) - i64::from(row.conceded);
    (std::cmp::Reverse((row.points, difference, row.scored)), row.team.clone())
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of what comes in changes half of what comes out.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `seconds` of a league, `step` at a time, and gives back what happened.
    fn played(league: &mut League, seconds: u32, step: u32) -> Vec<(usize, Happening)> {
        let mut happenings = Vec::new();
        let mut second = league.second();
        for _ in 0..seconds.div_ceil(step) {
            second += step;
            happenings.extend(league.advance(second, 7).happenings);
            if league.second() == 0 {
                second = 0;
            }
        }
        happenings
    }

    #[test]
    fn a_season_is_the_same_however_it_is_played_and_another_one_with_another_seed() {
        let second_by_second = played(&mut League::new(1), ROUND, 1);
        assert_eq!(second_by_second, played(&mut League::new(1), ROUND, 10));
        assert_ne!(second_by_second, played(&mut League::new(2), ROUND, 1));
        let counts: Vec<u64> = second_by_second.iter().map(|(_, happening)| happening.count).collect();
        assert_eq!(counts, (1..=counts.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_happens_in_seconds_that_are_not_eventful_so_they_need_not_be_kept() {
        let mut league = League::new(3);
        for second in 1..ROUND {
            let eventful = league.is_eventful(second);
            assert_eq!(eventful, !league.clone().advance(second, 0).happenings.is_empty());
            if eventful {
                let json = serde_json::to_string(&league).unwrap();
                league = serde_json::from_str(&json).unwrap();
                league.advance(second, 0);
            }
        }
        let goals = |ground: usize| league.matches[ground].score;
        let mut whole = League::new(3);
        whole.advance(ROUND - 1, 0);
        for ground in 0..GROUNDS.len() {
            assert_eq!(whole.matches[ground].score, goals(ground));
        }
    }

    #[test]
    fn every_team_plays_once_a_round_and_every_other_twice_a_season() {
        let mut met = std::collections::BTreeMap::new();
        for round in 1..=ROUNDS {
            let mut teams: Vec<usize> = pairs(round).into_iter().flat_map(|(a, b)| [a, b]).collect();
            teams.sort_unstable();
            assert_eq!(teams, (0..TEAMS.len()).collect::<Vec<_>>());
            for pair in pairs(round) {
                *met.entry(pair).or_insert(0) += 1;
            }
        }
        assert_eq!(met.len(), TEAMS.len() * (TEAMS.len() - 1));
        assert!(met.values().all(|times| *times == 1), "at home once, and away once");
    }

    #[test]
    fn a_season_adds_up() {
        let mut league = League::new(1);
        let mut goals = 0;
        for round in 1..=ROUNDS {
            assert_eq!(league.round, round);
            let news = league.advance(ROUND - 1, 0);
            goals += news.happenings.iter().filter(|(_, h)| matches!(h.what, What::Goal { .. })).count();
            let ends = |h: &Happening| h.what == What::Period { period: Period::End };
            assert_eq!(news.happenings.iter().filter(|(_, h)| ends(h)).count(), 4);
            let sum = |of: fn(&Row) -> u32| league.table.iter().map(of).sum::<u32>();
            assert_eq!(sum(|row| row.scored) as usize, goals);
            assert_eq!(sum(|row| row.scored), sum(|row| row.conceded));
            assert_eq!(sum(|row| row.points), 3 * sum(|row| row.won) + sum(|row| row.drawn));
            league.advance(ROUND, 0);
        }
        assert_eq!((league.season, league.round), (2, 1));
        assert_eq!(league.table, fresh_table());
        assert!((100..250).contains(&goals), "{goals} goals in 56 matches");
    }

    #[test]
    fn the_clock_stands_still_at_half_time_and_at_the_end() {
        let league = League::new(1);
        let minute = |second| league.clock(second).minutes[0];
        assert_eq!([0, KICK_OFF, KICK_OFF + 1, KICK_OFF + HALF].map(minute), [0, 0, 1, 45]);
        assert_eq!([KICK_OFF + HALF + 3, KICK_OFF + HALF + REST + 1].map(minute), [45, 46]);
        assert_eq!([KICK_OFF + 2 * HALF + REST, ROUND - 1].map(minute), [90, 90]);
    }
}
