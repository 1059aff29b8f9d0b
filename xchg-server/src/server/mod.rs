//! From a configuration to a running server, and to its end.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it brings clock and poll to the workers"
)]

mod handle;
mod waiters;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use mio::Poll;
use xchg_core::{Broker, Drained};

use handle::{Course, Stage};

use crate::access::{Gate, Store};
use crate::admin;
use crate::engine::Engine;
use crate::engine::pulse::{LOOK, Watch};
use crate::engine::shared::{Inbox, Message, Shared};
use crate::engine::waiter::Heir;
use crate::origin;
use crate::system::descriptors::Descriptors;
use crate::system::listener::{self, Listener};
use crate::system::open_socket::OpenSocket;
use crate::system::{self, Secured, System, SystemSocket, WAKER, process};
use crate::tls::{self, Files};
use crate::watch::{Look, Watcher};
use crate::{Config, Error, Listen, ListenAddress, LogAddresses};

pub use handle::{Ending, ServerHandle};
pub use waiters::Waiters;

/// Where the word to drain comes out.
type Drains = Receiver<Option<Heir<SystemSocket>>>;

/// A server whose addresses are bound and not yet served.
#[derive(Debug)]
#[must_use = "nobody is served before Server::start is called"]
pub struct Server {
    config: Config,
    addresses: Vec<ListenAddress>,
    /// For each worker.
    listeners: Vec<Vec<Listener>>,
    admin_addresses: Vec<ListenAddress>,
    admin: Vec<Listener>,
    tokens: Option<Arc<Store>>,
    certificates: Option<Arc<tls::Store>>,
}

impl Server {
    /// Binds the addresses of `config`. Peers may connect from now on; they are served from
    /// [`start`](Self::start).
    ///
    /// # Errors
    /// [`Error::Config`] if a setting has no sense, [`Error::Listen`] if an address cannot be had.
    pub fn bind(config: Config) -> Result<Self, Error> {
        Self::bind_with(config, Vec::new())
    }

    /// As [`bind`](Self::bind), but takes `open` sockets for those addresses of [`Config::listen`]
    /// that they are bound to. Several may be of one address.
    ///
    /// The options of `config` are set on them. If somebody else holds one too, as a service
    /// manager does, then peers that come once this server [drains](ServerHandle::drain) wait there
    /// for the next one.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); [`Error::Config`] also if `config` names no such address as one of
    /// them has.
    pub fn bind_with(config: Config, mut open: Vec<OpenSocket>) -> Result<Self, Error> {
        config.check()?;
        listener::check_congestion(&config)?;
        let tokens = match config.token_file.as_deref().map(Store::open).transpose() {
            Ok(tokens) => tokens.map(Arc::new),
            Err(mistakes) => return Err(mistakes.into_iter().next().expect("it says why")),
        };
        let certificates = Files::of(&config).map(tls::Store::open).transpose()?.map(Arc::new);
        let mut addresses = Vec::new();
        let mut listeners: Vec<Vec<Listener>> = (0..config.workers).map(|_| Vec::new()).collect();
        for index in 0..config.listen.len() {
            let (address, opened) = listener::open(&config, index, &mut open)?;
            addresses.push(address);
            for (offset, listener) in opened.into_iter().enumerate() {
                // A single socket of several addresses goes to another worker each.
                listeners[(index + offset) % config.workers].push(listener);
            }
        }
        if let Some(left) = open.first() {
            let why = format!(
                "a socket of {} was passed, and no entry is for it: add that address, or name none",
                left.address()
            );
            return Err(Error::Config { setting: "listen", why });
        }
        let admin = (0..config.admin.len()).map(|index| listener::open_admin(&config, index));
        let admin = admin.collect::<Result<Vec<_>, _>>()?;
        let (admin_addresses, admin) = admin.into_iter().unzip();
        Ok(Self { config, addresses, listeners, admin_addresses, admin, tokens, certificates })
    }

    /// The bound addresses, with the ports that the system chose.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The bound [`admin`](Config::admin) addresses, with the ports that the system chose.
    pub fn admin_addresses(&self) -> &[ListenAddress] {
        &self.admin_addresses
    }

    /// The files that are read again whenever they change.
    pub fn watched_files(&self) -> impl Iterator<Item = &Path> {
        let Config { token_file, tls_cert, tls_key, client_ca, .. } = &self.config;
        [token_file, tls_cert, tls_key, client_ca].into_iter().filter_map(Option::as_deref)
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`Error::System`] if the operating system refuses a poll or a thread; nothing runs then, and
    /// nothing listens any more.
    pub fn start(self) -> Result<ServerHandle, Error> {
        self.start_with(Waiters::default())
    }

    /// Starts the workers, who go on with peers that [waited](ServerHandle::release) at another
    /// server in this process, before any that come.
    ///
    /// They say and hear nothing of it, and pair in the order in which they came. What holds for
    /// them from now on is this server's: whoever has come to an address that is not among this
    /// server's, and of whose rules none of them is, or for whom its limits have no room, is told
    /// so and let go. [Pass](Self::bind_with) the same sockets to both servers, and nobody who
    /// comes in between is kept out.
    ///
    /// # Errors
    /// As [`start`](Self::start): the connections are closed then.
    ///
    /// ```
    /// use std::net::TcpListener;
    ///
    /// use xchg_server::{Config, OpenSocket, Server};
    ///
    /// let socket = TcpListener::bind("127.0.0.1:0")?;
    /// let bind = |workers| -> Result<Server, Box<dyn std::error::Error>> {
    ///     let open = OpenSocket::new(socket.try_clone()?)?;
    ///     let listen = vec![open.address().clone().into()];
    ///     Ok(Server::bind_with(Config { listen, workers, ..Config::default() }, vec![open])?)
    /// };
    /// let old = bind(1)?.start()?;
    ///
    /// let next = bind(2)?;
    /// let new = next.start_with(old.release())?;
    /// old.join();
    /// # new.cut();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_with(self, waiters: Waiters) -> Result<ServerHandle, Error> {
        self.start_under(waiters, see_through)
    }

    /// Starts the workers, under a supervisor that does `work`.
    fn start_under(
        self,
        waiters: Waiters,
        work: fn(Crew, &Drains, &Course),
    ) -> Result<ServerHandle, Error> {
        let failed = |doing| move |source| Error::System { doing, source };
        process::note_start();
        let polls = (0..self.config.workers)
            .map(|_| Poll::new())
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed("making a poll"))?;
        let inboxes = polls
            .iter()
            .map(|poll| {
                let waker = mio::Waker::new(poll.registry(), WAKER)?;
                Ok(Inbox::new(Box::new(move || waker.wake())))
            })
            .collect::<io::Result<_>>()
            .map_err(failed("making a waker"))?;
        let mut listeners: usize = self.listeners.iter().map(Vec::len).sum();
        if !self.admin.is_empty() {
            listeners += self.admin.len() + admin::DESCRIPTORS;
        }
        let descriptors = Descriptors::here(self.config.workers, listeners);
        let (mut shared, drains) =
            Shared::new(self.config, descriptors, inboxes, Broker::new, Instant::now());
        shared.gate = Gate::new(shared.config.token.clone(), self.tokens.clone());
        shared.certificates = self.certificates;
        shared.failed_uploads = waiters.failed_uploads.clone();
        let shared = Arc::new(shared);
        let secured = shared.certificates.as_ref();
        let secured = secured.map(|store| Secured::new(&shared.config, store));
        let mut workers = polls
            .into_iter()
            .zip(self.listeners)
            .zip(0..)
            .map(|((poll, listeners), index)| {
                let system = System::new(&poll, listeners, secured.clone())?;
                Ok((Engine::new(index, system, shared.clone(), Instant::now()), poll))
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed("watching the listeners"))?;
        let tokens = self.tokens.map(|tokens| Box::new(move || tokens.look()) as Look);
        let certificates = shared.certificates.clone().inspect(|store| store.tell());
        let certificates =
            certificates.map(|store| Box::new(move || store.look(SystemTime::now())) as Look);
        let looks = tokens.into_iter().chain(certificates).collect();
        let watcher = Watcher::start(looks).map_err(failed("starting a thread"))?;
        let rules = shared.config.listen.iter().cloned();
        let listened: Vec<_> = self.addresses.iter().cloned().zip(rules).collect();
        take_in(&mut workers, waiters, &listened, shared.config.log_addresses);
        let mut crew = Crew { shared: shared.clone(), threads: Vec::new(), _watcher: watcher };
        for (worker, poll) in workers {
            crew.add(worker, poll).map_err(failed("starting a thread"))?;
        }
        let admin = if self.admin.is_empty() {
            None
        } else {
            Some(
                admin::Service::start(shared.clone(), self.admin)
                    .map_err(failed("starting the admin listener"))?,
            )
        };
        let course = Arc::new(Course::default());
        let told = course.clone();
        thread::Builder::new()
            .name("xchg-supervisor".to_owned())
            .spawn(move || supervise(crew, admin, &told, |crew| work(crew, &drains, &told)))
            .map_err(failed("starting a thread"))?;
        let (addresses, admin_addresses) = (self.addresses.into(), self.admin_addresses.into());
        Ok(ServerHandle { shared, course, addresses, admin_addresses })
    }
}

/// Has workers go on with those who waited elsewhere, each with as many as any other: in their
/// order, and while nobody else comes.
fn take_in(
    workers: &mut [(Engine<System>, Poll)],
    mut waiters: Waiters,
    listened: &[(ListenAddress, Listen)],
    show: LogAddresses,
) {
    // Who is let go of here is logged by this thread.
    origin::show(show);
    let places = waiters.places(listened);
    for (number, waiter) in waiters.waiters.drain(..).enumerate() {
        let place = places[usize::from(waiter.listener())];
        workers[number % workers.len()].0.take_in(waiter, place);
    }
}

/// The workers' threads. Dropped, they are stopped: whoever cannot start all of them has none.
struct Crew {
    shared: Arc<Shared<SystemSocket>>,
    threads: Vec<JoinHandle<()>>,
    /// Looks at files for as long as there is a crew.
    _watcher: Watcher,
}

impl Crew {
    fn add(&mut self, worker: Engine<System>, poll: Poll) -> io::Result<()> {
        let index = self.threads.len();
        let shared = self.shared.clone();
        let run = move || {
            origin::show(shared.config.log_addresses);
            // Unwind safe: what the panic may have broken is the worker's, and goes with it.
            if catch_unwind(AssertUnwindSafe(|| system::drive(worker, poll))).is_err() {
                outlive(&shared, index);
            }
        };
        self.threads.push(thread::Builder::new().name(format!("xchg-worker-{index}")).spawn(run)?);
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // First: a worker that panics with the message in its hands gets no other.
        self.shared.stops.store(true, Ordering::Release);
        self.shared.broadcast(|| Message::CloseDoors);
        self.shared.broadcast(|| Message::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.note_panic();
            }
        }
    }
}

/// Takes a panicked worker's place until the server has drained: whoever is sent there is closed,
/// so that nobody hangs.
fn outlive(shared: &Shared<SystemSocket>, worker: usize) {
    shared.note_panic();
    shared.drain(Instant::now());
    tracing::error!(worker, "a worker panicked; the server drains");
    if !shared.stops.load(Ordering::Acquire) {
        shared.inboxes[worker].discard_until_stopped();
    }
}

/// How long the workers have to end exchanges that are cut.
const CUTTING_TIMEOUT: Duration = Duration::from_secs(10);

/// Has `work` see the drain through, and says how the server ended, whatever comes of that: nobody
/// shall wait for it for ever.
fn supervise(crew: Crew, admin: Option<admin::Service>, course: &Course, work: impl FnOnce(Crew)) {
    let shared = crew.shared.clone();
    // Unwind safe: the crew is gone with the panic, and stopped.
    if catch_unwind(AssertUnwindSafe(|| work(crew))).is_err() {
        shared.note_panic();
    }
    // Whoever follows the drain there has seen all of it.
    drop(admin);
    let ending = Ending { cut: shared.counters.cut(), has_panicked: shared.has_panicked() };
    course.comes_to(Stage::Ended(ending));
}

/// Waits for the word to drain, and for the last exchange; ends those that take too long, and the
/// workers.
fn see_through(crew: Crew, drains: &Drains, course: &Course) {
    let shared = crew.shared.clone();
    let mut watch = Watch::default();
    let heir = loop {
        match drains.recv_timeout(LOOK) {
            Ok(heir) => break heir,
            Err(RecvTimeoutError::Timeout) => watch.look(&shared.pulses),
            // It cannot be: the shared state, which is held here, has a sender.
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    let started = Instant::now();
    shared.broadcast(|| Message::CloseDoors);
    let (released, drained) = shared.broker.drain();
    // Whoever is told of it finds it so.
    course.comes_to(Stage::Drains);
    let (waiting, exchanging) = (released.len(), shared.broker.counts().exchanging);
    tracing::info!(waiting, exchanging, "draining");
    shared.release(released, heir);
    let deadline = || shared.drain_timeout().map(|timeout| started + timeout);
    if wait_for(&drained, deadline, || watch.look(&shared.pulses)) > 0 {
        shared.cut();
        drained.wait_until(Some(Instant::now() + CUTTING_TIMEOUT));
    }
    drop(crew);
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(cut = shared.counters.cut(), seconds, "drained");
}

/// Waits for the last exchange, and says once a second how many still run; does `look` then. Gives
/// how many do at the deadline.
fn wait_for(
    drained: &Drained,
    deadline: impl Fn() -> Option<Instant>,
    mut look: impl FnMut(),
) -> usize {
    loop {
        let deadline = deadline();
        let tick = Instant::now() + LOOK;
        let exchanging =
            drained.wait_until(Some(deadline.map_or(tick, |deadline| deadline.min(tick))));
        if exchanging == 0 || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return exchanging;
        }
        tracing::info!(exchanging, "draining");
        look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        Server::bind(Config { listen, workers: 2, ..Config::default() }).unwrap()
    }

    #[test]
    fn the_end_is_told_also_when_the_supervisor_panics() {
        let started =
            server().start_under(Waiters::default(), |_, _, _| panic!("on purpose")).unwrap();
        assert_eq!(started.join(), Ending { cut: 0, has_panicked: true });
        // The supervisor itself lets go of it only after that.
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&started.shared) > 1 {
            assert!(Instant::now() < deadline, "the workers are stopped, and hold nothing");
            thread::yield_now();
        }
    }
}
