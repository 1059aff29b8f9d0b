//! A server without a kernel: its workers and broker, links and peers, one clock, one seed.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xchg_core::Events;

use super::link::Link;
use super::peer::Peer;
use super::plan::{Plan, Seen};
use super::random::Random;
use super::scenario::{self, Scale};
use super::seat::{self, Seat};
use super::socket::SimSocket;
use super::sources::Sources;
use super::{SECOND, Time, oracle};
use crate::Config;
use crate::engine::Engine;
use crate::engine::net::{Accepted, Transport};
use crate::engine::shared::{Message, Shared};

/// More steps than any world takes: one that takes more does not come to rest.
const MOST_STEPS: u32 = 400_000;

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Time,
    start: Instant,
    pub(super) shared: Arc<Shared<SimSocket>>,
    /// The server before, if it has been exchanged: it still runs what it has begun.
    before: Option<Arc<Shared<SimSocket>>>,
    /// When that was.
    pub(super) exchanged_at: Option<Time>,
    pub(super) events: Vec<Events>,
    /// The same events, for what has been moved.
    ends: Vec<Events>,
    /// What exchanges have moved that are over.
    moved: u64,
    /// Those of the server before come first.
    seats: Vec<Seat>,
    pub(super) peers: Vec<Peer>,
    /// When each peer next acts; those to come are at the end.
    acts: Vec<Time>,
    to_come: Vec<(Time, Plan)>,
    scale: Scale,
    sources: Sources,
    steps: u32,
    is_draining: bool,
    /// From when on it may be left though something is still to be done at once.
    breaks_off_at: Option<Time>,
    pub(super) panics_wanted: u64,
    pub(super) cancels: u64,
    trace: bool,
    log: VecDeque<String>,
}

/// What went wrong in a world, and what happened last in it.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let workers = 1 + usize::try_from(random.below(3)).unwrap_or(0);
        let config = scenario::config(&mut random, workers);
        let (pipes, start) = (scenario::pipes(&mut random), Instant::now());
        let (shared, seats) = seat::server(config, pipes, seed, start, 0);
        let events = vec![shared.broker.subscribe(1_000)];
        let ends = vec![shared.broker.subscribe(1_000)];
        let scale = Scale::of(&mut random);
        let mut to_come = scenario::plans(&mut random, scale);
        to_come.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self {
            random,
            now: 0,
            start,
            shared,
            before: None,
            exchanged_at: None,
            events,
            ends,
            moved: 0,
            seats,
            peers: Vec::new(),
            acts: Vec::new(),
            to_come,
            scale,
            sources: Sources::default(),
            steps: 0,
            is_draining: false,
            breaks_off_at: None,
            panics_wanted: 0,
            cancels: 0,
            trace,
            log: VecDeque::new(),
        }
    }

    /// Lives a whole life: peers come and go, the server drains and stops.
    pub(super) fn run(&mut self) -> Result<(), Wrong> {
        if self.random.once_in(4) {
            // Amid whatever goes on then.
            let horizon = self.random.below(40 * SECOND);
            self.breaks_off_at = Some(horizon);
            self.go_on_until(horizon)?;
            self.breaks_off_at = None;
            self.drain()?;
            return oracle::all_is_told(self);
        }
        let horizon = 20 * SECOND + self.random.below(600 * SECOND);
        if self.may_be_exchanged() && self.random.once_in(3) {
            let at = self.random.below(60 * SECOND);
            self.go_on_until(at)?;
            self.exchange();
        }
        self.go_on_until(horizon.max(self.now))?;
        oracle::nobody_is_let_go(self)?;
        oracle::all_goes_well(self)?;
        oracle::ends_are_said(self)?;
        if self.random.once_in(2) {
            self.send_everybody_home();
            let patience = self.shared.config.closed_wait.max(self.shared.config.idle_timeout);
            let micros = Time::try_from(patience.as_micros()).unwrap_or(Time::MAX / 2);
            self.go_on_until(self.now + 2 * micros + 1_000 * SECOND)?;
            oracle::nothing_is_left(self)?;
        }
        self.drain()?;
        oracle::all_is_told(self)
    }

    /// Whether the limits of two servers come to the same as those of one.
    fn may_be_exchanged(&self) -> bool {
        let Config { limit_rate_exchange, limit_rate_source, limit_rate_total, .. } =
            &self.shared.config;
        [limit_rate_exchange, limit_rate_source, limit_rate_total].iter().all(|it| it.is_none())
    }

    /// Exchanges the server for another, with other workers, who go on with those who wait.
    fn exchange(&mut self) {
        self.note(|_| "the server is exchanged".to_owned());
        self.exchanged_at = Some(self.now);
        let (heir, waiters) = crossbeam_channel::unbounded();
        self.shared.broadcast(|| Message::CloseDoors);
        let (released, _drained) = self.shared.broker.drain();
        self.shared.release(released, Some(heir));
        let workers = self.seats.len();
        for seat in 0..workers {
            while !self.peers.is_empty() && self.random.once_in(2) {
                let peer = self.random.below(self.peers.len() as u64);
                self.act(usize::try_from(peer).unwrap_or(0));
            }
            self.turn(seat);
        }
        let mut waiters: Vec<_> = waiters.try_iter().collect();
        waiters.sort_unstable_by_key(|&(number, _)| number);
        let workers_then = 1 + usize::try_from(self.random.below(3)).unwrap_or(0);
        let config = Config { workers: workers_then, ..self.shared.config.clone() };
        let (pipes, seed) = (self.shared.descriptors.pipes, self.random.next());
        let instant = self.start + Duration::from_micros(self.now);
        let (shared, mut seats) = seat::server(config, pipes, seed, instant, workers);
        for (number, waiter) in waiters {
            if let Some(worker) = &mut seats[number % workers_then].worker {
                let listener = waiter.listener();
                worker.take_in(waiter, Some(listener));
            }
        }
        self.events.push(shared.broker.subscribe(1_000));
        self.ends.push(shared.broker.subscribe(1_000));
        self.before = Some(std::mem::replace(&mut self.shared, shared));
        self.seats.extend(seats);
    }

    /// The server, and the one before.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Shared<SimSocket>> {
        std::iter::once(&self.shared).chain(&self.before).map(|shared| &**shared)
    }

    /// How many exchanges there are.
    pub(super) fn exchanging(&self) -> u64 {
        self.servers().map(|shared| shared.broker.counts().exchanging).sum()
    }

    fn drain(&mut self) -> Result<(), Wrong> {
        self.note(|_| "drain".to_owned());
        self.is_draining = true;
        for shared in self.servers() {
            shared.broadcast(|| Message::CloseDoors);
            let (mut released, _drained) = shared.broker.drain();
            // The broker gives them back by a hash of its own.
            released.sort_by_key(|offer| (offer.conn.worker, offer.conn.slot));
            shared.release(released, None);
        }
        if self.random.once_in(4) {
            self.go_on_until(self.now + SECOND)?;
            self.servers().for_each(Shared::cut);
        }
        let idle = Time::try_from(self.shared.config.idle_timeout.as_micros()).unwrap_or(0);
        let by = self.now + 3 * idle + 400 * SECOND;
        while self.exchanging() > 0 {
            if self.now >= by {
                return Err(self.wrong("a drain that does not end"));
            }
            self.go_on_until((self.now + SECOND).min(by))?;
        }
        self.servers().for_each(|shared| shared.broadcast(|| Message::Stop));
        let by = self.now + 10 * SECOND;
        while self.seats.iter().any(|seat| seat.worker.is_some()) {
            if self.now >= by {
                return Err(self.wrong("a worker that does not stop"));
            }
            self.go_on_until(self.now + SECOND / 10)?;
        }
        // The last words and ends are still to arrive, however slowly somebody takes them.
        self.go_on_until(self.now + 600 * SECOND)?;
        while self.peers.iter().any(Peer::is_hearing) {
            self.go_on_until(self.now + 60 * SECOND)?;
        }
        Ok(())
    }

    fn send_everybody_home(&mut self) {
        self.note(|_| "everybody leaves".to_owned());
        self.to_come.clear();
        for index in 0..self.peers.len() {
            let way = self.random.below(3);
            let now = self.now;
            if way == 2 {
                self.peers[index].link.lock().cut();
            }
            self.peers[index].leave(now, way == 1);
        }
    }

    fn go_on_until(&mut self, until: Time) -> Result<(), Wrong> {
        loop {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(self.wrong("a world that does not come to rest"));
            }
            self.let_time_pass();
            let runnable: Vec<usize> =
                (0..self.seats.len()).filter(|&seat| self.is_runnable(seat)).collect();
            let due: Vec<usize> =
                (0..self.peers.len()).filter(|&peer| self.acts[peer] <= self.now).collect();
            let choices = runnable.len() + due.len();
            if choices == 0 {
                oracle::counts_agree(self)?;
                for ends in &self.ends {
                    for event in ends.try_iter() {
                        self.moved += oracle::moved_at_the_end(self, event)?;
                    }
                }
                oracle::limits_are_kept(self, self.moved)?;
                oracle::half_closed_are_let_go(self)?;
                let mut sources = std::mem::take(&mut self.sources);
                sources.are_within_their_limit(self)?;
                self.sources = sources;
                match self.next_time() {
                    Some(next) if next <= until => self.now = next.max(self.now),
                    _ => {
                        self.now = self.now.max(until);
                        self.let_time_pass();
                        return Ok(());
                    }
                }
                continue;
            }
            let is_late = self.breaks_off_at.is_some_and(|at| at <= self.now);
            if is_late && self.random.once_in(8) {
                return Ok(());
            }
            let choice = usize::try_from(self.random.below(choices as u64)).unwrap_or(0);
            match runnable.get(choice) {
                Some(&seat) => self.turn(seat),
                None => self.act(due[choice - runnable.len()]),
            }
        }
    }

    fn let_time_pass(&mut self) {
        while self.to_come.last().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, plan)) = self.to_come.pop() {
                self.connect(plan);
            }
        }
        for peer in &self.peers {
            peer.link.lock().advance(self.now);
        }
    }

    fn connect(&mut self, plan: Plan) {
        let shape = self.scale.shape(&mut self.random);
        let link = Arc::new(Mutex::new(Link::new(shape, self.now)));
        // The workers of the server as it is now.
        let workers = self.shared.inboxes.len();
        let seat = usize::try_from(self.random.below(workers as u64)).unwrap_or(0);
        let seat = self.seats.len() - workers + seat;
        self.note(|world| format!("peer {} comes to {seat}: {:?}", world.peers.len(), plan.fate));
        if self.is_draining {
            // Nobody listens.
            SimSocket { link: link.clone() }.reset();
        } else {
            let transport = SimSocket { link: link.clone() };
            let (origin, listener) = (plan.origin(), plan.comes.listener());
            let accepted = Accepted { transport, origin, listener };
            self.seats[seat].knock(accepted);
        }
        self.peers.push(Peer::new(plan, link, self.now));
        self.acts.push(self.now + self.random.below(1_000));
    }

    fn is_runnable(&self, index: usize) -> bool {
        let seat = &self.seats[index];
        let has_edges = |peer: &Peer| peer.link.lock().has_edges() == Some(index);
        seat.worker.is_some() && (seat.is_runnable(self.now) || self.peers.iter().any(has_edges))
    }

    fn next_time(&self) -> Option<Time> {
        let links = self.peers.iter().filter_map(|peer| peer.link.lock().next());
        let due = self.seats.iter().filter_map(Seat::due);
        let acts = self.acts.iter().copied().filter(|&at| at != Time::MAX);
        links.chain(due).chain(acts).chain(self.to_come.last().map(|(at, _)| *at)).min()
    }

    fn turn(&mut self, index: usize) {
        if self.trace {
            self.note(|_| format!("worker {index}"));
        }
        let instant = self.start + Duration::from_micros(self.now);
        let ready = self.peers.iter().filter_map(|peer| peer.link.lock().take_edges(index));
        self.seats[index].turn(self.now, instant, ready);
    }

    fn act(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let is_busy = peer.act(self.now, &mut self.random);
        let over = peer.is_over();
        if self.trace {
            self.note(|world| format!("peer {index}: {}", world.peers[index].link.lock()));
        }
        // Whoever had nothing to do looks again now and then.
        let pause = if is_busy {
            self.random.skewed(SECOND) as Time
        } else {
            self.random.below(20 * SECOND)
        };
        self.acts[index] = if over { Time::MAX } else { self.now + 1 + pause };
        if self.random.once_in(50) {
            self.peers[index].link.lock().spurious();
        }
        if self.random.once_in(400) {
            let mut running: Vec<_> =
                self.servers().flat_map(|shared| shared.broker.exchanges()).collect();
            running.sort_by_key(|handle| handle.id());
            if let Some(handle) = running.first() {
                self.note(|_| format!("exchange {} is cancelled", handle.id()));
                handle.cancel();
                self.cancels += 1;
            }
        }
        if self.random.once_in(2_000) {
            let mut link = self.peers[index].link.lock();
            if !link.panics {
                link.panics = true;
                self.panics_wanted += 1;
            }
        }
    }

    /// How long it has been there.
    pub(super) fn age(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// How long ago that was, by its clock.
    pub(super) fn since(&self, instant: Instant) -> Duration {
        (self.start + self.age()).saturating_duration_since(instant)
    }

    /// How many connections the workers have taken and not closed.
    pub(super) fn held_connections(&self) -> usize {
        let waiting: usize = self.seats.iter().map(Seat::backlog).sum();
        let open = self.peers.iter().filter(|peer| !peer.link.lock().is_closed_by_server).count();
        open - waiting
    }

    /// Whether a worker has ended, with whatever connections it still had.
    pub(super) fn has_stopped(&self) -> bool {
        self.seats.iter().any(|seat| seat.worker.is_none())
    }

    /// How many exchanges the workers run.
    pub(super) fn exchanges(&self) -> usize {
        let workers = self.seats.iter().filter_map(|seat| seat.worker.as_ref());
        workers.map(Engine::exchanges).sum()
    }

    pub(super) fn wrong(&self, what: impl Into<String>) -> Wrong {
        let mut text = format!("{} at {} s", what.into(), self.now as f64 / SECOND as f64);
        for line in &self.log {
            write!(text, "\n  {line}").ok();
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let mut plan = peer.plan.clone();
            let lens: Vec<usize> = plan.parts.iter().map(|part| part.payload.len()).collect();
            plan.parts.iter_mut().for_each(|part| part.payload.truncate(4));
            let told = peer.seen().into_iter().map(|seen| match seen {
                Seen::Whole(payload) => format!("Whole({} bytes)", payload.len()),
                seen => format!("{seen:?}"),
            });
            let told = told.collect::<Vec<_>>().join(", ");
            write!(text, "\n  peer {index}: {plan:?} ({lens:?} bytes)").ok();
            write!(text, " {told} waits {:?} matched", peer.waits_since).ok();
            write!(text, " {:?} left {:?}; {}", peer.matched_at, peer.left_at, peer.link.lock())
                .ok();
        }
        Wrong(text)
    }

    /// Keeps the latest that happened, to be told if something goes wrong.
    fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        const LATEST: usize = 40;
        if !self.trace && self.log.len() >= LATEST {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>12} {}", self.now, what(self)));
    }
}
