//! A worker of a world, and the system under it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use xchg_core::Broker;

use super::Time;
use super::records::{GREETING, Records};
use super::socket::SimSocket;
use crate::Config;
use crate::engine::Engine;
use crate::engine::net::{Accepted, Id, Layer, Net, Readiness, Transport};
use crate::engine::shared::{Inbox, Shared};
use crate::system::descriptors::Descriptors;

type Backlog = Arc<Mutex<VecDeque<Accepted<SimSocket>>>>;

/// The system under one worker.
pub(super) struct SimNet {
    index: usize,
    backlog: Backlog,
    is_closed: bool,
}

impl Net for SimNet {
    type Transport = SimSocket;

    fn listeners(&self) -> usize {
        1
    }

    fn accept(&mut self, _listener: usize) -> io::Result<Option<Accepted<SimSocket>>> {
        Ok(self.backlog.lock().pop_front())
    }

    fn close_listeners(&mut self) {
        self.is_closed = true;
        // The kernel resets who was not accepted.
        self.backlog.lock().drain(..).for_each(|accepted| accepted.transport.reset());
    }

    fn watch(&mut self, socket: &SimSocket, id: Id) -> io::Result<()> {
        socket.link.lock().watch(self.index, id);
        Ok(())
    }

    fn unwatch(&mut self, socket: &SimSocket) {
        socket.link.lock().unwatch();
    }

    fn begins_layer(&self, _listener: u8, first: &[u8]) -> bool {
        first.first() == Some(&GREETING)
    }

    fn layer(&mut self, _listener: u8) -> io::Result<Box<dyn Layer>> {
        Ok(Box::new(Records::new(None)))
    }
}

pub(super) struct Seat {
    /// Until it has stopped.
    pub(super) worker: Option<Engine<SimNet>>,
    backlog: Backlog,
    is_woken: Arc<AtomicBool>,
    has_knock: bool,
    /// When it wants a turn though nothing happens.
    due: Option<Time>,
}

impl Seat {
    /// The seat of that number, of whom its server knows as the worker `index`.
    pub(super) fn new(
        number: usize,
        index: usize,
        shared: Arc<Shared<SimSocket>>,
        is_woken: Arc<AtomicBool>,
        start: Instant,
    ) -> Self {
        let backlog = Backlog::default();
        let net = SimNet { index: number, backlog: backlog.clone(), is_closed: false };
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let worker = Some(Engine::new(index, net, shared, start));
        Self { worker, backlog, is_woken, has_knock: true, due: Some(0) }
    }

    /// A connection comes to its listener.
    pub(super) fn knock(&mut self, accepted: Accepted<SimSocket>) {
        self.backlog.lock().push_back(accepted);
        self.has_knock = true;
    }

    /// How many connections it has not accepted.
    pub(super) fn backlog(&self) -> usize {
        self.backlog.lock().len()
    }

    /// Whether it has something to do, if nothing has happened to a connection.
    pub(super) fn is_runnable(&self, now: Time) -> bool {
        self.has_knock
            || self.is_woken.load(Ordering::Relaxed)
            || self.due.is_some_and(|due| due <= now)
    }

    /// When it wants a turn though nothing happens.
    pub(super) fn due(&self) -> Option<Time> {
        self.due.filter(|_| self.worker.is_some())
    }

    /// Lets the worker do what is to be done at `now`, which is `instant` to it, with what has
    /// happened to its connections.
    pub(super) fn turn(
        &mut self,
        now: Time,
        instant: Instant,
        ready: impl Iterator<Item = (Id, Readiness)>,
    ) {
        let Some(worker) = &mut self.worker else { return };
        self.is_woken.store(false, Ordering::Relaxed);
        worker.advance(instant);
        if std::mem::take(&mut self.has_knock) {
            worker.knock(0);
        }
        ready.for_each(|(id, edges)| worker.ready(id, edges));
        worker.turn();
        if worker.is_over() {
            self.worker.take().into_iter().for_each(Engine::finish);
            return;
        }
        let pause = worker.timeout().map(|pause| pause.as_micros());
        // A worker's clock ticks in milliseconds.
        self.due = pause.map(|pause| now + Time::try_from(pause).unwrap_or(Time::MAX / 2));
    }
}

/// A server and its workers, the first of whom has the seat of that number.
pub(super) fn server(
    config: Config,
    pipes: usize,
    seed: u64,
    start: Instant,
    first: usize,
) -> (Arc<Shared<SimSocket>>, Vec<Seat>) {
    let wakes: Vec<Arc<AtomicBool>> = (0..config.workers).map(|_| Arc::default()).collect();
    let inboxes = wakes
        .iter()
        .map(|wake| {
            let wake = wake.clone();
            Inbox::new(Box::new(move || {
                wake.store(true, Ordering::Relaxed);
                Ok(())
            }))
        })
        .collect();
    let descriptors = Descriptors { connections: 4096, pipes };
    let broker = |limits| Broker::with_seed(limits, seed);
    let (shared, _) = Shared::new(config, descriptors, inboxes, broker, start);
    let shared = Arc::new(shared);
    let seats = wakes.into_iter().enumerate();
    let seat = |(at, woken)| Seat::new(first + at, at, shared.clone(), woken, start);
    let seats = seats.map(seat).collect();
    (shared, seats)
}
