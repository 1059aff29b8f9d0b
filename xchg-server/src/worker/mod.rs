//! A thread with one poll: it accepts, hears greetings, holds who waits, and moves exchanges' bytes.
//!
//! A connection belongs to one worker, who alone touches it. Only when two peers of different workers are paired does a connection move: the
//! newcomer travels to the one who waits, before it was ever registered with a poll in most cases. That worker may still send
//! a heartbeat meanwhile; nothing else can interleave, so no lock is needed.
//!
//! Edge-triggered: what the poll says is remembered in the connection until a call is refused with `EAGAIN`.

mod accept;
mod fan;
mod gather;
mod greet;
mod guard;
mod http;
mod log;
mod messages;
mod relay;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;
use xchg_core::Key;
use xchg_core::wire::RefusalCode;

use crate::connection::{Connection, Leaving, State};
use crate::dialect::Dialect;
use crate::listener::Listener;
use crate::shared::Shared;
use crate::throttle::{Kind, WINDOW};
use crate::timers::{Tick, Timers};

use accept::Door;
use fan::Fan;
use gather::Gatherings;
use relay::Running;
use xchg_core::relay::Resources;

/// The waker's token; listeners count down from the next. Connections' tokens stay below, for their serials have 31 bits.
pub(crate) const WAKER: Token = Token(usize::MAX);
const FIRST_DOOR: usize = usize::MAX - 1;

/// Serials of connections: 31 bits.
const SERIALS: u32 = 0x7fff_ffff;

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// How often in a row polling may fail, and how long the worker rests each time: the kernel may be
/// out of memory for a moment.
const MAX_POLL_FAILURES: u32 = 100;
const POLL_REST: Duration = Duration::from_millis(10);

/// How long a peer that is leaving may take to hear its last word.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one may take that goes on sending: its kernel has the word, and many browsers read it only when they can send no more.
const OVERRUN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long those who are leaving may take when the server stops.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(1);

/// As many events at once as show that more follow closely.
const CROWD: usize = 3;

/// How long the events behind a crowd may gather, so that one wake-up serves many; the kernel adds its timer slack, 50 us by default
/// (`PR_SET_TIMERSLACK` in prctl(2)). Small exchanges, 32 and more at once, then take a tenth less of the processors, and no longer.
const GATHERING: Duration = Duration::from_micros(50);

/// Bytes that reads go through, and what makes a flow bulk: a read that fills it.
const SCRATCH_BYTES: usize = 64 << 10;

/// Names a connection for the poll and the timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    slot: u32,
    serial: u32,
}

impl Id {
    fn token(self) -> Token {
        Token((self.serial as usize) << 32 | self.slot as usize)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the token")]
    fn of(token: Token) -> Id {
        Id { slot: token.0 as u32, serial: (token.0 >> 32) as u32 }
    }
}

pub(crate) struct Worker {
    index: u16,
    poll: Poll,
    doors: Vec<Door>,
    connections: Slab<Connection>,
    exchanges: Slab<Running>,
    fans: Slab<Fan>,
    gatherings: Gatherings,
    /// The uploaders of exchanges that carry much, and may go on.
    ready: VecDeque<Id>,
    /// Bytes that those may still move before the poll is asked again.
    round_left: u64,
    /// Connections that came over a limit and are still to say what they want, the oldest first.
    unheard: VecDeque<Id>,
    /// Http peers whose exchange has ended, and who may have made their next request.
    kept: VecDeque<Id>,
    timers: Timers<Id>,
    resources: Resources,
    shared: Arc<Shared>,
    serial: u32,
    /// Set when the server stops: the worker then ends with its last connection, or at this time.
    stops: Option<Tick>,
    /// When it is to be told how many log lines were left out.
    untold: Option<Tick>,
}

impl Worker {
    pub(crate) fn new(
        index: u16,
        poll: Poll,
        listeners: Vec<Listener>,
        shared: Arc<Shared>,
    ) -> io::Result<Worker> {
        let doors = Door::open_all(listeners, poll.registry())?;
        let mut resources = Resources::new(SCRATCH_BYTES, shared.config.pipe_size);
        resources.limit_pipes(shared.descriptors.pipes);
        Ok(Worker {
            index,
            poll,
            doors,
            connections: Slab::new(),
            exchanges: Slab::new(),
            fans: Slab::new(),
            gatherings: Gatherings::new(),
            ready: VecDeque::new(),
            round_left: 0,
            unheard: VecDeque::new(),
            kept: VecDeque::new(),
            timers: Timers::new(Instant::now()),
            resources,
            shared,
            serial: 0,
            stops: None,
            untold: None,
        })
    }

    /// Runs until it is stopped and its last connection is gone.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut failures = 0;
        loop {
            let timeout = self.timeout();
            if timeout != Some(Duration::ZERO) && events.iter().count() >= CROWD {
                std::thread::sleep(GATHERING);
            }
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => failures = 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failures += 1;
                    // Without its poll a worker can do nothing at all.
                    assert!(failures < MAX_POLL_FAILURES, "polling fails: {error}");
                    std::thread::sleep(POLL_REST);
                }
            }
            self.timers.advance(Instant::now());
            for event in &events {
                self.on_event(event);
            }
            self.receive();
            self.accept_all();
            self.go_on();
            while let Some(id) = self.timers.pop() {
                self.guard(id, |worker| worker.on_timer(id));
            }
            self.sweep_timers();
            self.hear_kept();
            self.tell_left_out();
            if let Some(by) = self.stops
                && (self.connections.is_empty() || by <= self.timers.now())
            {
                self.shared.throttles.tell(Instant::now() + WINDOW);
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.kept.is_empty() {
            return Some(Duration::ZERO);
        }
        let doors = self.doors_timeout();
        let stops = self.stops.map(|by| by.since(self.timers.now()));
        let untold = self.untold.map(|at| at.since(self.timers.now()));
        [self.timers.timeout(), doors, stops, untold].into_iter().flatten().min()
    }

    fn on_event(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => {}
            Token(token) if FIRST_DOOR - token < self.doors.len() => {
                self.doors[FIRST_DOOR - token].knock();
            }
            token => {
                let id = Id::of(token);
                self.guard(id, |worker| worker.on_ready(id, event));
            }
        }
    }

    /// The connection, unless it is gone and its slot another's.
    fn connection(&mut self, id: Id) -> Option<&mut Connection> {
        self.connections
            .get_mut(id.slot as usize)
            .filter(|connection| connection.serial == id.serial)
    }

    fn on_ready(&mut self, id: Id, event: &mio::event::Event) {
        let Some(connection) = self.connection(id) else { return };
        connection.is_readable |= event.is_readable() || event.is_read_closed();
        connection.is_writable |= event.is_writable();
        if event.is_error() {
            connection.on_error();
        }
        match &connection.state {
            State::Greeting(_) | State::Undecided(_) => {
                self.greet(id.slot);
                // Its end may have come with its greeting, and is not told a second time.
                self.on_end(id, event);
            }
            State::Waiting(_) if event.is_read_closed() || connection.failure.is_some() => {
                self.on_end(id, event);
            }
            State::Waiting(_) if !event.is_readable() => {}
            State::Waiting(waiting) => {
                let dialect = connection.dialect.expect("who waits has said what for");
                if let Some(words) = dialect.impatient() {
                    self.rebuke(id.slot, words);
                } else if dialect == Dialect::Classic && waiting.leaves_by_ending {
                    // A downloader, and so none: it has more to say.
                    self.spurn(id.slot);
                }
            }
            State::Exchanging { exchange } => {
                let exchange = *exchange;
                self.drive_in_turn(exchange);
            }
            State::Fanning { fan } => {
                let fan = *fan;
                self.queue_fan(fan);
            }
            State::Replying(_) => self.reply_on(id.slot),
            State::Leaving(leaving) => {
                let left = event.is_error() || event.is_read_closed();
                match leaving.is_out_of_patience() && left {
                    true => drop(self.remove(id.slot)),
                    false => self.leave_on(id.slot),
                }
            }
        }
    }

    /// Lets go of a waiting peer that has left, and bounds the wait of one that has only ended its
    /// stream.
    fn on_end(&mut self, id: Id, event: &mio::event::Event) {
        let by = self.timers.now().after(self.shared.config.closed_wait);
        let Some(connection) = self.connection(id) else { return };
        if connection.has_left(event) {
            self.withdraw(id.slot);
        } else if event.is_read_closed() && connection.on_end(by) {
            self.arm(id.slot);
        }
    }

    /// Takes a waiting peer out of the broker and closes it; unless it is paired already, and its counterpart on its way here.
    fn withdraw(&mut self, slot: u32) {
        let State::Waiting(waiting) = &self.connections[slot as usize].state else {
            unreachable!("callers have seen it wait")
        };
        if self.shared.broker.withdraw(waiting.place).is_some() {
            self.remove(slot);
        }
    }

    /// Closes a waiting peer that sent what it must not yet, unless its counterpart is on its way here.
    fn rebuke(&mut self, slot: u32, words: &[u8]) {
        let State::Waiting(waiting) = &self.connections[slot as usize].state else {
            unreachable!("callers have seen it wait")
        };
        if self.shared.broker.withdraw(waiting.place).is_some() {
            self.note_refusal(
                slot,
                RefusalCode::Malformed,
                None,
                "it did not wait for its counterpart",
            );
            self.leave(slot, words.to_vec());
        }
    }

    /// Resets a classic peer that says what none would, unless its counterpart is on its way here: there is no word for it.
    fn spurn(&mut self, slot: u32) {
        let State::Waiting(waiting) = &self.connections[slot as usize].state else {
            unreachable!("callers have seen it wait")
        };
        if self.shared.broker.withdraw(waiting.place).is_some() {
            self.refuse(
                slot,
                RefusalCode::Malformed,
                "a classic downloader says nothing behind its key",
            );
        }
    }

    fn on_timer(&mut self, id: Id) {
        let now = self.timers.now();
        let Some(connection) = self.connection(id) else { return };
        connection.armed = Tick::NEVER;
        if connection.deadline > now {
            return self.arm(id.slot);
        }
        match &connection.state {
            State::Greeting(heard) => {
                let (is_answered, has_begun) = (connection.requests > 0, !heard.is_empty());
                // An idle connection that has been answered before is not counted as refused.
                if has_begun || !is_answered {
                    let text = "it has not said in time what it wants";
                    self.note_refusal(id.slot, RefusalCode::TimedOut, None, text);
                }
                let connection = self.remove(id.slot);
                if has_begun {
                    // A mere end would look like an empty payload to a downloader.
                    connection.reset();
                }
            }
            State::Undecided(_) => self.decide(id.slot),
            State::Leaving(_) | State::Replying(_) => drop(self.remove(id.slot)),
            State::Exchanging { exchange } => {
                let exchange = *exchange;
                self.on_exchange_timer(exchange);
            }
            State::Fanning { fan } => {
                let fan = *fan;
                self.on_fan_timer(fan);
            }
            State::Waiting(waiting) if waiting.expires <= now => {
                let place = waiting.place;
                // If it was paired meanwhile, its counterpart is on its way here.
                if self.shared.broker.withdraw(place).is_some() {
                    self.refuse(
                        id.slot,
                        RefusalCode::TimedOut,
                        "no counterpart came in time; try again when it is there",
                    );
                }
            }
            State::Waiting(_) => self.beat(id.slot),
        }
    }

    /// Tells a waiting peer that it still has its place.
    fn beat(&mut self, slot: u32) {
        let connection = &self.connections[slot as usize];
        let State::Waiting(waiting) = &connection.state else {
            unreachable!("callers have seen it wait")
        };
        let Some(interval) = connection.heartbeat_interval(&self.shared.config) else { return };
        let (expires, elsewhere) = (waiting.expires, self.elsewhere(slot));
        let connection = &mut self.connections[slot as usize];
        let words = connection.heartbeat(elsewhere);
        connection.deadline = expires.min(self.timers.now().after(interval));
        match connection.say(&words) {
            Ok(()) => self.arm(slot),
            Err(_) => self.withdraw(slot),
        }
    }

    /// Has the timer look at the connection by its deadline.
    fn arm(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if connection.deadline < connection.armed {
            if connection.armed != Tick::NEVER {
                self.timers.disarm();
            }
            connection.armed = connection.deadline;
            self.timers.arm(connection.armed, Id { slot, serial: connection.serial });
        }
    }

    /// Drops the timers' entries of connections that are gone, once they are many.
    fn sweep_timers(&mut self) {
        if self.timers.is_mostly_stale() {
            let connections = &self.connections;
            self.timers.sweep(|at, id| {
                let connection = connections.get(id.slot as usize);
                connection.is_some_and(|one| one.serial == id.serial && one.armed == at)
            });
        }
    }

    /// Tells a peer in its dialect that it is not served, and closes.
    fn refuse(&mut self, slot: u32, code: RefusalCode, text: &str) {
        self.refuse_key(slot, code, None, text);
    }

    /// As [`refuse`](Self::refuse), for the log with what the peer named.
    fn refuse_key(&mut self, slot: u32, code: RefusalCode, key: Option<&Key>, text: &str) {
        self.note_refusal(slot, code, key, text);
        let connection = &mut self.connections[slot as usize];
        let dialect = connection.dialect;
        let words = match (connection.http.take(), dialect) {
            (Some(peer), _) => {
                // What has waited was taken: if it comes again, its client has not heard why it ended.
                if let (State::Waiting(_), Some(named)) =
                    (&connection.state, peer.idempotency_key())
                {
                    self.shared.failed_uploads.add(named);
                }
                Some(peer.refused(code.into()))
            }
            (None, Some(dialect)) => dialect.refused(code, text),
            (None, None) => None,
        };
        match words {
            Some(words) => self.leave(slot, words),
            None => self.remove(slot).reset(),
        }
    }

    /// Says a last word and closes.
    fn leave(&mut self, slot: u32, words: Vec<u8>) {
        let connection = &mut self.connections[slot as usize];
        connection.state = State::Leaving(Box::new(Leaving::new(words)));
        connection.deadline = self.timers.now().after(LEAVING_TIMEOUT);
        self.leave_on(slot);
    }

    fn leave_on(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        let State::Leaving(leaving) = &mut connection.state else {
            unreachable!("callers have seen it leave")
        };
        let turn = leaving.turn(&connection.socket, self.resources.scratch());
        match turn {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if leaving.is_out_of_patience() {
                    let soon = self.timers.now().after(OVERRUN_TIMEOUT);
                    connection.deadline = connection.deadline.min(soon);
                }
            }
            Ok(()) | Err(_) => {
                self.remove(slot);
                return;
            }
        }
        if self.register(slot) {
            self.arm(slot);
        }
    }

    /// Registers a connection that is to stay; one that cannot be is closed.
    fn register(&mut self, slot: u32) -> bool {
        let connection = &mut self.connections[slot as usize];
        if connection.is_registered {
            return true;
        }
        let id = Id { slot, serial: connection.serial };
        match connection.register(self.poll.registry(), id.token()) {
            Ok(()) => true,
            Err(error) => {
                let peer = connection.origin;
                if self.may_log(Kind::Unwatched) {
                    tracing::warn!(%peer, %error, "cannot watch a connection; it is closed");
                }
                self.discard(slot);
                false
            }
        }
    }

    fn insert(&mut self, mut connection: Connection) -> u32 {
        self.serial = self.serial.wrapping_add(1) & SERIALS;
        connection.serial = self.serial;
        let slot = self.connections.insert(connection);
        u32::try_from(slot).expect("descriptors run out long before 2^32 connections")
    }

    /// Takes a connection out of the table, to be handed to another worker.
    fn take(&mut self, slot: u32) -> Connection {
        let mut connection = self.connections.remove(slot as usize);
        if connection.armed != Tick::NEVER {
            self.timers.disarm();
        }
        if std::mem::take(&mut connection.is_registered) {
            let fd = connection.socket.0.as_raw_fd();
            // Whatever this poll knew, the other's says anew when it registers the connection.
            self.poll.registry().deregister(&mut mio::unix::SourceFd(&fd)).ok();
        }
        connection.armed = Tick::NEVER;
        connection.is_readable = true;
        connection.is_writable = true;
        connection
    }

    /// Takes a connection out of the table; dropping it closes it.
    fn remove(&mut self, slot: u32) -> Connection {
        let connection = self.connections.remove(slot as usize);
        if connection.armed != Tick::NEVER {
            self.timers.disarm();
        }
        self.shared.admission.leave(connection.origin, connection.standing);
        if self.connections.is_empty() && self.connections.capacity() > EVENTS {
            self.connections.shrink_to_fit();
        }
        connection
    }
}

pub(crate) use gather::{Arrived, Gathering};
pub(crate) use messages::Join;
