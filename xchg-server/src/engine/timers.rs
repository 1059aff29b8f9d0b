//! When each connection must next be looked at.
//!
//! A connection has at most one entry that counts, at or before its deadline. Moving a deadline
//! later costs nothing: the entry fires, finds that it is early, and is armed again. Only an
//! earlier deadline takes a second entry, and the first then fires in vain.
//!
//! An entry outlives its connection, an exchange's by a quarter of an hour. They are swept out when
//! they have become the most.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Milliseconds since the worker started: half the size of an `Instant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const START: Self = Self(0);
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// Rounds up, so that nothing fires early.
    pub(crate) fn after(self, timeout: Duration) -> Self {
        let millis = u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long from `now` to here; zero if it is past.
    pub(crate) fn since(self, now: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0))
    }
}

/// A tick that is at most [`Soon::FURTHEST`] away, in half the bytes: every connection has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Soon(u32);

impl Soon {
    pub(crate) const NEVER: Self = Self(u32::MAX);

    /// What lies further ahead, in milliseconds, is first looked at then: 20 days. The last 32 bits
    /// of two ticks tell up to 24 days which of them is first.
    const FURTHEST: u64 = 20 * 24 * 3600 * 1000;

    /// `at`, or as late as can be if that is earlier.
    #[expect(clippy::cast_possible_truncation, reason = "the rest follows from what is now")]
    pub(crate) fn of(at: Tick, now: Tick) -> Self {
        if at == Tick::NEVER {
            return Self::NEVER;
        }
        let bits = at.0.min(now.0 + Self::FURTHEST) as u32;
        // A millisecond early, if it would be taken for never.
        Self(bits.min(u32::MAX - 1))
    }

    /// The tick that is meant, which is not more than 24 days past.
    pub(crate) fn tick(self, now: Tick) -> Tick {
        if self == Self::NEVER {
            return Tick::NEVER;
        }
        #[expect(clippy::cast_possible_truncation, reason = "only the last bits are compared")]
        let ahead = self.0.wrapping_sub(now.0 as u32).cast_signed();
        Tick(now.0.saturating_add_signed(ahead.into()))
    }
}

/// Any tick, in five bytes: everybody who waits has one. What is 34 years ahead is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Far([u8; 5]);

impl Far {
    const NEVER: u64 = (1 << 40) - 1;

    pub(crate) fn of(at: Tick) -> Self {
        let [bytes @ .., _, _, _] = at.0.min(Self::NEVER).to_le_bytes();
        Self(bytes)
    }

    pub(crate) fn tick(self) -> Tick {
        let [a, b, c, d, e] = self.0;
        match u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]) {
            Self::NEVER => Tick::NEVER,
            millis => Tick(millis),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Timers<Id> {
    start: Instant,
    now: Tick,
    heap: BinaryHeap<Reverse<(Tick, Id)>>,
    /// Entries that count no more, as far as is known.
    stale: usize,
}

/// So many entries are not worth a sweep.
const KEEP: usize = 1024;

impl<Id: Ord + Copy> Timers<Id> {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, now: Tick::START, heap: BinaryHeap::new(), stale: 0 }
    }

    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// As [`Soon::of`], from now.
    pub(crate) fn soon(&self, at: Tick) -> Soon {
        Soon::of(at, self.now)
    }

    /// The time as it was last told.
    pub(crate) fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now.0)
    }

    pub(crate) fn advance(&mut self, now: Instant) {
        let millis = now.saturating_duration_since(self.start).as_millis();
        self.now = Tick(u64::try_from(millis).unwrap_or(u64::MAX));
    }

    /// The tick at that time, or the current one if it is past.
    pub(crate) fn tick(&self, at: Instant) -> Tick {
        self.now.after(at.saturating_duration_since(self.instant()))
    }

    /// The time at that tick; `None` is never.
    pub(crate) fn at(&self, tick: Tick) -> Option<Instant> {
        (tick != Tick::NEVER).then(|| self.start + Duration::from_millis(tick.0))
    }

    pub(crate) fn arm(&mut self, at: Tick, id: Id) {
        if at != Tick::NEVER {
            self.heap.push(Reverse((at, id)));
        }
    }

    /// Says that an armed entry counts no more.
    pub(crate) fn disarm(&mut self) {
        self.stale += 1;
    }

    /// Whether most entries count no more, so that [`sweep`](Self::sweep) pays.
    pub(crate) fn is_mostly_stale(&self) -> bool {
        self.stale > KEEP && self.stale > self.heap.len() / 2
    }

    /// Drops all entries but those that count.
    pub(crate) fn sweep(&mut self, counts: impl Fn(Tick, Id) -> bool) {
        self.heap.retain(|&Reverse((at, id))| counts(at, id));
        self.heap.shrink_to(2 * self.heap.len());
        self.stale = 0;
    }

    /// How long until something is due; `None` is never.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let Reverse((at, _)) = self.heap.peek()?;
        Some(at.since(self.now))
    }

    /// How many entries there are, those that count no more among them.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self) -> Option<Id> {
        let Reverse((at, id)) = *self.heap.peek()?;
        if at > self.now {
            return None;
        }
        self.heap.pop();
        // What a burst has left behind; halving keeps the cost amortised.
        if self.heap.capacity() > KEEP && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_bytes_hold_any_tick_of_34_years() {
        for at in [0, 1, 0xff_ffff_ffff - 1] {
            assert_eq!(Far::of(Tick(at)).tick(), Tick(at));
        }
        for at in [0xff_ffff_ffff, u64::MAX - 1, u64::MAX] {
            assert_eq!(Far::of(Tick(at)).tick(), Tick::NEVER);
        }
    }

    #[test]
    fn whatever_is_not_due_yet_is_due_at_a_later_tick() {
        for nanos in [1, 999, 1_000, 999_999, 1_000_000] {
            assert_eq!(Tick::START.after(Duration::from_nanos(nanos)), Tick(1), "{nanos} ns");
        }
        assert_eq!(Tick::START.after(Duration::from_nanos(1_000_001)), Tick(2));
        assert_eq!(Tick::START.after(Duration::ZERO), Tick::START);
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        let in_ms = Duration::from_millis;
        timers.arm(timers.now().after(in_ms(20)), 'b');
        timers.arm(timers.now().after(in_ms(10)), 'a');
        timers.arm(Tick::NEVER, 'c');
        assert_eq!(timers.timeout(), Some(in_ms(10)));
        assert_eq!(timers.pop(), None);
        timers.advance(start + in_ms(20));
        assert_eq!((timers.pop(), timers.pop(), timers.pop()), (Some('a'), Some('b'), None));
        assert_eq!(timers.timeout(), None);
    }

    #[test]
    fn entries_that_count_no_more_are_swept_out_once_they_are_the_most() {
        let mut timers = Timers::new(Instant::now());
        let later = timers.now().after(Duration::from_secs(900));
        let mut most = 0;
        for id in 0..100_000 {
            timers.arm(later, id);
            // Each tenth connection stays.
            if id % 10 > 0 {
                timers.disarm();
            }
            if timers.is_mostly_stale() {
                timers.sweep(|at, id| at == later && id % 10 == 0);
            }
            most = most.max(timers.heap.len());
        }
        assert!(most <= 10_000 + 2 * 10_000 + KEEP, "{most} entries for 10,000 that count");
        timers.sweep(|_, id| id % 10 == 0);
        assert_eq!(timers.heap.len(), 10_000);
    }

    #[test]
    fn half_the_bytes_of_a_tick_tell_it_for_weeks() {
        let (past, day) = (20 * 24 * 3600 * 1000, 24 * 3600 * 1000);
        for now in [past, u64::from(u32::MAX) - day, u64::from(u32::MAX), 1 << 40] {
            for distance in [-(past as i64), -1, 0, 1, 999, day as i64, Soon::FURTHEST as i64] {
                let at = Tick(now.saturating_add_signed(distance));
                let told = Soon::of(at, Tick(now)).tick(Tick(now));
                // Not later, and no more than a millisecond early.
                assert!(told == at || told.0 + 1 == at.0, "{at:?} at {now} is {told:?}");
            }
            let far = Soon::of(Tick(now + (1 << 50)), Tick(now)).tick(Tick(now));
            assert!(far.0 - now >= Soon::FURTHEST - 1, "{far:?} at {now}");
            assert_eq!(Soon::of(Tick::NEVER, Tick(now)).tick(Tick(now)), Tick::NEVER);
        }
    }

    #[test]
    fn a_part_of_a_millisecond_counts_as_a_whole_one() {
        assert_eq!(Tick(1).after(Duration::from_micros(1)), Tick(2));
        assert_eq!(Tick(1).after(Duration::MAX), Tick::NEVER);
    }
}
