//! From a configuration to a running server, and to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::Poll;
use parking_lot::{Condvar, Mutex};
use xchg_core::{Broker, Counts, Drained, Event, ExchangeHandle};

use crate::failed_uploads::FailedUploads;
use crate::listener::{self, Listener};
use crate::shared::{Counters, Inbox, Message, Shared, Stats};
use crate::worker::{WAKER, Worker};
use crate::{Config, Error, Listen};

/// A server whose addresses are bound and not yet served.
#[derive(Debug)]
pub struct Server {
    config: Config,
    addresses: Vec<Listen>,
    /// For each worker.
    listeners: Vec<Vec<Listener>>,
}

impl Server {
    /// Binds the addresses of `config`. Peers may connect from now on; they are served from [`start`](Self::start).
    ///
    /// # Errors
    /// [`Error::Config`] if a setting has no sense, [`Error::Listen`] if an address cannot be had.
    pub fn bind(config: Config) -> Result<Server, Error> {
        config.check()?;
        let mut addresses = Vec::new();
        let mut listeners: Vec<Vec<Listener>> = (0..config.workers).map(|_| Vec::new()).collect();
        for (index, listen) in config.listen.iter().enumerate() {
            let (address, opened) = listener::open(listen, &config)?;
            addresses.push(address);
            for (offset, listener) in opened.into_iter().enumerate() {
                // A single socket of several addresses goes to another worker each.
                listeners[(index + offset) % config.workers].push(listener);
            }
        }
        Ok(Server { config, addresses, listeners })
    }

    /// The bound addresses, with the ports that the system chose.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`Error::System`] if the operating system refuses a poll or a thread.
    pub fn start(self) -> Result<ServerHandle, Error> {
        let failed = |doing| move |source| Error::System { doing, source };
        let polls = (0..self.config.workers)
            .map(|_| Poll::new())
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed("making a poll"))?;
        let inboxes = polls
            .iter()
            .map(|poll| mio::Waker::new(poll.registry(), WAKER).map(Inbox::new))
            .collect::<Result<_, _>>()
            .map_err(failed("making a waker"))?;
        let (drain, drains) = crossbeam_channel::bounded(1);
        let shared = Arc::new(Shared {
            broker: Broker::new(self.config.limits),
            config: self.config,
            inboxes,
            counters: Counters::default(),
            failed_uploads: FailedUploads::default(),
            started: Instant::now(),
            drain,
            cuts: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        for (index, (poll, listeners)) in polls.into_iter().zip(self.listeners).enumerate() {
            let index = u16::try_from(index).expect("the configuration allows few workers");
            let worker = Worker::new(index, poll, listeners, shared.clone())
                .map_err(failed("watching the listeners"))?;
            let thread = thread::Builder::new().name(format!("xchg-worker-{index}"));
            let shared = shared.clone();
            let run = move || {
                // Unwind safe: what the panic may have broken is the worker's, and goes with it.
                if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                    outlive(&shared, index);
                }
            };
            threads.push(thread.spawn(run).map_err(failed("starting a thread"))?);
        }
        let ended = Arc::new(Ended::default());
        let supervisor =
            Supervisor { shared: shared.clone(), drains, threads, ended: ended.clone() };
        thread::Builder::new()
            .name("xchg-supervisor".to_owned())
            .spawn(|| supervisor.run())
            .map_err(failed("starting a thread"))?;
        Ok(ServerHandle { shared, ended, addresses: self.addresses.into() })
    }
}

/// Takes a panicked worker's place until the server has drained: whoever is sent there is closed, so that nobody hangs.
fn outlive(shared: &Shared, worker: u16) {
    tracing::error!(worker, "a worker panicked; the server drains");
    shared.drain();
    shared.inboxes[usize::from(worker)].discard_until_stopped();
}

/// A running server. Clone it freely; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
    ended: Arc<Ended>,
    addresses: Arc<[Listen]>,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// Exchanges that were cut because the drain took too long, or because of [`ServerHandle::cut`].
    pub cut: usize,
}

impl ServerHandle {
    /// The bound addresses, with the ports that the system chose.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Closes the listeners, tells all who wait why they are let go, and has the server end with its last exchange.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Drains, and ends the exchanges that still run.
    pub fn cut(&self) {
        self.shared.drain();
        self.shared.cut();
    }

    /// Blocks until the server has ended. It does so only after a [drain](Self::drain).
    pub fn join(&self) -> Ending {
        let mut ending = self.ended.ending.lock();
        loop {
            match *ending {
                Some(ending) => return ending,
                None => self.ended.changed.wait(&mut ending),
            }
        }
    }

    /// How its exchanges stand.
    pub fn counts(&self) -> Counts {
        self.shared.broker.counts()
    }

    /// What else it has counted.
    pub fn stats(&self) -> Stats {
        self.shared.counters.stats()
    }

    /// The exchanges that run, oldest first.
    pub fn exchanges(&self) -> Vec<ExchangeHandle> {
        self.shared.broker.exchanges()
    }

    /// Exchanges' events from now on; see [`Broker::subscribe`].
    pub fn subscribe(&self, capacity: usize) -> Receiver<Event> {
        self.shared.broker.subscribe(capacity)
    }
}

#[derive(Debug, Default)]
struct Ended {
    ending: Mutex<Option<Ending>>,
    changed: Condvar,
}

/// Sees a drain through.
struct Supervisor {
    shared: Arc<Shared>,
    drains: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
    ended: Arc<Ended>,
}

impl Supervisor {
    fn run(self) {
        // An error would be that no sender is left; the shared state, which is held here, has one.
        self.drains.recv().ok();
        let started = Instant::now();
        let shared = &self.shared;
        shared.broadcast(|| Message::CloseDoors);
        let (released, drained) = shared.broker.drain();
        tracing::info!(
            waiting = released.len(),
            exchanging = shared.broker.counts().exchanging,
            "draining"
        );
        for address in released {
            shared.inboxes[usize::from(address.worker)].send(Message::Release(address.slot));
        }
        let deadline = shared.config.drain_timeout.map(|timeout| started + timeout);
        if wait_for(&drained, deadline) > 0 {
            shared.cut();
            drained.wait_until(None);
        }
        shared.broadcast(|| Message::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        let cut = shared.counters.cut();
        tracing::info!(cut, seconds = started.elapsed().as_secs_f64(), "drained");
        *self.ended.ending.lock() = Some(Ending { cut });
        self.ended.changed.notify_all();
    }
}

/// Waits for the last exchange, and says once a second how many still run. Gives how many do at the deadline.
fn wait_for(drained: &Drained, deadline: Option<Instant>) -> usize {
    loop {
        let tick = Instant::now() + Duration::from_secs(1);
        let exchanging =
            drained.wait_until(Some(deadline.map_or(tick, |deadline| deadline.min(tick))));
        if exchanging == 0 || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return exchanging;
        }
        tracing::info!(exchanging, "draining");
    }
}
