//! Moving slower than one could.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Into how many slices a second's worth of a limited rate is cut: smooth, and still few calls.
const SLICES_PER_SECOND: u64 = 10;

/// Says how long to pause after each slice.
#[derive(Debug)]
pub(crate) struct Throttle {
    pace: Duration,
    rate: Option<NonZeroU64>,
    /// When what has moved so far is paid for.
    paid_at: Instant,
}

impl Throttle {
    /// At least `pace` between two slices, and at most `rate` bytes a second.
    pub(crate) fn new(pace: Duration, rate: Option<NonZeroU64>, now: Instant) -> Self {
        Self { pace, rate, paid_at: now }
    }

    /// No slower than one can.
    pub(crate) fn none() -> Self {
        Self::new(Duration::ZERO, None, Instant::now())
    }

    /// The most bytes to move at once, out of `buffer_bytes`.
    pub(crate) fn slice(&self, buffer_bytes: usize) -> usize {
        let share = self.rate.map_or(u64::MAX, |rate| (rate.get() / SLICES_PER_SECOND).max(1));
        usize::try_from(share).unwrap_or(usize::MAX).min(buffer_bytes)
    }

    /// How long to pause when `bytes` have moved since the last call.
    ///
    /// Time lost to a slow counterpart is made up for one slice only, so that no burst breaks the
    /// limit later.
    pub(crate) fn after(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.rate else {
            return self.pace;
        };
        let slack = Duration::from_secs(1) / 10;
        let earliest = now.checked_sub(slack).unwrap_or(now);
        #[expect(clippy::cast_precision_loss, reason = "a rate of 2^53 bytes a second is no limit")]
        let price = Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
        self.paid_at = self.paid_at.max(earliest) + price;
        self.paid_at.saturating_duration_since(now).max(self.pace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(rate: u64, now: Instant) -> Throttle {
        Throttle::new(Duration::ZERO, NonZeroU64::new(rate), now)
    }

    #[test]
    fn a_slice_is_a_tenth_of_a_second_and_fits_the_buffer() {
        let now = Instant::now();
        for (rate, buffer_bytes, slice) in
            [(1, 4096, 1), (1000, 4096, 100), (1_000_000, 4096, 4096), (u64::MAX, 4096, 4096)]
        {
            assert_eq!(limited(rate, now).slice(buffer_bytes), slice, "{rate} bytes a second");
        }
        assert_eq!(Throttle::new(Duration::ZERO, None, now).slice(4096), 4096);
    }

    #[test]
    fn the_average_never_exceeds_the_rate() {
        let start = Instant::now();
        let mut now = start;
        let mut throttle = limited(1000, start);
        for _ in 0..50 {
            now += throttle.after(100, now);
        }
        assert_eq!(now - start, Duration::from_secs(5));
    }

    #[test]
    fn a_stall_is_not_made_up_for_by_a_burst() {
        let start = Instant::now();
        let mut throttle = limited(1000, start);
        let late = start + Duration::from_secs(60);
        assert_eq!(throttle.after(100, late), Duration::ZERO, "one slice of slack");
        assert_eq!(throttle.after(100, late), Duration::from_millis(100));
    }

    #[test]
    fn the_pace_is_the_least_pause() {
        let now = Instant::now();
        let pace = Duration::from_millis(250);
        assert_eq!(Throttle::new(pace, None, now).after(1, now), pace);
        let mut both = Throttle::new(pace, NonZeroU64::new(10), now);
        assert_eq!(both.after(1, now), pace);
        assert_eq!(both.after(9, now), Duration::from_secs(1));
    }
}
