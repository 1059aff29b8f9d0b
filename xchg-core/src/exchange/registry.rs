//! The exchanges that run, and what is remembered of those that have ended.

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashTable;
use slab::Slab;

use super::events::{Event, Events, Subscribers};
use super::handle::{Ended, ExchangeHandle, ExchangeId, Shared};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};
use crate::{Key, Realm, shard};

/// All exchanges of a broker, spread over shards by the hash of their realm and key, as those who
/// wait are.
///
/// A pairing takes one lock here, and so does an end: that of the key's shard. It is not the
/// matcher's own, which an end has no need of; and so nothing here depends on what is paired.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Mutex<Running>; shard::COUNT],
    /// How many run, in all shards.
    running: AtomicUsize,
    /// What a drain waits with for `running` to be 0.
    drain: Mutex<()>,
    is_empty: Condvar,
    draining: AtomicBool,
    next_id: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    subscribers: Subscribers,
}

/// The exchanges of one shard.
#[derive(Debug, Default)]
struct Running {
    exchanges: Slab<Entry>,
    /// The keys that exchanges hold.
    held: HashTable<Held>,
}

#[derive(Debug)]
struct Entry {
    exchange: Arc<Shared>,
    /// Whether it stands in the way of [exclusive](crate::Offer::exclusive) offers.
    holds_key: bool,
}

/// A key, and how many exchanges hold it: so many can be under one key that none may be searched
/// for.
#[derive(Debug)]
struct Held {
    hash: u64,
    realm: Realm,
    key: Key,
    count: usize,
}

/// Where a running exchange is registered.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<Registry>,
    hash: u64,
    index: usize,
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
    /// Whether offers are refused because of [`Broker::drain`](crate::Broker::drain).
    pub draining: bool,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            running: AtomicUsize::new(0),
            drain: Mutex::new(()),
            is_empty: Condvar::new(),
            draining: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            subscribers: Subscribers::default(),
        }
    }

    /// Has an exchange begin under `key`, which with `realm` has that `hash`.
    pub(super) fn add(
        self: &Arc<Self>,
        hash: u64,
        realm: Realm,
        key: Key,
        now: Instant,
    ) -> (Arc<Shared>, Registered) {
        let id = ExchangeId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared::new(id, realm, key, now));
        // Relaxed: whoever must see it has since taken the lock of the matcher's shard, which is
        // held.
        self.running.fetch_add(1, Ordering::Relaxed);
        let index = self.shard(hash).lock().add(hash, shared.clone());
        self.subscribers.tell(|| Event::Started(ExchangeHandle(shared.clone())));
        (shared, Registered { registry: self.clone(), hash, index })
    }

    /// Whether an exchange holds the key.
    pub(crate) fn is_held(&self, hash: u64, realm: Realm, key: &Key) -> bool {
        self.shard(hash).lock().held.find(hash, |held| held.is(realm, key)).is_some()
    }

    /// The exchanges that run, oldest first.
    pub(crate) fn exchanges(&self) -> Vec<ExchangeHandle> {
        let mut handles = Vec::with_capacity(self.running.load(Ordering::Relaxed));
        for shard in &self.shards {
            let running = shard.lock();
            let shared = running.exchanges.iter().map(|(_, entry)| entry.exchange.clone());
            handles.extend(shared.map(ExchangeHandle));
        }
        handles.sort_by_key(ExchangeHandle::id);
        handles
    }

    /// The exchange of that name, which may be anywhere.
    pub(crate) fn exchange(&self, id: ExchangeId) -> Option<ExchangeHandle> {
        self.shards.iter().find_map(|shard| {
            let running = shard.lock();
            let mut all = running.exchanges.iter().map(|(_, entry)| &entry.exchange);
            all.find(|exchange| exchange.id == id).cloned().map(ExchangeHandle)
        })
    }

    /// What there is to count, while so many peers wait.
    pub(crate) fn counts(&self, waiting: usize) -> Counts {
        Counts {
            waiting: waiting as u64,
            exchanging: self.running.load(Ordering::Acquire) as u64,
            completed: self.completed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            draining: self.draining.load(Ordering::Acquire),
        }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Events {
        self.subscribers.add(capacity)
    }

    /// Begins a drain. Once the matchers have been closed, [`Drained`] tells its end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn shard(&self, hash: u64) -> &Mutex<Running> {
        &self.shards[shard::of(hash)]
    }
}

impl Running {
    fn add(&mut self, hash: u64, exchange: Arc<Shared>) -> usize {
        match self.held.find_mut(hash, |held| held.is(exchange.realm, &exchange.key)) {
            Some(held) => held.count += 1,
            None => {
                let (realm, key) = (exchange.realm, exchange.key.clone());
                self.held
                    .insert_unique(hash, Held { hash, realm, key, count: 1 }, |held| held.hash);
            }
        }
        self.exchanges.insert(Entry { exchange, holds_key: true })
    }

    fn free_key(&mut self, hash: u64, index: usize) {
        let Entry { exchange, holds_key } = &mut self.exchanges[index];
        let is_same = |held: &Held| held.is(exchange.realm, &exchange.key);
        if std::mem::take(holds_key)
            && let Ok(mut held) = self.held.find_entry(hash, is_same)
        {
            held.get_mut().count -= 1;
            if held.get().count == 0 {
                held.remove();
            }
        }
    }

    fn remove(&mut self, hash: u64, index: usize) {
        self.free_key(hash, index);
        self.exchanges.remove(index);
        if self.exchanges.is_empty() {
            self.return_memory();
        }
    }

    /// Returns memory that a burst has left behind.
    fn return_memory(&mut self) {
        const KEEP: usize = 1024;
        if self.exchanges.capacity() > KEEP {
            *self = Self::default();
        }
    }
}

impl Held {
    fn is(&self, realm: Realm, key: &Key) -> bool {
        self.realm == realm && self.key == *key
    }
}

impl Registered {
    pub(super) fn free_key(&self) {
        self.registry.shard(self.hash).lock().free_key(self.hash, self.index);
    }

    /// Counts the end, and tells it.
    pub(super) fn finish(self, exchange: &Arc<Shared>, ended: Ended) {
        let Self { registry, hash, index } = self;
        let counter =
            if ended.outcome.is_completed() { &registry.completed } else { &registry.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        registry.bytes.fetch_add(ended.bytes, Ordering::Relaxed);
        registry.shard(hash).lock().remove(hash, index);
        // Release: whoever finds that none runs finds each one's end counted.
        if registry.running.fetch_sub(1, Ordering::Release) == 1 {
            // Not between a drain's look and its wait.
            drop(registry.drain.lock());
            registry.is_empty.notify_all();
        }
        registry.subscribers.tell(|| Event::Ended(ExchangeHandle(exchange.clone()), ended));
    }
}

/// The end of a drain, to be awaited.
#[derive(Debug, Clone)]
pub struct Drained {
    pub(crate) registry: Arc<Registry>,
}

impl Drained {
    /// Blocks until no exchange runs, or until `deadline`; gives the number of those that still
    /// run.
    pub fn wait_until(&self, deadline: Option<Instant>) -> usize {
        let Registry { running, drain, is_empty, .. } = &*self.registry;
        let mut lock = drain.lock();
        loop {
            let left = running.load(Ordering::Acquire);
            if left == 0 {
                return 0;
            }
            match deadline {
                None => is_empty.wait(&mut lock),
                Some(deadline) => {
                    if is_empty.wait_until(&mut lock, deadline).timed_out() {
                        return running.load(Ordering::Acquire);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::exchange::Exchange;
    use crate::hasher::KeyHasher;

    const BURST: u32 = 40_000;

    fn start(registry: &Arc<Registry>, hasher: &KeyHasher, name: u32) -> Exchange {
        #[expect(clippy::disallowed_methods, reason = "some instant; there is no other")]
        let now = Instant::now();
        let key = Key::parse(&name.to_be_bytes()).unwrap();
        Exchange::start(registry, hasher.hash(Realm::Plain, &key), Realm::Plain, key, now)
    }

    fn is_held(registry: &Registry, hasher: &KeyHasher, name: u32) -> bool {
        let key = Key::parse(&name.to_be_bytes()).unwrap();
        registry.is_held(hasher.hash(Realm::Plain, &key), Realm::Plain, &key)
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let (registry, hasher) = (Arc::new(Registry::new()), KeyHasher::random());
        for _ in 0..3 {
            let all: Vec<_> = (0..BURST).map(|name| start(&registry, &hasher, name)).collect();
            assert_eq!(registry.counts(0).exchanging, u64::from(BURST));
            assert_eq!(registry.exchanges().len(), all.len());
            for exchange in all {
                exchange.finish(Outcome::Completed);
            }
            for shard in &registry.shards {
                let running = shard.lock();
                assert_eq!((running.exchanges.len(), running.held.len()), (0, 0));
                assert!(running.exchanges.capacity() <= 1024 && running.held.capacity() <= 1024);
            }
        }
    }

    #[test]
    fn a_key_is_held_until_the_last_of_many_exchanges_has_freed_it_or_ended() {
        let (registry, hasher) = (Arc::new(Registry::new()), KeyHasher::random());
        let mut all: Vec<_> = (0..BURST).map(|_| start(&registry, &hasher, 7)).collect();
        let last = all.swap_remove(12_345);
        for (n, exchange) in all.iter().enumerate() {
            // Said twice, it counts once.
            (0..n % 3).for_each(|_| exchange.free_key());
        }
        assert!(is_held(&registry, &hasher, 7));
        drop(all);
        assert!(is_held(&registry, &hasher, 7));
        assert!(!is_held(&registry, &hasher, 8));
        last.free_key();
        assert!(!is_held(&registry, &hasher, 7));
        assert_eq!(registry.counts(0).exchanging, 1);
        drop(start(&registry, &hasher, 7));
        assert!(!is_held(&registry, &hasher, 7));
    }
}
