//! The matcher shared between threads, the exchanges that run, and the drain.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::exchange::{
    Ended, Event, Events, Exchange, ExchangeHandle, ExchangeId, Finished, Shared, Subscribers,
};
use crate::quota::Quota;
use crate::rendezvous::{Offer, Offered, Refusal, Rendezvous, Ticket};
use crate::{Key, Limits, Realm, Role};

/// A power of two, so that picking a shard is a mask; 16 keep a lock's waiters few up to far more cores than a relay can feed.
const SHARDS: usize = 16;

/// Pairs offers from many threads and keeps account of the exchanges that come of it. Cheap to clone.
///
/// Keys are spread over shards, each a [`Rendezvous`] behind a lock that is held for a table look-up and never over I/O.
#[derive(Debug)]
pub struct Broker<Conn> {
    inner: Arc<Inner<Conn>>,
}

impl<Conn> Clone for Broker<Conn> {
    fn clone(&self) -> Self {
        Broker { inner: self.inner.clone() }
    }
}

#[derive(Debug)]
struct Inner<Conn> {
    shards: Box<[Mutex<Rendezvous<Conn>>]>,
    hasher: RandomState,
    quota: Arc<Quota>,
    book: Arc<Book>,
}

/// What became of an offer to a [`Broker`].
#[must_use = "it may hold open connections"]
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers handle every case")]
pub enum Brokered<Conn> {
    /// It waits.
    Waiting {
        /// Takes it back.
        place: Place,
        /// How many others wait for the same exchange (only with [several receivers](Offer::receivers)).
        gathered: u16,
    },
    /// Both are here.
    Paired(Pair<Conn>),
    /// It comes back.
    Refused {
        /// What was offered.
        conn: Conn,
        /// Why it is not taken.
        why: Refusal,
    },
}

/// A pairing: both connections and the exchange to run between them.
#[must_use = "it holds open connections"]
#[derive(Debug)]
#[non_exhaustive]
pub struct Pair<Conn> {
    /// To be finished by whoever moves the bytes.
    pub exchange: Exchange,
    /// The uploader, or of two equals the one that waited.
    pub upload: Conn,
    /// The downloader, or of two equals the newcomer.
    pub download: Conn,
    /// The other downloaders, in order of arrival (only with [several receivers](Offer::receivers)).
    pub others: Vec<Conn>,
    /// Others under the key that lost their purpose by this pairing (only with [`Role::Label`](crate::Role::Label)).
    pub spares: Vec<Conn>,
}

/// A waiting offer's place: names it for the broker that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    shard: u32,
    ticket: Ticket,
}

/// What a broker has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Peers that wait now.
    pub waiting: u64,
    /// Exchanges that run now.
    pub exchanging: u64,
    /// Exchanges that ended whole.
    pub completed: u64,
    /// Exchanges that ended otherwise.
    pub failed: u64,
    /// Payload bytes that ended exchanges have moved to downloaders.
    pub bytes: u64,
    /// Whether offers are refused because of [`Broker::drain`].
    pub draining: bool,
}

/// The exchanges that run, and what is remembered of those that ended.
#[derive(Debug)]
struct Book {
    running: Mutex<Running>,
    ended: Condvar,
    next_id: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    draining: AtomicBool,
    subscribers: Subscribers,
}

#[derive(Debug, Default)]
struct Running {
    exchanges: HashMap<ExchangeId, Arc<Shared>>,
    /// How many hold each key, so that who is [exclusive](Offer::exclusive) need not look at all of them.
    keys: HashMap<(Realm, Key), usize>,
}

impl Running {
    fn add(&mut self, exchange: &Arc<Shared>) {
        self.exchanges.insert(exchange.id(), exchange.clone());
        *self.keys.entry((exchange.realm(), exchange.key().clone())).or_insert(0) += 1;
    }

    fn remove(&mut self, exchange: &Shared) {
        self.exchanges.remove(&exchange.id());
        self.free_key(exchange);
    }

    fn free_key(&mut self, exchange: &Shared) {
        // Relaxed: the lock around all this orders it.
        if exchange.holds_key.swap(false, Ordering::Relaxed)
            && let Entry::Occupied(mut count) =
                self.keys.entry((exchange.realm(), exchange.key().clone()))
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Exchange({})", self.id())
    }
}

impl<Conn> Broker<Conn> {
    /// A broker for whom nobody waits.
    pub fn new(limits: Limits) -> Broker<Conn> {
        let quota = Arc::new(Quota::new(limits));
        let shards =
            (0..SHARDS).map(|_| Mutex::new(Rendezvous::with_quota(quota.clone()))).collect();
        let book = Arc::new(Book {
            running: Mutex::default(),
            ended: Condvar::new(),
            next_id: AtomicU64::new(1),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            subscribers: Subscribers::default(),
        });
        Broker { inner: Arc::new(Inner { shards, hasher: RandomState::new(), quota, book }) }
    }

    /// Pairs `offer` with the first counterpart that waits, or lets it wait. `now` is when the exchange starts, if one does.
    ///
    /// An offer that is [exclusive](Offer::exclusive) is refused also while an exchange runs under its key, until that
    /// [frees it](Exchange::free_key).
    pub fn offer(&self, offer: Offer<Conn>, now: Instant) -> Brokered<Conn> {
        let (realm, key) = (offer.realm, offer.key.clone());
        let shard = self.shard(&key);
        let mut matcher = self.inner.shards[shard].lock();
        if offer.exclusive && self.inner.book.runs(realm, &key) {
            return Brokered::Refused { conn: offer.conn, why: Refusal::Exchanging };
        }
        match matcher.offer(offer) {
            Offered::Waiting { ticket, gathered } => {
                #[expect(clippy::cast_possible_truncation, reason = "shards are few")]
                let place = Place { shard: shard as u32, ticket };
                Brokered::Waiting { place, gathered }
            }
            Offered::Refused { conn, why } => Brokered::Refused { conn, why },
            Offered::Paired { upload, download, others, spares } => {
                // Still under the lock: a drain that closes the shard next must find the exchange running.
                let exchange = Book::start(&self.inner.book, realm, key, now);
                Brokered::Paired(Pair { exchange, upload, download, others, spares })
            }
        }
    }

    /// Whether somebody waits under `key` for one counterpart, and pairs with `role`.
    pub fn is_awaited(&self, realm: Realm, key: &Key, role: &Role) -> bool {
        self.inner.shards[self.shard(key)].lock().is_awaited(realm, key, role)
    }

    /// The realm, key and role of who waits at `place` for one counterpart; `None` if it does no
    /// more, or for several.
    pub fn waiter(&self, place: Place) -> Option<(Realm, Key, Role)> {
        let matcher = self.inner.shards[place.shard as usize].lock();
        let (realm, key, role) = matcher.waiter(place.ticket)?;
        Some((realm, key.clone(), role.clone()))
    }

    fn shard(&self, key: &Key) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits matter")]
        let hash = self.inner.hasher.hash_one(key) as usize;
        hash % SHARDS
    }

    /// Takes back an offer. `None` if it is paired, expired or withdrawn already: the connection came out then.
    pub fn withdraw(&self, place: Place) -> Option<Conn> {
        self.inner.shards[place.shard as usize].lock().withdraw(place.ticket)
    }

    /// Has `tell` called with the uploader that waits for the same exchange as `place` does, and with its place; not if there is none yet. It is
    /// called under a lock that offers need.
    pub fn tell_uploader_with(&self, place: Place, tell: impl FnOnce(&Conn, Place)) {
        let matcher = self.inner.shards[place.shard as usize].lock();
        if let Some((conn, ticket)) = matcher.uploader_with(place.ticket) {
            tell(conn, Place { ticket, ..place });
        }
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.inner.shards.iter().filter_map(|shard| shard.lock().next_deadline()).min()
    }

    /// Gives back each connection whose deadline is not after `now`.
    pub fn expire(&self, now: Instant) -> Vec<Conn> {
        self.inner.shards.iter().flat_map(|shard| shard.lock().expire(now)).collect()
    }

    /// Refuses offers from now on, gives back all who wait, and lets the exchanges that run finish.
    pub fn drain(&self) -> (Vec<Conn>, Drained) {
        self.inner.book.draining.store(true, Ordering::Release);
        let released = self.inner.shards.iter().flat_map(|shard| shard.lock().close()).collect();
        (released, Drained { book: self.inner.book.clone() })
    }

    /// How it stands.
    pub fn counts(&self) -> Counts {
        let book = &self.inner.book;
        Counts {
            waiting: self.inner.quota.waiting() as u64,
            exchanging: book.running.lock().exchanges.len() as u64,
            completed: book.completed.load(Ordering::Relaxed),
            failed: book.failed.load(Ordering::Relaxed),
            bytes: book.bytes.load(Ordering::Relaxed),
            draining: book.draining.load(Ordering::Acquire),
        }
    }

    /// The exchanges that run, oldest first.
    pub fn exchanges(&self) -> Vec<ExchangeHandle> {
        let running = self.inner.book.running.lock();
        let mut handles: Vec<_> = running.exchanges.values().cloned().map(ExchangeHandle).collect();
        handles.sort_by_key(ExchangeHandle::id);
        handles
    }

    /// Events from now on. Up to `capacity`, and at least one, are held for a subscriber that lags; further ones pass it by.
    pub fn subscribe(&self, capacity: usize) -> Events {
        self.inner.book.subscribers.add(capacity)
    }
}

/// The end of a drain, to be awaited.
#[derive(Debug, Clone)]
pub struct Drained {
    book: Arc<Book>,
}

impl Drained {
    /// Blocks until no exchange runs, or until `deadline`; gives the number of those that still run.
    pub fn wait_until(&self, deadline: Option<Instant>) -> usize {
        let mut running = self.book.running.lock();
        while !running.exchanges.is_empty() {
            match deadline {
                None => self.book.ended.wait(&mut running),
                Some(deadline) => {
                    if self.book.ended.wait_until(&mut running, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        running.exchanges.len()
    }
}

impl Book {
    fn start(book: &Arc<Book>, realm: Realm, key: Key, now: Instant) -> Exchange {
        let id = ExchangeId(book.next_id.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared::new(id, realm, key, now));
        book.running.lock().add(&shared);
        book.subscribers.tell(|| Event::Started(ExchangeHandle(shared.clone())));
        Exchange::new(shared, book.clone())
    }

    fn runs(&self, realm: Realm, key: &Key) -> bool {
        self.running.lock().keys.contains_key(&(realm, key.clone()))
    }
}

impl Finished for Book {
    fn finished(&self, exchange: &Arc<Shared>, ended: Ended) {
        let counter = if ended.outcome.is_completed() { &self.completed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(ended.bytes, Ordering::Relaxed);
        let mut running = self.running.lock();
        running.remove(exchange);
        if running.exchanges.is_empty() {
            self.ended.notify_all();
        }
        drop(running);
        self.subscribers.tell(|| Event::Ended(ExchangeHandle(exchange.clone()), ended));
    }

    fn freed(&self, exchange: &Shared) {
        self.running.lock().free_key(exchange);
    }
}
