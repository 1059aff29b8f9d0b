//! Several receivers of one payload: who is left of them, and how it ended for the others.
//!
//! Only http peers can ask for it (`?n=3`). To the pump they are one sink, a [`Group`]. One that is
//! lost, or stands still for as long as an exchange may, leaves the others alone, and the uploader
//! is told.

use std::cell::RefCell;
use std::io;

use slab::Slab;
use xchg_core::relay::{Group, Pipe, Sink, Source};
use xchg_core::{Outcome, Side};

use super::exchange::{Downloads, End, Running};
use super::log::Party;
use crate::engine::connection::Connection;
use crate::engine::endpoint::{Endpoint, Framing};
use crate::engine::net::Transport;

/// The receivers of an exchange that has several.
#[derive(Debug)]
pub(super) struct Receivers {
    /// Those who are still here, by their numbers in the group.
    pub(super) ends: Vec<End>,
    pub(super) group: Group,
    /// Everybody who was to receive it, for the log.
    pub(super) parties: Box<[Party]>,
    /// Those whose part is over, and how; they are still to be told.
    parted: Vec<(End, Outcome)>,
    any_lost: bool,
    any_served: bool,
}

impl Receivers {
    pub(super) fn new<T: Transport>(ends: Vec<End>, connections: &Slab<Connection<T>>) -> Self {
        Self {
            group: Group::new(ends.len()),
            parties: ends.iter().map(|end| end.party(connections)).collect(),
            ends,
            parted: Vec::new(),
            any_lost: false,
            any_served: false,
        }
    }

    /// How the exchange has ended for each who is still to be told, of whom those who are left end
    /// with `outcome`.
    pub(super) fn all(self, outcome: Outcome) -> impl Iterator<Item = (End, Outcome)> {
        self.parted.into_iter().chain(self.ends.into_iter().map(move |end| (end, outcome)))
    }

    /// Takes out those whose part is over, to be told.
    pub(super) fn take_parted(&mut self) -> Vec<(End, Outcome)> {
        std::mem::take(&mut self.parted)
    }

    /// How it has ended, once nobody is left.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self.any_lost {
            _ if !self.ends.is_empty() => None,
            true => Some(Outcome::Lost(Side::Download)),
            false => Some(Outcome::Completed),
        }
    }

    fn part(&mut self, at: usize, outcome: Outcome) {
        self.any_served |= outcome.is_completed();
        self.any_lost |= !outcome.is_completed();
        self.parted.push((self.ends.remove(at), outcome));
    }
}

impl Running {
    /// Parts with those of several receivers that are lost, and says whether there are any: the
    /// uploader is to be told.
    pub(super) fn part_with_lost<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
    ) -> bool {
        let Downloads::Several(receivers) = &mut self.downloads else { return false };
        for (at, end) in receivers.ends.iter().enumerate() {
            if let Some(kind) = connections[end.slot as usize].lost(true) {
                receivers.group.fail(at, kind.into());
            }
        }
        let mut any = false;
        while let Downloads::Several(receivers) = &mut self.downloads
            && let Some((at, error)) = receivers.group.take_lost()
        {
            let peer = connections[receivers.ends[at].slot as usize].origin;
            let (exchange, error) = (self.exchange.id(), error.kind());
            tracing::debug!(%exchange, %peer, %error, "a receiver is lost");
            receivers.part(at, Outcome::Lost(Side::Download));
            self.tell_of_loss(connections);
            any = true;
        }
        any
    }

    /// Parts with those who have acknowledged everything.
    pub(super) fn part_with_served<T: Transport>(&mut self, connections: &mut Slab<Connection<T>>) {
        let Downloads::Several(receivers) = &mut self.downloads else { return };
        for at in (0..receivers.ends.len()).rev() {
            let stream = &mut connections[receivers.ends[at].slot as usize].stream;
            if stream.has_acknowledged_all().unwrap_or_else(|| receivers.group.has_left(at)) {
                receivers.group.part(at);
                receivers.part(at, Outcome::Completed);
            }
        }
    }

    /// Parts with those on whom the exchange waits, and says whether there are any. There are none
    /// if it is the payload that does not come, or if no other receiver would be better off.
    pub(super) fn part_with_late<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
    ) -> bool {
        let Downloads::Several(receivers) = &mut self.downloads else { return false };
        let has_ended = self.pumps.upload.has_ended();
        let is_late = |at: &usize| has_ended || receivers.group.is_blocked(*at);
        let late: Vec<_> = (0..receivers.ends.len()).rev().filter(is_late).collect();
        let helps_others = late.len() < receivers.ends.len() || receivers.any_served;
        if late.is_empty() || !helps_others {
            return false;
        }
        for at in late {
            let Downloads::Several(receivers) = &mut self.downloads else { return false };
            let peer = connections[receivers.ends[at].slot as usize].origin;
            let exchange = self.exchange.id();
            tracing::debug!(%exchange, %peer, "a receiver stands still, and is lost");
            receivers.group.part(at);
            receivers.part(at, Outcome::TimedOut);
            self.tell_of_loss(connections);
        }
        true
    }

    /// Tells the uploader that a receiver is lost.
    fn tell_of_loss<T>(&mut self, connections: &mut Slab<Connection<T>>) {
        if let Some(peer) = connections[self.upload.slot as usize].voice.request_mut() {
            self.pumps.download.say(&peer.receiver_lost());
        }
    }
}

/// An [`Endpoint`] whose connection is looked up for each call: not all of an exchange's can be
/// borrowed at once, where they are more than two.
#[derive(Debug)]
pub(super) struct Remote<'a, 'b, T> {
    connections: &'a RefCell<&'b mut Slab<Connection<T>>>,
    slot: u32,
    framing: &'a mut Framing,
}

impl<'a, 'b, T: Transport> Remote<'a, 'b, T> {
    pub(super) fn new(
        connections: &'a RefCell<&'b mut Slab<Connection<T>>>,
        end: &'a mut End,
    ) -> Self {
        Remote { connections, slot: end.slot, framing: &mut end.framing }
    }

    fn with<R>(&mut self, call: impl FnOnce(&mut Endpoint<'_, T>) -> R) -> R {
        let stream = &mut self.connections.borrow_mut()[self.slot as usize].stream;
        call(&mut Endpoint { stream, framing: self.framing, is_heard: true })
    }
}

impl<T: Transport> Source for Remote<'_, '_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|end| end.read(buf))
    }

    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        self.with(|end| end.splice_to(pipe, most))
    }
}

impl<T: Transport> Sink for Remote<'_, '_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.with(|end| end.write(buf))
    }

    fn half_close(&mut self) -> io::Result<()> {
        self.with(|end| end.half_close())
    }

    fn splices(&self) -> bool {
        self.framing.splices() && self.connections.borrow()[self.slot as usize].stream.splices()
    }

    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        self.with(|end| end.splice_from(pipe, len))
    }
}
