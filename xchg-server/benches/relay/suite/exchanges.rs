//! The generator of small exchanges.
//!
//! One thread with one event loop plays all peers, so that the generator takes one processor at
//! most. An exchange begins before its uploader connects and ends when its downloader has seen the
//! end of the stream. The uploader sends greeting and payload in one call and closes; a downloader
//! that dials does so after its uploader. With one write a connection there is nothing for Nagle's
//! algorithm to delay, so it is left alone.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use slab::Slab;

use super::failure::{During, Failure, Result};
use super::poller::{Interest, Poller};
use super::route::{GREETING_BYTES, Route, STALLED, Side};
use super::statistics::percentile;

/// Bytes of payload in an exchange. The first four hold the exchange's serial number.
pub(crate) const PAYLOAD_BYTES: usize = 1024;

/// Starts exchanges for `window`, keeping `in_flight` of them under way, and sees all of them to
/// their end.
///
/// # Errors
/// Not one exchange succeeds, or the benchmark's own calls fail.
pub(crate) fn run(route: &Route, in_flight: usize, window: Duration) -> Result<Finished> {
    let mut engine = Engine::new(route)?;
    let begin = Instant::now();
    while !engine.under_way.is_empty() || begin.elapsed() < window {
        while engine.under_way.len() < in_flight && begin.elapsed() < window {
            engine.start_exchange()?;
        }
        engine.turn()?;
    }
    let elapsed = begin.elapsed();
    let Engine { mut latencies, failed, first_failure, .. } = engine;
    if let (true, Some(failure)) = (latencies.is_empty(), first_failure) {
        return Err(failure).during("every exchange failed");
    }
    latencies.sort_unstable();
    Ok(Finished { latencies, failed, elapsed })
}

/// What became of the exchanges.
pub(crate) struct Finished {
    /// Of each whole exchange, in nanoseconds, ascending.
    latencies: Vec<u64>,
    pub(crate) failed: usize,
    elapsed: Duration,
}

impl Finished {
    /// Whole exchanges.
    pub(crate) fn count(&self) -> f64 {
        self.latencies.len() as f64
    }

    /// Whole exchanges a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64()
    }

    /// What so many thousandths of the exchanges took at most, in microseconds.
    pub(crate) fn latency_us(&self, permille: usize) -> f64 {
        percentile(&self.latencies, permille) as f64 / 1e3
    }
}

/// Token of the listener; connections have theirs from 0.
const LISTENER: u64 = u64::MAX;

struct Engine<'a> {
    route: &'a Route,
    poller: Poller,
    /// Those that wait for something.
    connections: Slab<Connection>,
    words: Words,
    /// Beginning of each exchange, by serial number.
    under_way: HashMap<u32, Instant>,
    next_check: Instant,
    latencies: Vec<u64>,
    failed: usize,
    first_failure: Option<Failure>,
}

impl<'a> Engine<'a> {
    fn new(route: &'a Route) -> Result<Self> {
        let poller = Poller::new().during("cannot create an event loop")?;
        if let Some(listener) = route.listener() {
            poller
                .add(listener, LISTENER, Interest::Readable)
                .during("cannot watch the listener")?;
        }
        Ok(Self {
            route,
            poller,
            connections: Slab::new(),
            words: Words::new(route.is_paired()),
            under_way: HashMap::new(),
            next_check: Instant::now() + STALLED,
            latencies: Vec::new(),
            failed: 0,
            first_failure: None,
        })
    }

    fn start_exchange(&mut self) -> Result<()> {
        let serial = self.route.next_serial();
        self.under_way.insert(serial, Instant::now());
        self.dial(Side::Upload, serial)?;
        if self.route.is_paired() { self.dial(Side::Download, serial) } else { Ok(()) }
    }

    fn dial(&mut self, side: Side, serial: u32) -> Result<()> {
        match self.route.dial() {
            Ok(socket) => self.begin(Connection::new(socket, side, Some(serial))),
            Err(error) => {
                self.fail(serial, Err(error).during("cannot connect"));
                Ok(())
            }
        }
    }

    /// Does what can be done at once, and has the rest waited for.
    fn begin(&mut self, mut connection: Connection) -> Result<()> {
        match connection.progress(&mut self.words) {
            Ok(Progress::Awaits(interest)) => {
                connection.awaited = interest;
                let entry = self.connections.vacant_entry();
                self.poller
                    .add(&connection.socket, entry.key() as u64, interest)
                    .during("cannot watch a peer")?;
                entry.insert(connection);
            }
            Ok(Progress::Ended) => self.end(&connection),
            Err(error) => self.break_off(&connection, error),
        }
        Ok(())
    }

    /// Waits for events and deals with them.
    fn turn(&mut self) -> Result<()> {
        let mut ready = Vec::with_capacity(256);
        self.poller.wait(Duration::from_secs(1), &mut ready).during("cannot wait for events")?;
        for token in ready {
            if token == LISTENER { self.accept_all()? } else { self.resume(token)? }
        }
        if Instant::now() > self.next_check {
            self.give_up_the_stalled();
        }
        Ok(())
    }

    fn accept_all(&mut self) -> Result<()> {
        let Some(listener) = self.route.listener() else { return Ok(()) };
        loop {
            match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.begin(Connection::new(socket, Side::Download, None))?,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).during("cannot accept"),
            }
        }
    }

    fn resume(&mut self, token: u64) -> Result<()> {
        let index = usize::try_from(token).expect("tokens were made from indices");
        let connection = &mut self.connections[index];
        match connection.progress(&mut self.words) {
            Ok(Progress::Awaits(interest)) if interest == connection.awaited => {}
            Ok(Progress::Awaits(interest)) => {
                connection.awaited = interest;
                self.poller
                    .change(&connection.socket, token, interest)
                    .during("cannot watch a peer")?;
            }
            Ok(Progress::Ended) => {
                let connection = self.connections.remove(index);
                self.end(&connection);
            }
            Err(error) => {
                let connection = self.connections.remove(index);
                self.break_off(&connection, error);
            }
        }
        Ok(())
    }

    /// An uploader that has sent all just closes; a downloader's end is the exchange's.
    fn end(&mut self, connection: &Connection) {
        if connection.side == Side::Upload {
            return;
        }
        let serial = u32::from_be_bytes(connection.head);
        let own = connection.serial.unwrap_or(serial);
        if own != serial || connection.received != PAYLOAD_BYTES {
            let what = format!(
                "{} bytes of exchange {serial} arrived in exchange {own}",
                connection.received
            );
            self.fail(own, Err(Failure::new(what)));
        } else if let Some(begin) = self.under_way.remove(&serial) {
            self.latencies.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn break_off(&mut self, connection: &Connection, error: Errno) {
        if let Some(serial) = connection.serial {
            self.fail(
                serial,
                Err(error).during(format_args!("{:?} side broke off", connection.side)),
            );
        }
    }

    fn give_up_the_stalled(&mut self) {
        let stalled: Vec<u32> = self
            .under_way
            .iter()
            .filter(|(_, begin)| begin.elapsed() > STALLED)
            .map(|(serial, _)| *serial)
            .collect();
        for serial in stalled {
            self.fail(serial, Err(Failure::new(format!("nothing arrived within {STALLED:?}"))));
        }
        self.next_check = Instant::now() + Duration::from_secs(1);
    }

    fn fail(&mut self, serial: u32, why: Result<()>) {
        if self.under_way.remove(&serial).is_some() {
            self.failed += 1;
            self.first_failure = self.first_failure.take().or(why.err());
        }
    }
}

/// What peers say, composed in one place, and room for what they hear.
struct Words {
    spoken: [u8; GREETING_BYTES + PAYLOAD_BYTES],
    heard: [u8; 2 * PAYLOAD_BYTES],
    greet: bool,
}

impl Words {
    fn new(greet: bool) -> Self {
        Self {
            spoken: [b'x'; GREETING_BYTES + PAYLOAD_BYTES],
            heard: [0; 2 * PAYLOAD_BYTES],
            greet,
        }
    }

    /// All that the peer of `side` says: a greeting if the server wants one, and an uploader the
    /// payload.
    fn of(&mut self, side: Side, serial: u32) -> &[u8] {
        let (greeting, payload) = self.spoken.split_at_mut(GREETING_BYTES);
        greeting.copy_from_slice(&Route::greeting(side, serial));
        payload[..4].copy_from_slice(&serial.to_be_bytes());
        let begin = if self.greet { 0 } else { GREETING_BYTES };
        let end = if side == Side::Upload { self.spoken.len() } else { GREETING_BYTES };
        &self.spoken[begin..end]
    }
}

struct Connection {
    socket: OwnedFd,
    side: Side,
    /// Of its exchange; one that arrived from a forwarder learns it from the payload only.
    serial: Option<u32>,
    awaited: Interest,
    sent: usize,
    received: usize,
    /// First bytes received.
    head: [u8; 4],
}

enum Progress {
    Awaits(Interest),
    Ended,
}

impl Connection {
    fn new(socket: OwnedFd, side: Side, serial: Option<u32>) -> Self {
        Self {
            socket,
            side,
            serial,
            awaited: Interest::Readable,
            sent: 0,
            received: 0,
            head: [0; 4],
        }
    }

    /// Says what is left to say, then listens to the end if it is a downloader.
    fn progress(&mut self, words: &mut Words) -> rustix::io::Result<Progress> {
        let unsent =
            self.serial.map_or(&[][..], |serial| &words.of(self.side, serial)[self.sent..]);
        if unsent.is_empty() {
            return self.listen(&mut words.heard);
        }
        match send(&self.socket, unsent, SendFlags::NOSIGNAL) {
            Ok(count) if count < unsent.len() => {
                self.sent += count;
                Ok(Progress::Awaits(Interest::Writable))
            }
            Ok(_) if self.side == Side::Upload => Ok(Progress::Ended),
            Ok(count) => {
                self.sent += count;
                Ok(Progress::Awaits(Interest::Readable))
            }
            Err(Errno::AGAIN) => Ok(Progress::Awaits(Interest::Writable)),
            Err(error) => Err(error),
        }
    }

    fn listen(&mut self, heard: &mut [u8]) -> rustix::io::Result<Progress> {
        loop {
            match recv(&self.socket, &mut *heard, RecvFlags::empty()) {
                Ok((_, 0)) => return Ok(Progress::Ended),
                Ok((_, count)) => {
                    let missing = &mut self.head[self.received.min(4)..];
                    missing
                        .iter_mut()
                        .zip(&heard[..count])
                        .for_each(|(byte, heard)| *byte = *heard);
                    self.received += count;
                }
                Err(Errno::AGAIN) => return Ok(Progress::Awaits(Interest::Readable)),
                Err(error) => return Err(error),
            }
        }
    }
}
