//! Accepting: in batches, with room kept, and surviving a lack of descriptors.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::{Interest, Registry, Token};

use super::{FIRST_DOOR, Id, Worker};
use crate::connection::Connection;
use crate::descriptors::RESERVE;
use crate::listener::Listener;
use crate::timers::Tick;

/// Connections accepted at a time, so that running exchanges are not kept waiting by a flood.
const BATCH: usize = 64;

/// How long accepting rests when descriptors or memory have run out.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A listener, and whether somebody may be waiting at it.
pub(super) struct Door {
    listener: Listener,
    has_knock: bool,
    rests_until: Tick,
}

impl Door {
    pub(super) fn open_all(listeners: Vec<Listener>, registry: &Registry) -> io::Result<Vec<Door>> {
        let doors = listeners.into_iter().enumerate().map(|(index, listener)| {
            let fd = listener.as_raw_fd();
            let token = Token(FIRST_DOOR - index);
            registry.register(&mut mio::unix::SourceFd(&fd), token, Interest::READABLE)?;
            Ok(Door { listener, has_knock: true, rests_until: Tick::START })
        });
        doors.collect()
    }

    pub(super) fn knock(&mut self) {
        self.has_knock = true;
    }
}

impl Worker {
    /// When a door must be tried without a new event; `None` is never.
    pub(super) fn doors_timeout(&self) -> Option<Duration> {
        let now = self.timers.now();
        let knocked = self.doors.iter().filter(|door| door.has_knock);
        let rest = knocked.map(|door| door.rests_until.since(now)).min()?;
        // A full server looks again now and then: it is another worker's connection that may have left.
        Some(if self.has_room() { rest } else { rest.max(BACK_OFF) })
    }

    fn has_room(&self) -> bool {
        // Those over the limit are heard, to be told in their dialect that the server is full.
        let most = self.shared.config.max_connections.saturating_add(RESERVE);
        self.shared.counters.connections() < most.min(self.shared.descriptors.connections)
    }

    pub(super) fn accept_all(&mut self) {
        for door in 0..self.doors.len() {
            for _ in 0..BATCH {
                let resting = self.doors[door].rests_until > self.timers.now();
                if !self.doors[door].has_knock || resting || !self.has_room() {
                    break;
                }
                self.accept(door);
            }
        }
    }

    fn accept(&mut self, door: usize) {
        match self.doors[door].listener.accept() {
            Ok(accepted) => {
                let count = self.shared.counters.open_connection();
                let mut connection = Connection::new(accepted, 0);
                connection.is_surplus = count > self.shared.config.max_connections;
                connection.deadline = self.timers.now().after(self.shared.config.greeting_timeout);
                let slot = self.insert(connection);
                let id = Id { slot, serial: self.connections[slot as usize].serial };
                self.guard(id, |worker| worker.greet(slot));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.doors[door].has_knock = false;
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                self.doors[door].rests_until = self.timers.now().after(BACK_OFF);
                if self.shared.counters.accept_failed() {
                    tracing::warn!(%error, "cannot accept connections for now; they wait in the backlog. Raise the descriptor limit (ulimit -n)?");
                }
            }
        }
    }
}

/// Whether an error of `accept` speaks of that one connection only (accept(2), "Error handling").
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut,
    };
    use rustix::io::Errno;
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut
    ) || [Errno::PROTO, Errno::NETDOWN, Errno::HOSTDOWN, Errno::HOSTUNREACH, Errno::NETUNREACH]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
