//! Exchanges from their beginning to their end; [`relay`](super::relay) is what goes on in between.

use slab::Slab;
use xchg_core::relay::Pump;
use xchg_core::{Exchange, Outcome, Side, Sides};

use super::Engine;
use super::http::framings;
use super::log::Party;
use super::looks::Looks;
use crate::dialect::Dialect;
use crate::engine::allowance::Allowance;
use crate::engine::bearers::Bearer;
use crate::engine::connection::{Brought, Connection, State, bearer};
use crate::engine::endpoint::Framing;
use crate::engine::net::{Id, Net, Transport};
use crate::engine::shared::Message;
use crate::engine::timers::{Soon, Tick};

/// An exchange that runs here.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) exchange: Exchange,
    pub(super) slots: Sides<u32>,
    bearers: Sides<Bearer>,
    pub(super) allowance: Option<Box<Allowance>>,
    /// The flow from each side.
    pub(super) pumps: Sides<Pump>,
    pub(super) framings: Sides<Framing>,
    /// Whether the uploader is told how it ends, and so must not be told wrong.
    pub(super) is_told: bool,
    /// Whether the payload has all been passed on.
    pub(super) is_sent: bool,
    pub(super) deadline: Tick,
    pub(super) looks: Looks,
    pub(super) is_queued: bool,
    /// Whose connection may stand still as long as the exchange may.
    pub(super) is_patient: Sides<bool>,
    /// Whether the flow from each side has been seen to carry much.
    pub(super) is_tuned: Sides<bool>,
}

impl<N: Net> Engine<N> {
    /// Starts an exchange between a newcomer and the peer that waits in `waits`.
    pub(super) fn start(
        &mut self,
        exchange: Exchange,
        newcomer: (u32, Brought),
        waits: (Side, u32),
    ) {
        let (side, slot) = waits;
        let waited = match std::mem::replace(
            &mut self.connections[slot as usize].state,
            State::Greeting(Vec::new()),
        ) {
            State::Waiting(waiting) => waiting.brought,
            _ => unreachable!("a paired peer waits until its counterpart is here"),
        };
        let slots = Sides::of(side, slot, newcomer.0);
        let mut brought = Sides::of(side, waited, newcomer.1);
        let bearers =
            Sides { upload: bearer(&brought.upload), download: bearer(&brought.download) };
        let mut peers = peers(&mut self.connections, slots);
        let origins =
            [(peers.upload.origin, &bearers.upload), (peers.download.origin, &bearers.download)];
        let allowance = self.shared.paces.allowance(&origins, self.timers.instant());
        let dialects = peers.upload.dialect.zip(peers.download.dialect);
        let (upload, download) = dialects.expect("only a peer whose dialect is known offers");
        let dialects = Sides { upload, download };
        let is_told = dialects.upload != Dialect::Classic && !upload.hears(download);
        let framings = framings(&mut peers, &mut brought);
        let pumps = pumps(dialects, &mut peers, &mut brought);
        let deadline = self.timers.now().after(self.shared.config.idle_timeout);
        let upload_id =
            Id { slot: slots.upload, serial: self.connections[slots.upload as usize].serial };
        let (shared, worker) = (self.shared.clone(), usize::from(self.index));
        exchange.on_cancel(move || shared.inboxes[worker].send(Message::Cancelled(upload_id)));
        tracing::debug!(
            exchange = %exchange.id(),
            key = self.shared.shown(exchange.handle().key()),
            realm = exchange.handle().realm().as_str(),
            uploader = %self.connections[slots.upload as usize].origin,
            downloader = %self.connections[slots.download as usize].origin,
            "matched"
        );
        let running = Running {
            exchange,
            slots,
            bearers,
            allowance,
            pumps,
            framings,
            is_told,
            is_sent: false,
            deadline,
            looks: Looks::default(),
            is_queued: false,
            is_patient: Sides::default(),
            is_tuned: Sides::default(),
        };
        let index = u32::try_from(self.exchanges.insert(running)).expect("fewer than connections");
        for side in Side::BOTH {
            let connection = &mut self.connections[slots[side] as usize];
            connection.state = State::Exchanging { exchange: index };
            connection.deadline = Soon::NEVER;
        }
        // One timer serves both; what the other's was set to while it waited comes to nothing.
        self.connections[slots.upload as usize].deadline = self.timers.soon(deadline);
        if self.shared.is_cutting() {
            return self.cut(index);
        }
        self.arm(slots.upload);
        if self.register(slots[!side]) {
            self.guard(upload_id, |engine| engine.drive(index));
        }
    }

    /// Ends an exchange whose handling went wrong.
    pub(super) fn abandon(&mut self, index: u32) {
        self.end(index, Outcome::Cancelled);
    }

    /// Ends all exchanges at once: the drain's time is over.
    pub(super) fn cut_all(&mut self) {
        let uploads = self.exchanges.iter().map(|(_, running)| running.slots.upload);
        let ids: Vec<_> = uploads.chain(self.fan_uploads()).map(|slot| self.id(slot)).collect();
        for id in ids {
            self.guard(id, |engine| match engine.connection(id).map(|one| &one.state) {
                Some(&State::Exchanging { exchange }) => engine.cut(exchange),
                Some(&State::Fanning { fan }) => engine.cut_fan(fan),
                _ => {}
            });
        }
        self.cut_gatherings();
    }

    fn cut(&mut self, index: u32) {
        self.shared.counters.cut_exchange();
        self.abandon(index);
    }

    /// Closes both connections, so that a failure looks like one, and says how it ended.
    pub(super) fn end(&mut self, index: u32, outcome: Outcome) {
        let mut running = self.exchanges.remove(index as usize);
        let slots = running.slots;
        let [upload, download] = Side::BOTH.map(|side| {
            let party = Party::of(&self.connections[slots[side] as usize]);
            party.bearing(running.bearers[side].take())
        });
        let http = Side::BOTH.map(|side| {
            let peer = self.connections[slots[side] as usize].http.take();
            if peer.is_none() {
                let has_left = running.pumps[side].has_ended();
                self.dismiss(slots[side], outcome, has_left);
            }
            peer.map(|peer| (side, peer))
        });
        self.conclude(running.exchange, outcome, Some(upload), &[download]);
        // Who is told finds it ended.
        for (side, peer) in http.into_iter().flatten() {
            let unsaid = running.pumps[!side].unwritten();
            self.part(slots[side], *peer, outcome, &mut running.framings[side], unsaid);
        }
    }

    /// Closes the connection of a peer whose exchange has ended; `has_left` says whether its own
    /// stream has.
    fn dismiss(&mut self, slot: u32, outcome: Outcome, has_left: bool) {
        if outcome.is_completed() && !has_left {
            // If what it may still say met a closed socket, the reset could cost it what it has not
            // read.
            self.leave(slot, Vec::new());
        } else {
            self.close(slot, outcome);
        }
    }

    /// Closes a connection, by a reset unless the exchange that it was part of is whole.
    pub(super) fn close(&mut self, slot: u32, outcome: Outcome) {
        if !outcome.is_completed() {
            self.remove(slot).reset();
        } else if self.connections[slot as usize].stream.is_wrapped() {
            // Its end is to be said within, and may have to wait for room.
            self.leave(slot, Vec::new());
        } else {
            self.remove(slot);
        }
    }
}

/// The connections of an exchange.
pub(super) fn peers<T: Transport>(
    connections: &mut Slab<Connection<T>>,
    slots: Sides<u32>,
) -> Sides<&mut Connection<T>> {
    let (upload, download) = connections
        .get2_mut(slots.upload as usize, slots.download as usize)
        .expect("an exchange has two connections, and they stay as long as it runs");
    Sides { upload, download }
}

/// The flows between two peers, beginning with what each is told and what each has sent already.
fn pumps<T: Transport>(
    dialects: Sides<Dialect>,
    peers: &mut Sides<&mut Connection<T>>,
    brought: &mut Sides<Brought>,
) -> Sides<Pump> {
    let length = brought.upload.as_ref().and_then(|luggage| luggage.length);
    let mut early = |side: Side| brought[side].take().map_or(Vec::new(), |luggage| luggage.early);
    let to_download = peers.download.matched(dialects.upload, length);
    let to_upload = peers.upload.matched(dialects.download, None);
    let upload = Pump::new(to_download, &early(Side::Upload));
    let download = match dialects.upload.hears(dialects.download) {
        true => Pump::new(to_upload, &early(Side::Download)),
        false => Pump::discarding(to_upload),
    };
    Sides { upload, download }
}
