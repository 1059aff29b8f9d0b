//! What is held of a running server: to ask it, to drain it, and to wait for its end.

#![expect(clippy::disallowed_methods, reason = "a drain begins when somebody asks for it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use xchg_core::{Counts, Events, ExchangeHandle};

use super::waiters::Waiters;
use crate::engine::shared::{Shared, Stats};
use crate::metrics::Metrics;
use crate::system::SystemSocket;
use crate::{ListenAddress, MetricsFormat};

/// A running server. Clone it freely; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    pub(super) shared: Arc<Shared<SystemSocket>>,
    pub(super) course: Arc<Course>,
    pub(super) addresses: Arc<[ListenAddress]>,
    pub(super) admin_addresses: Arc<[ListenAddress]>,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// Exchanges that were cut because the drain took too long, or because of
    /// [`ServerHandle::cut`].
    pub cut: usize,
    /// Whether a thread of the server panicked, which is a mistake in it. The server then drains by
    /// itself, within a minute.
    pub has_panicked: bool,
}

impl ServerHandle {
    /// The bound addresses, with the ports that the system chose.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The bound [`admin`](crate::Config::admin) addresses, with the ports that the system chose.
    pub fn admin_addresses(&self) -> &[ListenAddress] {
        &self.admin_addresses
    }

    /// Closes the listeners, tells all who wait why they are let go, and has the server end with
    /// its last exchange.
    pub fn drain(&self) {
        self.shared.drain(Instant::now());
    }

    /// [Drains](Self::drain), but gives those who wait to the caller instead of letting them go:
    /// [another server](crate::Server::start_with) in this process can go on with them, and they
    /// do not notice. Blocks until all workers have given out theirs and closed their listeners.
    ///
    /// Exchanges that run finish here. Whoever has not said yet what it wants, or has its next
    /// request still to make, stays here too, and is told of the drain once it does. Nobody is
    /// given out if a drain has begun before.
    pub fn release(&self) -> Waiters {
        let (heir, waiters) = crossbeam_channel::unbounded();
        self.shared.drain_for(Some(heir), Instant::now());
        // It ends when the last worker has dropped its sender.
        let mut numbered: Vec<_> = waiters.iter().collect();
        numbered.sort_unstable_by_key(|&(number, _)| number);
        let listen = self.shared.config.listen.iter().cloned();
        Waiters {
            waiters: numbered.into_iter().map(|(_, waiter)| waiter).collect(),
            listened: self.addresses.iter().cloned().zip(listen).collect(),
            failed_uploads: self.shared.failed_uploads.clone(),
        }
    }

    /// Drains, and ends the exchanges that still run.
    pub fn cut(&self) {
        self.shared.drain(Instant::now());
        self.shared.cut();
    }

    /// Blocks until the server has ended. It does so only after a [drain](Self::drain), or after a
    /// panic of its own.
    pub fn join(&self) -> Ending {
        let mut stage = self.course.stage.lock();
        loop {
            match *stage {
                Stage::Ended(ending) => return ending,
                _ => self.course.changed.wait(&mut stage),
            }
        }
    }

    /// As [`join`](Self::join), but blocks for so long at most. `None` means that the server has
    /// not ended.
    pub fn join_timeout(&self, timeout: Duration) -> Option<Ending> {
        let mut stage = self.course.stage.lock();
        let runs = |stage: &mut Stage| !matches!(stage, Stage::Ended(_));
        self.course.changed.wait_while_for(&mut stage, runs, timeout);
        match *stage {
            Stage::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    /// Blocks until a drain has begun, whoever asked for it, or for so long. Gives whether one has.
    pub fn wait_for_drain(&self, timeout: Duration) -> bool {
        let mut stage = self.course.stage.lock();
        let serves = |stage: &mut Stage| matches!(stage, Stage::Serves);
        !self.course.changed.wait_while_for(&mut stage, serves, timeout).timed_out()
    }

    /// How its exchanges stand.
    pub fn counts(&self) -> Counts {
        self.shared.broker.counts()
    }

    /// What else it has counted.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// All that it has counted, as a page that Prometheus reads: what the
    /// [`admin`](crate::Config::admin) listener serves as `/metrics`.
    pub fn metrics(&self, format: MetricsFormat) -> String {
        Metrics::new(self.shared.clone()).text(format)
    }

    /// What keeps it from serving as it should, in words: a thread has panicked, or a worker has
    /// not turned for 5 seconds. `None` if it is well.
    pub fn illness(&self) -> Option<String> {
        self.shared.illness()
    }

    /// The exchanges that run, oldest first.
    pub fn exchanges(&self) -> Vec<ExchangeHandle> {
        self.shared.broker.exchanges()
    }

    /// Exchanges' events from now on; see [`Broker::subscribe`](xchg_core::Broker::subscribe).
    pub fn subscribe(&self, capacity: usize) -> Events {
        self.shared.broker.subscribe(capacity)
    }
}

/// How far a server has come, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Course {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) enum Stage {
    #[default]
    Serves,
    Drains,
    Ended(Ending),
}

impl Course {
    pub(super) fn comes_to(&self, stage: Stage) {
        *self.stage.lock() = stage;
        self.changed.notify_all();
    }
}
