//! One connection to the admin listener, which never blocks and has its time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use xchg_core::relay::{Sink, Socket, Source};

use super::answer::{Answer, Asker, Panel};
use super::exchanges::Listing;
use crate::dialect::http::{self, Head};
use crate::engine::connection::Leaving;
use crate::engine::net::Accepted;

/// How long a request may take, and how long an answer may stand still.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take in all.
const TIMEOUT_IN_ALL: Duration = Duration::from_secs(60);

/// Bytes read at a time.
const READ_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Client {
    stream: Socket<OwnedFd>,
    asker: Asker,
    deadline: Instant,
    /// When it is over, however fast it goes.
    ends: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What has come of the request.
    Hearing(Vec<u8>),
    /// A list, of which `out` is made, and `sent` bytes of that sent.
    Listing { listing: Listing, out: Vec<u8>, sent: usize },
    /// The last that it is told.
    Leaving(Leaving),
}

impl Client {
    pub(super) fn new(accepted: Accepted<Socket<OwnedFd>>, now: Instant) -> Self {
        Self {
            stream: accepted.transport,
            asker: Asker { origin: accepted.origin, listener: accepted.listener },
            deadline: now + TIMEOUT,
            ends: now + TIMEOUT_IN_ALL,
            state: State::Hearing(Vec::new()),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline.min(self.ends)
    }

    /// Whether it has not made its request yet.
    pub(super) fn is_unheard(&self) -> bool {
        matches!(self.state, State::Hearing(_))
    }

    /// What it waits for.
    pub(super) fn awaits(&self) -> PollFlags {
        match &self.state {
            State::Hearing(_) => PollFlags::IN,
            State::Listing { .. } => PollFlags::OUT,
            State::Leaving(leaving) if !leaving.has_said_all() => PollFlags::OUT,
            // What it sends now is dropped; if it sends too much, it is left to its deadline.
            State::Leaving(leaving) if leaving.is_out_of_patience() => PollFlags::empty(),
            State::Leaving(_) => PollFlags::IN,
        }
    }

    /// Goes on with it as far as it goes. Gives whether it stays.
    pub(super) fn turn<S: Send + 'static>(&mut self, panel: &mut Panel<S>, now: Instant) -> bool {
        if self.deadline() <= now {
            return false;
        }
        match self.go_on(panel, now) {
            Ok(()) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Does what can be done; all of it, unless it fails.
    fn go_on<S: Send + 'static>(&mut self, panel: &mut Panel<S>, now: Instant) -> io::Result<()> {
        let mut scratch = [0; READ_BYTES];
        loop {
            match &mut self.state {
                State::Hearing(heard) => {
                    let n = self.stream.read(&mut scratch)?;
                    if n == 0 {
                        return Ok(());
                    }
                    heard.extend_from_slice(&scratch[..n]);
                    let answer = match http::parse(heard) {
                        Head::Partial => continue,
                        Head::Bad(words) => panel.refuse(words),
                        Head::Request { request, .. } => panel.answer(&request, self.asker, now),
                    };
                    self.deadline = now + TIMEOUT;
                    self.state = match answer {
                        Answer::Whole(words) => State::Leaving(Leaving::new(words)),
                        Answer::List { head, listing } => {
                            State::Listing { listing, out: head, sent: 0 }
                        }
                    };
                }
                State::Listing { listing, out, sent } => {
                    while *sent < out.len() {
                        *sent += self.stream.write(&out[*sent..])?;
                        self.deadline = now + TIMEOUT;
                    }
                    out.clear();
                    *sent = 0;
                    if !listing.next(&mut panel.rates, now, out) {
                        self.state = State::Leaving(Leaving::new(std::mem::take(out)));
                    }
                }
                State::Leaving(leaving) => return leaving.turn(&mut self.stream, &mut scratch),
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.0.as_fd()
    }
}
