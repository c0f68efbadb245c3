//! The court: a buoy between two breakwaters. What happens depends on the time that passes and on nothing else.
//!
//! ```text
//!   0 ┌──────────────────────────────┐
//!     │                        ▐     │
//!     │   ▌          ●         ▐     │   y
//!     │   ▌                          │
//! HIGH└──────────────────────────────┘
//!     0              x             WIDE
//! ```

use serde::Serialize;

pub(super) const WIDE: f64 = 1_600.0;
pub(super) const HIGH: f64 = 1_000.0;

/// Half of a breakwater's height.
const REACH: f64 = 110.0;

/// From a side of the court to the face of its breakwater.
const FACE: f64 = 70.0;

const RADIUS: f64 = 16.0;

/// How fast a breakwater follows its player's hand, in units a second.
const FOLLOW: f64 = 2_600.0;

/// How fast the buoy is at first and at most, in units a second, and what each hit adds to it.
const SPEED_FIRST: f64 = 620.0;
const SPEED_MAX: f64 = 1_500.0;
const FASTER: f64 = 1.06;

/// The steepest way off a breakwater: the tangent of about 55 degrees.
const STEEP: f64 = 1.4;

/// A side: the left one is 0, the right one 1.
pub(super) type Side = usize;

/// What is where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Court {
    ball: Ball,
    /// Where the middle of each breakwater is.
    walls: [f64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Ball {
    x: f64,
    y: f64,
    /// Units a second.
    dx: f64,
    dy: f64,
}

/// A court as pages are told of it: whole units, and units a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Seen {
    ball: [i32; 4],
    walls: [i32; 2],
}

impl Court {
    /// A court with the buoy in the middle. It is served towards `side`; `slant`, from -1 to 1, says how steeply.
    pub(super) fn serve(side: Side, slant: f64) -> Court {
        let dx = if side == 0 { -SPEED_FIRST } else { SPEED_FIRST };
        let dy = slant.clamp(-1.0, 1.0) * SPEED_FIRST * 0.6;
        Court { ball: Ball { x: WIDE / 2.0, y: HIGH / 2.0, dx, dy }, walls: [HIGH / 2.0; 2] }
    }

    /// The next serve, with the breakwaters where they are.
    pub(super) fn serve_again(&mut self, side: Side, slant: f64) {
        self.ball = Court::serve(side, slant).ball;
    }

    /// Moves the breakwaters towards where the hands are, for `seconds`.
    pub(super) fn follow(&mut self, hands: [f64; 2], seconds: f64) {
        for (wall, hand) in self.walls.iter_mut().zip(hands) {
            let way = FOLLOW * seconds;
            let hand = hand.clamp(REACH, HIGH - REACH);
            *wall += (hand - *wall).clamp(-way, way);
        }
    }

    /// Moves the buoy for `seconds`, which are few. Gives the side whose harbour it has entered, if any.
    pub(super) fn drift(&mut self, seconds: f64) -> Option<Side> {
        let before = self.ball;
        self.ball.x += before.dx * seconds;
        self.ball.y += before.dy * seconds;
        if self.ball.y < RADIUS {
            (self.ball.y, self.ball.dy) = (2.0 * RADIUS - self.ball.y, before.dy.abs());
        } else if self.ball.y > HIGH - RADIUS {
            (self.ball.y, self.ball.dy) = (2.0 * (HIGH - RADIUS) - self.ball.y, -before.dy.abs());
        }
        for side in [0, 1] {
            self.meet(side, before);
        }
        match self.ball.x {
            x if x < 0.0 => Some(0),
            x if x > WIDE => Some(1),
            _ => None,
        }
    }

    /// What a hand that only ever looks at the buoy would do: it is late, and it is not quick.
    pub(super) fn idle_hand(&self, side: Side, seconds: f64) -> f64 {
        let hand = self.walls[side];
        let comes = if side == 0 { self.ball.dx < 0.0 } else { self.ball.dx > 0.0 };
        let wish = if comes { self.ball.y } else { HIGH / 2.0 };
        hand + (wish - hand).clamp(-520.0 * seconds, 520.0 * seconds)
    }

    pub(super) fn seen(&self) -> Seen {
        let Ball { x, y, dx, dy } = self.ball;
        // All of them are within a few thousand.
        Seen {
            ball: [x, y, dx, dy].map(|value| value.round() as i32),
            walls: self.walls.map(|wall| wall.round() as i32),
        }
    }

    /// Lets the buoy bounce off the breakwater of `side`, if it has passed its face since it was where it was `before`.
    fn meet(&mut self, side: Side, before: Ball) {
        let (face, outward) = if side == 0 { (FACE + RADIUS, -1.0) } else { (WIDE - FACE - RADIUS, 1.0) };
        let is_passed = (before.x - face) * outward <= 0.0 && (self.ball.x - face) * outward > 0.0;
        if !is_passed {
            return;
        }
        let part = (face - before.x) / (self.ball.x - before.x);
        let off = before.y + (self.ball.y - before.y) * part - self.walls[side];
        if off.abs() > REACH + RADIUS {
            return;
        }
        let speed = (self.ball.dx.hypot(self.ball.dy) * FASTER).min(SPEED_MAX);
        let slope = off / (REACH + RADIUS) * STEEP;
        let dx = speed / slope.hypot(1.0);
        self.ball = Ball { x: face, y: self.ball.y, dx: -outward * dx, dy: dx * slope };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: f64 = 0.04;

    fn play(court: &mut Court, hands: impl Fn(&Court) -> [f64; 2]) -> Option<Side> {
        (0..100_000).find_map(|_| {
            court.follow(hands(court), STEP);
            court.drift(STEP)
        })
    }

    #[test]
    fn a_buoy_that_nobody_stops_enters_the_harbour_it_was_served_to() {
        for side in [0, 1] {
            assert_eq!(play(&mut Court::serve(side, 0.9), |_| [HIGH, HIGH]), Some(side));
        }
    }

    #[test]
    fn a_hand_that_is_always_there_keeps_its_harbour() {
        let mut court = Court::serve(1, 0.3);
        assert_eq!(play(&mut court, |court| [0.0, court.ball.y]), Some(0));
    }

    #[test]
    fn the_buoy_stays_in_the_court_and_below_its_speed() {
        let mut court = Court::serve(0, 1.0);
        for step in 0..50_000 {
            let off = f64::from(step % 200) - 100.0;
            court.follow([court.ball.y + off, court.ball.y - off], STEP);
            if let Some(side) = court.drift(STEP) {
                court.serve_again(side, off / 100.0);
            }
            let Ball { x, y, dx, dy } = court.ball;
            assert!((0.0..=WIDE).contains(&x) && (RADIUS..=HIGH - RADIUS).contains(&y), "{court:?}");
            assert!(dx.hypot(dy) <= SPEED_MAX + 1.0 && dx.abs() > 200.0, "{court:?}");
        }
    }

    #[test]
    fn a_breakwater_is_no_faster_than_the_sea_lets_it_be() {
        let mut court = Court::serve(0, 0.0);
        court.follow([-1e9, 1e9], STEP);
        assert_eq!(court.walls, [HIGH / 2.0 - FOLLOW * STEP, HIGH / 2.0 + FOLLOW * STEP]);
        for _ in 0..100 {
            court.follow([f64::MIN, f64::MAX], STEP);
        }
        assert_eq!(court.walls, [REACH, HIGH - REACH]);
    }
}
