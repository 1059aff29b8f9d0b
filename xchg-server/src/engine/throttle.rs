//! Lines that peers can cause go into the log at a bounded rate, and those left out are counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::Level;

/// Lines of a kind that are logged within [`WINDOW`].
const MOST: u32 = 10;

pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ended,
    Refused,
    Forbidden,
    Unwatched,
    Panicked,
    Proxy,
}

impl Kind {
    const ALL: [Self; 6] = {
        use Kind::{Ended, Forbidden, Panicked, Proxy, Refused, Unwatched};
        match Ended {
            // What is missing here does not compile.
            Ended | Refused | Forbidden | Unwatched | Panicked | Proxy => {
                [Ended, Refused, Forbidden, Unwatched, Panicked, Proxy]
            }
        }
    };

    fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Refused => "refused",
            Self::Forbidden => "forbidden",
            Self::Unwatched => "unwatched",
            Self::Panicked => "panicked",
            Self::Proxy => "proxy",
        }
    }
}

/// The kinds of lines, which all threads of a server write.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    kinds: [Mutex<Throttle>; Kind::ALL.len()],
    /// Lines left out since the start.
    left_out: AtomicU64,
}

impl Throttles {
    /// Whether one more line of this kind may be written. Tells before it how many of its kind were
    /// left out until now. Whoever logs at level debug wants to see all.
    pub(crate) fn admit(&self, kind: Kind, now: Instant) -> bool {
        if tracing::enabled!(Level::DEBUG) {
            return true;
        }
        let (is_admitted, left_out) = self.kinds[kind as usize].lock().admit(now);
        tell(kind, left_out);
        if !is_admitted {
            // Relaxed: the counter guards no other memory.
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }

    /// How many lines were left out since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Tells how many lines were left out in windows that are over `now`.
    pub(crate) fn tell(&self, now: Instant) {
        for kind in Kind::ALL {
            let left_out = self.kinds[kind as usize].lock().left_out(now);
            tell(kind, left_out);
        }
    }
}

fn tell(kind: Kind, left_out: u64) {
    if left_out > 0 {
        tracing::info!(kind = kind.as_str(), "{left_out} log lines were left out");
    }
}

/// Admits so many lines from the first on until a window is over.
#[derive(Debug, Default)]
struct Throttle {
    until: Option<Instant>,
    admitted: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether one more may be written, and how many were left out before, if that is to be told.
    fn admit(&mut self, now: Instant) -> (bool, u64) {
        let left_out = self.left_out(now);
        if self.until.is_none() {
            self.until = Some(now + WINDOW);
        }
        let is_admitted = self.admitted < MOST;
        if is_admitted {
            self.admitted += 1
        } else {
            self.left_out += 1
        }
        (is_admitted, left_out)
    }

    /// Begins anew if the window is over, and gives how many were left out in it.
    fn left_out(&mut self, now: Instant) -> u64 {
        match self.until {
            Some(until) if until <= now => std::mem::take(self).left_out,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_second_are_admitted_and_the_rest_is_counted() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut throttle = Throttle::default();
        for millis in 0..10 {
            assert_eq!(throttle.admit(at(millis)), (true, 0));
        }
        for millis in 10..110 {
            assert_eq!(throttle.admit(at(millis)), (false, 0));
        }
        assert_eq!(throttle.left_out(at(999)), 0, "not before the second is over");
        assert_eq!(throttle.admit(at(1000)), (true, 100), "told with the next");
        assert_eq!(throttle.admit(at(1001)), (true, 0), "and once");
        for _ in 0..20 {
            throttle.admit(at(1002));
        }
        assert_eq!(throttle.left_out(at(2000)), 12, "or when the time has come");
        assert_eq!(throttle.left_out(at(9000)), 0);
        assert_eq!(throttle.admit(at(9000)), (true, 0));
    }

    #[test]
    fn a_steady_trickle_is_admitted_whole() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        for tenth in 0..1000 {
            let now = start + Duration::from_millis(tenth * 100);
            assert_eq!(throttle.admit(now), (true, 0));
        }
    }
}
