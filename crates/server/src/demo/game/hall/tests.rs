//! Matches from the first hand to the winner, on a clock that is turned by hand.

use super::*;

const STEP_MS: u64 = 40;

fn mark(name: &str) -> String {
    format!("hand of {name}")
}

/// A player's name is the token of its place.
fn fresh(name: &str) -> Fresh {
    Fresh { court: format!("court of {name}"), token: name.into(), mark: mark(name) }
}

/// A hall, its clock, and hands that say where they are before each step.
struct Play {
    hall: Hall,
    now_ms: u64,
    decided: Vec<Decided>,
}

impl Play {
    fn new() -> Play {
        Play { hall: Hall::new(0, Vec::new()), now_ms: 1_000, decided: Vec::new() }
    }

    fn join(&mut self, name: &str) -> Seated {
        self.hall.join(name.into(), None, fresh(name), self.now_ms).unwrap()
    }

    /// Lets time pass while `there` hold still.
    fn pass(&mut self, ms: u64, there: &[&str]) {
        for _ in 0..ms / STEP_MS {
            self.now_ms += STEP_MS;
            for name in there {
                self.hall.hear(&mark(name), self.now_ms, 0, self.now_ms);
            }
            let step = self.hall.step(self.now_ms, STEP_MS as f64 / 1_000.0, 1_500);
            self.decided.extend(step.decided);
        }
    }

    /// Where the hand on the left of the first court is.
    fn hand(&self) -> f64 {
        self.hall.courts[0].seats[0].as_ref().unwrap().hand
    }

    fn phase(&self, at: usize) -> Phase {
        self.hall.courts[at].phase
    }
}

#[test]
fn whoever_comes_second_plays_with_whoever_waits() {
    let mut play = Play::new();
    let (ada, ben) = (play.join("ada"), play.join("ben"));
    assert_eq!((ada.side, ben.side), (0, 1));
    assert_eq!(ada.court, ben.court);
    assert_ne!(play.join("cem").court, ada.court);
    play.pass(BEGIN_MS + STEP_MS, &["ada", "ben", "cem"]);
    assert_eq!((play.phase(0), play.phase(1)), (Phase::Play, Phase::Practice));
}

#[test]
fn a_match_ends_with_a_winner_and_begins_again_when_both_want_it() {
    let mut play = Play::new();
    play.join("ada");
    play.join("ben");
    play.pass(90_000, &["ada", "ben"]);
    // Neither moves, so each serve is a point, until it is shown no more and the court is free.
    assert_eq!(play.decided.len(), 1, "{:?}", play.decided);
    assert!(play.hall.is_empty());

    play.join("ada");
    play.join("ben");
    while !matches!(play.phase(0), Phase::Over { .. }) {
        play.pass(STEP_MS, &["ada", "ben"]);
    }
    play.hall.again("ada", play.now_ms).unwrap();
    assert!(matches!(play.phase(0), Phase::Over { left: false, .. }));
    play.hall.again("ben", play.now_ms).unwrap();
    assert!(matches!(play.phase(0), Phase::Soon { .. }));
    assert_eq!(play.hall.courts[0].score, [0, 0]);
}

#[test]
fn a_place_is_kept_for_whoever_is_away_and_then_goes_to_the_other() {
    let mut play = Play::new();
    play.join("ada");
    let ben = play.join("ben");
    play.pass(BEGIN_MS, &["ada", "ben"]);
    play.pass(QUIET_MS + 2 * STEP_MS, &["ada"]);
    assert_eq!(play.phase(0), Phase::Away { side: 1 });
    let back = play.hall.join("ben".into(), Some("ben"), fresh("x"), play.now_ms).unwrap();
    assert_eq!(back, ben);
    play.pass(STEP_MS, &["ada", "ben"]);
    assert!(matches!(play.phase(0), Phase::Soon { side: 1, .. }));

    play.pass(KEPT_MS + STEP_MS, &["ada"]);
    assert_eq!(play.phase(0), Phase::Over { side: 0, left: true });
    assert_eq!(play.decided, [Decided { winner: "ada".into(), loser: "ben".into() }]);
    let other = play.hall.join("ben".into(), Some("ben"), fresh("y"), play.now_ms).unwrap();
    assert_ne!(other.court, ben.court);
}

#[test]
fn whoever_is_alone_after_a_match_waits_for_the_next_one() {
    let mut play = Play::new();
    play.join("ada");
    play.join("ben");
    play.pass(BEGIN_MS, &["ada", "ben"]);
    play.hall.leave("ada", play.now_ms);
    assert_eq!(play.phase(0), Phase::Over { side: 1, left: true });
    play.hall.again("ben", play.now_ms).unwrap();
    assert_eq!(play.phase(0), Phase::Practice);
    assert_eq!(play.join("cem").side, 1);
}

#[test]
fn courts_are_bounded_and_left_ones_are_free_again() {
    let mut play = Play::new();
    for player in 0..2 * COURTS_MAX {
        play.join(&format!("{player}"));
    }
    let full = play.hall.join("late".into(), None, fresh("late"), play.now_ms).unwrap_err();
    assert_eq!(full.reason, Reason::Overloaded);
    play.pass(2 * KEPT_MS, &[]);
    assert!(play.hall.is_empty());
    play.join("late");
}

#[test]
fn nobody_moves_the_hand_of_another() {
    let mut play = Play::new();
    play.join("ada");
    play.hall.hear(&mark("ben"), 1, 900, play.now_ms);
    play.hall.hear(&mark("ada"), 2, 100, play.now_ms);
    play.hall.hear(&mark("ada"), 1, 900, play.now_ms);
    assert_eq!(play.hand(), 100.0);
    play.hall.hear(&mark("ada"), 3, i32::MAX, play.now_ms);
    assert_eq!(play.hand(), HIGH);
    assert!(play.hall.again("ben", play.now_ms).is_err());
}

#[test]
fn what_moves_are_published_with_gives_nobody_a_place() {
    let mut play = Play::new();
    let [ada, ben] = ["ada", "ben"].map(|name| play.join(name));
    assert_eq!(play.hall.leave(&ada.mark, play.now_ms), None);
    assert!(play.hall.again(&ada.mark, play.now_ms).is_err());
    let cem = play.hall.join("cem".into(), Some(&ada.mark), fresh("cem"), play.now_ms).unwrap();
    assert_ne!(cem.court, ada.court);
    // And what a place is proved with moves no hand.
    play.hall.hear(&ada.token, 1, 900, play.now_ms);
    assert_eq!(play.hand(), HIGH / 2.0);
    assert!(play.hall.leave(&ben.token, play.now_ms).is_some());
}

#[test]
fn no_number_makes_a_place_deaf() {
    let mut play = Play::new();
    play.join("ada");
    play.hall.hear(&mark("ada"), 5_000, 100, play.now_ms);
    play.hall.hear(&mark("ada"), u64::MAX, 900, play.now_ms);
    play.hall.hear(&mark("ada"), 5_001, 200, play.now_ms);
    assert_eq!(play.hand(), 200.0);
    play.hall.hear(&mark("ada"), 5_000, 900, play.now_ms);
    assert_eq!(play.hand(), 200.0);
}

#[test]
fn new_winners_are_news_and_are_shown_until_there_are_others() {
    let mut hall = Hall::new(7, Vec::new());
    assert!(!hall.has_changed());
    let ada = Winner { name: "ada".into(), wins: 1, losses: 0 };
    hall.honour(vec![ada.clone()]);
    assert!(hall.has_changed() && !hall.has_changed());
    assert_eq!((hall.winners(), hall.version()), (&[ada][..], 8));
}
