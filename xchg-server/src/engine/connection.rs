//! A connection's states: greeting, then waiting, then exchanging; or leaving, with a last word. An
//! http connection may greet again once it has been answered.

use std::io;

use xchg_core::relay::{Sink, Source};
use xchg_core::{Key, Place};

use crate::dialect::{Dialect, Voice};
use crate::engine::admission::Standing;
use crate::engine::bearers::Bearer;
use crate::engine::net::{Accepted, Readiness, Transport};
use crate::engine::secure::Securing;
use crate::engine::stream::Stream;
use crate::engine::timers::{Far, Soon, Tick};
use crate::origin::Origin;

/// One peer's connection, owned by one worker.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    pub(crate) stream: Stream<T>,
    /// Tells this use of the worker's table entry from others.
    pub(crate) serial: u32,
    pub(crate) origin: Origin,
    /// The number of the listener that it came to, which says what it may speak.
    pub(crate) listener: u8,
    pub(crate) standing: Standing,
    pub(crate) voice: Voice,
    /// How many requests it has made, if it may make several.
    pub(crate) requests: u8,
    pub(crate) state: State,
    /// When the state is over, and when the worker's timer next looks.
    pub(crate) deadline: Soon,
    pub(crate) armed: Soon,
}

#[derive(Debug)]
pub(crate) enum State {
    /// What has been heard so far.
    Greeting(Box<[u8]>),
    /// Shaking hands: what it says is within a layer. Boxed, for it is short.
    Securing(Box<Securing>),
    /// Heard, and understood only if nothing follows for a moment. Boxed, for it is rare and short.
    Undecided(Box<Undecided>),
    Waiting(Waiting),
    /// In an exchange.
    Exchanging {
        exchange: u32,
    },
    /// Boxed, as a reply is: both are rare and short, and many wait.
    Leaving(Box<Leaving>),
    /// Being answered, with another request to come.
    Replying(Box<Reply>),
}

impl Default for State {
    fn default() -> Self {
        Self::Greeting(Box::default())
    }
}

impl State {
    /// What has been heard so far of one that greets.
    pub(crate) fn heard(&mut self) -> Option<&mut Box<[u8]>> {
        match self {
            Self::Greeting(heard) => Some(heard),
            Self::Undecided(said) => Some(&mut said.heard),
            _ => None,
        }
    }
}

/// What a peer has said that may be a whole greeting or the beginning of something else.
#[derive(Debug)]
pub(crate) struct Undecided {
    pub(crate) heard: Box<[u8]>,
    /// What it speaks if it has said all.
    pub(crate) dialect: Dialect,
    /// When the greeting must have been made, if it goes on.
    pub(crate) greeting_by: Soon,
}

/// A peer that waits for its counterpart.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) expires: Far,
    /// Most bring nothing, and many wait: hence the box.
    pub(crate) brought: Option<Box<Brought>>,
    pub(crate) leaves_by_ending: bool,
}

/// What a peer has brought along with its greeting.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Bytes behind the greeting: the exchange's.
    pub(crate) early: Vec<u8>,
    /// The payload's length in bytes, where the peer said it.
    pub(crate) length: Option<u64>,
    /// The key under which a counterpart would be in the other realm, where the peer said it.
    pub(crate) twin: Option<Key>,
    /// Whose token the peer has shown.
    pub(crate) bearer: Bearer,
}

/// Whose token a peer has shown that has brought so much.
pub(crate) fn bearer(brought: &Option<Box<Brought>>) -> Bearer {
    brought.as_ref().and_then(|brought| brought.bearer.clone())
}

/// A peer that is told a last word: then a half-close, and what it still sends is read so that the
/// word is not destroyed by a reset.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    words: Vec<u8>,
    sent: usize,
    has_half_closed: bool,
    drained: usize,
}

/// An answer on its way to an http peer that may then ask again.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) words: Vec<u8>,
    pub(crate) sent: usize,
    /// What it has sent behind the request.
    pub(crate) rest: Vec<u8>,
}

impl<T: Transport> Connection<T> {
    pub(crate) fn new(accepted: Accepted<T>, standing: Standing) -> Self {
        Self {
            origin: accepted.origin,
            listener: accepted.listener,
            stream: Stream::new(accepted.transport),
            serial: 0,
            standing,
            voice: Voice::default(),
            requests: 0,
            state: State::default(),
            deadline: Soon::NEVER,
            armed: Soon::NEVER,
        }
    }

    /// By what error the peer is lost, that is still to hear something or not.
    ///
    /// A reset behind the peer's end is `EPIPE`. All that it said is here then, and only what it
    /// was still to hear is lost. So it goes with an uploader that has closed: a minute later its
    /// system knows the connection no more, and resets it when it is probed.
    pub(crate) fn lost(&self, is_to_hear: bool) -> Option<io::ErrorKind> {
        self.stream.failure().filter(|&error| is_to_hear || error != io::ErrorKind::BrokenPipe)
    }

    /// The place that it has left, if it waits and the event says so.
    pub(crate) fn left(&self, ready: Readiness) -> Option<Place> {
        let State::Waiting(waiting) = &self.state else { return None };
        let has_ended = ready.has_read_end || ready.has_write_end;
        let leaves = waiting.leaves_by_ending;
        (self.lost(leaves).is_some() || (leaves && has_ended)).then_some(waiting.place)
    }

    /// Bounds the wait of one whose end has been seen though it has not left by that: by `at`.
    /// Says whether its time is now shorter.
    pub(crate) fn on_end(&mut self, at: Tick, now: Tick) -> bool {
        match &mut self.state {
            State::Waiting(waiting) if waiting.expires.tick() > at => {
                waiting.expires = Far::of(at);
                self.deadline = Soon::of(self.deadline.tick(now).min(at), now);
                true
            }
            _ => false,
        }
    }

    /// Closes though it may not have been served: by a reset then, for a mere end would look like
    /// an empty payload to a downloader who is amid a greeting.
    pub(crate) fn let_go(self) {
        match &self.state {
            State::Leaving(_) => drop(self),
            State::Greeting(heard) if heard.is_empty() && self.requests > 0 => self.close(),
            _ => self.reset(),
        }
    }

    /// Sends words that must fit at once: a peer that has not read the few bytes before them is
    /// gone.
    pub(crate) fn say(&mut self, words: &[u8]) -> io::Result<()> {
        if words.is_empty() || self.stream.write(words)? == words.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Closes so that the peer sees an end.
    pub(crate) fn close(self) {
        self.stream.close();
    }

    /// Closes so that the peer sees a failure (a reset), whatever its dialect.
    pub(crate) fn reset(self) {
        self.stream.reset();
    }

    /// Gives the socket's buffers the size that the peer asked for, within bounds.
    pub(crate) fn set_buffers(&self, bytes: u32) {
        /// With less, the counterpart crawls too (4 KiB: 30 KB/s over loopback); more is a way to
        /// spend the kernel's memory.
        const BOUNDS: (usize, usize) = (64 << 10, 4 << 20);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(BOUNDS.0, BOUNDS.1);
        self.stream.set_buffers(bytes);
    }
}

impl Leaving {
    pub(crate) fn new(words: Vec<u8>) -> Self {
        Self { words, ..Self::default() }
    }

    /// For one that has been told all already, and the end behind it.
    pub(crate) fn told() -> Self {
        Self { has_half_closed: true, ..Self::default() }
    }

    /// Says the word, then reads to the peer's end.
    ///
    /// One that sends more than patience goes for is read no further, and blocks: it then has time
    /// to read, until it closes or the connection's deadline.
    pub(crate) fn turn(
        &mut self,
        stream: &mut (impl Source + Sink),
        scratch: &mut [u8],
    ) -> io::Result<()> {
        while self.sent < self.words.len() {
            self.sent += stream.write_last(&self.words[self.sent..])?;
        }
        if !self.has_half_closed {
            stream.half_close()?;
            self.has_half_closed = true;
        }
        while !self.is_out_of_patience() {
            match stream.read(scratch)? {
                0 => return Ok(()),
                n => self.drained += n,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether the word is said, and the end behind it.
    pub(crate) fn has_said_all(&self) -> bool {
        self.has_half_closed
    }

    /// Whether no more is read, so that only the poll tells of the peer's end.
    pub(crate) fn is_out_of_patience(&self) -> bool {
        /// What a peer may send after it was refused: a socket buffer's worth.
        const PATIENCE: usize = 256 << 10;
        self.drained >= PATIENCE
    }
}

impl Reply {
    /// Sends what is not sent yet.
    pub(crate) fn turn(&mut self, stream: &mut impl Sink) -> io::Result<()> {
        while self.sent < self.words.len() {
            self.sent += stream.write(&self.words[self.sent..])?;
        }
        Ok(())
    }
}

impl Brought {
    /// Boxes what there is.
    pub(crate) fn pack(
        early: &[u8],
        length: Option<u64>,
        twin: Option<Key>,
        bearer: Bearer,
    ) -> Option<Box<Self>> {
        (!early.is_empty() || length.is_some() || twin.is_some() || bearer.is_some())
            .then(|| Box::new(Self { early: early.to_vec(), length, twin, bearer }))
    }
}

/// Where a connection is: how the broker names it, and what is to be known of it once it is paired.
///
/// The larger it is, the more a waiting peer costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) worker: u16,
    pub(crate) dialect: Dialect,
    pub(crate) slot: u32,
    /// When it came, in milliseconds since the server's start: the lower 32 bits, of 49 days.
    pub(crate) came: u32,
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use socket2::SockRef;
    use xchg_core::relay::Socket;

    use super::*;

    #[test]
    fn a_connection_that_waits_is_small() {
        // The larger part of what a waiting peer costs (BENCHMARKS.md, idle): think twice before
        // adding to it.
        assert!(
            size_of::<Connection<Socket<OwnedFd>>>() <= 88,
            "{} bytes",
            size_of::<Connection<Socket<OwnedFd>>>()
        );
    }

    /// What somebody who leaves has been told, a letter for each call.
    #[derive(Default)]
    struct Told(String);

    impl Source for Told {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Sink for Told {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.push('w');
            Ok(buf.len())
        }

        fn write_last(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.push('l');
            Ok(buf.len())
        }

        fn half_close(&mut self) -> io::Result<()> {
            self.0.push('e');
            Ok(())
        }
    }

    #[test]
    fn the_end_rides_on_the_last_word_and_is_said_once() {
        for (mut leaving, said) in [
            (Leaving::new(b"word".to_vec()), "le"),
            (Leaving::new(Vec::new()), "e"),
            (Leaving::told(), ""),
        ] {
            let mut told = Told::default();
            leaving.turn(&mut told, &mut [0; 10]).unwrap();
            assert_eq!(told.0, said);
        }
    }

    #[test]
    fn a_peers_wish_for_buffers_is_granted_within_bounds() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let same = ours.try_clone().unwrap();
        let accepted =
            Accepted { transport: Socket(ours.into()), origin: Origin::UNIX, listener: 0 };
        let connection = Connection::new(accepted, Standing::Within);
        let socket = SockRef::from(&same);
        for (bytes, bounds) in [
            (0, 64 << 10..=128 << 10),
            (64 << 10, 64 << 10..=128 << 10),
            (u32::MAX, 64 << 10..=8 << 20),
        ] {
            connection.set_buffers(bytes);
            // Linux doubles what is asked for, and caps it at `net.core.rmem_max`.
            let sizes = [socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()];
            assert!(sizes.iter().all(|size| bounds.contains(size)), "{sizes:?} for {bytes}");
        }
    }
}
