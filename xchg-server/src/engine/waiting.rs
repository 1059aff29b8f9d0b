//! Peers that wait: what they are told meanwhile, and how they lose their place.

use xchg_core::wire::RefusalCode;
use xchg_core::{Place, Realm};

use super::Engine;
use crate::dialect::Interruption;
use crate::engine::connection::{Connection, State};
use crate::engine::net::{Id, Net, Readiness};
use crate::engine::timers::Tick;

impl<N: Net> Engine<N> {
    /// Tells a peer that it has to wait, and for whom; and what comes of it that it has said more
    /// than that it waits, if it has.
    pub(super) fn wait(
        &mut self,
        slot: u32,
        place: Place,
        expires: Tick,
        interruption: Interruption,
        gathered: u16,
    ) {
        let elsewhere = self.elsewhere(slot);
        let beat = self.next_beat(slot);
        let connection = &mut self.connections[slot as usize];
        let words = connection.voice.waiting(elsewhere, gathered);
        connection.deadline = self.timers.soon(expires.min(beat));
        if connection.say(&words).is_err() {
            return self.give_up(slot, place);
        }
        if interruption != Interruption::Kept {
            return self.interrupt(slot, place, interruption);
        }
        if self.register(slot) {
            self.arm(slot);
        }
    }

    /// When one who waits from now on is told that it still has its place.
    pub(super) fn next_beat(&self, slot: u32) -> Tick {
        let interval =
            self.connections[slot as usize].voice.heartbeat_interval(&self.shared.config);
        interval.map_or(Tick::NEVER, |interval| self.timers.now().after(interval))
    }

    /// Tells a waiting peer that it still has its place.
    pub(super) fn beat(&mut self, slot: u32, place: Place, expires: Tick) {
        let beat = self.next_beat(slot);
        if beat == Tick::NEVER {
            // So early only because it is far away.
            self.connections[slot as usize].deadline = self.timers.soon(expires);
            return self.arm(slot);
        }
        let elsewhere = self.elsewhere(slot);
        let connection = &mut self.connections[slot as usize];
        let words = connection.voice.heartbeat(elsewhere);
        connection.deadline = self.timers.soon(expires.min(beat));
        match connection.say(&words) {
            Ok(()) => self.arm(slot),
            Err(_) => self.give_up(slot, place),
        }
    }

    /// The other realm, if a possible counterpart of one who waits, and can be told, has come
    /// there: one of the two has made a mistake. Of two who come at once, one sees the other,
    /// because each waits already when it is looked for.
    pub(super) fn elsewhere(&self, slot: u32) -> Option<Realm> {
        let connection = &self.connections[slot as usize];
        let waiting = match &connection.state {
            State::Waiting(waiting) if connection.voice.hears_of_elsewhere() => waiting,
            _ => return None,
        };
        let (realm, key, role) = self.shared.broker.waiter(waiting.place)?;
        let twin = waiting.brought.as_ref().and_then(|brought| brought.twin.clone());
        let (other, twin) = match realm {
            Realm::Plain => (Realm::Sealed, key.meeting_key()),
            Realm::Sealed => (Realm::Plain, twin?),
            _ => return None,
        };
        self.shared.broker.is_awaited(other, &twin, &role).then_some(other)
    }

    /// Tells an uploader that waits at `place` for several receivers that one has come.
    pub(super) fn tell_of_receiver(&mut self, slot: u32, place: Place) {
        if let Some(connection) = self.connections.get_mut(slot as usize)
            && matches!(&connection.state, State::Waiting(waiting) if waiting.place == place)
            && let Some(peer) = connection.voice.request_mut()
        {
            let words = peer.receiver_came();
            if connection.say(&words).is_err() {
                self.give_up(slot, place);
            }
        }
    }

    /// Lets go of a waiting peer that has left, and bounds the wait of one that has only ended its
    /// stream.
    pub(super) fn on_end(&mut self, id: Id, ready: Readiness) {
        let now = self.timers.now();
        let by = now.after(self.shared.config.closed_wait);
        let Some(connection) = self.connection(id) else { return };
        if let Some(place) = connection.left(ready) {
            drop(self.take_back(id.slot, place));
        } else if ready.has_read_end && connection.on_end(by, now) {
            self.arm(id.slot);
        }
    }

    /// Takes a waiting peer out of the broker and the table; unless it is paired already, and its
    /// counterpart on its way here.
    pub(super) fn take_back(
        &mut self,
        slot: u32,
        place: Place,
    ) -> Option<Connection<N::Transport>> {
        self.shared.broker.withdraw(place)?;
        Some(self.remove(slot))
    }

    /// As [`take_back`](Self::take_back), of one who may still be there: a mere end would look like
    /// an empty payload.
    pub(super) fn give_up(&mut self, slot: u32, place: Place) {
        if let Some(connection) = self.take_back(slot, place) {
            connection.reset();
        }
    }

    /// Does what comes of it that a waiting peer has sent something, unless its counterpart is on
    /// its way here.
    pub(super) fn interrupt(&mut self, slot: u32, place: Place, interruption: Interruption) {
        if interruption == Interruption::Kept || self.shared.broker.withdraw(place).is_none() {
            return;
        }
        match interruption {
            Interruption::Kept => {}
            Interruption::Told(words) => {
                let text = "it did not wait for its counterpart";
                self.note_refusal(slot, RefusalCode::Malformed, None, text);
                self.leave(slot, words.to_vec());
            }
            Interruption::Untold(text) => self.refuse(slot, RefusalCode::Malformed, text),
        }
    }
}
