//! Bringing everybody who is to take part in an exchange with several receivers to one worker.
//!
//! **Several receivers gather in one ring.** Who names `?n=3` waits in the matcher with the others
//! until uploader and receivers are complete, and comes out with all of them at once. Each is then
//! sent to the uploader's worker (`gather.rs`), where they are an exchange like any other: to its
//! pump they are one sink, a `Group`, that has taken what all have taken. What is held is one
//! buffer, whatever the number. A stream that fills the buffer is not copied: each block goes from
//! the pump's pipe into one of each receiver by `tee(2)`, for 0.17 s of the server's time per GiB
//! delivered instead of 0.57 with 2 receivers, 0.20 instead of 0.46 with 8 (`--only receivers`). A
//! receiver that is lost, or stands still for as long as an exchange may, leaves the others alone
//! (`receivers.rs`); the uploader's answer is cut at its end, for not everybody has everything.

use std::collections::HashMap;

use xchg_core::{Exchange, ExchangeId, Outcome, Pair};

use super::Engine;
use super::log::Party;
use crate::dialect::http::Peer;
use crate::engine::connection::{Address, Brought, Connection};
use crate::engine::net::Net;
use crate::engine::shared::Message;

/// Who is on the way here to take part in an exchange.
#[derive(Debug)]
pub(crate) struct Gathering<T> {
    pub(super) exchange: Exchange,
    pub(super) upload: Option<Arrived<T>>,
    pub(super) downloads: Vec<Arrived<T>>,
    missing: usize,
}

impl<T> Gathering<T> {
    pub(super) fn id(&self) -> ExchangeId {
        self.exchange.id()
    }
}

/// The exchanges that gather at a worker.
pub(super) type Gatherings<T> = HashMap<ExchangeId, Gathering<T>>;

/// A connection that has been brought to the worker where its exchange is to run.
#[derive(Debug)]
pub(crate) struct Arrived<T> {
    pub(super) connection: Connection<T>,
    pub(super) brought: Brought,
}

impl<N: Net> Engine<N> {
    /// Has everybody in `pair` brought to the uploader's worker. `me` is the newcomer that made it
    /// complete.
    pub(super) fn gather(&mut self, me: Address, brought: Brought, pair: Pair<Address>) {
        let home = &self.shared.inboxes[usize::from(pair.upload.worker)];
        let exchange = pair.exchange.id();
        let members: Vec<_> = [pair.upload, pair.download].into_iter().chain(pair.others).collect();
        home.send(Message::Gather(Box::new(Gathering {
            exchange: pair.exchange,
            upload: None,
            downloads: Vec::new(),
            missing: members.len(),
        })));
        for member in members.into_iter().filter(|&member| member != me) {
            let inbox = &self.shared.inboxes[usize::from(member.worker)];
            inbox.send(Message::Summon { slot: member.slot, to: pair.upload.worker, exchange });
        }
        let arrived = Arrived { connection: self.take(me.slot), brought };
        let home = &self.shared.inboxes[usize::from(pair.upload.worker)];
        home.send(Message::Arrive { exchange, arrived: Box::new(arrived) });
    }

    /// Sends a peer that waited here to the worker where its exchange is to run.
    pub(super) fn summon(&mut self, slot: u32, to: u16, exchange: ExchangeId) {
        let brought = self.take_brought(slot);
        let connection = self.take(slot);
        let arrived = Box::new(Arrived { connection, brought });
        self.shared.inboxes[usize::from(to)].send(Message::Arrive { exchange, arrived });
    }

    /// Starts the exchange once everybody is here.
    pub(super) fn arrive(&mut self, exchange: ExchangeId, arrived: Arrived<N::Transport>) {
        let Some(gathering) = self.gatherings.get_mut(&exchange) else {
            // It was cut while this one was on its way.
            return self.turn_back(arrived);
        };
        match arrived.connection.voice.request() {
            Some(Peer::Upload { .. }) => gathering.upload = Some(arrived),
            _ => gathering.downloads.push(arrived),
        }
        gathering.missing -= 1;
        if gathering.missing == 0
            && let Some(gathering) = self.gatherings.remove(&exchange)
        {
            self.guard_all([], |engine| engine.start_gathered(gathering));
        }
    }

    fn start_gathered(&mut self, gathering: Gathering<N::Transport>) {
        let mut insert = |it: Arrived<_>| (self.insert(it.connection), it.brought);
        let upload = insert(gathering.upload.expect("one of them uploads"));
        let mut downloads: Vec<_> = gathering.downloads.into_iter().map(insert).collect();
        self.start(gathering.exchange, upload, &mut downloads);
    }

    /// Ends the exchanges whose peers are still on their way.
    pub(super) fn cut_gatherings(&mut self) {
        for (_, gathering) in std::mem::take(&mut self.gatherings) {
            self.shared.counters.cut_exchange();
            let outcome = Outcome::Cancelled;
            let upload = gathering.upload.as_ref().map(|it| Party::of(&it.connection));
            let downloads: Vec<_> =
                gathering.downloads.iter().map(|it| Party::of(&it.connection)).collect();
            self.conclude(gathering.exchange, outcome, upload, &downloads);
            for arrived in gathering.upload.into_iter().chain(gathering.downloads) {
                self.turn_back(arrived);
            }
        }
    }

    fn turn_back(&self, arrived: Arrived<N::Transport>) {
        let connection = arrived.connection;
        self.shared.admission.leave(connection.origin, connection.standing);
        connection.reset();
    }
}
