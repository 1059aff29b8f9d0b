//! Whether the workers turn: what each notes when it has, and the watch over all of them.
//!
//! **The watch counts looks, not seconds.** A worker turns once a second though nothing happens,
//! and the supervisor looks once a second whether it has: five looks in vain, and it is stuck. No
//! ping is needed, and a process that was stopped as a whole, or a machine that slept, is well when
//! it wakes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often the watch looks.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Looks at a worker that does not turn, after which it is stuck: 5 seconds. It turns once a second
/// though nothing happens.
const PATIENCE: u32 = 5;

/// Looks after which the longest turn is forgotten, if none that is as long came in as many again.
const WINDOW: u32 = 30;

/// What a worker notes of itself after each turn, in a cache line that no other writes to.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Pulse {
    turns: AtomicU64,
    /// The nanoseconds of the longest turn in this window, and in the one before.
    longest: AtomicU64,
    longest_before: AtomicU64,
    /// Payload bytes moved.
    moved: AtomicU64,
    /// Pipes open.
    pipes: AtomicU64,
    is_stuck: AtomicBool,
}

// Relaxed throughout: the numbers guard no other memory.
impl Pulse {
    /// A turn is over that took so long; `moved` and `pipes` are as they are now.
    pub(crate) fn turned(&self, took: Duration, moved: u64, pipes: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if nanos > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(nanos, Ordering::Relaxed);
        }
        self.moved.store(moved, Ordering::Relaxed);
        self.pipes.store(pipes, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest turn of the last half minute, at least, and of the last minute at most.
    pub(crate) fn longest_turn(&self) -> Duration {
        let longest = self.longest.load(Ordering::Relaxed);
        Duration::from_nanos(longest.max(self.longest_before.load(Ordering::Relaxed)))
    }

    /// Payload bytes that it has moved.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Pipes that it has open.
    pub(crate) fn pipes(&self) -> u64 {
        self.pipes.load(Ordering::Relaxed)
    }

    /// Whether it has not turned for 5 seconds.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }
}

/// Watches over workers: it looks whether they have turned since it last did.
///
/// It counts looks and no time: if the whole process is stopped for a while, so is the watch.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The turns that each had made, and the looks that found no more.
    seen: Vec<(u64, u32)>,
    looks: u32,
}

impl Watch {
    /// Looks once. To be called every [`LOOK`].
    pub(crate) fn look(&mut self, pulses: &[Pulse]) {
        self.looks += 1;
        let forgets = self.looks.is_multiple_of(WINDOW);
        self.seen.resize(pulses.len(), (0, 0));
        for (index, (pulse, seen)) in pulses.iter().zip(&mut self.seen).enumerate() {
            let turns = pulse.turns.load(Ordering::Relaxed);
            *seen = if turns == seen.0 { (turns, seen.1 + 1) } else { (turns, 0) };
            let is_stuck = seen.1 >= PATIENCE;
            if pulse.is_stuck.swap(is_stuck, Ordering::Relaxed) != is_stuck {
                if is_stuck {
                    tracing::error!(worker = index, "a worker does not turn any more")
                } else {
                    tracing::warn!(worker = index, "the worker turns again")
                }
            }
            if forgets {
                let longest = pulse.longest.swap(0, Ordering::Relaxed);
                pulse.longest_before.store(longest, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_stuck_after_five_looks_and_well_after_a_turn() {
        let pulses = [Pulse::default(), Pulse::default()];
        let mut watch = Watch::default();
        let turn = |pulse: &Pulse| pulse.turned(Duration::ZERO, 0, 0);
        for pulse in &pulses {
            turn(pulse);
        }
        watch.look(&pulses);
        for look in 1..=6 {
            turn(&pulses[0]);
            watch.look(&pulses);
            let stuck = [pulses[0].is_stuck(), pulses[1].is_stuck()];
            assert_eq!(stuck, [false, look >= 5], "after {look} looks");
        }
        turn(&pulses[1]);
        watch.look(&pulses);
        assert!(!pulses[1].is_stuck());
    }

    #[test]
    fn the_longest_turn_is_kept_for_a_window_at_least_and_two_at_most() {
        let pulses = [Pulse::default()];
        let mut watch = Watch::default();
        let long = Duration::from_millis(70);
        watch.look(&pulses);
        pulses[0].turned(long, 5, 1);
        pulses[0].turned(Duration::from_millis(1), 7, 2);
        assert_eq!((pulses[0].moved(), pulses[0].pipes()), (7, 2));
        let mut kept = 0;
        while pulses[0].longest_turn() == long {
            watch.look(&pulses);
            kept += 1;
        }
        assert!((WINDOW..=2 * WINDOW).contains(&kept), "{kept}");
        assert_eq!(pulses[0].longest_turn(), Duration::ZERO);
    }
}
