//! Accepting: in batches, with room kept, and surviving a lack of descriptors.
//!
//! **A full server still pairs.** Newcomers over `max_connections` are heard, 256 at a time, and
//! served if their counterpart waits; only who would have to wait is refused. Whoever has been
//! heard longest without saying anything makes room for the next (`Engine::welcome`), so that
//! silent connections cannot hold the reserve.

use std::time::Duration;

use xchg_core::wire::RefusalCode;

use super::Engine;
use crate::engine::admission::Standing;
use crate::engine::connection::Connection;
use crate::engine::net::{Accepted, Id, Net, Transport};
use crate::engine::throttle::Kind;
use crate::engine::timers::Tick;
use crate::origin::Origin;

/// Connections accepted at a time, so that running exchanges are not kept waiting by a flood.
const BATCH: usize = 64;

/// How long accepting rests when descriptors or memory have run out.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Whether somebody may be waiting at a listener.
pub(super) struct Door {
    has_knock: bool,
    rests_until: Tick,
}

impl Door {
    pub(super) fn new() -> Self {
        Self { has_knock: true, rests_until: Tick::START }
    }

    pub(super) fn knock(&mut self) {
        self.has_knock = true;
    }
}

impl<N: Net> Engine<N> {
    /// When a door must be tried without a new event; `None` is never.
    pub(super) fn doors_timeout(&self) -> Option<Duration> {
        let now = self.timers.now();
        let knocked = self.doors.iter().filter(|door| door.has_knock);
        let rest = knocked.map(|door| door.rests_until.since(now)).min()?;
        // A full server looks again now and then: it is another worker's connection that may have
        // left.
        Some(if self.shared.admission.has_room() { rest } else { rest.max(BACK_OFF) })
    }

    pub(super) fn accept_all(&mut self) {
        for door in 0..self.doors.len() {
            for _ in 0..BATCH {
                let resting = self.doors[door].rests_until > self.timers.now();
                if !self.doors[door].has_knock || resting || !self.may_accept() {
                    break;
                }
                self.accept(door);
            }
        }
    }

    /// Whether one more can be heard, be it in the place of the one that has been in the reserve
    /// longest.
    fn may_accept(&mut self) -> bool {
        let admission = &self.shared.admission;
        admission.has_room() || (admission.is_reserve_full() && self.oldest_in_reserve().is_some())
    }

    fn oldest_in_reserve(&self) -> Option<Id> {
        self.oldest_unheard(|connection| connection.standing == Standing::Reserve)
    }

    /// The connection that has been heard longest of those over a limit that are `sought`.
    fn oldest_unheard(&self, sought: impl Fn(&Connection<N::Transport>) -> bool) -> Option<Id> {
        self.unheard.iter().copied().find(|&id| {
            self.connections.get(id.slot as usize).is_some_and(|connection| {
                connection.serial == id.serial
                    && connection.standing != Standing::Within
                    && sought(connection)
            })
        })
    }

    /// Closes a connection that has still not said what it wants, so that a newcomer can.
    fn evict(&mut self, id: Id) {
        let text = "it came over a limit, and a newcomer takes its place";
        self.note_refusal(id.slot, RefusalCode::Busy, None, text);
        self.remove(id.slot).reset();
    }

    fn accept(&mut self, door: usize) {
        match self.net.accept(door) {
            Ok(Some(accepted)) => self.welcome(accepted),
            Ok(None) => self.doors[door].has_knock = false,
            Err(error) => {
                self.doors[door].rests_until = self.timers.now().after(BACK_OFF);
                if self.shared.counters.accept_failed() {
                    tracing::warn!(%error, "cannot accept connections for now; they wait in the backlog. Raise the descriptor limit (ulimit -n)?");
                }
            }
        }
    }

    fn welcome(&mut self, accepted: Accepted<N::Transport>) {
        let (shared, origin) = (self.shared.clone(), accepted.origin);
        shared.counters.accepted();
        let is_for_proxies = shared.config.listen[usize::from(accepted.listener)].proxy;
        if is_for_proxies && !origin.is_in(&shared.config.trusted_proxies) {
            return self.turn_away_untrusted(accepted);
        }
        if !shared.admission.has_room()
            && let Some(id) = self.oldest_in_reserve()
        {
            self.evict(id);
        }
        let standing = if is_for_proxies {
            shared.admission.enter_unnamed(origin)
        } else {
            Some(shared.admission.enter(origin))
        };
        let Some(standing) = standing else {
            shared.counters.refused(RefusalCode::Busy);
            self.warn_of_proxy(
                origin,
                "too many of a proxy's connections do not say for whom they are",
            );
            return accepted.transport.reset();
        };
        let mut connection = Connection::new(accepted, standing);
        let greeting_by = self.timers.now().after(shared.config.greeting_timeout);
        connection.deadline = self.timers.soon(greeting_by);
        let slot = self.insert(connection);
        let id = self.id(slot);
        self.note_standing(id);
        self.guard(id, |engine| engine.greet(slot));
    }

    /// Notes a connection that is over a limit, of which it is now known whose it is; the oldest of
    /// that source makes room for it. If all of that source are with other workers, it is one more:
    /// so each worker hears newcomers.
    pub(super) fn note_standing(&mut self, id: Id) {
        let Some(connection) = self.connection(id) else { return };
        let (standing, origin) = (connection.standing, connection.origin);
        if standing == Standing::Excess
            && self.shared.admission.is_flooded(origin)
            && let Some(oldest) = self.oldest_unheard(|it| it.origin.source() == origin.source())
        {
            self.evict(oldest);
        }
        if matches!(standing, Standing::Excess | Standing::Reserve) {
            self.remember(id);
        }
    }

    /// Closes a connection that came where only trusted proxies may. It is told nothing: it speaks
    /// for others, or to somebody else.
    fn turn_away_untrusted(&mut self, accepted: Accepted<N::Transport>) {
        self.shared.counters.refused(RefusalCode::Forbidden);
        self.shared.counters.untrusted_proxy();
        let text =
            "only proxies may come to this listener, and this address is none of --trusted-proxies";
        self.warn_of_proxy(accepted.origin, text);
        accepted.transport.reset();
    }

    /// Tells the operator of what a proxy, or who may be one, does wrong.
    pub(super) fn warn_of_proxy(&mut self, peer: Origin, text: &str) {
        if self.may_log(Kind::Proxy) {
            tracing::warn!(%peer, text, "proxy refused");
        }
    }

    /// Notes one that is over a limit, and forgets those who have been heard.
    fn remember(&mut self, id: Id) {
        if self.unheard.len() == self.unheard.capacity() {
            let connections = &self.connections;
            self.unheard.retain(|id| {
                connections.get(id.slot as usize).is_some_and(|connection| {
                    connection.serial == id.serial && connection.standing != Standing::Within
                })
            });
        }
        self.unheard.push_back(id);
    }
}
