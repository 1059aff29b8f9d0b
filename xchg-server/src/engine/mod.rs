//! What one thread does for its connections: it accepts, hears greetings, holds who waits, and
//! moves exchanges' bytes. The [system](crate::engine::net) under it is a parameter, and the time
//! an argument.
//!
//! A connection belongs to one worker, who alone touches it. Only when peers of different workers
//! are paired does a connection move: the newcomer travels to the one who waits, before it was ever
//! registered with a poll in most cases, and takes others along if they are several. The worker of
//! who waits may still send a heartbeat meanwhile; nothing else can interleave, so no lock is
//! needed.
//!
//! Edge-triggered: what the poll says is remembered in the connection until a call is refused with
//! `EAGAIN`.

mod accept;
pub(crate) mod admission;
pub(crate) mod allowance;
mod bearers;
pub(crate) mod connection;
pub(crate) mod endpoint;
mod exchange;
pub(crate) mod frequency;
mod gather;
mod greet;
mod guard;
mod http;
mod leaving;
mod log;
mod looks;
mod messages;
pub(crate) mod net;
pub(crate) mod pulse;
mod receivers;
mod relay;
mod schedule;
pub(crate) mod secure;
pub(crate) mod shared;
pub(crate) mod stream;
mod table;
pub(crate) mod tally;
pub(crate) mod throttle;
mod timers;
pub(crate) mod waiter;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use xchg_core::wire::RefusalCode;

use crate::engine::connection::{Connection, State, Undecided};
use crate::engine::net::{Id, Net, Readiness};
use crate::engine::shared::Shared;
use crate::engine::throttle::WINDOW;
use crate::engine::timers::{Soon, Tick, Timers};

use accept::Door;
use exchange::Running;
use schedule::Schedule;
use xchg_core::relay::Resources;

/// How long those who are leaving may take when the server stops.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes that reads go through, and what makes a flow bulk: a read that fills it.
const SCRATCH_BYTES: usize = 64 << 10;

pub(crate) struct Engine<N: Net> {
    index: u16,
    net: N,
    doors: Vec<Door>,
    connections: Slab<Connection<N::Transport>>,
    exchanges: Slab<Running>,
    schedule: Schedule,
    /// Connections that came over a limit and are still to say what they want, the oldest first.
    unheard: VecDeque<Id>,
    /// Who may have said something that no event will tell of: http peers whose exchange has ended,
    /// and those who had to let others go first.
    kept: VecDeque<Id>,
    /// Peers whose handshake can be gone on with.
    handshakes: VecDeque<Id>,
    timers: Timers<Id>,
    resources: Resources,
    shared: Arc<Shared<N::Transport>>,
    /// Payload bytes moved.
    moved: u64,
    serial: u32,
    /// Set when the server stops: the worker then ends with its last connection, or at this time.
    stops: Option<Tick>,
    /// When it is to be told how many log lines were left out.
    untold: Option<Tick>,
}

impl<N: Net> Engine<N> {
    pub(crate) fn new(index: u16, net: N, shared: Arc<Shared<N::Transport>>, now: Instant) -> Self {
        let mut resources = Resources::new(SCRATCH_BYTES, shared.config.pipe_size);
        resources.limit_pipes(shared.descriptors.pipes);
        Self {
            index,
            doors: (0..net.listeners()).map(|_| Door::new()).collect(),
            net,
            connections: Slab::new(),
            exchanges: Slab::new(),
            schedule: Schedule::new(),
            unheard: VecDeque::new(),
            kept: VecDeque::new(),
            handshakes: VecDeque::new(),
            timers: Timers::new(now),
            resources,
            shared,
            moved: 0,
            serial: 0,
            stops: None,
            untold: None,
        }
    }

    /// How long nothing is to be done unless something happens; `None` is for ever.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if !(self.schedule.is_empty() && self.kept.is_empty() && self.handshakes.is_empty()) {
            return Some(Duration::ZERO);
        }
        let doors = self.doors_timeout();
        let stops = self.stops.map(|by| by.since(self.timers.now()));
        let untold = self.untold.map(|at| at.since(self.timers.now()));
        [self.timers.timeout(), doors, stops, untold].into_iter().flatten().min()
    }

    /// Says what time it is.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.timers.advance(now);
    }

    /// How many listeners it accepts at.
    pub(crate) fn listeners(&self) -> usize {
        self.doors.len()
    }

    /// Somebody may be waiting at the listener of that number.
    pub(crate) fn knock(&mut self, listener: usize) {
        self.doors[listener].knock();
    }

    /// Something has happened to the stream of a connection.
    pub(crate) fn ready(&mut self, id: Id, ready: Readiness) {
        self.guard(id, |engine| engine.on_ready(id, ready));
    }

    /// Does all that is due, and lets the exchanges that carry much go on for a round.
    pub(crate) fn turn(&mut self) {
        self.receive();
        self.accept_all();
        self.go_on();
        self.fire_timers();
        self.sweep_timers();
        self.hear_kept();
        self.shake_hands();
        self.tell_left_out();
    }

    /// Looks at whose time has come: at no more than there are, so that one that is due again at
    /// once lets others go first.
    fn fire_timers(&mut self) {
        for _ in 0..self.timers.len() {
            let Some(id) = self.timers.pop() else { return };
            self.guard(id, |engine| engine.on_timer(id));
        }
    }

    /// Notes that a turn is over, which took so long with all that was told before it.
    pub(crate) fn turned(&self, took: Duration) {
        let pulse = &self.shared.pulses[usize::from(self.index)];
        pulse.turned(took, self.moved, self.resources.pipes() as u64);
    }

    /// Whether it has been stopped, and nobody is left whom it would wait for.
    pub(crate) fn is_over(&self) -> bool {
        self.stops.is_some_and(|by| self.connections.is_empty() || by <= self.timers.now())
    }

    /// How many exchanges it runs.
    #[cfg(feature = "sim")]
    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// Lets go of whoever is left when it is over, and says what is left to say.
    pub(crate) fn finish(mut self) {
        let slots = self.connections.iter().filter_map(|(slot, _)| u32::try_from(slot).ok());
        for slot in slots.collect::<Vec<_>>() {
            self.guard(self.id(slot), |engine| engine.remove(slot).let_go());
        }
        self.shared.throttles.tell(self.timers.instant() + WINDOW);
    }

    fn on_ready(&mut self, id: Id, ready: Readiness) {
        let Some(connection) = self.connection(id) else { return };
        let ready = match connection.state {
            // What is within is heard when the handshake is over.
            State::Securing(_) => {
                connection.stream.note(ready);
                ready
            }
            _ => connection.stream.on_ready(ready),
        };
        match &mut connection.state {
            State::Greeting(_) | State::Undecided(_) => {
                self.greet(id.slot);
                // Its end may have come with its greeting, and is not told a second time.
                self.on_end(id, ready);
            }
            State::Waiting(_) if ready.has_read_end || connection.stream.failure().is_some() => {
                self.on_end(id, ready);
            }
            State::Waiting(_) if !ready.is_readable => {}
            State::Waiting(waiting) => {
                let interruption = connection.voice.interrupted(waiting.leaves_by_ending);
                let place = waiting.place;
                self.interrupt(id.slot, place, interruption);
            }
            State::Exchanging { exchange } => {
                let exchange = *exchange;
                self.drive_in_turn(exchange);
            }
            State::Replying(reply) => {
                let reply = std::mem::take(&mut **reply);
                self.reply_on(id.slot, reply);
            }
            State::Securing(_) => self.on_handshake_ready(id, ready),
            State::Leaving(leaving) => {
                let left = ready.has_failed || ready.has_read_end;
                if leaving.is_out_of_patience() && left {
                    self.remove(id.slot);
                } else {
                    let leaving = std::mem::take(&mut **leaving);
                    self.leave_on(id.slot, leaving);
                }
            }
        }
    }

    fn on_timer(&mut self, id: Id) {
        let now = self.timers.now();
        let Some(connection) = self.connection(id) else { return };
        connection.armed = Soon::NEVER;
        if connection.deadline.tick(now) > now {
            return self.arm(id.slot);
        }
        match &mut connection.state {
            State::Greeting(heard) => {
                let (is_answered, has_begun) = (connection.requests > 0, !heard.is_empty());
                // An idle connection that has been answered before is not counted as refused.
                if has_begun || !is_answered {
                    let text = "it has not said in time what it wants";
                    self.note_refusal(id.slot, RefusalCode::TimedOut, None, text);
                }
                let connection = self.remove(id.slot);
                // Within a layer it may have said a part of that which cannot be heard yet.
                let may_have_begun = has_begun || (connection.stream.is_wrapped() && !is_answered);
                // A mere end would look like an empty payload to a downloader.
                if may_have_begun { connection.reset() } else { connection.close() }
            }
            State::Securing(_) => {
                let text = "it has not shaken hands in time";
                self.note_refusal(id.slot, RefusalCode::TimedOut, None, text);
                self.shared.counters.handshake_failed();
                self.remove(id.slot).reset();
            }
            State::Undecided(said) => {
                let said = Undecided { heard: std::mem::take(&mut said.heard), ..**said };
                self.decide(id.slot, said);
            }
            State::Leaving(_) | State::Replying(_) => drop(self.remove(id.slot)),
            State::Exchanging { exchange } => {
                let exchange = *exchange;
                self.on_exchange_timer(exchange);
            }
            State::Waiting(waiting) if waiting.expires.tick() <= now => {
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
            State::Waiting(waiting) => {
                let (place, expires) = (waiting.place, waiting.expires.tick());
                self.beat(id.slot, place, expires);
            }
        }
    }
}

pub(crate) use gather::Gathering;
