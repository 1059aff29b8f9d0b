//! What the tests on real sockets share: servers in the process and as processes of their own, and
//! raw peers.
//!
//! Nothing here waits without end: sockets, events and processes all have [`DEADLINE`].

mod brake;
mod peer;
mod process;
mod tls;

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

use xchg_core::{Counts, Event, Events, ExchangeHandle, Outcome};
use xchg_server::{Config, Listen, ListenAddress, Server, ServerHandle};

pub(crate) use brake::Brake;
pub(crate) use peer::{Peer, assert_lost, classic_greeting, offer};
pub(crate) use process::{Exit, Process};
pub(crate) use tls::{Authority, TlsStream, tls};

/// How long a test waits for what must happen at once: far longer than a loaded machine takes, and
/// then it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Settings for tests: a port of the system's choice, and two workers, so that peers of different
/// workers meet.
pub(crate) fn config() -> Config {
    Config { listen: vec![loopback()], workers: 2, ..Config::default() }
}

/// Loopback, with a port of the system's choice.
pub(crate) fn loopback() -> Listen {
    "127.0.0.1:0".parse().unwrap()
}

/// A server in this process, cut when it goes out of scope.
pub(crate) struct InProcess {
    handle: ServerHandle,
    events: Events,
}

impl InProcess {
    pub(crate) fn start(config: Config) -> Self {
        Self::of(Server::bind(config).unwrap().start().unwrap())
    }

    /// One that runs already.
    pub(crate) fn of(handle: ServerHandle) -> Self {
        let events = handle.subscribe(10_000);
        Self { handle, events }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        tcp(&self.handle.addresses()[0])
    }

    /// Blocks until `holds` does of the counts.
    pub(crate) fn await_counts(&self, what: &str, holds: impl Fn(&Counts) -> bool) {
        eventually(what, || holds(&self.handle.counts()));
    }

    /// Blocks until so many peers wait.
    pub(crate) fn await_waiting(&self, count: u64) {
        self.await_counts(&format!("{count} peers wait"), |counts| counts.waiting == count);
    }

    /// The exchanges' events since the start, less those that were looked at.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// The exchange that is next to start.
    pub(crate) fn next_exchange(&self) -> ExchangeHandle {
        loop {
            match self.events.recv_timeout(DEADLINE).expect("an exchange must start") {
                Event::Started(handle) => return handle,
                _ => continue,
            }
        }
    }

    /// The outcome of the exchange that is next to end, and the bytes it has moved.
    pub(crate) fn next_outcome(&self) -> (Outcome, u64) {
        loop {
            match self.events.recv_timeout(DEADLINE).expect("an exchange must end") {
                Event::Ended(_, ended) => return (ended.outcome, ended.bytes),
                _ => continue,
            }
        }
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::start(config())
    }
}

impl Deref for InProcess {
    type Target = ServerHandle;

    fn deref(&self) -> &ServerHandle {
        &self.handle
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.handle.cut();
    }
}

/// The socket address of a TCP listener.
pub(crate) fn tcp(address: &ListenAddress) -> SocketAddr {
    match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

/// Blocks until `holds` does. For what gives no event that could be waited for.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "in vain awaited: {what}");
        std::thread::park_timeout(Duration::from_micros(500));
    }
}

/// Bytes that look random, the same for the same seed.
pub(crate) fn payload(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.next().to_le_bytes())
        .take(len.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(len);
    bytes
}

/// `SplitMix64`: small, and good enough to tell any two positions of a stream apart.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
