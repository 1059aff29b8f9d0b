//! How often each source may do something.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xchg_core::Origin as Source;

/// Sources that are remembered at a time: about 2 MiB. Of more, those are forgotten that have the
/// least to wait.
const SOURCES: usize = 50_000;

/// Lets each source do something so often at once, and then as often as time passes: a token bucket
/// each, in the form of the time at which it is full again (the generic cell rate algorithm, ITU-T
/// I.371 annex A).
#[derive(Debug)]
pub(crate) struct Frequency {
    interval: Duration,
    /// How far the bucket's full time may lie ahead.
    ahead: Duration,
    full_at: HashMap<Source, Instant>,
}

impl Frequency {
    /// `burst` times at once, and once each `interval`.
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        let ahead = interval.saturating_mul(burst.saturating_sub(1));
        Self { interval, ahead, full_at: HashMap::new() }
    }

    /// So often a second, and so often at once.
    pub(crate) fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1) / count.max(1))
    }

    /// Whether `source` may do it once more now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn may(&self, source: Source, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.get(&source).copied().unwrap_or(now);
        match full_at.saturating_duration_since(now).checked_sub(self.ahead) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// Notes that `source` does it.
    pub(crate) fn note(&mut self, source: Source, now: Instant) {
        if self.full_at.len() >= SOURCES && !self.full_at.contains_key(&source) {
            self.forget(now);
        }
        let full_at = self.full_at.entry(source).or_insert(now);
        *full_at = (*full_at).max(now) + self.interval;
    }

    /// Lets `source` do it, if it may.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn admit(&mut self, source: Source, now: Instant) -> Result<(), Duration> {
        self.may(source, now)?;
        self.note(source, now);
        Ok(())
    }

    /// Forgets those whose bucket is full, and, if that is not enough, the half that has least to
    /// wait: so it is done seldom.
    fn forget(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() > SOURCES / 2 {
            let mut times: Vec<Instant> = self.full_at.values().copied().collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            // Many may be as much: of those, some stay.
            let mut left = times.iter().skip(middle).filter(|time| **time == median).count() / 2;
            self.full_at.retain(|_, full_at| {
                let is_kept = *full_at == median && left > 0;
                left -= usize::from(is_kept);
                is_kept || *full_at > median
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Source = Source(1);

    #[test]
    fn a_burst_is_let_through_and_then_one_each_interval() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut frequency = Frequency::new(3, Duration::from_millis(100));
        for _ in 0..3 {
            assert_eq!(frequency.admit(ONE, at(0)), Ok(()));
        }
        assert_eq!(frequency.admit(ONE, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(frequency.admit(ONE, at(60)), Err(Duration::from_millis(40)));
        assert_eq!(frequency.admit(Source(2), at(60)), Ok(()), "another");
        assert_eq!(frequency.admit(ONE, at(100)), Ok(()));
        assert!(frequency.admit(ONE, at(199)).is_err());
        // After a while all is as at first.
        assert_eq!((0..9).filter(|_| frequency.admit(ONE, at(1_000)).is_ok()).count(), 3);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_is_worst_is_not_forgotten() {
        let now = Instant::now();
        let mut frequency = Frequency::new(3, Duration::from_secs(10));
        while frequency.admit(ONE, now).is_ok() {}
        for source in 2..4 * SOURCES as u64 {
            assert_eq!(frequency.admit(Source(source), now), Ok(()));
            assert!(frequency.full_at.len() <= SOURCES);
        }
        assert!(frequency.may(ONE, now).is_err());
    }

    proptest! {
        /// Over any time no more than the burst and what has become due.
        #[test]
        fn no_more_is_let_through_than_its_time(
            burst in 1_u32..20,
            interval in 1_u64..50,
            pauses in proptest::collection::vec(0_u64..40, 1..200),
        ) {
            let start = Instant::now();
            let mut frequency = Frequency::new(burst, Duration::from_millis(interval));
            let (mut now, mut admitted) = (0, 0_u64);
            for pause in pauses {
                now += pause;
                let at = start + Duration::from_millis(now);
                let may = frequency.may(ONE, at);
                prop_assert_eq!(frequency.admit(ONE, at), may);
                admitted += u64::from(may.is_ok());
                prop_assert!(admitted <= u64::from(burst) + now / interval);
                if let Err(wait) = may {
                    prop_assert!(frequency.may(ONE, at + wait).is_ok());
                }
            }
        }
    }
}
