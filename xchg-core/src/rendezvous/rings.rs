//! Who waits, under which key, in which order.
//!
//! Those under one key form a ring of slab entries, and a table finds the first of them, whose
//! `prev` is the last. A key thus costs nothing beside its waiters, is stored once, and leaves
//! nothing behind; and whoever leaves from the midst does so without a search.

use std::ops::Index;

use hashbrown::HashTable;
use slab::Slab;

use super::offer::Ticket;
use super::waiter::Waiter;
use crate::hasher::KeyHasher;
use crate::{Key, Realm};

/// Rings of waiters, one for each realm and key, which is all that it knows of a waiter.
///
/// Callers bring the hash of the realm and key along, which they need for more than one call.
#[derive(Debug)]
pub(super) struct Rings<Conn> {
    entries: Slab<Entry<Conn>>,
    /// The first of each ring.
    firsts: HashTable<u32>,
    hasher: KeyHasher,
    /// How many there are of each realm.
    of_realm: [usize; Realm::ALL.len()],
    /// The most entries since memory was last returned.
    peak: usize,
    serial: u32,
}

#[derive(Debug)]
struct Entry<Conn> {
    waiter: Waiter<Conn>,
    serial: u32,
    prev: u32,
    next: u32,
    /// How many are in the ring; kept at its first only.
    ring_len: u32,
}

impl<Conn> Rings<Conn> {
    pub(super) fn new(hasher: KeyHasher) -> Self {
        let (entries, firsts) = (Slab::new(), HashTable::new());
        Self { entries, firsts, hasher, of_realm: Default::default(), peak: 0, serial: 0 }
    }

    /// How many there are in all rings.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many there are of one realm.
    pub(super) fn len_of(&self, realm: Realm) -> usize {
        self.of_realm[realm as usize]
    }

    pub(super) fn hash(&self, realm: Realm, key: &Key) -> u64 {
        self.hasher.hash(realm, key)
    }

    pub(super) fn first(&self, hash: u64, realm: Realm, key: &Key) -> Option<u32> {
        self.firsts.find(hash, |&first| self[first].is_of(realm, key)).copied()
    }

    /// All of the ring that starts at `first`, in order.
    pub(super) fn ring(&self, first: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(first), move |&index| {
            let next = self.entries[index as usize].next;
            (next != first).then_some(next)
        })
    }

    /// How many are in the ring that starts at `first`.
    pub(super) fn ring_len(&self, first: u32) -> u32 {
        self.entries[first as usize].ring_len
    }

    /// Where the holder of a ticket is, if it is here still.
    pub(super) fn find(&self, ticket: Ticket) -> Option<u32> {
        let entry = self.entries.get(ticket.index as usize)?;
        (entry.serial == ticket.serial).then_some(ticket.index)
    }

    pub(super) fn ticket(&self, index: u32) -> Ticket {
        Ticket { index, serial: self.entries[index as usize].serial }
    }

    /// Appends to the ring that starts at `first`, or starts one.
    pub(super) fn push(
        &mut self,
        hash: u64,
        first: Option<u32>,
        mut waiter: Waiter<Conn>,
    ) -> Ticket {
        if let Some(first) = first {
            // Arrivals under one key share its bytes.
            waiter.key = self[first].key.clone();
        }
        let vacant = self.entries.vacant_entry();
        let index = u32::try_from(vacant.key())
            .expect("sockets and memory run out long before 2^32 waiters");
        self.of_realm[waiter.realm as usize] += 1;
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        vacant.insert(Entry { waiter, serial, prev: index, next: index, ring_len: 1 });
        match first {
            Some(first) => self.link(first, index),
            None => {
                let (entries, hasher) = (&self.entries, &self.hasher);
                self.firsts.insert_unique(hash, index, |&other| rehash(entries, hasher, other));
            }
        }
        self.peak = self.peak.max(self.entries.len());
        Ticket { index, serial }
    }

    fn link(&mut self, first: u32, index: u32) {
        let last = self.at(first).prev;
        self.at(index).prev = last;
        self.at(index).next = first;
        self.at(last).next = index;
        self.at(first).prev = index;
        self.at(first).ring_len += 1;
    }

    /// Takes out who is at `index`, whose realm and key have that `hash`.
    pub(super) fn remove(&mut self, hash: u64, index: u32) -> Waiter<Conn> {
        let entries = &self.entries;
        let Entry { ref waiter, prev, next, .. } = entries[index as usize];
        let is_first =
            |&first: &u32| entries[first as usize].waiter.is_of(waiter.realm, &waiter.key);
        let Ok(mut first) = self.firsts.find_entry(hash, is_first) else {
            unreachable!("whoever waits is in the ring of an indexed key")
        };
        if next == index {
            first.remove();
        } else {
            let old = *first.get();
            let new = if old == index { next } else { old };
            *first.get_mut() = new;
            let ring_len = self.at(old).ring_len - 1;
            self.at(prev).next = next;
            self.at(next).prev = prev;
            self.at(new).ring_len = ring_len;
        }
        let entry = self.entries.remove(index as usize);
        self.of_realm[entry.waiter.realm as usize] -= 1;
        self.return_memory();
        entry.waiter
    }

    /// Takes out all, those of one ring in order.
    pub(super) fn drain(&mut self) -> Vec<(Ticket, Waiter<Conn>)> {
        let mut all = Vec::with_capacity(self.len());
        let (mut entries, firsts) =
            (std::mem::take(&mut self.entries), std::mem::take(&mut self.firsts));
        for first in firsts {
            let mut next = Some(first);
            while let Some(index) = next {
                let entry = entries.remove(index as usize);
                all.push((Ticket { index, serial: entry.serial }, entry.waiter));
                next = (entry.next != first).then_some(entry.next);
            }
        }
        self.peak = 0;
        self.of_realm = Default::default();
        all
    }

    /// Returns memory that a burst has left behind; amortised over the removals that made it so.
    fn return_memory(&mut self) {
        const KEEP: usize = 1024;
        // The second condition is for who leaves in the order of arrival: until the last has left,
        // nothing could be returned.
        let few = self.peak > KEEP && self.entries.len() < self.peak / 4;
        if few || self.entries.is_empty() && self.entries.capacity() > KEEP {
            self.peak = self.entries.len();
            // Entries behind the last one in use; those between stay, to be used again.
            self.entries.shrink_to_fit();
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.firsts.shrink_to(2 * self.firsts.len(), |&other| rehash(entries, hasher, other));
        }
    }

    fn at(&mut self, index: u32) -> &mut Entry<Conn> {
        &mut self.entries[index as usize]
    }
}

fn rehash<Conn>(entries: &Slab<Entry<Conn>>, hasher: &KeyHasher, index: u32) -> u64 {
    let waiter = &entries[index as usize].waiter;
    hasher.hash(waiter.realm, &waiter.key)
}

impl<Conn> Index<u32> for Rings<Conn> {
    type Output = Waiter<Conn>;

    fn index(&self, index: u32) -> &Waiter<Conn> {
        &self.entries[index as usize].waiter
    }
}

#[cfg(test)]
impl<Conn> Rings<Conn> {
    pub(super) fn waiters(&self) -> impl Iterator<Item = &Waiter<Conn>> {
        self.entries.iter().map(|(_, entry)| &entry.waiter)
    }

    /// How many entries and how many rings there is room for.
    pub(super) fn capacities(&self) -> (usize, usize) {
        (self.entries.capacity(), self.firsts.capacity())
    }

    /// Checks that there are so many rings, and what their links promise one another.
    pub(super) fn assert_sound(&self, rings: usize) {
        assert_eq!(self.firsts.len(), rings, "a key is indexed while somebody waits under it");
        let mut in_rings = 0;
        for &first in &self.firsts {
            let head = &self[first];
            let all: Vec<u32> = self.ring(first).collect();
            for (&index, &next) in all.iter().zip(all.iter().cycle().skip(1)) {
                assert!(self[index].is_of(head.realm, &head.key));
                let (this, that) = (&self.entries[index as usize], &self.entries[next as usize]);
                assert_eq!((this.next, that.prev), (next, index));
            }
            assert_eq!(self.ring_len(first) as usize, all.len());
            in_rings += all.len();
        }
        assert_eq!(in_rings, self.len(), "whoever waits is in one ring");
    }
}
