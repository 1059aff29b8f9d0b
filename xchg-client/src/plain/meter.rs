//! Counting what moves, telling the observer, and keeping to the limits.

use std::time::Instant;

use crate::net::Throttle;
use crate::{Cancel, Error, Observer};

/// Accompanies one payload.
pub(crate) struct Meter<'a> {
    observer: &'a mut dyn Observer,
    throttle: Throttle,
    cancel: &'a Cancel,
    buffer_bytes: usize,
    bytes: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(
        observer: &'a mut dyn Observer,
        throttle: Throttle,
        cancel: &'a Cancel,
        buffer_bytes: usize,
    ) -> Meter<'a> {
        Meter { observer, throttle, cancel, buffer_bytes, bytes: 0 }
    }

    /// How many bytes to move next, at most: 1 or more.
    pub(crate) fn slice(&self) -> usize {
        self.throttle.slice(self.buffer_bytes)
    }

    /// Notes that `count` bytes have moved, and pauses if they did so too fast.
    pub(crate) fn moved(&mut self, count: usize) -> Result<(), Error> {
        self.bytes += count as u64;
        self.observer.moved(count as u64);
        let pause = self.throttle.after(count, Instant::now());
        match pause.is_zero() {
            true if self.cancel.is_cancelled() => Err(Error::Cancelled),
            true => Ok(()),
            false => self.cancel.pause(pause),
        }
    }

    /// Payload bytes moved so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
