//! One pair's life, from pairing to end.

mod events;
mod handle;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use self::events::{Event, Events, NoEvent};
use self::handle::Shared;
pub use self::handle::{Ended, ExchangeHandle, ExchangeId, Outcome};
use self::registry::Registered;
pub(crate) use self::registry::Registry;
pub use self::registry::{Counts, Drained};
use crate::sync::Ordering;
use crate::{Key, Realm, Side};

/// A running exchange, owned by whoever runs it. Dropped without [`finish`](Exchange::finish), say
/// by a panic, it ends as [`Outcome::Cancelled`].
#[must_use = "dropping it cancels the exchange"]
pub struct Exchange {
    shared: Arc<Shared>,
    /// Taken when it ends.
    registered: Option<Registered>,
}

impl Exchange {
    /// Begins an exchange under `key`, which with `realm` has that `hash`.
    pub(crate) fn start(
        registry: &Arc<Registry>,
        hash: u64,
        realm: Realm,
        key: Key,
        now: Instant,
    ) -> Self {
        let (shared, registered) = registry.add(hash, realm, key, now);
        Self { shared, registered: Some(registered) }
    }

    /// A handle to follow the exchange by.
    pub fn handle(&self) -> ExchangeHandle {
        ExchangeHandle(self.shared.clone())
    }

    /// The name of the exchange, under which [`Broker::exchange`](crate::Broker::exchange) finds
    /// it.
    pub fn id(&self) -> ExchangeId {
        self.shared.id
    }

    /// The realm that its peers named.
    pub fn realm(&self) -> Realm {
        self.shared.realm
    }

    /// Puts a number on the exchange that its handles show: what a caller wants to know of all that
    /// run, such as what the peers speak.
    pub fn set_tag(&self, tag: u32) {
        self.shared.tag.store(tag, Ordering::Relaxed);
    }

    /// Says that `bytes` more have moved from `side` to its counterpart.
    pub fn add_moved(&self, side: Side, bytes: u64) {
        self.shared.moved[side].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes moved so far from `side` to its counterpart.
    pub fn moved_from(&self, side: Side) -> u64 {
        self.shared.moved[side].load(Ordering::Relaxed)
    }

    /// Payload bytes moved so far, as [`Ended::bytes`] will have them.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// Whether a handle has asked for the end.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Has `hook` called when a handle asks for the end, at once if one has already; and again if
    /// one asks again. It is called under a lock of the exchange's, so that it must neither finish
    /// nor cancel the exchange itself. Replaces an earlier hook.
    pub fn on_cancel(&self, hook: impl Fn() + Send + 'static) {
        let mut slot = self.shared.on_cancel.lock();
        if self.is_cancelled() {
            hook();
        }
        *slot = Some(Box::new(hook));
    }

    /// Says that the uploader's bytes have all been passed on, though the downloader may still be
    /// reading: from now on the exchange no longer stands in the way of
    /// [exclusive](crate::Offer::exclusive) offers.
    pub fn free_key(&self) {
        if let Some(registered) = &self.registered {
            registered.free_key();
        }
    }

    /// Ends the exchange. What it has moved is what [`add_moved`](Self::add_moved) was told.
    pub fn finish(mut self, outcome: Outcome) -> Ended {
        self.end(outcome).expect("whoever ends it owns it, and it is gone after that")
    }

    /// `None` if it has ended before.
    fn end(&mut self, outcome: Outcome) -> Option<Ended> {
        let registered = self.registered.take()?;
        let Shared { end, on_cancel, has_ended, .. } = &*self.shared;
        let ended = Ended { outcome, bytes: self.shared.bytes() };
        let mut end = end.lock();
        *end = Some(ended);
        // Still under the lock: whoever learns of the end finds it in the broker's counts.
        registered.finish(&self.shared, ended);
        drop(end);
        // A hook may hold what the exchange ran on; nobody needs it any more.
        *on_cancel.lock() = None;
        has_ended.notify_all();
        Some(ended)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle().fmt(f)
    }
}
