//! The matcher: a pure state machine that pairs connections naming the same key.
//!
//! It reads no clock and does no I/O; a `Conn` is whatever the caller pairs, and every one that is put in comes out
//! exactly once. First come, first paired, per key and side. [`Broker`](crate::Broker) shares matchers between threads.
//!
//! Those who wait under a key are all of one role, for a counterpart would have been paired; unless they gather for an exchange with
//! several receivers. They form a ring of slab entries: the index finds the first of them, whose `prev` is the last. A key thus
//! costs nothing beside its waiters.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashTable;
use slab::Slab;

use crate::quota::Quota;
use crate::{Key, Limits, Origin, Realm, Side};

/// A peer's arrival.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Offer<Conn> {
    /// In which realm it may be paired.
    pub realm: Realm,
    /// What it shares with its counterpart.
    pub key: Key,
    /// With whom it pairs.
    pub role: Role,
    /// Whom it is counted with in [`Limits::waiting_per_origin`]; `None` is nobody.
    pub origin: Option<Origin>,
    /// When it stops waiting; `None` is never.
    pub deadline: Option<Instant>,
    /// Whether it may wait at all. One that may not is paired if its counterpart is here, and
    /// otherwise refused as [`Full`](Refusal::Full): so a caller with no room left still serves
    /// those who wait.
    pub may_wait: bool,
    /// Whether it is refused, rather than queued, if others of its role wait under the key; or, by a [`Broker`](crate::Broker), if an
    /// exchange runs under it.
    pub exclusive: bool,
    /// How many downloaders the exchange is to have, at least 1. With more, all who offer a side under the key must name the same
    /// number; they wait until the uploader and as many downloaders are here. For [`Role::Side`].
    pub receivers: u16,
    /// What is paired.
    pub conn: Conn,
}

impl<Conn> Offer<Conn> {
    /// An offer of `side` to one counterpart that waits for ever, in line, from no particular origin.
    pub fn new(realm: Realm, key: Key, side: Side, conn: Conn) -> Offer<Conn> {
        let role = Role::Side(side);
        Offer {
            realm,
            key,
            role,
            origin: None,
            deadline: None,
            may_wait: true,
            exclusive: false,
            receivers: 1,
            conn,
        }
    }

    /// Whether it is one of more than two.
    fn gathers(&self) -> bool {
        self.receivers > 1
    }
}

/// With whom an offer pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers build it")]
pub enum Role {
    /// With the other side.
    Side(Side),
    /// With any whose label is another, or who has none: the two ends are equals, the first to come is `upload`. On
    /// pairing, the others under the key are [spares](Offered::Paired). For [`Realm::Transit`]; in a realm where others offer
    /// sides, it pairs with none of those, and stands in their way.
    Label(Option<Box<[u8; 16]>>),
}

impl From<Side> for Role {
    fn from(side: Side) -> Role {
        Role::Side(side)
    }
}

impl Role {
    fn pairs_with(&self, other: &Role) -> bool {
        match (self, other) {
            (Role::Side(one), Role::Side(other)) => one != other,
            (Role::Label(Some(one)), Role::Label(Some(other))) => one != other,
            (Role::Label(_), Role::Label(_)) => true,
            _ => false,
        }
    }
}

/// What became of an offer.
#[must_use = "it may hold open connections"]
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers handle every case")]
pub enum Offered<Conn> {
    /// It waits until its counterpart comes, or it is [withdrawn](Rendezvous::withdraw) or [expires](Rendezvous::expire).
    Waiting {
        /// Takes it back.
        ticket: Ticket,
        /// How many others wait for the same exchange (only with [several receivers](Offer::receivers)).
        gathered: u16,
    },
    /// Both are here, and are the caller's now.
    Paired {
        /// The uploader, or of two equals the one that waited.
        upload: Conn,
        /// The downloader, or of two equals the newcomer.
        download: Conn,
        /// The other downloaders, in order of arrival (only with [several receivers](Offer::receivers)).
        others: Vec<Conn>,
        /// Others under the key that lost their purpose by this pairing (only with [`Role::Label`]).
        spares: Vec<Conn>,
    },
    /// It comes back, so that the caller can tell the peer why.
    Refused {
        /// What was offered.
        conn: Conn,
        /// Why it is not taken.
        why: Refusal,
    },
}

/// Why an offer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// [`Limits::waiting`] is reached, or the offer [may not wait](Offer::may_wait).
    #[error("too many peers are waiting here; try again later")]
    Full,
    /// [`Limits::waiting_per_key`] is reached.
    #[error("too many peers are waiting under this key; use another key, or try again later")]
    KeyFull,
    /// [`Limits::waiting_per_origin`] is reached.
    #[error("too many peers from your address are waiting; close some, or try again later")]
    OriginFull,
    /// The offer is [exclusive](Offer::exclusive), or one of a group, and another peer of its side waits.
    #[error("another peer of the same side is here already under this key")]
    SideTaken,
    /// The offer is [exclusive](Offer::exclusive), and an exchange runs under its key.
    #[error("an exchange is running already under this key")]
    Exchanging,
    /// Those who wait under the key name another [number of receivers](Offer::receivers).
    #[error(
        "the number of receivers under this key is {expected}; name as many, or use another key"
    )]
    Receivers {
        /// The number that they name.
        expected: u16,
    },
    /// The matcher is [closed](Rendezvous::close).
    #[error("the server is shutting down; try again later, or elsewhere")]
    Closed,
}

/// Names a waiting offer, for the matcher that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    index: u32,
    /// Tells this use of the slab entry from others.
    serial: u32,
}

#[derive(Debug)]
struct Waiter<Conn> {
    conn: Conn,
    key: Key,
    role: Role,
    origin: Option<Origin>,
    realm: Realm,
    receivers: u16,
    serial: u32,
    /// The ring of those who wait under the key, in order of arrival.
    prev: u32,
    next: u32,
    /// How many are in the ring; kept at its first only.
    ring_len: u32,
    has_deadline: bool,
}

/// Pairs offers that name the same realm and key. See the [module](self).
#[derive(Debug)]
pub struct Rendezvous<Conn> {
    waiters: Slab<Waiter<Conn>>,
    /// The first waiter of each realm and key.
    index: HashTable<u32>,
    hasher: RandomState,
    /// May hold tickets that are gone; [`Self::tidy_deadlines`] keeps them a minority.
    deadlines: BinaryHeap<Reverse<(Instant, Ticket)>>,
    with_deadline: usize,
    /// The most that have waited since memory was last returned.
    peak: usize,
    serial: u32,
    quota: Arc<Quota>,
    closed: bool,
}

impl<Conn> Rendezvous<Conn> {
    /// An empty matcher.
    pub fn new(limits: Limits) -> Rendezvous<Conn> {
        Rendezvous::with_quota(Arc::new(Quota::new(limits)))
    }

    /// An empty matcher that counts its waiters together with others.
    pub(crate) fn with_quota(quota: Arc<Quota>) -> Rendezvous<Conn> {
        Rendezvous {
            waiters: Slab::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            deadlines: BinaryHeap::new(),
            with_deadline: 0,
            peak: 0,
            serial: 0,
            quota,
            closed: false,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Pairs `offer` with the first counterpart that waits, or lets it wait.
    pub fn offer(&mut self, offer: Offer<Conn>) -> Offered<Conn> {
        if self.closed {
            return Offered::Refused { conn: offer.conn, why: Refusal::Closed };
        }
        let Some(first) = self.first(offer.realm, &offer.key) else {
            return self.wait(None, 0, offer);
        };
        let waiter = &self.waiters[first as usize];
        if waiter.receivers != offer.receivers {
            let why = Refusal::Receivers { expected: waiter.receivers };
            Offered::Refused { conn: offer.conn, why }
        } else if offer.gathers() {
            self.gather(first, offer)
        } else if waiter.role.pairs_with(&offer.role) {
            self.pair(first, offer)
        } else {
            self.wait(Some(first), waiter.ring_len, offer)
        }
    }

    /// The uploader that waits in the same gathering as `ticket` does, and its own ticket; `None` if there is none yet.
    pub fn uploader_with(&self, ticket: Ticket) -> Option<(&Conn, Ticket)> {
        let same = self.waiters.get(ticket.index as usize)?;
        if same.serial != ticket.serial || same.receivers == 1 {
            return None;
        }
        let index = self.ring(ticket.index).find(|&index| self.is_uploader(index))?;
        let waiter = &self.waiters[index as usize];
        Some((&waiter.conn, Ticket { index, serial: waiter.serial }))
    }

    /// Whether somebody waits under `key` for one counterpart, and pairs with `role`.
    pub fn is_awaited(&self, realm: Realm, key: &Key, role: &Role) -> bool {
        let first = self.first(realm, key).map(|first| &self.waiters[first as usize]);
        first.is_some_and(|first| first.receivers == 1 && first.role.pairs_with(role))
    }

    /// The realm, key and role of who waits with `ticket` for one counterpart; `None` if it does no
    /// more, or for several.
    pub fn waiter(&self, ticket: Ticket) -> Option<(Realm, &Key, &Role)> {
        let waiter = self.waiters.get(ticket.index as usize)?;
        let is_one = waiter.serial == ticket.serial && waiter.receivers == 1;
        is_one.then_some((waiter.realm, &waiter.key, &waiter.role))
    }

    /// Takes back an offer. `None` if it is paired, expired or withdrawn already: the connection came out then.
    pub fn withdraw(&mut self, ticket: Ticket) -> Option<Conn> {
        let waiter = self.waiters.get(ticket.index as usize)?;
        (waiter.serial == ticket.serial).then(|| self.remove(ticket.index).conn)
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((deadline, ticket))) = self.deadlines.peek() {
            if self.is_waiting(*ticket) {
                return Some(*deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    /// Gives back each connection whose deadline is not after `now`, the most overdue first.
    pub fn expire(&mut self, now: Instant) -> Vec<Conn> {
        let mut expired = Vec::new();
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let ticket = self.deadlines.pop().map(|Reverse((_, ticket))| ticket);
            expired.extend(ticket.and_then(|ticket| self.withdraw(ticket)));
        }
        expired
    }

    /// Gives back all who wait, in no particular order, and refuses offers from now on.
    pub fn close(&mut self) -> Vec<Conn> {
        self.closed = true;
        self.index = HashTable::new();
        self.deadlines = BinaryHeap::new();
        self.with_deadline = 0;
        let waiters = std::mem::take(&mut self.waiters);
        waiters
            .into_iter()
            .map(|(_, waiter)| {
                self.quota.give_back(waiter.origin);
                waiter.conn
            })
            .collect()
    }

    fn pair(&mut self, first: u32, offer: Offer<Conn>) -> Offered<Conn> {
        let waited = self.remove(first);
        let mut spares = Vec::new();
        let (upload, download) = match offer.role {
            Role::Side(Side::Upload) => (offer.conn, waited.conn),
            Role::Side(Side::Download) => (waited.conn, offer.conn),
            Role::Label(_) => {
                while let Some(spare) = self.first(offer.realm, &offer.key) {
                    spares.push(self.remove(spare).conn);
                }
                (waited.conn, offer.conn)
            }
        };
        Offered::Paired { upload, download, others: Vec::new(), spares }
    }

    /// Adds `offer` to those who gather in the ring that starts at `first`, or makes the exchange that it completes.
    fn gather(&mut self, first: u32, offer: Offer<Conn>) -> Offered<Conn> {
        let gathered = self.waiters[first as usize].ring_len;
        let uploads = self.ring(first).filter(|&index| self.is_uploader(index)).count();
        let downloads = gathered as usize - uploads;
        let (brings_upload, most) = match offer.role == Role::Side(Side::Upload) {
            true => (true, uploads < 1),
            false => (false, downloads < usize::from(offer.receivers)),
        };
        if !most {
            return Offered::Refused { conn: offer.conn, why: Refusal::SideTaken };
        }
        if gathered < u32::from(offer.receivers) {
            return self.wait(Some(first), gathered, offer);
        }
        let (mut upload, mut downloads) = (None, VecDeque::new());
        while let Some(index) = self.first(offer.realm, &offer.key) {
            match self.is_uploader(index) {
                true => upload = Some(self.remove(index).conn),
                false => downloads.push_back(self.remove(index).conn),
            }
        }
        match brings_upload {
            true => upload = Some(offer.conn),
            false => downloads.push_back(offer.conn),
        }
        match (upload, downloads.pop_front()) {
            (Some(upload), Some(download)) => {
                Offered::Paired { upload, download, others: downloads.into(), spares: Vec::new() }
            }
            _ => unreachable!("one uploader and its receivers are one more than those"),
        }
    }

    fn is_uploader(&self, index: u32) -> bool {
        self.waiters[index as usize].role == Role::Side(Side::Upload)
    }

    /// Those who wait in a ring, from `first` on.
    fn ring(&self, first: u32) -> impl Iterator<Item = u32> {
        let next = move |&index: &u32| {
            let next = self.waiters[index as usize].next;
            (next != first).then_some(next)
        };
        std::iter::successors(Some(first), next)
    }

    /// Lets `offer` wait behind the `before` who wait in the ring that starts at `first`.
    fn wait(&mut self, first: Option<u32>, before: u32, offer: Offer<Conn>) -> Offered<Conn> {
        let room = if offer.exclusive && before > 0 && !offer.gathers() {
            Err(Refusal::SideTaken)
        } else if !offer.may_wait {
            Err(Refusal::Full)
        } else if before as usize >= self.quota.limits().waiting_per_key {
            Err(Refusal::KeyFull)
        } else {
            self.quota.take(offer.origin)
        };
        if let Err(why) = room {
            return Offered::Refused { conn: offer.conn, why };
        }
        let gathered = if offer.gathers() { before } else { 0 };
        #[expect(clippy::cast_possible_truncation, reason = "fewer than the receivers")]
        let gathered = gathered as u16;
        Offered::Waiting { ticket: self.insert(first, offer), gathered }
    }

    /// Appends to the ring that starts at `first`, or starts one.
    fn insert(&mut self, first: Option<u32>, offer: Offer<Conn>) -> Ticket {
        let entry = self.waiters.vacant_entry();
        let index = u32::try_from(entry.key())
            .expect("sockets and memory run out long before 2^32 waiters");
        self.serial = self.serial.wrapping_add(1);
        let ticket = Ticket { index, serial: self.serial };
        entry.insert(Waiter {
            conn: offer.conn,
            key: offer.key,
            role: offer.role,
            origin: offer.origin,
            realm: offer.realm,
            receivers: offer.receivers,
            serial: ticket.serial,
            prev: index,
            next: index,
            ring_len: 1,
            has_deadline: offer.deadline.is_some(),
        });
        match first {
            Some(first) => self.link(first, index),
            None => {
                let waiter = &self.waiters[index as usize];
                let hash = hash(&self.hasher, waiter.realm, &waiter.key);
                let (waiters, hasher) = (&self.waiters, &self.hasher);
                self.index.insert_unique(hash, index, |&other| {
                    let other = &waiters[other as usize];
                    self::hash(hasher, other.realm, &other.key)
                });
            }
        }
        self.peak = self.peak.max(self.waiters.len());
        if let Some(deadline) = offer.deadline {
            self.with_deadline += 1;
            self.deadlines.push(Reverse((deadline, ticket)));
        }
        ticket
    }

    fn link(&mut self, first: u32, index: u32) {
        // Arrivals under one key share its bytes.
        self.waiters[index as usize].key = self.waiters[first as usize].key.clone();
        let last = self.waiters[first as usize].prev;
        self.waiters[index as usize].prev = last;
        self.waiters[index as usize].next = first;
        self.waiters[last as usize].next = index;
        self.waiters[first as usize].prev = index;
        self.waiters[first as usize].ring_len += 1;
    }

    fn remove(&mut self, index: u32) -> Waiter<Conn> {
        let (realm, key) = {
            let waiter = &self.waiters[index as usize];
            (waiter.realm, waiter.key.clone())
        };
        let hash = hash(&self.hasher, realm, &key);
        let waiters = &self.waiters;
        let same = |&first: &u32| {
            let first = &waiters[first as usize];
            first.realm == realm && first.key == key
        };
        let Ok(mut first) = self.index.find_entry(hash, same) else {
            unreachable!("whoever waits is in the ring of an indexed key")
        };
        let waiter = &self.waiters[index as usize];
        let (prev, next, head) = (waiter.prev, waiter.next, *first.get());
        if next == index {
            first.remove();
        } else {
            let ring_len = self.waiters[head as usize].ring_len - 1;
            let head = if head == index { next } else { head };
            *first.get_mut() = head;
            self.waiters[prev as usize].next = next;
            self.waiters[next as usize].prev = prev;
            self.waiters[head as usize].ring_len = ring_len;
        }
        let waiter = self.waiters.remove(index as usize);
        self.quota.give_back(waiter.origin);
        self.tidy(waiter.has_deadline);
        waiter
    }

    /// Returns memory that a burst has left behind; amortised over the removals that made it so.
    fn tidy(&mut self, had_deadline: bool) {
        const KEEP: usize = 1024;
        if had_deadline {
            self.with_deadline -= 1;
        }
        if self.deadlines.len() > KEEP + 2 * self.with_deadline {
            let mut deadlines = std::mem::take(&mut self.deadlines);
            deadlines.retain(|Reverse((_, ticket))| self.is_waiting(*ticket));
            deadlines.shrink_to_fit();
            self.deadlines = deadlines;
        }
        // The second condition is for who leaves in the order of arrival: until the last has left, nothing could be returned.
        let few = self.peak > KEEP && self.waiters.len() < self.peak / 4;
        if few || self.waiters.is_empty() && self.waiters.capacity() > KEEP {
            self.peak = self.waiters.len();
            // Entries behind the last one in use; those between stay, to be used again.
            self.waiters.shrink_to_fit();
            let (waiters, hasher) = (&self.waiters, &self.hasher);
            self.index.shrink_to(2 * self.index.len(), |&other| {
                let other = &waiters[other as usize];
                hash(hasher, other.realm, &other.key)
            });
        }
    }

    fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiters.get(ticket.index as usize).is_some_and(|waiter| waiter.serial == ticket.serial)
    }

    fn first(&self, realm: Realm, key: &Key) -> Option<u32> {
        let same = |&first: &u32| {
            let first = &self.waiters[first as usize];
            first.realm == realm && first.key == *key
        };
        self.index.find(hash(&self.hasher, realm, key), same).copied()
    }
}

fn hash(hasher: &RandomState, realm: Realm, key: &Key) -> u64 {
    hasher.hash_one((realm, key))
}

#[cfg(test)]
mod tests;
