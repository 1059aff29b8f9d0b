//! One pair's life, from pairing to end.

mod events;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use self::events::{Event, Events, NoEvent};
use self::registry::Registered;
pub(crate) use self::registry::Registry;
pub use self::registry::{Counts, Drained};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, Ordering};
use crate::{Key, Realm, Side, Sides};

/// Names an exchange among all that its broker has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "a newtype")]
pub struct ExchangeId(pub u64);

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Every byte that the uploader sent was accepted by the downloader, and the reverse.
    Completed,
    /// The connection of this side failed before everything had arrived.
    Lost(Side),
    /// [`ExchangeHandle::cancel`] was called, or whoever ran the exchange gave it up.
    Cancelled,
    /// Nothing moved for too long.
    TimedOut,
}

impl Outcome {
    /// The outcome's name in logs, metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Lost(Side::Upload) => "uploader-lost",
            Self::Lost(Side::Download) => "downloader-lost",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
        }
    }

    /// Whether all the bytes arrived.
    pub fn is_completed(self) -> bool {
        self == Self::Completed
    }
}

/// The end of an exchange: why it came, and what had moved by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Why the exchange ended.
    pub outcome: Outcome,
    /// Payload bytes that had moved: from uploader to downloader, and between equals, whose realm
    /// is [`Realm::Transit`], both ways.
    pub bytes: u64,
}

/// What the owner of an exchange and the holders of its handles share.
struct Shared {
    id: ExchangeId,
    realm: Realm,
    key: Key,
    started: Instant,
    /// Bytes taken from each side.
    moved: Sides<AtomicU64>,
    cancelled: AtomicBool,
    tag: AtomicU32,
    on_cancel: Mutex<Option<Box<dyn Fn() + Send>>>,
    end: Mutex<Option<Ended>>,
    /// Notified when `end` is set.
    has_ended: Condvar,
}

impl Shared {
    fn new(id: ExchangeId, realm: Realm, key: Key, started: Instant) -> Self {
        Self {
            id,
            realm,
            key,
            started,
            moved: Sides::default(),
            cancelled: AtomicBool::new(false),
            tag: AtomicU32::new(0),
            on_cancel: Mutex::new(None),
            end: Mutex::new(None),
            has_ended: Condvar::new(),
        }
    }

    /// Payload bytes moved so far.
    fn bytes(&self) -> u64 {
        let moved = |side| self.moved[side].load(Ordering::Relaxed);
        match self.realm {
            Realm::Transit => moved(Side::Upload) + moved(Side::Download),
            _ => moved(Side::Upload),
        }
    }

    fn finish(self: &Arc<Self>, outcome: Outcome, registered: Registered) -> Ended {
        let ended = Ended { outcome, bytes: self.bytes() };
        let mut end = self.end.lock();
        *end = Some(ended);
        // Still under the lock: whoever learns of the end finds it in the broker's counts.
        registered.finish(self, ended);
        drop(end);
        // A hook may hold what the exchange ran on; nobody needs it any more.
        *self.on_cancel.lock() = None;
        self.has_ended.notify_all();
        ended
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.id)
    }
}

/// Follows an exchange from anywhere: clone it, keep it, drop it. It keeps nothing open.
#[derive(Clone)]
pub struct ExchangeHandle(Arc<Shared>);

impl ExchangeHandle {
    /// The name of the exchange, under which [`Broker::exchange`](crate::Broker::exchange) finds
    /// it.
    pub fn id(&self) -> ExchangeId {
        self.0.id
    }

    /// The realm that its peers named.
    pub fn realm(&self) -> Realm {
        self.0.realm
    }

    /// The key that its peers named.
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// When the peers were paired.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Bytes moved so far from `side` to its counterpart.
    pub fn moved_from(&self, side: Side) -> u64 {
        self.0.moved[side].load(Ordering::Relaxed)
    }

    /// The number that whoever runs the exchange [has put on it](Exchange::set_tag); 0 before.
    pub fn tag(&self) -> u32 {
        self.0.tag.load(Ordering::Relaxed)
    }

    /// Payload bytes moved so far, as [`Ended::bytes`] will have them.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Asks whoever runs the exchange to end it; [`wait`](Self::wait) says what came of it.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        if let Some(hook) = &*self.0.on_cancel.lock() {
            hook();
        }
    }

    /// How the exchange ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        *self.0.end.lock()
    }

    /// Blocks until the exchange has ended.
    pub fn wait(&self) -> Ended {
        let mut end = self.0.end.lock();
        loop {
            match *end {
                Some(ended) => return ended,
                None => self.0.has_ended.wait(&mut end),
            }
        }
    }
}

impl fmt::Debug for ExchangeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeHandle")
            .field("id", &self.0.id)
            .field("key", &self.0.key)
            .field("uploaded", &self.moved_from(Side::Upload))
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

/// A running exchange, owned by whoever runs it. Dropped without [`finish`](Exchange::finish), say
/// by a panic, it ends as [`Outcome::Cancelled`].
#[must_use = "dropping it cancels the exchange"]
pub struct Exchange {
    shared: Arc<Shared>,
    /// Taken when it ends.
    registered: Option<Registered>,
}

impl Exchange {
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
        Some(self.shared.finish(outcome, registered))
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
