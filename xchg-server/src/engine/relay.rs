//! Running exchanges: the pumps of each, driven by readiness.

use std::io;
use std::time::Duration;

use xchg_core::relay::{Resources, Turned, Why};
use xchg_core::{Outcome, Side, Sides};

use super::Engine;
use super::exchange::{Running, peers};
use crate::Config;
use crate::engine::allowance;
use crate::engine::connection::{Connection, State};
use crate::engine::endpoint::Endpoint;
use crate::engine::net::{Id, Net, Transport};
use crate::engine::schedule;

/// What fits into a receiver's buffer even if it reads nothing: Linux opens with a window of 64 KB,
/// others with no less than half of it.
const FIRST_WINDOW: u64 = 32 << 10;

impl<N: Net> Engine<N> {
    /// Drives a small exchange at once, and queues one that carries much behind all others: the
    /// small ones stay quick beside it.
    pub(super) fn drive_in_turn(&mut self, index: u32) {
        let running = &mut self.exchanges[index as usize];
        if !Side::BOTH.iter().any(|&side| running.pumps[side].is_bulk()) {
            return self.drive(index);
        }
        if !std::mem::replace(&mut running.is_queued, true) {
            let slot = running.slots.upload;
            let serial = self.connections[slot as usize].serial;
            self.schedule.queue(Id { slot, serial });
        }
    }

    /// Lets the exchanges that carry much go on, for a round.
    pub(super) fn go_on(&mut self) {
        self.schedule.begin_round();
        while let Some(id) = self.schedule.next() {
            match self.connection(id).map(|connection| &connection.state) {
                Some(&State::Exchanging { exchange }) => {
                    self.guard(id, |engine| engine.resume(exchange));
                }
                Some(&State::Fanning { fan }) => self.guard(id, |engine| engine.resume_fan(fan)),
                _ => {}
            }
        }
    }

    /// Drives an exchange, if it is still the one that was queued.
    fn resume(&mut self, index: u32) {
        if std::mem::take(&mut self.exchanges[index as usize].is_queued) {
            self.drive(index);
        }
    }

    /// Moves what can be moved, and ends the exchange if it is over.
    pub(super) fn drive(&mut self, index: u32) {
        let now = self.timers.now();
        if self.exchanges[index as usize].exchange.is_cancelled() {
            return self.end(index, Outcome::Cancelled);
        }
        let (mut goes_on, lost) = self.turn_flows(index);
        if let Some(most) = self.passes_its_most(index) {
            self.note_length(self.exchanges[index as usize].slots.upload, most);
            return self.end(index, Outcome::Cancelled);
        }
        let time = self.timers.instant();
        let running = &mut self.exchanges[index as usize];
        let mut peers = peers(&mut self.connections, running.slots);
        if let Some((side, error)) = lost {
            let (exchange, peer) = (running.exchange.id(), peers[side].origin);
            tracing::debug!(%exchange, %peer, side = side.as_str(), %error, "lost");
            return self.end(index, Outcome::Lost(side));
        }
        if running.framings.download.is_untouched() {
            // The head of a response goes out though its payload lets wait. An error comes again
            // with that.
            let stream = &mut peers.download.stream;
            Endpoint { stream, framing: &mut running.framings.download, is_heard: true }
                .flush()
                .ok();
        }
        if running.has_arrived(&mut peers) {
            return self.end(index, Outcome::Completed);
        }
        if let Some((side, error)) = running.failed(&peers) {
            let (exchange, peer) = (running.exchange.id(), peers[side].origin);
            tracing::debug!(%exchange, %peer, side = side.as_str(), %error, "lost");
            return self.end(index, Outcome::Lost(side));
        }
        if running.is_closing() {
            running.looks.again(now);
        }
        if running.pumps.upload.has_ended() && running.exchange.bytes() > FIRST_WINDOW {
            be_patient(running, &peers, Side::Download, self.shared.config.idle_timeout);
        }
        let mut next = running.looks.next;
        if goes_on && let Err(at) = allowance::budget(&mut running.allowance, time) {
            // It has to wait for its next portion, which is no standing still.
            let at = self.timers.tick(at);
            running.deadline = running.deadline.max(at.after(self.shared.config.idle_timeout));
            next = next.min(at);
            goes_on = false;
        }
        let (slot, deadline) = (running.slots.upload, running.deadline.min(next));
        if goes_on && !std::mem::replace(&mut running.is_queued, true) {
            let serial = self.connections[slot as usize].serial;
            self.schedule.queue(Id { slot, serial });
        }
        self.connections[slot as usize].deadline = self.timers.soon(deadline);
        self.arm(slot);
    }

    /// How many bytes an exchange may move, if it has moved more.
    fn passes_its_most(&self, index: u32) -> Option<u64> {
        let exchange = &self.exchanges[index as usize].exchange;
        let moved = Side::BOTH.map(|side| exchange.moved_from(side));
        self.shared.config.max_exchange_bytes.filter(|&most| moved.iter().any(|&it| it > most))
    }

    /// Lets each flow move what it can; says whether one can go on at once, and who is lost by
    /// what.
    fn turn_flows(&mut self, index: u32) -> (bool, Option<(Side, io::ErrorKind)>) {
        let running = &mut self.exchanges[index as usize];
        let mut peers = peers(&mut self.connections, running.slots);
        let patience = self.shared.config.idle_timeout;
        // Before anything is read: what is left of a reset connection ends like a whole one.
        let mut lost = running.failed(&peers);
        let (mut goes_on, before) = (false, running.exchange.bytes());
        let time = self.timers.instant();
        // What is held goes out, and ends are passed on, though nothing may be read.
        let mut allowed = allowance::budget(&mut running.allowance, time).unwrap_or(0);
        for side in Side::BOTH {
            if lost.is_some() {
                break;
            }
            // One byte more than it may move tells whether there are more.
            let room = self.shared.config.max_exchange_bytes.map_or(u64::MAX, |most| {
                (most - most.min(running.exchange.moved_from(side))).saturating_add(1)
            });
            let budget = schedule::TURN_BYTES.min(allowed).min(room);
            let Turned { moved, why } = running.turn(side, &mut peers, &mut self.resources, budget);
            match why {
                Why::SourceBlocked | Why::Ended => {}
                Why::SinkBlocked => be_patient(running, &peers, !side, patience),
                Why::Spent => goes_on = true,
                Why::SourceFailed(error) => lost = Some((side, error.kind())),
                Why::SinkFailed(error) => lost = Some((!side, error.kind())),
            }
            if moved > 0 {
                allowed = allowed.saturating_sub(moved);
                if let Some(allowance) = &mut running.allowance {
                    allowance.moved(moved, time);
                }
                self.schedule.on_moved(moved);
                running.exchange.add_moved(side, moved);
                running.deadline = self.timers.now().after(patience);
                running.looks.on_moved();
            }
            if running.pumps[side].is_bulk()
                && !std::mem::replace(&mut running.is_tuned[side], true)
            {
                keep_queue_short(&self.shared.config, peers[!side]);
            }
            if running.pumps.upload.has_ended() {
                running.on_sent(&mut peers);
            }
        }
        self.moved += running.exchange.bytes() - before;
        (goes_on, lost)
    }

    pub(super) fn on_exchange_timer(&mut self, index: u32) {
        let now = self.timers.now();
        let running = &mut self.exchanges[index as usize];
        if running.deadline > now {
            // Time to look again whether everything has arrived.
            return self.drive(index);
        }
        let peers = peers(&mut self.connections, running.slots);
        let owed = [peers.upload, peers.download].map(|peer| peer.stream.unacknowledged());
        if let Some(more) = running.looks.patience(owed, self.shared.config.idle_timeout) {
            running.deadline = now.after(more);
            return self.drive(index);
        }
        self.end(index, Outcome::TimedOut);
    }
}

impl Running {
    /// Whether the downloader has been sent everything, and nobody hears what it says.
    fn is_closing(&self) -> bool {
        self.pumps.upload.has_ended() && self.pumps.download.is_discarding()
    }

    /// Whether the downloader has everything. Where what it says is passed on, its own stream has
    /// to end as well; where not, its system has to have acknowledged all, and it may stay
    /// connected.
    fn has_arrived<T: Transport>(&self, peers: &mut Sides<&mut Connection<T>>) -> bool {
        let has_left = self.pumps.download.has_ended();
        if self.is_closing() {
            peers.download.stream.has_acknowledged_all().unwrap_or(has_left)
        } else {
            self.pumps.upload.has_ended() && has_left
        }
    }

    /// Moves the flow from `side` as far as it goes.
    fn turn<T: Transport>(
        &mut self,
        side: Side,
        peers: &mut Sides<&mut Connection<T>>,
        resources: &mut Resources,
        budget: u64,
    ) -> Turned {
        let Sides { upload, download } = peers;
        let (upload, download) = (&mut upload.stream, &mut download.stream);
        let is_heard = !self.pumps.upload.is_discarding();
        let mut upload = Endpoint { stream: upload, framing: &mut self.framings.upload, is_heard };
        let is_heard = !self.pumps.download.is_discarding();
        let mut download =
            Endpoint { stream: download, framing: &mut self.framings.download, is_heard };
        if side == Side::Download {
            return self.pumps.download.turn(&mut download, &mut upload, resources, budget);
        }
        if download.framing.awaits_description() {
            if let Err(error) = upload.begin(resources.scratch()) {
                return Turned { moved: 0, why: Why::of_source(error) };
            }
            download.framing.hear_of(upload.framing);
        }
        let turned = self.pumps.upload.turn(&mut upload, &mut download, resources, budget);
        download.framing.hear_of(upload.framing);
        turned
    }

    /// The payload has all been passed on.
    fn on_sent<T: Transport>(&mut self, peers: &mut Sides<&mut Connection<T>>) {
        let is_http = peers.upload.http.is_some() || peers.download.http.is_some();
        if !is_http || std::mem::replace(&mut self.is_sent, true) {
            return;
        }
        self.exchange.free_key();
        if let Some(peer) = &mut peers.upload.http
            && !self.pumps.download.has_ended()
        {
            self.pumps.download.say(&peer.sent());
        }
    }

    /// Whose connection the poll has seen fail, if its part is not over.
    fn failed<T: Transport>(
        &self,
        peers: &Sides<&mut Connection<T>>,
    ) -> Option<(Side, io::ErrorKind)> {
        Side::BOTH.into_iter().find_map(|side| {
            let (from, to) = (&self.pumps[side], &self.pumps[!side]);
            let is_to_hear = !(to.has_ended() || to.is_discarding());
            let is_judged = self.is_told && side == Side::Download;
            let is_over = from.has_ended() && !is_to_hear && !is_judged;
            let error = peers[side].lost(is_to_hear || is_judged);
            error.filter(|_| !is_over).map(|error| (side, error))
        })
    }
}

/// Bounds what a bulk flow queues for a peer on this machine, as
/// [`LOCAL_RECV_BYTES`](crate::system::listener::LOCAL_RECV_BYTES) does in the other direction.
/// Peers elsewhere keep the kernel's choice, which fits the distance.
pub(super) fn keep_queue_short(config: &Config, sink: &Connection<impl Transport>) {
    const LOCAL_SEND_BYTES: usize = 1 << 20;
    if sink.origin.is_local() && config.send_buffer.is_none() {
        sink.stream.set_send_buffer(LOCAL_SEND_BYTES);
    }
}

/// Lets a peer pause as long as an exchange may stand still: to the kernel, one that reads nothing
/// looks dead, however alive it answers the probes (`TCP_USER_TIMEOUT` in tcp(7) counts closed
/// windows too).
fn be_patient<T: Transport>(
    running: &mut Running,
    peers: &Sides<&mut Connection<T>>,
    side: Side,
    timeout: Duration,
) {
    if !std::mem::replace(&mut running.is_patient[side], true) {
        let_pause(peers[side], timeout);
    }
}

/// Lets a peer pause so long before it is given up.
pub(super) fn let_pause(connection: &Connection<impl Transport>, timeout: Duration) {
    connection.stream.set_stall_timeout(timeout);
}
