//! Connections with buffers, delay and loss, as far as a server can tell them from the kernel's.
//!
//! Each way has a send buffer and a window; bytes are acknowledged when they have come within the
//! window, whether they have been read or not. Segments arrive in order.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use xchg_core::relay::{Sink, Source};

use crate::engine::net::{Id, Readiness, Transport};

/// Microseconds since the world began.
pub(super) type Time = u64;

pub(super) const SECOND: Time = 1_000_000;

/// When keepalive finds a peer whose network is gone (listener.rs: 60 + 3 x 20 s).
const PROBED: Time = 120 * SECOND;

/// When a system gives up on a socket that its program has closed, whose bytes nobody takes; what
/// probes it finds afterwards are answered with a reset (`tcp_orphan_retries` in tcp(7)).
const ORPHANED: Time = 600 * SECOND;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    buffer: usize,
    window: usize,
    latency: Time,
    unsent: VecDeque<u8>,
    flight: VecDeque<(Time, Segment)>,
    in_flight: usize,
    pub(super) received: VecDeque<u8>,
    /// All bytes that have ever been received, read or not.
    pub(super) arrived: u64,
    ends: bool,
    has_sent_end: bool,
    pub(super) has_end: bool,
    /// Nobody reads any more: what comes is answered with a reset.
    is_unread: bool,
    /// When the sender last had something acknowledged, or nothing to wait for.
    progress: Time,
}

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    End,
}

impl Way {
    fn room(&self) -> usize {
        self.buffer.saturating_sub(self.unsent.len())
    }

    fn unacknowledged(&self) -> usize {
        self.unsent.len() + self.in_flight + usize::from(self.ends && !self.has_end)
    }

    /// Takes what is to be sent; the end with it, if that is all.
    fn take(&mut self, bytes: &[u8], ends: bool, now: Time) {
        if self.unacknowledged() == 0 {
            self.progress = now;
        }
        self.unsent.extend(bytes);
        self.ends |= ends;
        self.send(now);
    }

    /// Puts on their way what the window lets through.
    fn send(&mut self, now: Time) {
        loop {
            let room = self.window.saturating_sub(self.in_flight + self.received.len());
            let n = room.min(self.unsent.len()).min(1460);
            let at = self.flight.back().map_or(0, |(at, _)| *at).max(now + self.latency);
            if n > 0 {
                let bytes = self.unsent.drain(..n).collect();
                self.in_flight += n;
                self.flight.push_back((at, Segment::Bytes(bytes)));
            } else {
                if self.unsent.is_empty() && self.ends && !self.has_sent_end {
                    self.has_sent_end = true;
                    self.flight.push_back((at, Segment::End));
                }
                return;
            }
        }
    }

    /// Takes in what has come by `now`; says whether anything has.
    fn deliver(&mut self, now: Time) -> bool {
        let mut any = false;
        while self.flight.front().is_some_and(|(at, _)| *at <= now) {
            match self.flight.pop_front() {
                Some((_, Segment::Bytes(bytes))) => {
                    self.in_flight -= bytes.len();
                    self.arrived += bytes.len() as u64;
                    self.received.extend(bytes);
                }
                _ => self.has_end = true,
            }
            self.progress = now;
            any = true;
        }
        any
    }

    fn clear(&mut self) {
        self.unsent.clear();
        self.flight.clear();
        self.in_flight = 0;
        self.ends = self.has_end;
    }
}

/// How a connection is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) buffer: usize,
    pub(super) window: usize,
    pub(super) latency: Time,
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
    /// Has the next read of the server panic.
    pub(super) panics: bool,
}

impl Link {
    pub(super) fn new(shape: Shape, now: Time) -> Link {
        let Shape { buffer, window, latency } = shape;
        let way = || Way { buffer, window, latency, progress: now, ..Way::default() };
        Link {
            up: way(),
            down: way(),
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
        let arrivals = [
            self.up.flight.front().map(|(at, _)| *at),
            self.down.flight.front().map(|(at, _)| *at),
            self.server_resets_at,
            self.peer_resets_at,
        ];
        let arrivals = arrivals.into_iter().flatten().filter(|_| self.cut_at.is_none());
        arrivals.chain(watchdog.into_iter().flatten().filter(|_| alive)).min()
    }

    /// Takes what a worker is to be told.
    pub(super) fn take_edges(&mut self) -> Option<(usize, Id, Readiness)> {
        let (worker, id) = self.watched?;
        let edges = std::mem::take(&mut self.edges);
        (edges != Readiness::default()).then_some((worker, id, edges))
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

    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_some()
    }

    /// Whether the server's system has given the connection up, of which it tells the peer nothing
    /// unless that sends something.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_dead
    }

    fn server_closes(&mut self, by_reset: bool) {
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

/// The server's end of a link.
#[derive(Debug)]
pub(super) struct SimSocket {
    pub(super) link: Arc<Mutex<Link>>,
}

impl Source for SimSocket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut link = self.link.lock();
        assert!(!std::mem::take(&mut link.panics), "a panic that the world wants");
        if !link.up.received.is_empty() {
            let n = buf.len().min(link.up.received.len());
            link.up.received.drain(..n).zip(buf).for_each(|(byte, place)| *place = byte);
            let now = link.now;
            link.up.send(now);
            return Ok(n);
        }
        match link.failure.take() {
            Some(kind) => Err(kind.into()),
            None if link.is_dead || link.up.has_end => Ok(0),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Sink for SimSocket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut link = self.link.lock();
        if link.is_dead || link.down.ends {
            return Err(link.failure.take().unwrap_or(ErrorKind::BrokenPipe).into());
        }
        let n = buf.len().min(link.down.room());
        if n == 0 && !buf.is_empty() {
            link.wants_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let now = link.now;
        link.down.take(&buf[..n], false, now);
        Ok(n)
    }

    fn half_close(&mut self) -> io::Result<()> {
        let mut link = self.link.lock();
        if link.is_dead {
            return Err(ErrorKind::NotConnected.into());
        }
        let now = link.now;
        link.down.take(&[], true, now);
        Ok(())
    }
}

impl Transport for SimSocket {
    fn write_framed(
        &mut self,
        framing: &[u8],
        payload: &[u8],
        _is_last: bool,
    ) -> io::Result<usize> {
        self.write(&[framing, payload].concat())
    }

    fn take_failure(&self) -> io::Result<Option<ErrorKind>> {
        Ok(self.link.lock().failure.take())
    }

    fn unacknowledged(&self) -> Option<u64> {
        Some(self.link.lock().down.unacknowledged() as u64)
    }

    fn set_buffers(&self, _bytes: usize) {}

    fn set_send_buffer(&self, _bytes: usize) {}

    fn set_stall_timeout(&self, timeout: Duration) {
        self.link.lock().stall = Time::try_from(timeout.as_micros()).unwrap_or(Time::MAX / 2);
    }

    fn reset(&self) {
        self.link.lock().server_closes(true);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.link.lock().server_closes(false);
    }
}
