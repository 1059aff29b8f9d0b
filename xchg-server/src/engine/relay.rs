//! Running exchanges: the pumps of each, driven by readiness.
//!
//! **Short queues between peers on one machine.** There is no distance to bridge, and what waits in
//! megabytes of socket buffers has left the processor's caches when it is sent on; too short a
//! queue lets peer and server wait for each other. With fixed buffers, 512 KiB in and 1 MiB out,
//! `cargo bench -p xchg-server --bench relay -- --only bulk` moves 1 to 64 streams about 1.3 times
//! as fast as with the kernel's choice. The one in is set when a peer says what it wants, if it may
//! send much (`Engine::bound_window`): when it has, the kernel has gone up to megabytes, and a
//! buffer that shrinks under a window already promised drops segments. To set it for everybody who
//! comes took 3 % of the processor time of a small exchange over http.

use std::cell::RefCell;
use std::io;
use std::slice;
use std::time::Duration;

use slab::Slab;
use xchg_core::relay::{Pump, Resources, Sink, Source, Turned, Why};
use xchg_core::{Outcome, Side, Sides};

use super::Engine;
use super::exchange::{Downloads, End, Running};
use super::receivers::Remote;
use crate::Config;
use crate::dialect::Dialect;
use crate::engine::allowance;
use crate::engine::connection::Connection;
use crate::engine::endpoint::Endpoint;
use crate::engine::net::{Id, Net, Transport};
use crate::engine::schedule::TURN_BYTES;

/// Bytes that each of several receivers is given in a turn at least, however many they are. Two
/// turns' worth is shared out to them; with less than this for each, pipes are not worth it.
const LEAST_SHARE: u64 = 64 << 10;

/// What fits into a receiver's buffer even if it reads nothing: Linux opens with a window of 64 KB,
/// others with no less than half of it.
const FIRST_WINDOW: u64 = 32 << 10;

impl<N: Net> Engine<N> {
    /// Drives a small exchange at once, and queues one that carries much behind all others: the
    /// small ones stay quick beside it.
    pub(super) fn drive_in_turn(&mut self, index: u32) {
        let running = &self.exchanges[index as usize];
        if Side::BOTH.iter().any(|&side| running.pumps[side].is_bulk()) {
            self.queue(index);
        } else {
            self.drive(index);
        }
    }

    fn queue(&mut self, index: u32) {
        let running = &mut self.exchanges[index as usize];
        if !std::mem::replace(&mut running.is_queued, true) {
            let slot = running.upload.slot;
            let serial = self.connections[slot as usize].serial;
            self.schedule.queue(Id { slot, serial });
        }
    }

    /// Lets the exchanges that carry much go on, for a round.
    pub(super) fn go_on(&mut self) {
        self.schedule.begin_round();
        while let Some(id) = self.schedule.next() {
            self.guard_exchange(id, Self::resume);
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
        if self.exchanges[index as usize].exchange.is_cancelled() {
            return self.end(index, Outcome::Cancelled);
        }
        let (mut goes_on, lost) = self.turn_flows(index);
        if let Some(most) = self.passes_its_most(index) {
            self.note_length(self.exchanges[index as usize].upload.slot, most);
            return self.end(index, Outcome::Cancelled);
        }
        let running = &mut self.exchanges[index as usize];
        if let Some(outcome) = running.outcome(lost, &mut self.connections) {
            return self.end(index, outcome);
        }
        if let Downloads::Several(receivers) = &mut running.downloads {
            for (end, outcome) in receivers.take_parted() {
                self.dismiss(end, outcome, false, Vec::new());
            }
        }
        let (now, time) = (self.timers.now(), self.timers.instant());
        let running = &mut self.exchanges[index as usize];
        if running.is_closing() {
            running.looks.again(now);
        }
        let patience = self.shared.config.idle_timeout;
        if running.pumps.upload.has_ended() && running.exchange.bytes() > FIRST_WINDOW {
            running.let_pause(Side::Download, &self.connections, patience);
        }
        let mut next = running.looks.next;
        if goes_on && let Err(at) = allowance::budget(&mut running.allowance, time) {
            // It has to wait for its next portion, which is no standing still.
            let at = self.timers.tick(at);
            running.deadline = running.deadline.max(at.after(patience));
            next = next.min(at);
            goes_on = false;
        }
        let (slot, deadline) = (running.upload.slot, running.deadline.min(next));
        if goes_on {
            self.queue(index);
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
        let connections = &mut self.connections;
        let (config, time) = (&self.shared.config, self.timers.instant());
        // Before anything is read: what is left of a reset connection ends like a whole one.
        let mut lost = running.failed(connections);
        let (mut goes_on, before) = (false, running.exchange.bytes());
        // What is held goes out, and ends are passed on, though nothing may be read.
        let mut allowed = allowance::budget(&mut running.allowance, time).unwrap_or(0);
        for side in Side::BOTH {
            let receivers = running.downloads.ends().len() as u64;
            if lost.is_some() || receivers == 0 {
                break;
            }
            // One byte more than it may move tells whether there are more.
            let read = running.exchange.moved_from(side) + running.pumps[side].held();
            let room = config
                .max_exchange_bytes
                .map_or(u64::MAX, |most| most.saturating_add(1).saturating_sub(read));
            let share = (2 * TURN_BYTES / receivers).clamp(LEAST_SHARE, TURN_BYTES);
            let budget = share.min(allowed).min(room);
            let Turned { moved, why } =
                running.turn(side, connections, &mut self.resources, budget);
            goes_on |= running.part_with_lost(connections);
            match why {
                Why::SourceBlocked | Why::Ended => {}
                Why::SinkBlocked => running.let_pause(!side, connections, config.idle_timeout),
                Why::Spent => goes_on = true,
                Why::SourceFailed(error) => lost = Some((side, error.kind())),
                // Of several receivers each is lost by itself.
                Why::SinkFailed(_) if running.downloads.ends().is_empty() => {}
                Why::SinkFailed(error) => lost = Some((!side, error.kind())),
            }
            if moved > 0 {
                allowed = allowed.saturating_sub(moved);
                if let Some(allowance) = &mut running.allowance {
                    allowance.moved(moved, time);
                }
                self.schedule.on_moved(moved * receivers);
                running.exchange.add_moved(side, moved);
                running.deadline = self.timers.now().after(config.idle_timeout);
                running.looks.on_moved();
            }
            if running.pumps[side].is_bulk()
                && !std::mem::replace(&mut running.is_tuned[side], true)
            {
                let sinks = running.ends(!side).iter();
                sinks.for_each(|end| keep_queue_short(config, &connections[end.slot as usize]));
            }
            if running.pumps.upload.has_ended() {
                running.on_sent(connections);
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
        let patience = self.shared.config.idle_timeout;
        let ends = Side::BOTH.into_iter().flat_map(|side| running.ends(side));
        let owed = ends.map(|end| self.connections[end.slot as usize].stream.unacknowledged());
        let owed = owed.flatten().sum();
        if let Some(more) = running.looks.patience(owed, patience) {
            running.deadline = now.after(more);
        } else if running.part_with_late(&mut self.connections) {
            running.deadline = now.after(patience);
        } else {
            return self.end(index, Outcome::TimedOut);
        }
        self.drive(index);
    }
}

impl Running {
    /// Who is at that end.
    fn ends(&self, side: Side) -> &[End] {
        match side {
            Side::Upload => slice::from_ref(&self.upload),
            Side::Download => self.downloads.ends(),
        }
    }

    /// How it has ended, if it has; `lost` is who was lost in its turn, and by what.
    fn outcome<T: Transport>(
        &mut self,
        lost: Option<(Side, io::ErrorKind)>,
        connections: &mut Slab<Connection<T>>,
    ) -> Option<Outcome> {
        if lost.is_none() {
            self.flush_heads(connections);
            if self.has_arrived(connections) {
                return Some(Outcome::Completed);
            }
        }
        if let Some((side, error)) = lost.or_else(|| self.failed(connections)) {
            let slot = self.ends(side)[0].slot;
            let (exchange, peer) = (self.exchange.id(), connections[slot as usize].origin);
            tracing::debug!(%exchange, %peer, side = side.as_str(), %error, "lost");
            return Some(Outcome::Lost(side));
        }
        match &self.downloads {
            Downloads::Several(receivers) => receivers.outcome(),
            Downloads::One(_) => None,
        }
    }

    /// Sends out the heads of responses though their payload lets wait.
    fn flush_heads<T: Transport>(&mut self, connections: &mut Slab<Connection<T>>) {
        for End { slot, framing, .. } in self.downloads.ends_mut() {
            if framing.is_untouched() {
                let stream = &mut connections[*slot as usize].stream;
                // An error comes again with the payload.
                Endpoint { stream, framing, is_heard: true }.flush().ok();
            }
        }
    }

    /// Whether the downloader has been sent everything, and nobody hears what it says.
    fn is_closing(&self) -> bool {
        self.pumps.upload.has_ended() && self.pumps.download.is_discarding()
    }

    /// Whether the downloader has everything. Where what it says is passed on, its own stream has
    /// to end as well; where not, its system has to have acknowledged all, and it may stay
    /// connected. Of several, each is let go by itself.
    fn has_arrived<T: Transport>(&mut self, connections: &mut Slab<Connection<T>>) -> bool {
        let has_left = self.pumps.download.has_ended();
        match &self.downloads {
            Downloads::One(end) if self.is_closing() => {
                let stream = &mut connections[end.slot as usize].stream;
                stream.has_acknowledged_all().unwrap_or(has_left)
            }
            Downloads::Several(_) if self.is_closing() => {
                self.part_with_served(connections);
                false
            }
            _ => self.pumps.upload.has_ended() && has_left,
        }
    }

    /// Moves the flow from `side` as far as it goes.
    fn turn<T: Transport>(
        &mut self,
        side: Side,
        connections: &mut Slab<Connection<T>>,
        resources: &mut Resources,
        budget: u64,
    ) -> Turned {
        if side == Side::Upload
            && let Err(error) = self.describe(connections, resources)
        {
            return Turned { moved: 0, why: Why::of_source(error) };
        }
        let (upload, pumps) = (&mut self.upload, &mut self.pumps);
        let is_heard = !pumps.download.is_discarding();
        let turned = match &mut self.downloads {
            Downloads::One(end) => {
                let (from, to) = connections
                    .get2_mut(upload.slot as usize, end.slot as usize)
                    .expect("an exchange has two connections, and they stay as long as it runs");
                let (from, to) = (&mut from.stream, &mut to.stream);
                let mut from =
                    Endpoint { stream: from, framing: &mut upload.framing, is_heard: true };
                let mut to = Endpoint { stream: to, framing: &mut end.framing, is_heard };
                turn(pumps, side, (&mut from, &mut to), resources, budget)
            }
            Downloads::Several(receivers) => {
                let connections = RefCell::new(connections);
                let mut from = Remote::new(&connections, upload);
                let ends = receivers.ends.iter_mut();
                let mut to: Vec<_> = ends.map(|end| Remote::new(&connections, end)).collect();
                turn(pumps, side, (&mut from, &mut receivers.group.of(&mut to)), resources, budget)
            }
        };
        if side == Side::Upload {
            self.hear_of_payload();
        }
        turned
    }

    /// Reads of a form's payload until it is known what describes it, where a response awaits that.
    fn describe<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
        resources: &mut Resources,
    ) -> io::Result<()> {
        if self.downloads.ends().iter().any(|end| end.framing.awaits_description()) {
            let stream = &mut connections[self.upload.slot as usize].stream;
            let mut from = Endpoint { stream, framing: &mut self.upload.framing, is_heard: true };
            from.begin(resources.scratch())?;
            self.hear_of_payload();
        }
        Ok(())
    }

    /// Tells responses what is known of the payload by now.
    fn hear_of_payload(&mut self) {
        let ends = self.downloads.ends_mut().iter_mut();
        ends.for_each(|end| end.framing.hear_of(&self.upload.framing));
    }

    /// The payload has all been passed on.
    fn on_sent<T: Transport>(&mut self, connections: &mut Slab<Connection<T>>) {
        let mut slots = Side::BOTH.into_iter().flat_map(|side| self.ends(side)).map(|end| end.slot);
        let wants_key_alone = |slot: u32| {
            connections[slot as usize].voice.dialect().is_some_and(Dialect::wants_key_alone)
        };
        if !slots.any(wants_key_alone) || std::mem::replace(&mut self.is_sent, true) {
            return;
        }
        self.exchange.free_key();
        if let Some(peer) = connections[self.upload.slot as usize].voice.request_mut()
            && !self.pumps.download.has_ended()
        {
            self.pumps.download.say(&peer.sent());
        }
    }

    /// Whose connection the poll has seen fail, if its part is not over. Of several receivers, each
    /// is lost by itself.
    fn failed<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
    ) -> Option<(Side, io::ErrorKind)> {
        if let Some(error) = self.failure(Side::Upload, &connections[self.upload.slot as usize]) {
            return Some((Side::Upload, error));
        }
        if let Downloads::One(end) = &self.downloads {
            let error = self.failure(Side::Download, &connections[end.slot as usize])?;
            return Some((Side::Download, error));
        }
        self.part_with_lost(connections);
        None
    }

    /// By what the connection of a peer on that side has failed, if its part is not over.
    fn failure<T: Transport>(
        &self,
        side: Side,
        connection: &Connection<T>,
    ) -> Option<io::ErrorKind> {
        let (from, to) = (&self.pumps[side], &self.pumps[!side]);
        let is_to_hear = !(to.has_ended() || to.is_discarding());
        let is_judged = self.is_told && side == Side::Download;
        let is_over = from.has_ended() && !is_to_hear && !is_judged;
        connection.lost(is_to_hear || is_judged).filter(|_| !is_over)
    }

    /// Lets who is on that side pause as long as an exchange may stand still: to the kernel, one
    /// that reads nothing looks dead, however alive it answers the probes (`TCP_USER_TIMEOUT` in
    /// tcp(7) counts closed windows too).
    fn let_pause<T: Transport>(
        &mut self,
        side: Side,
        connections: &Slab<Connection<T>>,
        timeout: Duration,
    ) {
        if !std::mem::replace(&mut self.is_patient[side], true) {
            for end in self.ends(side) {
                connections[end.slot as usize].stream.set_stall_timeout(timeout);
            }
        }
    }
}

/// Moves the flow from `side` of two ends as far as it goes.
fn turn(
    pumps: &mut Sides<Pump>,
    side: Side,
    (upload, download): (&mut (impl Source + Sink), &mut (impl Source + Sink)),
    resources: &mut Resources,
    budget: u64,
) -> Turned {
    match side {
        Side::Upload => pumps.upload.turn(upload, download, resources, budget),
        Side::Download => pumps.download.turn(download, upload, resources, budget),
    }
}

/// Bounds what a bulk flow queues for a peer on this machine. Peers elsewhere keep the kernel's
/// choice, which fits the distance.
fn keep_queue_short(config: &Config, sink: &Connection<impl Transport>) {
    const LOCAL_SEND_BYTES: usize = 1 << 20;
    if sink.origin.is_local() && config.send_buffer.is_none() {
        sink.stream.set_send_buffer(LOCAL_SEND_BYTES);
    }
}
