//! Counting what moves of one payload, telling the observer, and keeping to the limits.

use std::time::Instant;

use crate::blocking::net::Throttle;
use crate::{Cancel, Error, Observer};

/// How many bytes are copied at once, unless the caller says otherwise: enough to make the cost of
/// the calls vanish, and little enough to stay in a processor's cache.
const COPY_BYTES: u32 = 256 << 10;

/// Accompanies one payload: counts what moves, tells the observer, and keeps to the limits.
pub(super) struct Meter<'a> {
    observer: &'a mut dyn Observer,
    throttle: Throttle,
    cancel: &'a Cancel,
    copy_bytes: usize,
    /// Payload bytes moved so far.
    pub(super) bytes: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(
        observer: &'a mut dyn Observer,
        throttle: Throttle,
        cancel: &'a Cancel,
        copy_bytes: Option<u32>,
    ) -> Self {
        let copy_bytes = copy_bytes.unwrap_or(COPY_BYTES);
        let copy_bytes = usize::try_from(copy_bytes).unwrap_or(usize::MAX);
        Self { observer, throttle, cancel, copy_bytes, bytes: 0 }
    }

    /// How many bytes to move next, at most: 1 or more.
    pub(super) fn slice(&self) -> usize {
        self.throttle.slice(self.copy_bytes)
    }

    /// Notes that `count` bytes have moved, and pauses if they did so too fast.
    pub(super) fn moved(&mut self, count: usize) -> Result<(), Error> {
        self.bytes += count as u64;
        self.observer.moved(count as u64);
        let pause = self.throttle.after(count, Instant::now());
        if !pause.is_zero() {
            return self.cancel.pause(pause);
        }
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
