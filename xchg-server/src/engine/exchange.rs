//! Exchanges from their beginning to their end; [`relay`](super::relay) is what goes on in between.

use std::iter;
use std::slice;

use slab::Slab;
use xchg_core::relay::Pump;
use xchg_core::{Exchange, Outcome, Sides};

use super::Engine;
use super::http::{download_framing, upload_framing};
use super::log::Party;
use super::looks::Looks;
use super::receivers::Receivers;
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
    pub(super) upload: End,
    pub(super) downloads: Downloads,
    pub(super) allowance: Option<Box<Allowance>>,
    /// The flow from each side.
    pub(super) pumps: Sides<Pump>,
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

/// One peer of an exchange.
#[derive(Debug)]
pub(super) struct End {
    pub(super) slot: u32,
    pub(super) framing: Framing,
    bearer: Bearer,
}

/// Who receives the payload.
#[derive(Debug)]
pub(super) enum Downloads {
    One(End),
    /// Two or more, of whom some may have gone. Boxed, for it is rare.
    Several(Box<Receivers>),
}

/// Who is to take part in an exchange: its slot, and what it has brought.
pub(super) type Member = (u32, Option<Box<Brought>>);

impl Downloads {
    /// Those who are still here.
    pub(super) fn ends(&self) -> &[End] {
        match self {
            Self::One(end) => slice::from_ref(end),
            Self::Several(receivers) => &receivers.ends,
        }
    }

    pub(super) fn ends_mut(&mut self) -> &mut [End] {
        match self {
            Self::One(end) => slice::from_mut(end),
            Self::Several(receivers) => &mut receivers.ends,
        }
    }
}

impl<N: Net> Engine<N> {
    /// Starts an exchange with one receiver or more.
    pub(super) fn start(&mut self, exchange: Exchange, upload: Member, downloads: &mut [Member]) {
        let (slot, id) = (upload.0, self.id(upload.0));
        let (shared, worker) = (self.shared.clone(), usize::from(self.index));
        exchange.on_cancel(move || shared.inboxes[worker].send(Message::Cancelled(id)));
        tracing::debug!(
            exchange = %exchange.id(),
            key = self.shared.shown(exchange.handle().key()),
            realm = exchange.handle().realm().as_str(),
            uploader = %self.connections[slot as usize].origin,
            downloader = %self.connections[downloads[0].0 as usize].origin,
            receivers = downloads.len(),
            "matched"
        );
        let number = exchange.id();
        let running = self.running(exchange, upload, downloads);
        let deadline = running.deadline;
        let index = u32::try_from(self.exchanges.insert(running)).expect("fewer than connections");
        for slot in iter::once(slot).chain(downloads.iter().map(|&(slot, _)| slot)) {
            let connection = &mut self.connections[slot as usize];
            connection.state = State::Exchanging { exchange: index };
            connection.deadline = Soon::NEVER;
        }
        // One timer serves all; what another's was set to while it waited comes to nothing.
        self.connections[slot as usize].deadline = self.timers.soon(deadline);
        if self.shared.is_cutting() {
            return self.cut(index);
        }
        self.arm(slot);
        self.guard(id, |engine| engine.drive(index));
        // Whoever came last waits for nothing before that, and most small exchanges are over by
        // now.
        let running = self.exchanges.get(index as usize);
        let Some(running) = running.filter(|running| running.exchange.id() == number) else {
            return;
        };
        let ends = iter::once(&running.upload).chain(running.downloads.ends());
        let slots: Vec<_> = ends.map(|end| end.slot).collect();
        // One that cannot be registered ends the exchange.
        slots.into_iter().all(|slot| self.register(slot));
    }

    /// An exchange at its beginning: what each is told first, and what each has sent already.
    fn running(
        &mut self,
        exchange: Exchange,
        (slot, brought): Member,
        downloads: &mut [Member],
    ) -> Running {
        let connections = &mut self.connections;
        let members = iter::once((slot, &brought)).chain(downloads.iter().map(|it| (it.0, &it.1)));
        let origins = members.map(|(slot, it)| (connections[slot as usize].origin, bearer(it)));
        let allowance = self.shared.paces.allowance(origins, self.timers.instant());
        let dialect = |slot: u32| connections[slot as usize].voice.dialect();
        // Several receivers speak the same.
        let first = downloads[0].0;
        let dialects = dialect(slot).zip(dialect(first));
        let (upload, download) = dialects.expect("only a peer whose dialect is known offers");
        let hears = upload.hears(download);

        let own = bearer(&brought);
        let mut brought = brought.map_or_else(Brought::default, |brought| *brought);
        let length = brought.length;
        let to_upload = connections[slot as usize].voice.matched(download, None);
        let to_download = connections[first as usize].voice.matched(upload, length);
        let connection = &mut connections[slot as usize];
        let (framing, description) = upload_framing(connection, &mut brought, upload == download);
        let about = (length, description.as_deref(), &framing);
        let end = |(slot, brought): &mut Member| End {
            slot: *slot,
            bearer: bearer(brought),
            framing: download_framing(&connections[*slot as usize], brought, about),
        };
        let ends = match &mut *downloads {
            [one] => Downloads::One(end(one)),
            several => {
                let ends = several.iter_mut().map(end).collect();
                Downloads::Several(Box::new(Receivers::new(ends, connections)))
            }
        };
        let early = downloads[0].1.take().map_or(Vec::new(), |brought| brought.early);
        let pumps = Sides {
            upload: Pump::new(to_download, &brought.early),
            download: if hears {
                Pump::new(to_upload, &early)
            } else {
                Pump::discarding(to_upload)
            },
        };
        Running {
            exchange,
            upload: End { slot, framing, bearer: own },
            downloads: ends,
            allowance,
            pumps,
            is_told: upload.is_shown_the_end(download),
            is_sent: false,
            deadline: self.timers.now().after(self.shared.config.idle_timeout),
            looks: Looks::default(),
            is_queued: false,
            is_patient: Sides::default(),
            is_tuned: Sides::default(),
        }
    }

    /// Ends an exchange whose handling went wrong.
    pub(super) fn abandon(&mut self, index: u32) {
        self.end(index, Outcome::Cancelled);
    }

    /// Ends all exchanges at once: the drain's time is over.
    pub(super) fn cut_all(&mut self) {
        let uploads = self.exchanges.iter().map(|(_, running)| running.upload.slot);
        let ids: Vec<_> = uploads.map(|slot| self.id(slot)).collect();
        for id in ids {
            self.guard_exchange(id, Self::cut);
        }
    }

    /// Does `work` with the exchange that a connection is in, if it is in one. A panic in it ends
    /// that exchange only.
    pub(super) fn guard_exchange(&mut self, id: Id, work: impl FnOnce(&mut Self, u32)) {
        self.guard(id, |engine| {
            let state = engine.connection(id).map(|connection| &connection.state);
            if let Some(&State::Exchanging { exchange }) = state {
                work(engine, exchange);
            }
        });
    }

    fn cut(&mut self, index: u32) {
        self.shared.counters.cut_exchange();
        self.abandon(index);
    }

    /// Closes all connections, so that a failure looks like one, and says how it ended.
    pub(super) fn end(&mut self, index: u32, outcome: Outcome) {
        let running = self.exchanges.remove(index as usize);
        let Running { exchange, upload, downloads, mut pumps, .. } = running;
        let uploader = upload.party(&self.connections);
        // Who is told finds it ended.
        match &downloads {
            Downloads::One(end) => {
                let downloader = end.party(&self.connections);
                self.conclude(exchange, outcome, &uploader, &[downloader]);
            }
            Downloads::Several(receivers) => {
                self.conclude(exchange, outcome, &uploader, &receivers.parties);
            }
        }
        let (has_left, unsaid) = (pumps.upload.has_ended(), pumps.download.unwritten());
        self.dismiss(upload, outcome, has_left, unsaid);
        let has_left = pumps.download.has_ended();
        match downloads {
            Downloads::One(end) => self.dismiss(end, outcome, has_left, Vec::new()),
            Downloads::Several(receivers) => {
                for (end, outcome) in receivers.all(outcome) {
                    self.dismiss(end, outcome, has_left, Vec::new());
                }
            }
        }
    }

    /// Ends the part of a peer in an exchange; `has_left` says whether its own stream has ended,
    /// and `unsaid` is what it was still to be told.
    pub(super) fn dismiss(
        &mut self,
        mut end: End,
        outcome: Outcome,
        has_left: bool,
        unsaid: Vec<u8>,
    ) {
        match self.connections[end.slot as usize].voice.take_request() {
            Some(peer) => self.part(end.slot, *peer, outcome, &mut end.framing, unsaid),
            // If what it may still say met a closed socket, the reset could cost it what it has not
            // read.
            None if outcome.is_completed() && !has_left => self.leave(end.slot, Vec::new()),
            None => self.close(end.slot, outcome),
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

impl End {
    /// Who it is, for the log.
    pub(super) fn party<T: Transport>(&self, connections: &Slab<Connection<T>>) -> Party {
        Party::of(&connections[self.slot as usize]).bearing(self.bearer.clone())
    }
}
