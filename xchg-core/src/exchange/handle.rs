//! What anybody may know of an exchange, and how it is followed.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

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
pub(super) struct Shared {
    pub(super) id: ExchangeId,
    pub(super) realm: Realm,
    pub(super) key: Key,
    started: Instant,
    /// Bytes taken from each side.
    pub(super) moved: Sides<AtomicU64>,
    pub(super) cancelled: AtomicBool,
    pub(super) tag: AtomicU32,
    pub(super) on_cancel: Mutex<Option<Box<dyn Fn() + Send>>>,
    pub(super) end: Mutex<Option<Ended>>,
    /// Notified when `end` is set.
    pub(super) has_ended: Condvar,
}

impl Shared {
    pub(super) fn new(id: ExchangeId, realm: Realm, key: Key, started: Instant) -> Self {
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
    pub(super) fn bytes(&self) -> u64 {
        let moved = |side| self.moved[side].load(Ordering::Relaxed);
        match self.realm {
            Realm::Transit => moved(Side::Upload) + moved(Side::Download),
            _ => moved(Side::Upload),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.id)
    }
}

/// Follows an exchange from anywhere: clone it, keep it, drop it. It keeps nothing open.
#[derive(Clone)]
pub struct ExchangeHandle(pub(super) Arc<Shared>);

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

    /// The number that whoever runs the exchange [has put on it](crate::Exchange::set_tag); 0
    /// before.
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
