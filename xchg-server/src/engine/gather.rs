//! Bringing everybody who is to take part in an exchange to one worker.
//!
//! Whoever came last travels: to the worker where its counterpart waits, and before that to those
//! where others wait who are to take part, and come along. So a [`Gathering`] is always on its way,
//! and nothing is kept of it that would have to be ended if it did not come.
//!
//! **Several receivers gather in one ring.** Who names `?n=3` waits in the matcher with the others
//! until uploader and receivers are complete, and comes out with all of them at once. The one who
//! came last takes the others along to one worker, where they are an exchange like any other: to
//! its pump they are one sink, a `Group`, that has taken what all have taken. What is held is one
//! buffer, whatever the number. A stream that fills the buffer is not copied: each block goes from
//! the pump's pipe into one of each receiver by `tee(2)`, for 0.17 s of the server's time per GiB
//! delivered instead of 0.57 with 2 receivers, 0.20 instead of 0.46 with 8 (`--only receivers`). A
//! receiver that is lost, or stands still for as long as an exchange may, leaves the others alone
//! (`receivers.rs`); the uploader's answer is cut at its end, for not everybody has everything.

use std::iter;

use xchg_core::Pair;

use super::Engine;
use super::exchange::Member;
use crate::engine::connection::{Address, Brought, Connection, State, Waiting};
use crate::engine::net::{Id, Net};
use crate::engine::shared::Message;
use crate::engine::timers::Far;

/// An exchange on its way to the worker that is to run it, with those who have left theirs for it.
#[derive(Debug)]
pub(crate) struct Gathering<T> {
    pair: Pair<Address>,
    newcomer: Moved<T>,
    /// Who has been taken along.
    others: Vec<Moved<T>>,
}

/// A connection between two workers.
#[derive(Debug)]
pub(super) struct Moved<T> {
    pub(super) from: Address,
    pub(super) connection: Connection<T>,
    pub(super) brought: Option<Box<Brought>>,
}

impl<T> Gathering<T> {
    /// Begins with the newcomer that made the pair complete.
    pub(super) fn new(
        pair: Pair<Address>,
        from: Address,
        connection: Connection<T>,
        brought: Option<Box<Brought>>,
    ) -> Self {
        Self { pair, newcomer: Moved { from, connection, brought }, others: Vec::new() }
    }

    /// Who is still where it has waited, the one first to whom all others are brought.
    fn waiting(&self) -> impl Iterator<Item = Address> {
        peers(&self.pair).filter(|&it| {
            let mut moved = iter::once(&self.newcomer).chain(&self.others);
            !moved.any(|moved| moved.from == it)
        })
    }

    /// Somebody who is still at that worker.
    fn waits_at(&self, worker: u16) -> Option<Address> {
        self.waiting().find(|it| it.worker == worker)
    }

    /// The worker that is to run the exchange.
    fn home(&self) -> u16 {
        self.waiting().next().expect("nobody is fetched from there").worker
    }
}

/// All who are to take part.
fn peers(pair: &Pair<Address>) -> impl Iterator<Item = Address> {
    [pair.upload, pair.download].into_iter().chain(pair.others.iter().copied())
}

impl<N: Net> Engine<N> {
    /// Brings everybody in a pair together. `me` is the newcomer that made it complete.
    pub(super) fn meet(&mut self, me: Address, brought: Option<Box<Brought>>, pair: Pair<Address>) {
        if peers(&pair).all(|it| it.worker == self.index) {
            return self.bring_together(pair, (me, (me.slot, brought)), Vec::new());
        }
        let connection = self.take(me.slot);
        self.pass_on(Box::new(Gathering::new(pair, me, connection, brought)));
    }

    /// Starts an exchange that has come here to be run; or takes along who waits here for it.
    pub(super) fn gather(&mut self, mut gathering: Box<Gathering<N::Transport>>) {
        if gathering.home() == self.index {
            let Gathering { pair, newcomer, others } = *gathering;
            let mut insert = |it: Moved<_>| (it.from, (self.insert(it.connection), it.brought));
            let (newcomer, others) =
                (insert(newcomer), others.into_iter().map(&mut insert).collect());
            return self.bring_together(pair, newcomer, others);
        }
        while let Some(from) = gathering.waits_at(self.index) {
            match self.take_waiting(from) {
                Some((moved, _)) => gathering.others.push(moved),
                None => return self.break_up(*gathering, from),
            }
        }
        self.pass_on(gathering);
    }

    fn pass_on(&self, gathering: Box<Gathering<N::Transport>>) {
        let home = gathering.home();
        let stop = gathering.waiting().map(|it| it.worker).find(|&worker| worker != home);
        let inbox = &self.shared.inboxes[usize::from(stop.unwrap_or(home))];
        inbox.send(Message::Gather(gathering));
    }

    /// Starts an exchange of which everybody is here, those in their slots who came from elsewhere.
    /// A panic in it ends them all.
    fn bring_together(
        &mut self,
        pair: Pair<Address>,
        mut newcomer: (Address, Member),
        mut others: Vec<(Address, Member)>,
    ) {
        let id = |address: Address| {
            let came = iter::once(&newcomer).chain(&others).find(|(from, _)| *from == address);
            self.id(came.map_or(address.slot, |(_, (slot, _))| *slot))
        };
        let ids = [id(pair.upload), id(pair.download)];
        let more: Vec<Id> = pair.others.iter().map(|&address| id(address)).collect();
        let all = ids.into_iter().chain(more);
        self.guard_all(all.clone(), |engine| {
            let mut member = |address: Address| {
                let mut came = iter::once(&mut newcomer).chain(&mut others);
                match came.find(|(from, _)| *from == address) {
                    Some((_, (slot, brought))) => Some((*slot, brought.take())),
                    None => Some((address.slot, engine.stop_waiting(address.slot)?.brought)),
                }
            };
            let (upload, download) = (member(pair.upload), member(pair.download));
            let others: Option<Vec<_>> = pair.others.into_iter().map(member).collect();
            match (upload, download, others) {
                (Some(upload), Some(download), Some(others)) if others.is_empty() => {
                    engine.start(pair.exchange, upload, &mut [download]);
                }
                (Some(upload), Some(download), Some(others)) => {
                    let mut downloads: Vec<_> = iter::once(download).chain(others).collect();
                    engine.start(pair.exchange, upload, &mut downloads);
                }
                _ => all.for_each(|id| engine.discard_if_here(id)),
            }
        });
    }

    /// Takes a paired peer out of the table, and until when it would have waited. `None` if it does
    /// not wait, as it should until it is sent for.
    pub(super) fn take_waiting(&mut self, from: Address) -> Option<(Moved<N::Transport>, Far)> {
        let Waiting { brought, expires, .. } = self.stop_waiting(from.slot)?;
        Some((Moved { from, connection: self.take(from.slot), brought }, expires))
    }

    /// Takes out what a paired peer has waited with.
    fn stop_waiting(&mut self, slot: u32) -> Option<Waiting> {
        let state = &mut self.connections.get_mut(slot as usize)?.state;
        match std::mem::take(state) {
            State::Waiting(waiting) => Some(waiting),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Ends an exchange that cannot be run, for one who was to take part is `lost`.
    fn break_up(&mut self, gathering: Gathering<N::Transport>, lost: Address) {
        self.discard_if_here(self.id(lost.slot));
        for left in gathering.waiting().filter(|&it| it != lost) {
            self.shared.inboxes[usize::from(left.worker)].send(Message::Spare(left.slot));
        }
        for Moved { connection, .. } in iter::once(gathering.newcomer).chain(gathering.others) {
            self.shared.admission.leave(connection.origin, connection.standing);
            connection.reset();
        }
    }
}
