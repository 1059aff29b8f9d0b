//! How much an exchange may move, and when: by its own limit, and by those that it shares with
//! others, of a source, of a tenant or of all.
//!
//! Each limit is a [`Pace`], on which one portion after the other is reserved: each has a time from
//! which on it may be moved. An exchange holds one portion of each of its limits at a time, and
//! reserves the next when that is used up: so those that share a limit take turns, however many
//! they are, and none has more of it than another. What the time is, the caller says.
//!
//! **Limits are reserved, not drawn upon.** Each limit of bandwidth gives out portions of 20 ms,
//! one after the other, each with the time at which it may be moved (`Pace`). An exchange holds one
//! at a time: so who shares a limit takes turns, however many they are, and a worker that wakes
//! late loses nothing, because times do not depend on when it woke. A bucket that whoever comes
//! first empties would give most to those who are driven first. It begins with 1 KiB and doubles,
//! so that many that are short do not reserve what they do not need; what is left is given back. In
//! the simulation no world moves more than its limits, and in the model none is off by more than 2
//! % in 10 s, nor any share.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xchg_core::Origin as Source;

use crate::engine::bearers::Bearer;
use crate::origin::Origin;
use crate::{Config, Rate};

/// How much of a limit may be made up for that was not used in time. With less, a worker that is
/// late by a few milliseconds would cost rate; with more, those who begin would be above it for
/// longer.
const SLACK: Duration = Duration::from_millis(50);

/// How long a portion takes at its limit: shorter, and workers do little else than begin; longer,
/// and receivers get it in jerks, and those who share it wait for each other.
const PORTION: Duration = Duration::from_millis(20);

/// The least and the most bytes of a portion, whatever its limit. An exchange begins with the
/// least, and has twice as much with each next portion: else many that are short would wait for
/// what others reserve and do not need.
const BOUNDS: (u64, u64) = (1 << 10, 1 << 20);

/// A rate, and what of it is taken.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    /// From when on the next portion may be moved, once there was one.
    next: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, next: None }
    }

    /// One that several exchanges may share.
    pub(crate) fn shared(rate: Rate) -> Shared {
        Arc::new(Mutex::new(Self::new(rate)))
    }

    /// Takes so many bytes, and gives the time from which on they may be moved.
    fn reserve(&mut self, bytes: u64, now: Instant) -> Instant {
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let at = self.next.unwrap_or(now).max(earliest);
        self.next = Some(at + self.time(bytes));
        at
    }

    /// Gives bytes back that were not moved.
    fn give_back(&mut self, bytes: u64) {
        self.next = self.next.and_then(|next| next.checked_sub(self.time(bytes)));
    }

    /// How long so many bytes take.
    fn time(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn portion(&self) -> u64 {
        let bytes = u128::from(self.rate.get()) * PORTION.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX).clamp(BOUNDS.0, BOUNDS.1)
    }
}

/// A pace that several exchanges share.
pub(crate) type Shared = Arc<Mutex<Pace>>;

/// What one exchange may move.
#[derive(Debug)]
pub(crate) struct Allowance {
    paces: Vec<Shared>,
    /// Bytes in its next portion, and in the largest that it will have: that of its lowest limit.
    portion: u64,
    largest: u64,
    /// What is left of the portion that it has, and when it may be moved.
    left: u64,
    at: Instant,
}

impl Allowance {
    /// By all of these limits; `None` if there are none.
    pub(crate) fn new(paces: Vec<Shared>, now: Instant) -> Option<Self> {
        let largest = paces.iter().map(|pace| pace.lock().portion()).min()?;
        Some(Self { paces, portion: BOUNDS.0, largest, left: 0, at: now })
    }

    /// How many bytes may be moved now.
    ///
    /// # Errors
    /// When some may.
    pub(crate) fn budget(&mut self, now: Instant) -> Result<u64, Instant> {
        if self.left == 0 {
            let reserved = self.paces.iter().map(|pace| pace.lock().reserve(self.portion, now));
            self.at = reserved.max().unwrap_or(now);
            self.left = self.portion;
            self.portion = (self.portion * 2).min(self.largest);
        }
        if self.at > now { Err(self.at) } else { Ok(self.left) }
    }

    /// Notes that so many were moved. More than there was budget for is taken from what comes next.
    pub(crate) fn moved(&mut self, bytes: u64, now: Instant) {
        let over = bytes.saturating_sub(self.left);
        self.left = self.left.saturating_sub(bytes);
        if over > 0 {
            for pace in &self.paces {
                pace.lock().reserve(over, now);
            }
        }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        for pace in &self.paces {
            pace.lock().give_back(self.left);
        }
    }
}

/// The limits of a server.
#[derive(Debug)]
pub(crate) struct Paces {
    exchange: Option<Rate>,
    source: Option<Rate>,
    total: Option<Shared>,
    sources: Mutex<Sources>,
}

/// What each source moves that has an exchange.
#[derive(Debug, Default)]
struct Sources {
    paces: HashMap<Source, Weak<Mutex<Pace>>>,
    /// How many may be there before those whose exchanges are over are dropped.
    most: usize,
}

impl Paces {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            exchange: config.limit_rate_exchange,
            source: config.limit_rate_source,
            total: config.limit_rate_total.map(Pace::shared),
            sources: Mutex::default(),
        }
    }

    /// What an exchange between peers of these origins and bearers may move; `None` if nothing
    /// limits it.
    pub(crate) fn allowance(
        &self,
        peers: impl Iterator<Item = (Origin, Bearer)>,
        now: Instant,
    ) -> Option<Box<Allowance>> {
        let mut paces: Vec<Shared> = self.exchange.map(Pace::shared).into_iter().collect();
        paces.extend(self.total.clone());
        for (origin, bearer) in peers {
            let tenant = bearer.and_then(|tenant| tenant.pace.clone());
            let source = self.source.map(|rate| self.sources.lock().pace(origin.source(), rate));
            for pace in [tenant, source].into_iter().flatten() {
                // Both peers may be the same.
                if !paces.iter().any(|one| Arc::ptr_eq(one, &pace)) {
                    paces.push(pace);
                }
            }
        }
        Allowance::new(paces, now).map(Box::new)
    }
}

impl Sources {
    fn pace(&mut self, source: Source, rate: Rate) -> Shared {
        if let Some(pace) = self.paces.get(&source).and_then(Weak::upgrade) {
            return pace;
        }
        if self.paces.len() >= self.most {
            self.paces.retain(|_, pace| pace.strong_count() > 0);
            self.most = (2 * self.paces.len()).max(64);
        }
        let pace = Pace::shared(rate);
        self.paces.insert(source, Arc::downgrade(&pace));
        pace
    }
}

/// What may be moved by an allowance, or as much as there is without one.
///
/// # Errors
/// When some may.
pub(crate) fn budget(allowance: &mut Option<Box<Allowance>>, now: Instant) -> Result<u64, Instant> {
    allowance.as_mut().map_or(Ok(u64::MAX), |allowance| allowance.budget(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::Tokens;
    use xchg_core::wire::Token;

    fn pace(bytes_per_second: u64) -> Shared {
        Pace::shared(Rate::new(bytes_per_second).unwrap())
    }

    /// An exchange in a world where time goes by in milliseconds, as a worker's does.
    struct Exchange {
        allowance: Allowance,
        /// What its peers can take in a millisecond.
        speed: u64,
        moved: u64,
        /// How much it moves beyond its budget at a time, as pipes may.
        overshoot: u64,
    }

    impl Exchange {
        fn new(paces: &[&Shared], now: Instant) -> Self {
            let paces = paces.iter().map(|pace| (*pace).clone()).collect();
            let allowance = Allowance::new(paces, now).unwrap();
            Self { allowance, speed: u64::MAX, moved: 0, overshoot: 0 }
        }

        /// Has its turn in this millisecond, with so much `room` at its peers; gives whether it
        /// moved something.
        fn turn(&mut self, now: Instant, room: &mut u64) -> bool {
            if *room == 0 {
                return false;
            }
            let Ok(budget) = self.allowance.budget(now) else { return false };
            let bytes = budget.saturating_add(self.overshoot).min(*room);
            self.allowance.moved(bytes, now);
            self.moved += bytes;
            *room -= bytes;
            true
        }
    }

    /// Lets so many seconds go by, in steps of `step` milliseconds. In each, those whose time has
    /// come have their turns one after the other, the one that has waited longest first, as a
    /// worker's timers have it.
    fn run(exchanges: &mut [Exchange], start: Instant, seconds: u64, step: u64) {
        for millis in (0..seconds * 1000).step_by(usize::try_from(step).unwrap()) {
            let now = start + Duration::from_millis(millis);
            let mut rooms: Vec<u64> = exchanges.iter().map(|exchange| exchange.speed).collect();
            let mut is_over = false;
            while !is_over {
                let due = |at: &usize| {
                    let since = exchanges[*at].allowance.at.saturating_duration_since(start);
                    since.as_micros().div_ceil(1000)
                };
                let mut order: Vec<usize> = (0..exchanges.len()).collect();
                order.sort_by_key(due);
                is_over = true;
                for at in order {
                    is_over &= !exchanges[at].turn(now, &mut rooms[at]);
                }
            }
        }
    }

    fn assert_near(actual: u64, expected: u64, what: &str) {
        let (low, high) = (expected * 98 / 100, expected * 102 / 100);
        assert!((low..=high).contains(&actual), "{what}: {actual} instead of {expected}");
    }

    #[test]
    fn without_limits_there_is_no_allowance() {
        assert!(Allowance::new(Vec::new(), Instant::now()).is_none());
    }

    #[test]
    fn who_cannot_use_its_share_leaves_it_to_others() {
        let start = Instant::now();
        let all = pace(1_000_000);
        let mut exchanges: Vec<_> = (0..4).map(|_| Exchange::new(&[&all], start)).collect();
        exchanges[0].speed = 10;
        run(&mut exchanges, start, 10, 1);
        // It waits its turn once for each portion.
        assert!((90_000..=100_000).contains(&exchanges[0].moved), "{}", exchanges[0].moved);
        for other in &exchanges[1..] {
            assert_near(other.moved, 3_300_000, "another");
        }
    }

    #[test]
    fn an_exchange_that_ends_gives_back_what_it_has_not_moved() {
        let start = Instant::now();
        let all = pace(1_000_000);
        for _ in 0..1_000 {
            let mut short = Exchange::new(&[&all], start);
            assert!(short.allowance.budget(start).is_ok());
        }
        assert_eq!(all.lock().next, Some(start));
    }

    #[test]
    fn after_a_pause_no_more_is_made_up_for_than_a_moment() {
        let start = Instant::now();
        let all = pace(1_000_000);
        let mut exchange = [Exchange::new(&[&all], start)];
        let later = start + Duration::from_secs(100);
        run(&mut exchange, later, 1, 1000);
        let most = 1_000_000 / 20 + 2 * exchange[0].allowance.largest;
        assert!(exchange[0].moved <= most, "{}", exchange[0].moved);
    }

    #[test]
    fn a_server_limits_exchanges_sources_and_all_together() {
        let rate = |bytes: u64| Rate::new(bytes);
        let config = Config {
            limit_rate_exchange: rate(10_000),
            limit_rate_source: rate(20_000),
            limit_rate_total: rate(30_000),
            ..Config::default()
        };
        let (paces, now) = (Paces::new(&config), Instant::now());
        let origin = |last: u8| Origin::of([192, 0, 2, last].into());
        let allowance = |peers: &[(Origin, Bearer)]| paces.allowance(peers.iter().cloned(), now);
        let count = |peers: &[(Origin, Bearer)]| {
            allowance(peers).map_or(0, |allowance| allowance.paces.len())
        };
        assert_eq!(count(&[(origin(1), None), (origin(2), None)]), 4);
        assert_eq!(count(&[(origin(1), None), (origin(1), None)]), 3, "one source is one");
        let held = allowance(&[(origin(1), None)]).unwrap();
        let other = allowance(&[(origin(1), None)]).unwrap();
        let is_shared = |at: usize| Arc::ptr_eq(&held.paces[at], &other.paces[at]);
        assert_eq!([is_shared(0), is_shared(1), is_shared(2)], [false, true, true]);
        let unlimited = Paces::new(&Config::default());
        assert!(unlimited.allowance([(origin(1), None)].into_iter(), now).is_none());
    }

    #[test]
    fn a_tenants_exchanges_share_its_limit() {
        let tokens = Tokens::parse("a limit_rate=1M\nb").unwrap();
        let bearer = |text: &[u8]| tokens.find(&Token::parse(text).unwrap()).cloned();
        let (limited, other) = (bearer(b"a"), bearer(b"b"));
        let paces = Paces::new(&Config::default());
        let here = Origin::of([192, 0, 2, 1].into());
        let of = |bearers: [&Bearer; 2]| {
            let peers = bearers.into_iter().map(|bearer| (here, bearer.clone()));
            paces.allowance(peers, Instant::now()).map(|allowance| allowance.paces.clone())
        };
        assert!(of([&other, &None]).is_none());
        let both = of([&limited, &limited]).unwrap();
        let again = of([&other, &limited]).unwrap();
        assert_eq!((both.len(), again.len()), (1, 1));
        assert!(Arc::ptr_eq(&both[0], &again[0]));
    }

    #[test]
    fn sources_without_an_exchange_are_forgotten() {
        let mut sources = Sources::default();
        let rate = Rate::new(10_000).unwrap();
        let held: Vec<_> = (0..100).map(|number| sources.pace(Source(number), rate)).collect();
        for number in 0..10_000 {
            let pace = sources.pace(Source(number), rate);
            assert_eq!(number < 100, held.iter().any(|one| Arc::ptr_eq(one, &pace)));
            assert!(sources.paces.len() <= 300, "{}", sources.paces.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Within 2 % over 10 s, and fair: those that can take as much get as much.
        #[test]
        fn limits_are_held_and_shared(
            rate in 20_000_u64..200_000_000,
            count in 1_usize..20,
            step in 1_u64..8,
            overshoot in 0_u64..3_000,
        ) {
            let start = Instant::now();
            let all = pace(rate);
            let mut exchanges: Vec<_> = (0..count).map(|_| Exchange::new(&[&all], start)).collect();
            exchanges.iter_mut().for_each(|exchange| exchange.overshoot = overshoot);
            run(&mut exchanges, start, 1, step);
            // From when it runs steadily.
            let before: Vec<_> = exchanges.iter().map(|exchange| exchange.moved).collect();
            let middle = start + Duration::from_secs(1);
            run(&mut exchanges, middle, 10, step);
            let moved: Vec<_> = exchanges.iter().zip(before).map(|(it, before)| it.moved - before).collect();
            let sum: u64 = moved.iter().sum();
            let slack = (BOUNDS.0 + overshoot) * count as u64 * 2;
            prop_assert!(sum <= rate * 10 * 102 / 100 + slack, "{sum} of {}", rate * 10);
            prop_assert!(sum >= rate * 10 * 98 / 100 - slack, "{sum} of {}", rate * 10);
            let (least, most) = (*moved.iter().min().unwrap(), *moved.iter().max().unwrap());
            let portion = exchanges[0].allowance.largest + overshoot;
            prop_assert!(most - least <= portion * 2 + most / 50, "from {least} to {most}, portions of {portion}");
        }

        /// The lowest limit counts, whatever others there are.
        #[test]
        fn of_several_limits_each_holds(
            own in 20_000_u64..10_000_000,
            shared in 20_000_u64..10_000_000,
            count in 1_u64..8,
        ) {
            let start = Instant::now();
            let all = pace(shared);
            let owns: Vec<_> = (0..count).map(|_| pace(own)).collect();
            let mut exchanges: Vec<_> =
                owns.iter().map(|own| Exchange::new(&[own, &all], start)).collect();
            run(&mut exchanges, start, 11, 1);
            let sum: u64 = exchanges.iter().map(|exchange| exchange.moved).sum();
            let expected = shared.min(own * count) * 11;
            prop_assert!(sum <= expected * 102 / 100 + count * 4096, "{sum} of {expected}");
            prop_assert!(sum >= expected * 95 / 100 - count * 4096, "{sum} of {expected}");
            for exchange in &exchanges {
                prop_assert!(exchange.moved <= own * 11 * 102 / 100 + 4096);
            }
        }
    }
}
