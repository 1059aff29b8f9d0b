//! The matcher: a pure state machine that pairs connections naming the same key.
//!
//! Those who wait under a key are all of one role, for a counterpart would have been paired; unless
//! they are a group, which waits for an exchange with several receivers.

mod deadlines;
mod offer;
mod rings;
mod waiter;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use deadlines::Deadlines;
use rings::Rings;
use waiter::Waiter;

pub use self::offer::{Offer, Offered, Refusal, Role, Ticket};
use crate::hasher::KeyHasher;
use crate::quota::Quota;
use crate::{Key, Limits, Realm, Side};

/// The matcher: pairs offers that name the same realm and key, first come, first paired.
///
/// It is a pure state machine, which reads no clock and does no I/O. A `Conn` is whatever the
/// caller pairs, and every one that is put in comes out exactly once. [`Broker`](crate::Broker)
/// shares matchers between threads.
///
/// ```
/// use std::time::{Duration, Instant};
/// use xchg_core::{Key, Limits, Offer, Offered, Realm, Rendezvous, Side};
///
/// let mut rendezvous = Rendezvous::new(Limits::default());
/// let start = Instant::now();
/// let offer = |key: &str, side, conn| {
///     Key::parse(key.as_bytes()).map(|key| Offer::new(Realm::Plain, key, side, conn))
/// };
///
/// // Who comes first waits, here for half a minute; the ticket takes the connection back.
/// let deadline = Some(start + Duration::from_secs(30));
/// let first = Offer { deadline, ..offer("holiday", Side::Download, "a phone")? };
/// let Offered::Waiting { ticket, .. } = rendezvous.offer(first) else { panic!("it is alone") };
/// assert_eq!(rendezvous.next_deadline(), deadline);
///
/// // Its counterpart gets both.
/// match rendezvous.offer(offer("holiday", Side::Upload, "a camera")?) {
///     Offered::Paired { upload, download, .. } => {
///         assert_eq!((upload, download), ("a camera", "a phone"));
///     }
///     other => panic!("the phone waits: {other:?}"),
/// }
/// assert_eq!(rendezvous.withdraw(ticket), None, "it is gone");
/// assert_eq!(rendezvous.next_deadline(), None);
/// # Ok::<(), xchg_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Rendezvous<Conn> {
    rings: Rings<Conn>,
    deadlines: Deadlines,
    quota: Arc<Quota>,
    closed: bool,
}

impl<Conn> Rendezvous<Conn> {
    /// An empty matcher.
    pub fn new(limits: Limits) -> Self {
        Self::with(Arc::new(Quota::new(limits)), KeyHasher::random())
    }

    /// An empty matcher that counts its waiters together with others.
    pub(crate) fn with(quota: Arc<Quota>, hasher: KeyHasher) -> Self {
        Self { rings: Rings::new(hasher), deadlines: Deadlines::default(), quota, closed: false }
    }

    /// How many peers wait.
    pub fn waiting(&self) -> usize {
        self.rings.len()
    }

    /// How many peers wait in `realm`.
    pub(crate) fn waiting_in(&self, realm: Realm) -> usize {
        self.rings.len_of(realm)
    }

    /// Pairs `offer` with the first counterpart that waits, or lets it wait.
    pub fn offer(&mut self, offer: Offer<Conn>) -> Offered<Conn> {
        let hash = self.rings.hash(offer.realm, &offer.key);
        self.offer_hashed(hash, offer)
    }

    /// As [`offer`](Self::offer), by a caller that has hashed the realm and key already.
    pub(crate) fn offer_hashed(&mut self, hash: u64, offer: Offer<Conn>) -> Offered<Conn> {
        if self.closed {
            return Offered::Refused { conn: offer.conn, why: Refusal::Closed };
        }
        let Some(first) = self.rings.first(hash, offer.realm, &offer.key) else {
            return self.wait(hash, None, offer);
        };
        let waiter = &self.rings[first];
        if waiter.receivers != offer.receivers {
            let why = Refusal::Receivers { expected: waiter.receivers };
            Offered::Refused { conn: offer.conn, why }
        } else if offer.is_grouped() {
            self.join_group(hash, first, offer)
        } else if waiter.role.pairs_with(&offer.role) {
            self.pair(hash, first, offer)
        } else {
            self.wait(hash, Some(first), offer)
        }
    }

    /// The uploader that waits in the same group as `ticket` does, and its own ticket; `None` if
    /// there is none yet.
    pub(crate) fn uploader_with(&self, ticket: Ticket) -> Option<(&Conn, Ticket)> {
        let index = self.rings.find(ticket)?;
        if self.rings[index].receivers == 1 {
            return None;
        }
        let upload = self.rings.ring(index).find(|&index| self.rings[index].is_uploader())?;
        Some((&self.rings[upload].conn, self.rings.ticket(upload)))
    }

    /// Whether somebody waits under `key` for one counterpart, and pairs with `role`.
    pub(crate) fn is_awaited(&self, realm: Realm, key: &Key, role: &Role) -> bool {
        self.rings.first(self.rings.hash(realm, key), realm, key).is_some_and(|first| {
            let waiter = &self.rings[first];
            waiter.receivers == 1 && waiter.role.pairs_with(role)
        })
    }

    /// The realm, key and role of who waits with `ticket` for one counterpart; `None` if it does no
    /// more, or for several.
    pub(crate) fn waiter(&self, ticket: Ticket) -> Option<(Realm, &Key, &Role)> {
        let waiter = &self.rings[self.rings.find(ticket)?];
        (waiter.receivers == 1).then_some((waiter.realm, &waiter.key, &waiter.role))
    }

    /// Takes back an offer. `None` if it is paired, expired or withdrawn already: the connection
    /// came out then.
    #[must_use = "it may be an open connection"]
    pub fn withdraw(&mut self, ticket: Ticket) -> Option<Conn> {
        let index = self.rings.find(ticket)?;
        let waiter = &self.rings[index];
        let hash = self.rings.hash(waiter.realm, &waiter.key);
        Some(self.remove(hash, index).conn)
    }

    /// When [`expire`](Self::expire) next has something to do: the soonest deadline of who waits.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let rings = &self.rings;
        self.deadlines.next(|ticket| rings.find(ticket).is_some()).map(|(deadline, _)| deadline)
    }

    /// Gives back each connection whose deadline is not after `now`, the most overdue first.
    #[must_use = "it may hold open connections"]
    pub fn expire(&mut self, now: Instant) -> Vec<Conn> {
        let mut expired = Vec::new();
        loop {
            let rings = &self.rings;
            match self.deadlines.next(|ticket| rings.find(ticket).is_some()) {
                Some((deadline, ticket)) if deadline <= now => {
                    expired.extend(self.withdraw(ticket));
                }
                _ => return expired,
            }
        }
    }

    /// Gives back all who wait, those under one key in order of arrival, and refuses offers from
    /// now on.
    ///
    /// Another matcher, to which the offers are made in that order, goes on as this one would have.
    /// They are not [exclusive](Offer::exclusive) any more: who waits has its place already.
    #[must_use = "they may hold open connections"]
    pub fn close(&mut self) -> Vec<Offer<Conn>> {
        self.closed = true;
        let mut deadlines: HashMap<_, _> =
            std::mem::take(&mut self.deadlines).into_iter().collect();
        let waiters = self.rings.drain().into_iter();
        waiters
            .map(|(ticket, waiter)| {
                self.quota.give_back(waiter.origin);
                waiter.into_offer(deadlines.remove(&ticket))
            })
            .collect()
    }

    fn pair(&mut self, hash: u64, first: u32, offer: Offer<Conn>) -> Offered<Conn> {
        let waited = self.remove(hash, first);
        let mut spares = Vec::new();
        let (upload, download) = match offer.role {
            Role::Side(Side::Upload) => (offer.conn, waited.conn),
            Role::Side(Side::Download) => (waited.conn, offer.conn),
            Role::Label(_) => {
                while let Some(spare) = self.rings.first(hash, offer.realm, &offer.key) {
                    spares.push(self.remove(hash, spare).conn);
                }
                (waited.conn, offer.conn)
            }
        };
        Offered::Paired { key: offer.key, upload, download, others: Vec::new(), spares }
    }

    /// Adds `offer` to the group in the ring that starts at `first`, or makes the exchange that it
    /// completes.
    fn join_group(&mut self, hash: u64, first: u32, offer: Offer<Conn>) -> Offered<Conn> {
        let (here, receivers) = (self.rings.ring_len(first), u32::from(offer.receivers));
        let has_upload = self.rings.ring(first).any(|index| self.rings[index].is_uploader());
        let is_upload = offer.role == Role::Side(Side::Upload);
        let is_taken =
            if is_upload { has_upload } else { here - u32::from(has_upload) == receivers };
        if is_taken {
            return Offered::Refused { conn: offer.conn, why: Refusal::SideTaken };
        }
        if here < receivers {
            return self.wait(hash, Some(first), offer);
        }
        let (mut upload, mut downloads) = (None, Vec::new());
        while let Some(index) = self.rings.first(hash, offer.realm, &offer.key) {
            let waited = self.remove(hash, index);
            if waited.is_uploader() {
                upload = Some(waited.conn);
            } else {
                downloads.push(waited.conn);
            }
        }
        if is_upload {
            upload = Some(offer.conn);
        } else {
            downloads.push(offer.conn);
        }
        let others = downloads.split_off(1);
        match (upload, downloads.pop()) {
            (Some(upload), Some(download)) => {
                Offered::Paired { key: offer.key, upload, download, others, spares: Vec::new() }
            }
            _ => unreachable!("one uploader and its receivers are one more than those"),
        }
    }

    /// Lets `offer` wait, behind those in the ring that starts at `first` if there is one.
    fn wait(&mut self, hash: u64, first: Option<u32>, offer: Offer<Conn>) -> Offered<Conn> {
        let before = first.map_or(0, |first| self.rings.ring_len(first));
        let room = if offer.exclusive && before > 0 && !offer.is_grouped() {
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
        let gathered = if offer.is_grouped() { before } else { 0 };
        #[expect(clippy::cast_possible_truncation, reason = "fewer than the receivers")]
        let gathered = gathered as u16;
        let waiter = Waiter {
            conn: offer.conn,
            realm: offer.realm,
            key: offer.key,
            role: offer.role,
            origin: offer.origin,
            receivers: offer.receivers,
            has_deadline: offer.deadline.is_some(),
        };
        let ticket = self.rings.push(hash, first, waiter);
        if let Some(deadline) = offer.deadline {
            self.deadlines.push(deadline, ticket);
        }
        Offered::Waiting { ticket, gathered }
    }

    fn remove(&mut self, hash: u64, index: u32) -> Waiter<Conn> {
        let waiter = self.rings.remove(hash, index);
        self.quota.give_back(waiter.origin);
        if waiter.has_deadline {
            let rings = &self.rings;
            self.deadlines.on_left(|ticket| rings.find(ticket).is_some());
        }
        waiter
    }
}

#[cfg(test)]
mod tests;
