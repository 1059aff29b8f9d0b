//! Connections with buffers, delay and loss, as far as a server can tell them from the kernel's.

use std::fmt;
use std::io::{self, ErrorKind};

use super::way::Way;
use super::{SECOND, Time};
use crate::engine::net::{Id, Readiness};

/// When keepalive finds a peer whose network is gone (listener.rs: 60 + 3 x 20 s).
const PROBED: Time = 120 * SECOND;

/// When a system gives up on a socket that its program has closed, whose bytes nobody takes; what
/// probes it finds afterwards are answered with a reset (`tcp_orphan_retries` in tcp(7)).
const ORPHANED: Time = 600 * SECOND;

/// What is held of one way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffers {
    pub(super) buffer: usize,
    pub(super) window: usize,
}

/// How a connection is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// What the sender's system and the receiver's hold, from the peer and to it.
    pub(super) up: Buffers,
    pub(super) down: Buffers,
    pub(super) latency: Time,
    /// How many bytes of each way may be spliced before that is refused.
    pub(super) splices: u64,
}

/// One connection, seen from both ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) up: Way,
    pub(super) down: Way,
    /// The worker that is told of it, and by what name.
    watched: Option<(usize, Id)>,
    edges: Readiness,
    /// Whether the server has found no room, and waits to hear that there is some.
    wants_room: bool,
    failure: Option<ErrorKind>,
    is_dead: bool,
    stall: Time,
    cut_at: Option<Time>,
    server_resets_at: Option<Time>,
    peer_resets_at: Option<Time>,
    pub(super) is_closed_by_server: bool,
    closed_by_peer_at: Option<Time>,
    /// What the peer has been told by a reset.
    pub(super) peer_failure: bool,
    now: Time,
    /// Has the next call of the server panic.
    pub(super) panics: bool,
    /// How many bytes of each way may be spliced before that is refused.
    splices: u64,
}

impl Link {
    pub(super) fn new(shape: Shape, now: Time) -> Self {
        let Shape { up, down, latency, splices } = shape;
        let way = |Buffers { buffer, window }| Way::new(buffer, window, latency, now);
        Self {
            up: way(up),
            down: way(down),
            watched: None,
            edges: Readiness::default(),
            wants_room: false,
            failure: None,
            is_dead: false,
            stall: PROBED,
            cut_at: None,
            server_resets_at: None,
            peer_resets_at: None,
            is_closed_by_server: false,
            closed_by_peer_at: None,
            peer_failure: false,
            now,
            panics: false,
            splices,
        }
    }

    /// Lets time pass: what is due arrives, at either end.
    pub(super) fn advance(&mut self, now: Time) {
        self.now = now;
        if self.cut_at.is_none() {
            self.move_up(now);
            self.move_down(now);
            if self.peer_resets_at.is_some_and(|at| at <= now) {
                self.peer_resets_at = None;
                // Behind the end of the peer's stream only what was on the way to it is lost.
                let behind_end = self.up.has_end;
                self.fail(if behind_end {
                    ErrorKind::BrokenPipe
                } else {
                    ErrorKind::ConnectionReset
                });
            }
            if self.server_resets_at.is_some_and(|at| at <= now) {
                self.server_resets_at = None;
                // One that has closed hears of nothing any more.
                self.peer_failure |= self.closed_by_peer_at.is_none();
            }
        }
        if self.is_dead || self.is_closed_by_server {
            return;
        }
        let stalls = self.down.unacknowledged() > 0 && now >= self.down.progress + self.stall;
        if stalls || self.cut_at.is_some_and(|at| now >= at + PROBED) {
            self.fail(ErrorKind::TimedOut);
        } else if self.forgotten_at().is_some_and(|at| now >= at) {
            self.fail(ErrorKind::ConnectionReset);
        }
    }

    /// When it is found that the peer's system knows a closed connection no more, though what was
    /// sent has not all been taken.
    fn forgotten_at(&self) -> Option<Time> {
        let at = self.closed_by_peer_at.filter(|_| !self.up.has_end)?;
        Some(at + ORPHANED + PROBED)
    }

    fn move_up(&mut self, now: Time) {
        self.up.send(now);
        if self.up.deliver(now) {
            if self.up.is_unread && !self.up.received.is_empty() {
                self.server_resets_at.get_or_insert(now + self.down.latency);
            }
            self.edges.is_readable = true;
            self.edges.has_read_end |= self.up.has_end;
        }
        self.up.send(now);
    }

    fn move_down(&mut self, now: Time) {
        self.down.send(now);
        if self.down.deliver(now) {
            if self.down.is_unread && !self.down.received.is_empty() {
                self.peer_resets_at.get_or_insert(now + self.up.latency);
            }
            // An acknowledged end makes an event, as in Linux.
            self.edges.is_writable |= self.down.has_end;
        }
        self.down.send(now);
        if self.wants_room && self.down.room() > 0 {
            self.wants_room = false;
            self.edges.is_writable = true;
        }
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.failure = Some(kind);
        self.is_dead = true;
        self.down.clear();
        self.up.clear();
        self.edges = Readiness {
            is_readable: true,
            is_writable: true,
            has_read_end: true,
            has_write_end: true,
            has_failed: true,
        };
    }

    /// When [`advance`](Self::advance) next has something to do.
    pub(super) fn next(&self) -> Option<Time> {
        let stall = (self.down.unacknowledged() > 0).then(|| self.down.progress + self.stall);
        let alive = !self.is_dead && !self.is_closed_by_server;
        let watchdog = [stall, self.cut_at.map(|at| at + PROBED), self.forgotten_at()];
        let arrivals =
            [self.up.next(), self.down.next(), self.server_resets_at, self.peer_resets_at];
        let arrivals = arrivals.into_iter().flatten().filter(|_| self.cut_at.is_none());
        arrivals.chain(watchdog.into_iter().flatten().filter(|_| alive)).min()
    }

    /// Takes what that worker is to be told.
    pub(super) fn take_edges(&mut self, worker: usize) -> Option<(Id, Readiness)> {
        let (_, id) = self.watched.filter(|_| self.has_edges() == Some(worker))?;
        Some((id, std::mem::take(&mut self.edges)))
    }

    pub(super) fn has_edges(&self) -> Option<usize> {
        self.watched.filter(|_| self.edges != Readiness::default()).map(|(worker, _)| worker)
    }

    /// Tells of nothing new, as a system may.
    pub(super) fn spurious(&mut self) {
        self.edges.is_readable = true;
        self.edges.is_writable |= self.down.room() > 0;
    }

    pub(super) fn watch(&mut self, worker: usize, id: Id) {
        self.watched = Some((worker, id));
        self.edges.is_writable |= self.down.room() > 0;
        self.edges.is_readable |= !self.up.received.is_empty() || self.up.has_end;
        self.edges.has_read_end |= self.up.has_end;
        if self.is_dead {
            self.edges.has_failed |= self.failure.is_some();
            (self.edges.has_read_end, self.edges.has_write_end) = (true, true);
        }
    }

    pub(super) fn unwatch(&mut self) {
        self.watched = None;
    }

    // What the peer does.

    pub(super) fn peer_write(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.up.room());
        self.up.take(&bytes[..n], false, self.now);
        n
    }

    pub(super) fn peer_ends(&mut self) {
        self.up.take(&[], true, self.now);
    }

    pub(super) fn peer_read(&mut self, most: usize) -> Vec<u8> {
        let n = most.min(self.down.received.len());
        let bytes = self.down.received.drain(..n).collect();
        if self.is_dead && n > 0 {
            // The window that opens is told to a system that knows the connection no more.
            self.server_resets_at.get_or_insert(self.now + self.up.latency + self.down.latency);
        }
        self.move_down(self.now);
        bytes
    }

    /// Closes: by a reset if it is told to, or if bytes are unread, as the kernel does.
    pub(super) fn peer_closes(&mut self, by_reset: bool) {
        if self.closed_by_peer_at.is_some() {
            return;
        }
        self.closed_by_peer_at = Some(self.now);
        if by_reset || !self.down.received.is_empty() {
            self.up.clear();
            self.peer_resets_at.get_or_insert(self.now + self.up.latency);
        } else {
            self.up.take(&[], true, self.now);
        }
        self.down.is_unread = true;
    }

    /// The network goes: nothing passes any more, and nobody is told.
    pub(super) fn cut(&mut self) {
        self.cut_at.get_or_insert(self.now);
    }

    /// Whether a segment is under way, or the peer has something to read.
    pub(super) fn is_under_way(&self) -> bool {
        let next = [self.up.next(), self.down.next(), self.server_resets_at, self.peer_resets_at];
        next.iter().any(Option::is_some) || !self.down.received.is_empty()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_some()
    }

    /// Whether the server's system has given the connection up, of which it tells the peer nothing
    /// unless that sends something.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_dead
    }

    // What the server does.

    fn may_panic(&mut self) {
        assert!(!std::mem::take(&mut self.panics), "a panic that the world wants");
    }

    pub(super) fn server_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.server_takes(|bytes| {
            let n = buf.len().min(bytes.len());
            buf[..n].copy_from_slice(&bytes[..n]);
            Ok(n)
        })
    }

    /// Has `take` take of what has come.
    pub(super) fn server_takes(
        &mut self,
        take: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.may_panic();
        if !self.up.received.is_empty() {
            let n = take(self.up.received.make_contiguous())?;
            self.up.received.drain(..n);
            self.up.send(self.now);
            return Ok(n);
        }
        match self.failure.take() {
            Some(kind) => Err(kind.into()),
            None if self.is_dead || self.up.has_end => Ok(0),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn server_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.server_gives(buf.len(), |n| Ok(buf[..n].to_vec()))
    }

    /// Sends what fits of `len` bytes, which `give` gives.
    pub(super) fn server_gives(
        &mut self,
        len: usize,
        give: impl FnOnce(usize) -> io::Result<Vec<u8>>,
    ) -> io::Result<usize> {
        self.may_panic();
        if self.is_dead || self.down.ends {
            return Err(self.failure.take().unwrap_or(ErrorKind::BrokenPipe).into());
        }
        let n = len.min(self.down.room());
        if n == 0 && len > 0 {
            self.wants_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        self.down.take(&give(n)?, false, self.now);
        Ok(n)
    }

    /// How many bytes the server has taken so far.
    pub(super) fn taken_by_server(&self) -> u64 {
        self.up.arrived - self.up.received.len() as u64
    }

    /// How many bytes the server has given so far.
    pub(super) fn given_by_server(&self) -> u64 {
        self.down.given
    }

    /// Whether what comes may still be spliced.
    pub(super) fn splices_up(&self) -> bool {
        self.taken_by_server() < self.splices
    }

    /// Whether what goes may still be spliced.
    pub(super) fn splices_down(&self) -> bool {
        self.given_by_server() < self.splices
    }

    pub(super) fn server_ends(&mut self) -> io::Result<()> {
        self.may_panic();
        if self.is_dead {
            return Err(ErrorKind::NotConnected.into());
        }
        self.down.take(&[], true, self.now);
        Ok(())
    }

    /// How many bytes the peer's system has not acknowledged.
    pub(super) fn unacknowledged(&mut self) -> u64 {
        self.may_panic();
        self.down.unacknowledged() as u64
    }

    pub(super) fn take_failure(&mut self) -> Option<ErrorKind> {
        self.may_panic();
        self.failure.take()
    }

    pub(super) fn set_stall_timeout(&mut self, timeout: Time) {
        self.stall = timeout;
    }

    pub(super) fn server_closes(&mut self, by_reset: bool) {
        if std::mem::replace(&mut self.is_closed_by_server, true) {
            return;
        }
        self.watched = None;
        if self.is_dead {
            return;
        }
        if by_reset || !self.up.received.is_empty() {
            self.down.clear();
            self.server_resets_at.get_or_insert(self.now + self.down.latency);
        } else {
            self.down.take(&[], true, self.now);
        }
        self.up.is_unread = true;
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |way: &Way| {
            let (out, unread) = (way.unacknowledged(), way.received.len());
            format!(
                "{} arrived, {out} under way, {unread} unread, end {}",
                way.arrived, way.has_end
            )
        };
        write!(f, "up {}, down {}, ", way(&self.up), way(&self.down))?;
        write!(f, "closed by server {}, dead {}", self.is_closed_by_server, self.is_dead)?;
        write!(f, ", reset {}, cut {}", self.peer_failure, self.is_cut())
    }
}
