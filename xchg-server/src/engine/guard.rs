//! A panic while a connection is handled ends that connection, and its exchange, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Engine;
use super::table::SERIALS;
use crate::engine::connection::{State, Waiting};
use crate::engine::net::{Id, Net};
use crate::engine::throttle::Kind;

impl<N: Net> Engine<N> {
    /// Does `work` for a connection; a panic in it ends that connection only.
    pub(super) fn guard(&mut self, id: Id, work: impl FnOnce(&mut Self)) {
        self.guard_all([id], work);
    }

    /// Does `work` for several connections; a panic in it ends them only, and those that it has
    /// brought here.
    pub(super) fn guard_all(
        &mut self,
        ids: impl IntoIterator<Item = Id>,
        work: impl FnOnce(&mut Self),
    ) {
        let newest = self.serial;
        // Unwind safe: what the panic may have left half done is the connections' and their
        // exchange's, and all are discarded.
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.shared.counters.panicked();
        for id in ids {
            if let Some(peer) = self.connection(id).map(|connection| connection.origin) {
                self.discard(id.slot);
                if self.may_log(Kind::Panicked) {
                    tracing::error!(%peer, "a connection's handling panicked; it is closed");
                }
            }
        }
        let count = self.serial.wrapping_sub(newest) & SERIALS;
        let is_new = |serial: u32| (1..=count).contains(&(serial.wrapping_sub(newest) & SERIALS));
        let brought = self
            .connections
            .iter()
            .filter(|(_, one)| is_new(one.serial) || self.is_orphan(&one.state));
        let brought: Vec<_> = brought.map(|(slot, one)| (slot, one.serial)).collect();
        for (slot, serial) in brought {
            let slot = u32::try_from(slot).expect("made from a u32");
            self.discard_if_here(Id { slot, serial });
        }
    }

    /// Whether the exchange of a connection is gone: its end was what went wrong.
    fn is_orphan(&self, state: &State) -> bool {
        match state {
            State::Exchanging { exchange } => !self.exchanges.contains(*exchange as usize),
            _ => false,
        }
    }

    /// As [`discard`](Self::discard), unless it is gone: the end of another may have been its end.
    pub(super) fn discard_if_here(&mut self, id: Id) {
        if self.connection(id).is_some() {
            self.discard(id.slot);
        }
    }

    /// Closes a connection in whatever state, with what depends on it.
    pub(super) fn discard(&mut self, slot: u32) {
        match self.connections[slot as usize].state {
            ref state if self.is_orphan(state) => self.remove(slot).reset(),
            State::Exchanging { exchange } => self.abandon(exchange),
            State::Waiting(Waiting { place, .. }) => self.give_up(slot, place),
            _ => self.remove(slot).reset(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Instant;

    use mio::Poll;
    use xchg_core::relay::Socket;
    use xchg_core::{Broker, Brokered, ExchangeHandle, Key, Offer, Outcome, Pair, Realm, Side};

    use crate::Config;
    use crate::dialect::Dialect;
    use crate::engine::Gathering;
    use crate::engine::connection::{Address, Connection};
    use crate::engine::net::Accepted;
    use crate::engine::shared::{Inbox, Message, Shared};
    use crate::origin::Origin;
    use crate::system::System;
    use crate::system::descriptors::Descriptors;

    type Engine = super::Engine<System>;

    fn engine() -> Engine {
        let inboxes = [(); 2].map(|()| Inbox::new(Box::new(|| Ok(())))).into();
        let (shared, _) = Shared::new(
            Config::default(),
            Descriptors::here(2, 0),
            inboxes,
            Broker::new,
            Instant::now(),
        );
        let system = System::new(&Poll::new().unwrap(), Vec::new(), None).unwrap();
        Engine::new(0, system, Arc::new(shared), Instant::now())
    }

    /// A connection that is counted, and its peer, who has said `greeting`.
    fn connection(engine: &Engine, greeting: &[u8]) -> (Connection<Socket<OwnedFd>>, UnixStream) {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        peer.write_all(greeting).unwrap();
        let standing = engine.shared.admission.enter(Origin::UNIX);
        let accepted =
            Accepted { transport: Socket(ours.into()), origin: Origin::UNIX, listener: 0 };
        (Connection::new(accepted, standing), peer)
    }

    fn connect(engine: &mut Engine, greeting: &[u8]) -> (u32, UnixStream) {
        let (connection, peer) = connection(engine, greeting);
        let slot = engine.insert(connection);
        engine.greet(slot);
        (slot, peer)
    }

    /// An exchange of nobody, whose uploader waits at the first of these workers, and the receivers
    /// at the others; the last of them is the newcomer.
    fn pair(engine: &Engine, workers: &[u16]) -> (Pair<Address>, ExchangeHandle) {
        let broker = &engine.shared.broker;
        let mut paired = None;
        for (slot, &worker) in (1000..).zip(workers) {
            let side = if slot == 1000 { Side::Upload } else { Side::Download };
            let conn = Address { worker, dialect: Dialect::Native, slot, came: 0 };
            let offer = Offer::new(Realm::Plain, Key::parse(b"theirs").unwrap(), side, conn);
            let receivers = u16::try_from(workers.len() - 1).unwrap();
            match broker.offer(Offer { receivers, ..offer }, Instant::now()) {
                Brokered::Waiting { .. } => {}
                Brokered::Paired(pair) => paired = Some(pair),
                other => panic!("{other:?}"),
            }
        }
        let pair = paired.expect("all are there");
        let handle = pair.exchange.handle();
        (pair, handle)
    }

    fn is_closed(mut peer: UnixStream) {
        let mut bytes = Vec::new();
        // By a reset where the peer was in an exchange.
        peer.read_to_end(&mut bytes).ok();
        assert_eq!(bytes, b"");
    }

    /// Has `work` go wrong beside others, and sees that they are as well as before.
    fn beside_others(engine: &mut Engine, work: impl FnOnce(&mut Engine)) {
        let (_, mut waits) = connect(engine, b"Gothers\0\0");
        let connections = engine.connections.len();
        work(engine);
        assert_eq!(engine.connections.len(), connections);
        assert_eq!(engine.shared.admission.open(), connections);
        let (_, uploader) = connect(engine, b"Pothers\0\0whole");
        drop(uploader);
        let running: Vec<_> = engine.exchanges.iter().map(|(index, _)| index).collect();
        running.into_iter().for_each(|index| engine.drive(u32::try_from(index).unwrap()));
        let mut whole = [0; 5];
        waits.read_exact(&mut whole).unwrap();
        assert_eq!(&whole, b"whole");
    }

    #[test]
    fn a_meeting_that_goes_wrong_ends_both_peers_and_nobody_else() {
        // One that does not wait, as the newcomer's worker believes; and one that is gone.
        for is_there in [true, false] {
            let mut engine = engine();
            beside_others(&mut engine, |engine| {
                let (silent, silent_peer) = connect(engine, b"");
                let slot = if is_there { silent } else { 1000 };
                let (newcomer, newcomer_peer) = connection(engine, b"");
                let (mut pair, handle) = pair(engine, &[0, 1]);
                pair.upload.slot = slot;
                let from = pair.download;
                let gathering = Gathering::new(pair, from, newcomer, None);
                engine.on_message(Message::Gather(Box::new(gathering)));
                assert_eq!(handle.ended().unwrap().outcome, Outcome::Cancelled);
                is_closed(newcomer_peer);
                if !is_there {
                    engine.remove(silent);
                }
                is_closed(silent_peer);
            });
        }
    }

    #[test]
    fn a_message_for_somebody_who_is_not_there_harms_nobody() {
        let mut engine = engine();
        beside_others(&mut engine, |engine| {
            for message in [Message::Release(1000), Message::Spare(1000)] {
                engine.on_message(message);
            }
        });
    }

    #[test]
    fn one_who_is_to_come_along_and_does_not_wait_ends_the_exchange_for_all() {
        let mut engine = engine();
        beside_others(&mut engine, |engine| {
            let (silent, silent_peer) = connect(engine, b"");
            let (newcomer, newcomer_peer) = connection(engine, b"");
            let (mut pair, handle) = pair(engine, &[1, 0, 1]);
            assert_eq!((pair.upload.worker, pair.others.len()), (1, 1));
            pair.download.slot = silent;
            let (upload, from) = (pair.upload, pair.others[0]);
            let gathering = Gathering::new(pair, from, newcomer, None);
            engine.on_message(Message::Gather(Box::new(gathering)));
            assert_eq!(handle.ended().unwrap().outcome, Outcome::Cancelled);
            is_closed(newcomer_peer);
            is_closed(silent_peer);
            let told: Vec<_> = engine.shared.inboxes[1].drain().collect();
            assert!(matches!(told[..], [Message::Spare(slot)] if slot == upload.slot));
        });
    }

    #[test]
    fn an_uploader_hears_of_each_receiver_before_its_exchange_starts() {
        let mut engine = engine();
        let say = |start: &str, rest: &str| format!("{start} HTTP/1.1\r\nHost: a\r\n{rest}\r\n");
        let (_, mut uploader) =
            connect(&mut engine, say("PUT /k?n=2", "Content-Length: 0\r\n").as_bytes());
        // All of them before the worker looks at its messages, one of which says that the first
        // came.
        let _receivers = [(); 2].map(|()| connect(&mut engine, say("GET /k?n=2", "").as_bytes()));
        engine.receive();
        let mut told = String::new();
        while !told.contains("Start sending") {
            let mut byte = [0];
            uploader.read_exact(&mut byte).unwrap();
            told.push(byte[0].into());
        }
        assert_eq!(told.matches("A receiver was connected.").count(), 2, "{told}");
    }

    #[test]
    fn whoever_was_brought_by_what_went_wrong_is_closed() {
        let mut engine = engine();
        // Serials start again after 2^31 connections.
        engine.serial = super::SERIALS - 2;
        beside_others(&mut engine, |engine| {
            let peers = std::cell::RefCell::new(Vec::new());
            engine.guard_all([], |engine| {
                for _ in 0..3 {
                    peers.borrow_mut().push(connect(engine, b"").1);
                }
                panic!("on purpose");
            });
            peers.into_inner().into_iter().for_each(is_closed);
        });
    }
}
