//! Peers that are not served, or no longer: what they are told last, and how they are closed.

use std::io;
use std::time::Duration;

use xchg_core::Key;
use xchg_core::wire::RefusalCode;

use super::Engine;
use crate::dialect::NotServed;
use crate::dialect::http::Peer;
use crate::engine::connection::{Connection, Leaving, State};
use crate::engine::net::Net;

/// How long a peer that is leaving may take to hear its last word.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one may take that goes on sending: its kernel has the word, and many browsers read it
/// only when they can send no more.
const OVERRUN_TIMEOUT: Duration = Duration::from_secs(2);

impl<N: Net> Engine<N> {
    /// Tells a peer in its dialect that it is not served, and closes.
    pub(super) fn refuse(&mut self, slot: u32, code: RefusalCode, text: &str) {
        self.refuse_key(slot, None, &NotServed::For { code, text });
    }

    /// As [`refuse`](Self::refuse), for the log with what the peer named.
    pub(super) fn refuse_key(&mut self, slot: u32, key: Option<&Key>, why: &NotServed<'_>) {
        self.note_refusal(slot, why.code(), key, &why.text());
        let Connection { state, voice, .. } = &mut self.connections[slot as usize];
        // What has waited was taken: if it comes again, its client has not heard why it ended.
        if let State::Waiting(_) = state
            && let Some(named) = voice.request().and_then(Peer::idempotency_key)
        {
            self.shared.failed_uploads.add(named);
        }
        match voice.refused(why) {
            Some(words) => self.leave(slot, words),
            None => self.remove(slot).reset(),
        }
    }

    /// Says a last word and closes.
    pub(super) fn leave(&mut self, slot: u32, words: Vec<u8>) {
        self.leave_as(slot, Leaving::new(words));
    }

    /// As [`leave`](Self::leave), for one that may have been told a part of it.
    pub(super) fn leave_as(&mut self, slot: u32, leaving: Leaving) {
        let connection = &mut self.connections[slot as usize];
        // Whatever it waited for or took part in is over.
        connection.state = State::default();
        connection.deadline = self.timers.soon(self.timers.now().after(LEAVING_TIMEOUT));
        self.leave_on(slot, leaving);
    }

    pub(super) fn leave_on(&mut self, slot: u32, mut leaving: Leaving) {
        let connection = &mut self.connections[slot as usize];
        let turn = leaving.turn(&mut connection.stream, self.resources.scratch());
        match turn {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if leaving.is_out_of_patience() {
                    let now = self.timers.now();
                    let by = connection.deadline.tick(now).min(now.after(OVERRUN_TIMEOUT));
                    connection.deadline = self.timers.soon(by);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.kept.push_back(self.id(slot));
            }
            Ok(()) | Err(_) => {
                self.remove(slot);
                return;
            }
        }
        self.connections[slot as usize].state = State::Leaving(Box::new(leaving));
        if self.register(slot) {
            self.arm(slot);
        }
    }
}
