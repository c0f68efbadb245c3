//! The market: two hundred invented shares, whose prices wander. It is the same for the same seed and the same times.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Names of companies are one of these and one of [`TRADES`]; the first two letters of each make the symbol.
const NAMES: [&str; 20] = [
    "Amber", "Basalt", "Cobalt", "Drift", "Ember", "Fathom", "Gannet", "Harbour", "Indigo", "Juniper",
    "Kelp", "Lantern", "Marram", "Nimbus", "Osprey", "Pebble", "Quay", "Rigging", "Sable", "Tern",
];

const TRADES: [&str; 10] = [
    "Airways",
    "Bakeries",
    "Energy",
    "Foods",
    "Glass",
    "Logistics",
    "Marine",
    "Optics",
    "Robotics",
    "Textiles",
];

/// How many shares there are.
pub(super) const SHARES: usize = NAMES.len() * TRADES.len();

/// Ticks from one point of a share's history to its next. Each tick it is the turn of some, so that no tick has the work of all.
pub(super) const TICKS_PER_POINT: usize = 40;

/// Points that a share's line in the table has.
const RECENT_MAX: usize = 30;

/// One in so many shares changes at a tick, on average.
const CALM: u64 = 8;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Every share, and where chance stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Market {
    /// One more with every tick: a page that misses one knows it.
    pub(super) version: u64,
    chance: u64,
    /// Days since 1970.
    day: u64,
    shares: Vec<Share>,
}

/// One share. Prices are in hundredths.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) symbol: String,
    name: String,
    /// Where it began; it does not go far from there.
    anchor: u32,
    price: u32,
    /// At the day's first tick.
    open: u32,
    low: u32,
    high: u32,
    /// The last points, oldest first.
    recent: VecDeque<u32>,
}

/// What one tick changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tick {
    version: u64,
    /// Milliseconds since 1970.
    time: u64,
    /// Which shares, by their place in the market, and what they cost now.
    prices: Vec<(usize, u32)>,
}

/// One point of a share's history.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Point {
    time: u64,
    price: u32,
}

impl Market {
    /// A market that has been open for as long as its lines are, up to `now_ms`. Its first version is greater than that of any
    /// market before it, since versions are slower than milliseconds.
    pub(super) fn open(seed: u64, now_ms: u64, tick_ms: u64) -> Market {
        let warm_up = (RECENT_MAX * TICKS_PER_POINT) as u64;
        let mut market = Market { version: now_ms, chance: seed, day: now_ms / DAY_MS, shares: Vec::new() };
        for at in 0..SHARES {
            let (name, trade) = (NAMES[at / TRADES.len()], TRADES[at % TRADES.len()]);
            let symbol = format!("{}{}", &name[..2], &trade[..2]).to_uppercase();
            let price = 800 + u32::try_from(market.below(60_000)).unwrap_or(0);
            let recent = VecDeque::with_capacity(RECENT_MAX);
            let name = format!("{name} {trade}");
            market.shares.push(Share {
                symbol,
                name,
                anchor: price,
                price,
                open: price,
                low: price,
                high: price,
                recent,
            });
        }
        for back in (1..=warm_up).rev() {
            market.tick(now_ms.saturating_sub(back * tick_ms));
        }
        market
    }

    /// Whether it has the shares that there are: one that was stored by another version of this program may have others.
    pub(super) fn is_whole(&self) -> bool {
        self.shares.len() == SHARES
    }

    /// Goes on after a pause, however long that was: nothing that was told before has a version as great as what comes.
    pub(super) fn go_on(&mut self, now_ms: u64) {
        self.version = self.version.max(now_ms);
    }

    /// Lets some prices change.
    pub(super) fn tick(&mut self, now_ms: u64) -> Tick {
        self.version += 1;
        let day = now_ms / DAY_MS;
        let is_new_day = day != self.day;
        self.day = day;
        let mut prices = Vec::with_capacity(SHARES / 4);
        for at in 0..SHARES {
            if is_new_day {
                self.shares[at].begin_day();
            }
            if self.below(CALM) == 0 {
                let (step, wildness) = (self.step(), 2.0 + (at % 7) as f64);
                if self.shares[at].wander(step * wildness) {
                    prices.push((at, self.shares[at].price));
                }
            }
        }
        for at in self.due() {
            self.shares[at].remember();
        }
        Tick { version: self.version, time: now_ms, prices }
    }

    /// The shares whose turn it is to have a point in their history, with that point.
    pub(super) fn points(&self, now_ms: u64) -> impl Iterator<Item = (&str, Point)> {
        let shares = self.due().map(|at| &self.shares[at]);
        shares.map(move |share| (share.symbol.as_str(), Point { time: now_ms, price: share.price }))
    }

    /// The points of all lines in the order in which they came, as if a tick took `tick_ms`: a history for channels that
    /// have none.
    pub(super) fn past(&self, now_ms: u64, tick_ms: u64) -> impl Iterator<Item = (&str, Point)> {
        let point_ms = tick_ms * TICKS_PER_POINT as u64;
        (1..=RECENT_MAX).rev().flat_map(move |back| {
            let time = now_ms.saturating_sub((back as u64 - 1) * point_ms);
            let kept = self.shares.iter().filter_map(move |share| {
                let at = share.recent.len().checked_sub(back)?;
                Some((share.symbol.as_str(), Point { time, price: *share.recent.get(at)? }))
            });
            kept.collect::<Vec<_>>()
        })
    }

    pub(super) fn shares(&self) -> &[Share] {
        &self.shares
    }

    fn due(&self) -> std::iter::StepBy<std::ops::Range<usize>> {
        let turn = (self.version % TICKS_PER_POINT as u64) as usize;
        (turn..SHARES).step_by(TICKS_PER_POINT)
    }

    /// Anything from -1 to 1, most often little.
    fn step(&mut self) -> f64 {
        let sum: u64 = (0..3).map(|_| self.below(2_001)).sum();
        (sum as f64 - 3_000.0) / 3_000.0
    }

    /// A number below `bound`, which is small: SplitMix64 (Steele, Lea and Flood, 2014).
    fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

impl Share {
    fn begin_day(&mut self) {
        (self.open, self.low, self.high) = (self.price, self.price, self.price);
    }

    /// Moves by so many thousandths, and a little towards where it began. Says whether that made a difference.
    fn wander(&mut self, thousandths: f64) -> bool {
        let (price, anchor) = (f64::from(self.price), f64::from(self.anchor));
        let moved = price * (1.0 + thousandths / 1_000.0) + (anchor - price) / 2_000.0;
        // Far below what a u32 holds, and never nothing.
        let moved = moved.clamp(anchor / 4.0, anchor * 4.0).round() as u32;
        let has_changed = moved != self.price;
        self.price = moved;
        self.low = self.low.min(moved);
        self.high = self.high.max(moved);
        has_changed
    }

    fn remember(&mut self) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(self.price);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOON: u64 = DAY_MS / 2 + 20_000 * DAY_MS;

    #[test]
    fn no_two_shares_have_one_symbol() {
        let market = Market::open(1, NOON, 250);
        let symbols: BTreeSet<&str> = market.shares().iter().map(|share| share.symbol.as_str()).collect();
        assert_eq!(symbols.len(), 200);
        assert!(symbols.iter().all(|symbol| symbol.len() == 4), "{symbols:?}");
    }

    #[test]
    fn the_same_seed_and_the_same_times_make_the_same_market() {
        let (mut one, mut other) = (Market::open(7, NOON, 250), Market::open(7, NOON, 250));
        let mut changes = 0;
        for tick in 0..1_000 {
            let told = one.tick(NOON + tick * 250);
            changes += told.prices.len();
            assert_eq!(told, other.tick(NOON + tick * 250));
        }
        assert!((20_000..30_000).contains(&changes), "an eighth of 200 shares a tick: {changes}");
        assert_ne!(Market::open(8, NOON, 250).tick(NOON), Market::open(7, NOON, 250).tick(NOON));
    }

    #[test]
    fn every_price_stays_between_the_low_and_the_high_of_its_day() {
        let mut market = Market::open(3, NOON, 250);
        for tick in 0..20_000 {
            market.tick(NOON + tick * 10_000);
            for share in market.shares() {
                assert!(share.low <= share.price && share.price <= share.high, "{share:?}");
                assert!((share.anchor / 4..=share.anchor * 4).contains(&share.price), "{share:?}");
            }
        }
    }

    #[test]
    fn a_day_begins_where_the_one_before_ended() {
        let mut market = Market::open(5, NOON, 250);
        let before: Vec<u32> = market.shares().iter().map(|share| share.price).collect();
        market.tick(NOON + DAY_MS);
        let open: Vec<u32> = market.shares().iter().map(|share| share.open).collect();
        assert_eq!(open, before);
    }

    #[test]
    fn each_share_has_a_point_once_in_a_round_of_ticks() {
        let mut market = Market::open(9, NOON, 250);
        let mut symbols = Vec::new();
        for tick in 0..TICKS_PER_POINT as u64 {
            market.tick(NOON + tick * 250);
            symbols.extend(market.points(NOON).map(|(symbol, _)| symbol.to_owned()));
        }
        symbols.sort();
        symbols.dedup();
        assert_eq!(symbols.len(), SHARES);
    }

    #[test]
    fn a_market_that_goes_on_tells_versions_that_nobody_has_seen() {
        let mut market = Market::open(9, NOON, 250);
        let before = market.clone();
        for tick in 0..1_000 {
            market.tick(NOON + tick * 250);
        }
        let mut after = before;
        after.go_on(NOON + 1_000 * 250);
        assert!(after.version > market.version);
    }

    #[test]
    fn the_past_has_a_line_of_points_for_each_share_oldest_first() {
        let market = Market::open(2, NOON, 250);
        let times: Vec<u64> = market.past(NOON, 250).map(|(_, point)| point.time).collect();
        assert_eq!(times.len(), SHARES * RECENT_MAX);
        assert!(times.is_sorted() && times.last() == Some(&NOON));
    }
}
