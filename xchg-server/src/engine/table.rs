//! The table of a worker's connections: who is in it, is watched, and is looked at when.

use super::Engine;
use crate::engine::connection::Connection;
use crate::engine::net::{Id, Net};
use crate::engine::throttle::Kind;
use crate::engine::timers::Soon;

/// Connections beyond which memory is returned when the last of them has gone.
const MANY: usize = 1024;

/// Serials have 31 bits, so that a connection fits one word of the system's poll.
pub(super) const SERIALS: u32 = 0x7fff_ffff;

impl<N: Net> Engine<N> {
    /// The connection, unless it is gone and its slot another's.
    pub(super) fn connection(&mut self, id: Id) -> Option<&mut Connection<N::Transport>> {
        self.connections
            .get_mut(id.slot as usize)
            .filter(|connection| connection.serial == id.serial)
    }

    /// The connection in `slot`, or nobody's if it is empty.
    pub(super) fn id(&self, slot: u32) -> Id {
        let connection = self.connections.get(slot as usize);
        Id { slot, serial: connection.map_or(u32::MAX, |connection| connection.serial) }
    }

    pub(super) fn insert(&mut self, mut connection: Connection<N::Transport>) -> u32 {
        self.serial = self.serial.wrapping_add(1) & SERIALS;
        connection.serial = self.serial;
        let slot = self.connections.insert(connection);
        u32::try_from(slot).expect("descriptors run out long before 2^32 connections")
    }

    /// Registers a connection that is to stay; one that cannot be is closed.
    pub(super) fn register(&mut self, slot: u32) -> bool {
        let connection = &mut self.connections[slot as usize];
        let id = Id { slot, serial: connection.serial };
        match connection.stream.watch(&mut self.net, id) {
            Ok(()) => true,
            Err(error) => {
                let peer = connection.origin;
                if self.may_log(Kind::Unwatched) {
                    tracing::warn!(%peer, %error, "cannot watch a connection; it is closed");
                }
                self.discard(slot);
                false
            }
        }
    }

    /// Takes a connection out of the table, to be handed to another worker.
    pub(super) fn take(&mut self, slot: u32) -> Connection<N::Transport> {
        let mut connection = self.connections.remove(slot as usize);
        if connection.armed != Soon::NEVER {
            self.timers.disarm();
        }
        connection.stream.unwatch(&mut self.net);
        connection.armed = Soon::NEVER;
        connection
    }

    /// Takes a connection out of the table; dropping it closes it.
    pub(super) fn remove(&mut self, slot: u32) -> Connection<N::Transport> {
        let connection = self.connections.remove(slot as usize);
        if connection.armed != Soon::NEVER {
            self.timers.disarm();
        }
        self.shared.admission.leave(connection.origin, connection.standing);
        if self.connections.is_empty() && self.connections.capacity() > MANY {
            self.connections.shrink_to_fit();
        }
        connection
    }

    /// Has the timer look at the connection by its deadline.
    pub(super) fn arm(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        let now = self.timers.now();
        let deadline = connection.deadline.tick(now);
        if deadline < connection.armed.tick(now) {
            if connection.armed != Soon::NEVER {
                self.timers.disarm();
            }
            connection.armed = connection.deadline;
            self.timers.arm(deadline, Id { slot, serial: connection.serial });
        }
    }

    /// Drops the timers' entries of connections that are gone, once they are many.
    pub(super) fn sweep_timers(&mut self) {
        if self.timers.is_mostly_stale() {
            let (connections, now) = (&self.connections, self.timers.now());
            self.timers.sweep(|at, id| {
                let connection = connections.get(id.slot as usize);
                connection.is_some_and(|one| one.serial == id.serial && one.armed.tick(now) == at)
            });
        }
    }
}
