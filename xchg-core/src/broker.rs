//! The matcher shared between threads, the exchanges that run, and the drain.
//!
//! **A broker in shards.** Sixteen matchers, by key, each behind a lock. Realms of one key share a
//! shard, so that a peer can be told of a counterpart in another realm. Limits are counted over all
//! shards.

use std::sync::Arc;
use std::time::Instant;

use crate::exchange::{Counts, Drained, Events, Exchange, ExchangeHandle, ExchangeId, Registry};
use crate::hasher::KeyHasher;
use crate::quota::Quota;
use crate::rendezvous::{Offer, Offered, Refusal, Rendezvous, Ticket};
use crate::sync::Mutex;
use crate::{Key, Limits, Realm, Role, shard};

/// Pairs offers from many threads and keeps account of the exchanges that come of it. Cheap to
/// clone.
///
/// Keys are spread over shards, each a [`Rendezvous`] behind a lock that is held for a table
/// look-up and never over I/O.
///
/// ```
/// use std::time::Instant;
/// use xchg_core::{Broker, Brokered, Key, Limits, Offer, Outcome, Realm, Side};
///
/// let broker = Broker::new(Limits { waiting_per_key: 10, ..Limits::default() });
/// let arrive = |side, conn: &'static str| {
///     let key = Key::parse(b"holiday").expect("it has 1 to 255 bytes");
///     match broker.offer(Offer::new(Realm::Plain, key, side, conn), Instant::now()) {
///         // Keep `place` with the connection: its peer may leave before anybody comes.
///         Brokered::Waiting { place, .. } => Some(place),
///         // Move the bytes, and say how it ended: `relay::run` does both.
///         Brokered::Paired(pair) => {
///             assert_eq!((pair.upload, pair.download), ("a camera", "a phone"));
///             pair.exchange.add_moved(Side::Upload, 4_000_000);
///             pair.exchange.finish(Outcome::Completed);
///             None
///         }
///         Brokered::Refused { conn, why } => panic!("tell {conn}: {why}"),
///     }
/// };
/// let gone = arrive(Side::Upload, "a laptop").expect("nobody else is here");
/// assert_eq!(broker.withdraw(gone), Some("a laptop"));
/// arrive(Side::Upload, "a camera");
/// arrive(Side::Download, "a phone");
/// assert_eq!((broker.counts().completed, broker.counts().bytes), (1, 4_000_000));
///
/// // To stop, let go of who waits, and then wait for the exchanges that run.
/// let (released, drained) = broker.drain();
/// assert!(released.is_empty());
/// assert_eq!(drained.wait_until(None), 0);
/// ```
#[derive(Debug)]
pub struct Broker<Conn> {
    inner: Arc<Inner<Conn>>,
}

impl<Conn> Clone for Broker<Conn> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

#[derive(Debug)]
struct Inner<Conn> {
    shards: [Mutex<Rendezvous<Conn>>; shard::COUNT],
    hasher: KeyHasher,
    quota: Arc<Quota>,
    registry: Arc<Registry>,
}

/// What became of an offer to a [`Broker`].
#[must_use = "it may hold open connections"]
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers handle every case")]
pub enum Brokered<Conn> {
    /// The offer waits: no counterpart is here.
    Waiting {
        /// Names the offer, for [`Broker::withdraw`] and the like.
        place: Place,
        /// How many others wait for the same exchange (only with [several
        /// receivers](Offer::receivers)).
        gathered: u16,
    },
    /// The counterpart waited: here are both, and the exchange to run between them.
    Paired(Pair<Conn>),
    /// The offer is not taken. Its connection comes back, so that the caller can tell the peer why.
    Refused {
        /// The connection that was offered.
        conn: Conn,
        /// Why the offer is not taken.
        why: Refusal,
    },
}

/// A pairing: both connections and the exchange to run between them.
#[must_use = "it holds open connections"]
#[derive(Debug)]
#[non_exhaustive]
pub struct Pair<Conn> {
    /// The exchange between the two, to be [finished](Exchange::finish) by whoever moves the bytes.
    pub exchange: Exchange,
    /// The uploader, or of two equals the one that waited.
    pub upload: Conn,
    /// The downloader, or of two equals the newcomer.
    pub download: Conn,
    /// The other downloaders, in order of arrival (only with [several
    /// receivers](Offer::receivers)).
    pub others: Vec<Conn>,
    /// Others under the key that lost their purpose by this pairing (only with
    /// [`Role::Label`](crate::Role::Label)).
    pub spares: Vec<Conn>,
}

/// A waiting offer's place: names it for the broker that gave it out.
///
/// Packed into ten bytes, for whoever waits is held with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, packed(2))]
pub struct Place {
    shard: u16,
    ticket: Ticket,
}

impl<Conn> Broker<Conn> {
    /// A broker for whom nobody waits.
    pub fn new(limits: Limits) -> Self {
        Self::with_hasher(limits, KeyHasher::random())
    }

    /// As [`new`](Self::new), for a simulation: what comes out in an order that hashes of keys
    /// decide comes out in the same order for the same seed.
    ///
    /// Who knows the seed can choose keys that slow each other down.
    pub fn with_seed(limits: Limits, seed: u64) -> Self {
        Self::with_hasher(limits, KeyHasher::Seeded(seed))
    }

    fn with_hasher(limits: Limits, hasher: KeyHasher) -> Self {
        let quota = Arc::new(Quota::new(limits));
        let matcher = |_| Mutex::new(Rendezvous::with(quota.clone(), hasher.clone()));
        let (shards, registry) = (std::array::from_fn(matcher), Arc::new(Registry::new()));
        Self { inner: Arc::new(Inner { shards, hasher, quota, registry }) }
    }

    /// Pairs `offer` with the first counterpart that waits, or lets it wait. `now` is when the
    /// exchange starts, if one does.
    ///
    /// An [exclusive](Offer::exclusive) offer is refused also while an exchange runs under its key,
    /// until that [frees it](Exchange::free_key).
    pub fn offer(&self, offer: Offer<Conn>, now: Instant) -> Brokered<Conn> {
        let Inner { shards, hasher, registry, .. } = &*self.inner;
        let realm = offer.realm;
        let hash = hasher.hash(realm, &offer.key);
        let shard = shard::of(hash);
        let mut matcher = shards[shard].lock();
        if offer.exclusive && registry.is_held(hash, realm, &offer.key) {
            return Brokered::Refused { conn: offer.conn, why: Refusal::Exchanging };
        }
        match matcher.offer_hashed(hash, offer) {
            Offered::Waiting { ticket, gathered } => {
                #[expect(clippy::cast_possible_truncation, reason = "shards are few")]
                let place = Place { shard: shard as u16, ticket };
                Brokered::Waiting { place, gathered }
            }
            Offered::Refused { conn, why } => Brokered::Refused { conn, why },
            Offered::Paired { key, upload, download, others, spares } => {
                // Still under the lock: a drain that closes the shard next must find the exchange
                // running.
                let exchange = Exchange::start(registry, hash, realm, key, now);
                Brokered::Paired(Pair { exchange, upload, download, others, spares })
            }
        }
    }

    /// Whether somebody waits under `key` for one counterpart, and pairs with `role`.
    pub fn is_awaited(&self, realm: Realm, key: &Key, role: &Role) -> bool {
        let shard = shard::of(self.inner.hasher.hash(realm, key));
        self.inner.shards[shard].lock().is_awaited(realm, key, role)
    }

    /// The realm, key and role of who waits at `place` for one counterpart; `None` if it does no
    /// more, or for several.
    pub fn waiter(&self, place: Place) -> Option<(Realm, Key, Role)> {
        let matcher = self.inner.shards[usize::from(place.shard)].lock();
        let (realm, key, role) = matcher.waiter(place.ticket)?;
        Some((realm, key.clone(), role.clone()))
    }

    /// Takes back an offer. `None` if it is paired, expired or withdrawn already: the connection
    /// came out then.
    #[must_use = "it may be an open connection"]
    pub fn withdraw(&self, place: Place) -> Option<Conn> {
        self.inner.shards[usize::from(place.shard)].lock().withdraw(place.ticket)
    }

    /// Has `tell` called with the uploader that waits for the same exchange as `place` does, and
    /// with its place; not if there is none yet. It is called under a lock that offers need.
    pub fn tell_uploader_with(&self, place: Place, tell: impl FnOnce(&Conn, Place)) {
        let matcher = self.inner.shards[usize::from(place.shard)].lock();
        if let Some((conn, ticket)) = matcher.uploader_with(place.ticket) {
            tell(conn, Place { ticket, ..place });
        }
    }

    /// When [`expire`](Self::expire) next has something to do: the soonest deadline of who waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.inner.shards.iter().filter_map(|shard| shard.lock().next_deadline()).min()
    }

    /// Gives back each connection whose deadline is not after `now`.
    #[must_use = "it may hold open connections"]
    pub fn expire(&self, now: Instant) -> Vec<Conn> {
        self.inner.shards.iter().flat_map(|shard| shard.lock().expire(now)).collect()
    }

    /// Refuses offers from now on, gives back all who wait, and lets the exchanges that run finish.
    ///
    /// Another broker, to which the offers are made in the order in which they come out, goes on as
    /// this one would have: see [`Rendezvous::close`].
    #[must_use = "it may hold open connections"]
    pub fn drain(&self) -> (Vec<Offer<Conn>>, Drained) {
        let Inner { shards, registry, .. } = &*self.inner;
        registry.drain();
        let released = shards.iter().flat_map(|shard| shard.lock().close()).collect();
        (released, Drained { registry: registry.clone() })
    }

    /// How many wait, run and have ended, at about this moment.
    pub fn counts(&self) -> Counts {
        self.inner.registry.counts(self.inner.quota.waiting())
    }

    /// How many peers wait in `realm` now.
    pub fn waiting_in(&self, realm: Realm) -> u64 {
        self.inner.shards.iter().map(|shard| shard.lock().waiting_in(realm) as u64).sum()
    }

    /// The exchange of that name, if it runs.
    pub fn exchange(&self, id: ExchangeId) -> Option<ExchangeHandle> {
        self.inner.registry.exchange(id)
    }

    /// The exchanges that run, oldest first.
    pub fn exchanges(&self) -> Vec<ExchangeHandle> {
        self.inner.registry.exchanges()
    }

    /// Events from now on. Up to `capacity`, and at least one, are held for a subscriber that lags;
    /// further ones pass it by.
    pub fn subscribe(&self, capacity: usize) -> Events {
        self.inner.registry.subscribe(capacity)
    }
}
