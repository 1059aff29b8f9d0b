//! Exchanges with several receivers: each byte is sent to all of them, at the pace of the slowest.
//!
//! Only http peers can ask for it (`?n=3`). A block of the payload at a time is read, and written
//! to every receiver, before the next is read. What is held of it is the part that some receiver
//! could not take yet. As between two, much is not copied: once a read has filled the buffer,
//! blocks go through a pipe for each receiver (Linux).

use std::io;

use slab::Slab;
use xchg_core::relay::{Resources, Sink, Source};
#[cfg(target_os = "linux")]
use xchg_core::relay::{Tee, TeeError};
use xchg_core::{Exchange, Outcome, Side};

use super::Engine;
use super::gather::{Arrived, Gathering};
use super::log::Party;
use super::looks::Looks;
use super::relay::{keep_queue_short, let_pause};
use crate::Config;
use crate::dialect::Dialect;
use crate::dialect::http::Peer;
use crate::engine::allowance::{self, Allowance};
use crate::engine::bearers::Bearer;
use crate::engine::connection::{Connection, State, bearer};
use crate::engine::endpoint::{Endpoint, Framing};
use crate::engine::net::{Id, Net, Transport};
use crate::engine::shared::Message;
use crate::engine::timers::{Soon, Tick};

/// Bytes that are written to all receivers together before others get their turn, or one buffer's
/// if that is more.
const TURN_BYTES: usize = 4 << 20;

/// What is spliced at least at once to each receiver, however many there are: less is better
/// copied.
const MIN_TEE_BYTES: usize = 64 << 10;

/// Reads in which what one receiver says is dropped before others get their turn.
const READS: usize = 16;

/// An exchange that runs here.
#[derive(Debug)]
pub(super) struct Fan {
    exchange: Exchange,
    upload: u32,
    bearer: Bearer,
    allowance: Option<Box<Allowance>>,
    source: Framing,
    /// Those who are still here.
    receivers: Vec<Receiver>,
    /// Everybody who was to receive it, for the log.
    downloads: Box<[Party]>,
    any_lost: bool,
    any_served: bool,
    /// What not every receiver has taken yet, if it was copied.
    block: Vec<u8>,
    /// How much not every receiver has taken yet, if it is in their pipes.
    piped: usize,
    mode: Mode,
    has_ended: bool,
    is_sent: bool,
    /// What the uploader is still to be told.
    words: Vec<u8>,
    deadline: Tick,
    looks: Looks,
    is_queued: bool,
}

#[derive(Debug)]
struct Receiver {
    slot: u32,
    framing: Framing,
    /// How much of the block it has taken.
    taken: usize,
    /// Whether it has been told the end.
    is_told: bool,
    /// Whether its own stream has ended.
    has_left: bool,
    is_patient: bool,
    /// Where its part of a block is that is not copied.
    #[cfg(target_os = "linux")]
    tee: Option<Tee>,
}

/// How blocks get from the uploader to the receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Through the scratch buffer, until a read fills it.
    Copy,
    /// Through a pipe for each receiver.
    #[cfg(target_os = "linux")]
    Tee,
    /// Through the scratch buffer for good: a receiver needs framing, or the kernel cannot.
    #[cfg(target_os = "linux")]
    CopyOnly,
}

/// A block, or what is left of it.
#[derive(Debug, Clone, Copy)]
enum Block<'a> {
    Bytes(&'a [u8]),
    /// So many bytes in each receiver's pipe.
    Piped(usize),
}

impl Block<'_> {
    fn len(self) -> usize {
        match self {
            Block::Bytes(bytes) => bytes.len(),
            Block::Piped(len) => len,
        }
    }
}

/// How a receiver stands after its turn.
enum Stands {
    /// It has more to take, or to say.
    Here,
    /// As `Here`, and can go on at once.
    Spent,
    /// It has everything, and has acknowledged it.
    Served,
    Lost(io::ErrorKind),
}

impl<N: Net> Engine<N> {
    /// Starts an exchange for which everybody is here.
    pub(super) fn start_fan(&mut self, gathering: Gathering<N::Transport>) {
        let upload = gathering.upload.expect("one of them uploads");
        let mut connection = upload.connection;
        let uploads_for = bearer(&upload.brought);
        let bearers: Vec<_> = gathering.downloads.iter().map(|it| bearer(&it.brought)).collect();
        let luggage = upload.brought.unwrap_or_default();
        let (mut description, mut source) = (None, Framing::Bare);
        if let Some(peer) = &mut connection.http {
            source = match peer.take_body() {
                Some(body) => Framing::body(body, luggage.early),
                None => Framing::Bare,
            };
            if let Peer::Upload { upload, .. } = &mut **peer {
                description = upload.description.take();
            }
        }
        let words = connection.matched(Dialect::Http, None);
        let upload = self.insert(connection);
        let receiver = |arrived: Arrived<N::Transport>| {
            let framing = match arrived.connection.http.as_deref() {
                Some(Peer::Download(download)) => {
                    let early = arrived.brought.map_or(Vec::new(), |luggage| luggage.early);
                    let description = description.as_deref();
                    Framing::response(
                        download.reply_to,
                        luggage.length,
                        description,
                        &source,
                        early,
                    )
                }
                _ => Framing::Bare,
            };
            let slot = self.insert(arrived.connection);
            Receiver {
                slot,
                framing,
                taken: 0,
                is_told: false,
                has_left: false,
                is_patient: false,
                #[cfg(target_os = "linux")]
                tee: None,
            }
        };
        let receivers: Vec<_> = gathering.downloads.into_iter().map(receiver).collect();
        let exchange = gathering.exchange;
        let id = Id { slot: upload, serial: self.connections[upload as usize].serial };
        let (shared, worker) = (self.shared.clone(), usize::from(self.index));
        exchange.on_cancel(move || shared.inboxes[worker].send(Message::Cancelled(id)));
        tracing::debug!(
            exchange = %exchange.id(),
            key = self.shared.shown(exchange.handle().key()),
            realm = exchange.handle().realm().as_str(),
            uploader = %self.connections[upload as usize].origin,
            receivers = receivers.len(),
            "matched"
        );
        let slots: Vec<_> = receivers.iter().map(|receiver| receiver.slot).collect();
        let downloads = slots.iter().map(|&slot| Party::of(&self.connections[slot as usize]));
        let origin = |slot: u32| self.connections[slot as usize].origin;
        let mut origins = vec![(origin(upload), &uploads_for)];
        origins.extend(slots.iter().map(|&slot| origin(slot)).zip(&bearers));
        let allowance = self.shared.paces.allowance(&origins, self.timers.instant());
        let downloads =
            downloads.zip(bearers).map(|(party, bearer)| party.bearing(bearer)).collect();
        let deadline = self.timers.now().after(self.shared.config.idle_timeout);
        let fan = self.fans.insert(Fan {
            exchange,
            upload,
            bearer: uploads_for,
            allowance,
            source,
            receivers,
            downloads,
            any_lost: false,
            any_served: false,
            block: Vec::new(),
            piped: 0,
            mode: Mode::Copy,
            has_ended: false,
            is_sent: false,
            words,
            deadline,
            looks: Looks::default(),
            is_queued: false,
        });
        let fan = u32::try_from(fan).expect("fewer than connections");
        for slot in slots.iter().chain([&upload]) {
            let connection = &mut self.connections[*slot as usize];
            connection.state = State::Fanning { fan };
            connection.deadline = Soon::NEVER;
        }
        self.connections[upload as usize].deadline = self.timers.soon(deadline);
        if self.shared.is_cutting() {
            return self.cut_fan(fan);
        }
        self.arm(upload);
        for slot in slots.into_iter().chain([upload]) {
            // One that cannot be registered has ended the whole exchange.
            if !self.register(slot) {
                return;
            }
        }
        self.guard(id, |engine| engine.drive_fan(fan));
    }

    /// Has the exchange go on behind the small ones.
    pub(super) fn queue_fan(&mut self, index: u32) {
        let fan = &mut self.fans[index as usize];
        if !std::mem::replace(&mut fan.is_queued, true) {
            let id = Id { slot: fan.upload, serial: self.connections[fan.upload as usize].serial };
            self.schedule.queue(id);
        }
    }

    /// Drives an exchange, if it is still the one that was queued.
    pub(super) fn resume_fan(&mut self, index: u32) {
        if std::mem::take(&mut self.fans[index as usize].is_queued) {
            self.drive_fan(index);
        }
    }

    /// Moves what can be moved, and ends the exchange if it is over.
    pub(super) fn drive_fan(&mut self, index: u32) {
        let fan = &mut self.fans[index as usize];
        if fan.exchange.is_cancelled() {
            return self.abandon_fan(index);
        }
        let time = self.timers.instant();
        if let Err(at) = allowance::budget(&mut fan.allowance, time) {
            // It has to wait for its next portion, which is no standing still.
            let at = self.timers.tick(at);
            fan.deadline = fan.deadline.max(at.after(self.shared.config.idle_timeout));
            let upload = fan.upload;
            self.connections[upload as usize].deadline = self.timers.soon(at);
            return self.arm(upload);
        }
        let before = fan.exchange.bytes();
        let turned = fan.turn(&mut self.connections, &mut self.resources, &self.shared.config);
        self.moved += fan.exchange.bytes() - before;
        self.schedule.on_moved(turned.moved);
        if let Some(allowance) = &mut fan.allowance {
            allowance.moved(turned.moved, time);
        }
        if turned.moved > 0 {
            fan.deadline = self.timers.now().after(self.shared.config.idle_timeout);
            fan.looks.on_moved();
        }
        if fan.is_sent {
            fan.looks.again(self.timers.now());
        }
        let (upload, deadline) = (fan.upload, fan.deadline.min(fan.looks.next));
        for (receiver, outcome) in turned.parted {
            self.part_receiver(receiver, outcome);
        }
        match turned.then {
            Then::End(outcome) => return self.end_fan(index, outcome),
            Then::TooLong(most) => {
                self.note_length(upload, most);
                return self.end_fan(index, Outcome::Cancelled);
            }
            Then::GoOn => self.queue_fan(index),
            Then::Wait => {}
        }
        self.connections[upload as usize].deadline = self.timers.soon(deadline);
        self.arm(upload);
    }

    /// Nothing has moved for too long. If that is the fault of some receivers, the others go on
    /// without them.
    pub(super) fn on_fan_timer(&mut self, index: u32) {
        let fan = &mut self.fans[index as usize];
        if fan.deadline > self.timers.now() {
            // Time to look again whether everything has arrived.
            return self.drive_fan(index);
        }
        let owed = fan
            .receivers
            .iter()
            .map(|receiver| self.connections[receiver.slot as usize].stream.unacknowledged());
        if let Some(more) = fan.looks.patience(owed, self.shared.config.idle_timeout) {
            fan.deadline = self.timers.now().after(more);
            return self.drive_fan(index);
        }
        let outcome = Outcome::TimedOut;
        let late = fan.part_with_late(&mut self.connections);
        if late.is_empty() {
            return self.end_fan(index, outcome);
        }
        fan.deadline = self.timers.now().after(self.shared.config.idle_timeout);
        for receiver in late {
            self.part_receiver(receiver, outcome);
        }
        self.drive_fan(index);
    }

    /// Ends the part of one receiver.
    fn part_receiver(&mut self, mut receiver: Receiver, outcome: Outcome) {
        match self.connections[receiver.slot as usize].http.take() {
            Some(peer) => {
                self.part(receiver.slot, *peer, outcome, &mut receiver.framing, Vec::new());
            }
            None => self.close(receiver.slot, outcome),
        }
    }

    /// Ends an exchange that is cancelled, or whose handling went wrong.
    pub(super) fn abandon_fan(&mut self, index: u32) {
        self.end_fan(index, Outcome::Cancelled);
    }

    /// The uploaders of all exchanges with several receivers.
    pub(super) fn fan_uploads(&self) -> impl Iterator<Item = u32> {
        self.fans.iter().map(|(_, fan)| fan.upload)
    }

    pub(super) fn cut_fan(&mut self, index: u32) {
        self.shared.counters.cut_exchange();
        self.abandon_fan(index);
    }

    fn end_fan(&mut self, index: u32, outcome: Outcome) {
        let mut fan = self.fans.remove(index as usize);
        let upload = Party::of(&self.connections[fan.upload as usize]).bearing(fan.bearer);
        self.conclude(fan.exchange, outcome, Some(upload), &fan.downloads);
        // Who is told finds it ended.
        for receiver in fan.receivers {
            self.part_receiver(receiver, outcome);
        }
        match self.connections[fan.upload as usize].http.take() {
            Some(peer) => self.part(fan.upload, *peer, outcome, &mut fan.source, fan.words),
            None => self.close(fan.upload, outcome),
        }
    }
}

/// What has come of a turn.
struct Turned {
    then: Then,
    /// Bytes that were written, to all receivers together.
    moved: u64,
    /// Receivers whose part is over, and how it ended.
    parted: Vec<(Receiver, Outcome)>,
}

enum Then {
    /// More came than so many bytes, which it may move.
    TooLong(u64),
    Wait,
    GoOn,
    End(Outcome),
}

impl Fan {
    fn turn<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
        resources: &mut Resources,
        config: &Config,
    ) -> Turned {
        let mut turned = Turned { then: Then::Wait, moved: 0, parted: Vec::new() };
        turned.then = match self.relay(connections, resources, config, &mut turned) {
            Ok(then) => then,
            Err(error) => {
                let exchange = self.exchange.id();
                let (peer, error) = (connections[self.upload as usize].origin, error.kind());
                tracing::debug!(%exchange, %peer, side = "upload", %error, "lost");
                Then::End(Outcome::Lost(Side::Upload))
            }
        };
        turned
    }

    /// Moves block after block. An error is the uploader's.
    fn relay<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
        resources: &mut Resources,
        config: &Config,
        turned: &mut Turned,
    ) -> io::Result<Then> {
        let mut budget = TURN_BYTES;
        loop {
            let upload = &mut connections[self.upload as usize];
            if let (false, Some(kind)) = (self.has_ended, upload.lost(false)) {
                return Err(kind.into());
            }
            #[cfg(target_os = "linux")]
            if self.mode == Mode::Tee && self.held() == 0 && !self.has_ended {
                self.fill_tees(connections, resources, config, &mut budget)?;
            }
            let upload = &mut connections[self.upload as usize];
            let scratch = resources.scratch();
            let (read, mut goes_on) = match self.held() == 0 && !self.has_ended {
                true => self.read(upload, scratch, &mut budget)?,
                false => (0, false),
            };
            let held = std::mem::take(&mut self.block);
            let block = match (self.piped, held.is_empty()) {
                (0, true) => Block::Bytes(&scratch[..read]),
                (0, false) => Block::Bytes(&held),
                (len, _) => Block::Piped(len),
            };
            for receiver in &mut self.receivers {
                receiver.framing.hear_of(&self.source);
            }
            let bytes = self.exchange.bytes() + block.len() as u64;
            if let Some(most) = config.max_exchange_bytes.filter(|&most| bytes > most) {
                return Ok(Then::TooLong(most));
            }
            goes_on |= self.serve(connections, block, config, turned);
            let Some(least) = self.receivers.iter().map(|receiver| receiver.taken).min() else {
                if self.any_served {
                    self.on_sent(&mut connections[self.upload as usize]);
                }
                return Ok(Then::End(self.outcome()));
            };
            self.exchange.add_moved(Side::Upload, least as u64);
            self.receivers.iter_mut().for_each(|receiver| receiver.taken -= least);
            match block {
                Block::Bytes(bytes) => self.block = bytes[least..].to_vec(),
                Block::Piped(len) => self.piped = len - least,
            }
            let upload = &mut connections[self.upload as usize];
            if self.has_ended && self.held() == 0 {
                self.on_sent(upload);
            }
            self.tell(upload)?;
            let is_blocked = self.held() > 0 || self.has_ended || !upload.stream.is_readable();
            match (goes_on, is_blocked) {
                (true, _) => return Ok(Then::GoOn),
                (false, true) => return Ok(Then::Wait),
                (false, false) => {}
            }
        }
    }

    /// The payload has all been passed on.
    fn on_sent(&mut self, upload: &mut Connection<impl Transport>) {
        if !std::mem::replace(&mut self.is_sent, true) {
            self.exchange.free_key();
            self.words.extend(upload.http.as_mut().map_or(Vec::new(), |peer| peer.sent()));
        }
    }

    /// How many bytes not every receiver has taken yet.
    fn held(&self) -> usize {
        self.block.len() + self.piped
    }

    /// Has the kernel put a block of the payload into the pipes of all receivers, if it can.
    #[cfg(target_os = "linux")]
    fn fill_tees<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
        resources: &Resources,
        config: &Config,
        budget: &mut usize,
    ) -> io::Result<()> {
        if !connections[self.upload as usize].stream.is_readable() || *budget == 0 {
            return Ok(());
        }
        // Pipes no larger than what goes into them at once: all of a user's together may have 64
        // MiB (pipe(7)).
        let share = (TURN_BYTES / self.receivers.len().max(1)).max(MIN_TEE_BYTES);
        for receiver in &mut self.receivers {
            let stream = &mut connections[receiver.slot as usize].stream;
            let splices =
                Endpoint { stream, framing: &mut receiver.framing, is_heard: true }.splices();
            if receiver.tee.is_none() && splices && config.pipe_size > 0 {
                receiver.tee = resources.tee(share.min(config.pipe_size)).ok();
            }
            if receiver.tee.as_ref().is_none_or(Tee::refuses) {
                self.copy_from_now_on(Vec::new());
                return Ok(());
            }
        }
        let tees: Vec<_> = self.receivers.iter().filter_map(|it| it.tee.as_ref()).collect();
        let stream = &mut connections[self.upload as usize].stream;
        let mut source = Endpoint { stream, framing: &mut self.source, is_heard: true };
        match Tee::fill(&tees, &mut source, share) {
            Ok(n) => {
                self.piped = n;
                *budget = budget.saturating_sub(n * self.receivers.len());
                Ok(())
            }
            Err(TeeError::Short(bytes)) => {
                self.copy_from_now_on(bytes);
                Ok(())
            }
            // A read tells the same.
            Err(TeeError::Failed(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(TeeError::Failed(error)) => Err(error),
        }
    }

    /// Gives up pipes for good; the next block begins with `bytes`.
    #[cfg(target_os = "linux")]
    fn copy_from_now_on(&mut self, bytes: Vec<u8>) {
        self.block = bytes;
        self.mode = Mode::CopyOnly;
        self.receivers.iter_mut().for_each(|receiver| receiver.tee = None);
    }

    /// Reads of the payload what there is, up to a buffer full. Gives the bytes read, and whether
    /// there is more for a later turn.
    fn read(
        &mut self,
        upload: &mut Connection<impl Transport>,
        scratch: &mut [u8],
        budget: &mut usize,
    ) -> io::Result<(usize, bool)> {
        if !upload.stream.is_readable() || *budget == 0 {
            return Ok((0, upload.stream.is_readable()));
        }
        let mut end =
            Endpoint { stream: &mut upload.stream, framing: &mut self.source, is_heard: true };
        match end.read(scratch) {
            Ok(n) => {
                self.has_ended = n == 0;
                #[cfg(target_os = "linux")]
                if n == scratch.len() && self.mode == Mode::Copy {
                    self.mode = Mode::Tee;
                }
                *budget = budget.saturating_sub(n * self.receivers.len());
                Ok((n, false))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((0, false)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok((0, true)),
            Err(error) => Err(error),
        }
    }

    /// Sends the uploader what it is to be told.
    fn tell(&mut self, upload: &mut Connection<impl Transport>) -> io::Result<()> {
        let mut end =
            Endpoint { stream: &mut upload.stream, framing: &mut self.source, is_heard: true };
        while !self.words.is_empty() {
            match end.write(&self.words) {
                Ok(n) => drop(self.words.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives every receiver what it can take of `block`; says whether one of them can go on at
    /// once.
    fn serve<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
        block: Block<'_>,
        config: &Config,
        turned: &mut Turned,
    ) -> bool {
        let mut can_go_on = false;
        let mut index = 0;
        while let Some(receiver) = self.receivers.get_mut(index) {
            let connection = &mut connections[receiver.slot as usize];
            let before = receiver.taken;
            let ends = self.has_ended;
            let stands = receiver.turn(connection, block, ends, config);
            turned.moved += (receiver.taken - before) as u64;
            let outcome = match stands {
                Stands::Here | Stands::Spent => {
                    can_go_on |= matches!(stands, Stands::Spent);
                    index += 1;
                    continue;
                }
                Stands::Served => {
                    self.any_served = true;
                    Outcome::Completed
                }
                Stands::Lost(error) => {
                    let (exchange, peer) = (self.exchange.id(), connection.origin);
                    tracing::debug!(%exchange, %peer, %error, "a receiver is lost");
                    self.on_lost(&mut connections[self.upload as usize]);
                    Outcome::Lost(Side::Download)
                }
            };
            turned.parted.push((self.receivers.remove(index), outcome));
        }
        can_go_on
    }

    /// Notes that a receiver is lost, and has the uploader told.
    fn on_lost(&mut self, upload: &mut Connection<impl Transport>) {
        self.any_lost = true;
        if let Some(peer) = &mut upload.http {
            self.words.extend(peer.receiver_lost());
        }
    }

    /// Takes out the receivers on whom the exchange waits. Nobody, if it is the payload that does
    /// not come, or if no other receiver would be better off.
    fn part_with_late<T: Transport>(
        &mut self,
        connections: &mut Slab<Connection<T>>,
    ) -> Vec<Receiver> {
        let (held, has_ended) = (self.held(), self.has_ended);
        let is_late = |receiver: &Receiver| receiver.taken < held || has_ended;
        if self.receivers.iter().all(is_late) && !self.any_served {
            return Vec::new();
        }
        let late: Vec<_> = self.receivers.extract_if(.., |receiver| is_late(receiver)).collect();
        for receiver in &late {
            let (exchange, peer) = (self.exchange.id(), connections[receiver.slot as usize].origin);
            tracing::debug!(%exchange, %peer, "a receiver stands still, and is lost");
            self.on_lost(&mut connections[self.upload as usize]);
        }
        late
    }

    /// How it has ended, when nobody is left to receive.
    fn outcome(&self) -> Outcome {
        match self.any_lost {
            true => Outcome::Lost(Side::Download),
            false => Outcome::Completed,
        }
    }
}

impl Receiver {
    /// Writes what it can take of `block`, and the end behind it if the payload `ends`; drops what
    /// it says.
    fn turn(
        &mut self,
        connection: &mut Connection<impl Transport>,
        block: Block<'_>,
        ends: bool,
        config: &Config,
    ) -> Stands {
        if let Some(kind) = connection.lost(true) {
            return Stands::Lost(kind);
        }
        let mut is_spent = false;
        match self.listen(connection) {
            Ok(spent) => is_spent |= spent,
            Err(error) => return Stands::Lost(error.kind()),
        }
        match self.write(connection, block, ends) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.be_patient(connection, config);
            }
            Err(error) => return Stands::Lost(error.kind()),
        }
        if self.is_told {
            self.be_patient(connection, config);
            if connection.stream.has_acknowledged_all().unwrap_or(self.has_left) {
                return Stands::Served;
            }
            if let Some(kind) = connection.lost(true) {
                return Stands::Lost(kind);
            }
        }
        if is_spent { Stands::Spent } else { Stands::Here }
    }

    /// Lets it pause as long as the exchange may, once it may be a receiver that is not reading:
    /// all that it has not taken yet may lie in buffers.
    fn be_patient(&mut self, connection: &Connection<impl Transport>, config: &Config) {
        if !std::mem::replace(&mut self.is_patient, true) {
            let_pause(connection, config.idle_timeout);
            keep_queue_short(config, connection);
        }
    }

    /// Drops what it says; says whether more is there.
    fn listen(&mut self, connection: &mut Connection<impl Transport>) -> io::Result<bool> {
        let mut dropped = [0; 1024];
        for _ in 0..READS {
            if self.has_left {
                return Ok(false);
            }
            let stream = &mut connection.stream;
            let mut end = Endpoint { stream, framing: &mut self.framing, is_heard: true };
            match end.read(&mut dropped) {
                Ok(0) => self.has_left = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn write(
        &mut self,
        connection: &mut Connection<impl Transport>,
        block: Block<'_>,
        ends: bool,
    ) -> io::Result<()> {
        let is_untouched = self.framing.is_untouched();
        let stream = &mut connection.stream;
        let mut end = Endpoint { stream, framing: &mut self.framing, is_heard: true };
        while self.taken < block.len() {
            self.taken += match block {
                Block::Bytes(bytes) => end.write(&bytes[self.taken..])?,
                #[cfg(target_os = "linux")]
                Block::Piped(len) => {
                    let tee = self.tee.as_mut().expect("it was filled for this block");
                    tee.empty(&mut end, len - self.taken)?
                }
                #[cfg(not(target_os = "linux"))]
                Block::Piped(_) => unreachable!("nothing is piped here"),
            };
        }
        if is_untouched {
            // The head of a response goes out though its payload lets wait.
            end.flush()?;
        }
        if ends && !self.is_told {
            end.half_close()?;
            self.is_told = true;
        }
        Ok(())
    }
}
