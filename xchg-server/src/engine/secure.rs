//! Peers whose bytes are within a layer that begins with a handshake: what that costs is bounded.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xchg_core::wire::RefusalCode;

use super::Engine;
use crate::engine::connection::State;
use crate::engine::net::{Id, Net, Readiness};

/// Handshakes that may be under way at once, in all workers: 8 MiB, and a moment's worth of a
/// processor.
const MAX_HANDSHAKES: usize = 1024;

/// Those that a worker goes on with in a round, when everything else has had its turn: of about 0.2
/// ms each.
const HANDSHAKES_A_ROUND: usize = 32;

/// How many handshakes are under way.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Arc<AtomicUsize>);

impl Handshakes {
    /// Counts another, unless there are too many.
    fn begin(&self) -> Option<Handshake> {
        let handshake = Handshake(self.0.clone());
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (before < MAX_HANDSHAKES).then_some(handshake)
    }
}

/// One that counts until it is dropped.
#[derive(Debug)]
struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer that shakes hands.
#[derive(Debug)]
pub(crate) struct Securing {
    /// What the layer begins with, until there is one.
    heard: Vec<u8>,
    /// What has happened since the handshake was last gone on with; `None` if it is not in the
    /// queue for that.
    news: Option<Readiness>,
    _handshake: Handshake,
}

impl<N: Net> Engine<N> {
    /// Has a peer shake hands that has begun with `heard`.
    pub(super) fn secure(&mut self, slot: u32, heard: &[u8]) {
        let Some(handshake) = self.shared.handshakes.begin() else {
            let text = "too many peers shake hands already";
            self.note_refusal(slot, RefusalCode::Busy, None, text);
            return self.remove(slot).reset();
        };
        let news = Some(Readiness::default());
        let securing = Securing { heard: heard.to_vec(), news, _handshake: handshake };
        self.connections[slot as usize].state = State::Securing(Box::new(securing));
        self.handshakes.push_back(self.id(slot));
    }

    /// Something has happened to the stream of one that shakes hands.
    pub(super) fn on_handshake_ready(&mut self, id: Id, ready: Readiness) {
        let Some(State::Securing(securing)) = self.connection(id).map(|it| &mut it.state) else {
            return;
        };
        match &mut securing.news {
            Some(news) => *news = news.and(ready),
            None => {
                securing.news = Some(ready);
                self.handshakes.push_back(id);
            }
        }
    }

    /// Goes on with some of the handshakes for which there is news.
    pub(super) fn shake_hands(&mut self) {
        for _ in 0..self.handshakes.len().min(HANDSHAKES_A_ROUND) {
            let Some(id) = self.handshakes.pop_front() else { return };
            self.guard(id, |engine| engine.shake_hand(id));
        }
    }

    fn shake_hand(&mut self, id: Id) {
        let Some(connection) = self.connection(id) else { return };
        let State::Securing(securing) = &mut connection.state else { return };
        let news = securing.news.take().unwrap_or_default();
        let heard = std::mem::take(&mut securing.heard);
        let listener = connection.listener;
        match self.go_on_with_handshake(id.slot, listener, &heard) {
            Ok(()) => {
                // What is within is heard as if the connection had just come.
                self.connections[id.slot as usize].state = State::default();
                self.shared.counters.secured();
                self.greet(id.slot);
                // Its end may have come meanwhile, and is not told a second time.
                self.on_end(id, news);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.register(id.slot) {
                    self.arm(id.slot);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.on_handshake_ready(id, news);
            }
            Err(error) => {
                let text = match error.kind() {
                    io::ErrorKind::InvalidData => "its handshake has failed",
                    _ => "it has left amid its handshake",
                };
                self.shared.counters.handshake_failed();
                self.note_refusal(id.slot, RefusalCode::Malformed, None, text);
                match error.kind() {
                    // It has been told, and shall be able to hear it.
                    io::ErrorKind::InvalidData => self.leave(id.slot, Vec::new()),
                    _ => self.remove(id.slot).reset(),
                }
            }
        }
    }

    fn go_on_with_handshake(&mut self, slot: u32, listener: u8, heard: &[u8]) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        if !connection.stream.is_wrapped() {
            let layer = self.net.layer(listener)?;
            connection.stream.wrap(layer, heard)?;
            if !connection.stream.is_watched() {
                // The peer answers in a round trip at best, and the poll tells of it then.
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        connection.stream.settle()
    }
}
