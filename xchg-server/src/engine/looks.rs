//! When to look whether a peer has acknowledged everything, and how long it may take.
//!
//! **"Received" means acknowledged.** An exchange is complete once the downloader's system has
//! acknowledged every byte, and the end behind it if there is one (`Stream::has_acknowledged_all`,
//! by `SIOCOUTQ`): not once it has closed, for a receiver that has everything and stays connected,
//! as browsers and proxies do, holds up nobody. An end that is acknowledged makes an event; a
//! connection that is kept alive has no end, and is looked at in pauses that grow. A receiver that
//! still takes what lies in buffers is not standing still, though nothing new is sent
//! (`Looks::patience`). Between native peers the downloader's own receipt says more, and is waited
//! for.

use std::time::Duration;

use crate::engine::timers::Tick;

/// When to look next whether a peer has acknowledged everything. The end of a stream that is
/// acknowledged makes an event; but a connection that is kept alive has no end.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) next: Tick,
    pause: Duration,
    /// What was not acknowledged when the exchange was last found standing still.
    owed: Option<u64>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { next: Tick::NEVER, pause: Duration::from_millis(1), owed: None }
    }
}

impl Looks {
    /// The longest pause between two looks.
    const MAX_PAUSE: Duration = Duration::from_millis(500);

    /// Says how much longer peers may take that are sent nothing new, if they are taking what lies
    /// in buffers: so much of it is `owed` to all. The first time only shows whether less is owed
    /// later.
    pub(super) fn patience(&mut self, owed: u64, timeout: Duration) -> Option<Duration> {
        match self.owed.replace(owed) {
            _ if owed == 0 => None,
            None => Some(timeout / 4),
            Some(before) => (owed < before).then_some(timeout),
        }
    }

    /// Something new was sent: what is owed is more again.
    pub(super) fn on_moved(&mut self) {
        self.owed = None;
    }

    /// Looks again after a pause that grows: short beside the time that has gone already.
    pub(super) fn again(&mut self, now: Tick) {
        if self.next == Tick::NEVER || self.next <= now {
            self.next = now.after(self.pause);
            self.pause = (self.pause * 2).min(Self::MAX_PAUSE);
        }
    }
}
