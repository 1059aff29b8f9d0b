//! The stream in TLS against rustls' own client, over pipes of any width.

use std::io::{self, Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use xchg_core::relay::{Sink, Source};

use crate::engine::net::{Id, Readiness};
use crate::engine::stream::Stream;

use super::super::{Session, Store};
use super::Folder;
use super::pipe::{Pipe, Poll, Width, pipe};

/// A client's end, driven by hand.
struct Client {
    tls: ClientConnection,
    pipe: Pipe,
    heard: Vec<u8>,
    has_end: bool,
}

impl Client {
    /// Moves what can be moved; whether anything was.
    fn turn(&mut self) -> bool {
        let mut has_moved = false;
        while self.tls.wants_write() && self.tls.write_tls(&mut self.pipe).is_ok() {
            has_moved = true;
        }
        while self.tls.wants_read() && self.tls.read_tls(&mut self.pipe).is_ok_and(|n| n > 0) {
            has_moved = true;
            self.tls.process_new_packets().unwrap();
            let mut bytes = [0; 4096];
            loop {
                match self.tls.reader().read(&mut bytes) {
                    Ok(0) => {
                        self.has_end = true;
                        break;
                    }
                    Ok(n) => self.heard.extend_from_slice(&bytes[..n]),
                    Err(_) => break,
                }
            }
        }
        has_moved
    }
}

struct World {
    client: Client,
    server: Stream<Pipe>,
    heard: Vec<u8>,
    /// What the last read of the server's said: its end, or why there is none yet.
    last: io::Result<usize>,
}

/// A client that trusts the folder's authority.
pub(super) fn client(folder: &Folder) -> ClientConnection {
    client_of(folder, &BOTH)
}

fn client_of(
    folder: &Folder,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(folder.root.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

fn world(width: Width, versions: &[&'static rustls::SupportedProtocolVersion]) -> World {
    let folder = Folder::new();
    let store = Store::open(folder.files()).unwrap();
    let tls = client_of(&folder, versions);
    let (ours, theirs) = pipe(width);
    let mut server = Stream::new(ours);
    server.wrap(Box::new(Session::new(store.config()).unwrap()), &[]).unwrap();
    World {
        client: Client { tls, pipe: theirs, heard: Vec::new(), has_end: false },
        server,
        heard: Vec::new(),
        last: Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl World {
    /// Has the server's stream notice all that has happened.
    fn notice(&mut self) -> Readiness {
        self.server.on_ready(Readiness {
            is_readable: true,
            is_writable: true,
            ..Readiness::default()
        })
    }

    fn is_handshaking(&mut self) -> bool {
        self.server.settle().is_err()
    }

    /// Reads at the server, in pieces of at most `most` bytes, until it has no more.
    fn read(&mut self, most: usize) -> bool {
        let before = self.heard.len();
        self.notice();
        let mut buf = vec![0; most];
        loop {
            self.last = self.server.read(&mut buf);
            match &self.last {
                Ok(0) => break,
                Ok(n) => self.heard.extend_from_slice(&buf[..*n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.heard.len() > before
    }

    fn shake_hands(&mut self) {
        while self.client.tls.is_handshaking() || self.is_handshaking() {
            let moved = self.client.turn();
            self.read(1);
            assert!(moved || self.client.turn() || !self.is_handshaking());
        }
    }

    /// Has both send all that they have, and say that it was all.
    fn exchange(&mut self, up: &[u8], down: &[u8], most: usize) {
        let (mut upped, mut downed, mut has_ended) = (0, 0_usize, false);
        for _ in 0..1_000_000 {
            upped += self.client.tls.writer().write(&up[upped..]).unwrap();
            let client = &mut self.client.tls;
            if upped == up.len() && !client.wants_write() && !client.is_handshaking() {
                client.send_close_notify();
            }
            self.client.turn();
            self.read(most);
            if !self.is_handshaking() {
                let end = down.len().min(downed.saturating_add(most));
                if downed < end {
                    match self.server.write(&down[downed..end]) {
                        Ok(n) => downed += n,
                        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                    }
                }
                if downed == down.len() && !has_ended {
                    has_ended = self.server.half_close().is_ok();
                }
            }
            if has_ended && self.client.has_end && matches!(self.last, Ok(0)) {
                return;
            }
        }
        panic!("it does not end");
    }
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| ((at * at) >> 3).to_le_bytes()[0]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_hear_what_the_other_says_whatever_the_split(
        up in 0_usize..50_000,
        down in 0_usize..150_000,
        capacity in 1_usize..40_000,
        at_once in prop_oneof![1_usize..20, 1_usize..20_000],
        most in prop_oneof![1_usize..700, 1_usize..70_000],
        version in 0_usize..2,
    ) {
        // A byte at a time through everything takes long.
        let limit = 200 * at_once.min(capacity).min(most);
        let (up, down) = (bytes(up.min(limit)), bytes(down.min(limit)));
        let mut world = world(Width { capacity, at_once }, &[BOTH[version]]);
        world.exchange(&up, &down, most);
        prop_assert!(world.heard == up, "{} of {} up", world.heard.len(), up.len());
        prop_assert!(world.client.heard == down);
        prop_assert!(world.client.pipe.has_end(), "the plain stream ends too");
    }
}

#[test]
fn aes_with_128_bits_is_chosen_whatever_the_client_likes_best() {
    for (version, suite) in [
        (&rustls::version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (&rustls::version::TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    ] {
        let mut world = world(Width::WIDE, &[version]);
        world.shake_hands();
        let chosen = world.client.tls.negotiated_cipher_suite().unwrap();
        assert_eq!(chosen.suite(), suite);
    }
}

#[test]
fn a_stream_that_ends_without_a_word_is_cut() {
    for version in BOTH {
        let mut world = world(Width::WIDE, &[version]);
        world.shake_hands();
        world.client.tls.writer().write_all(b"hello").unwrap();
        world.client.turn();
        world.client.pipe.half_close().unwrap();
        world.read(3);
        assert_eq!(world.heard, b"hello", "what came before is heard");
        for _ in 0..2 {
            assert_eq!(world.last.as_ref().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            world.read(3);
        }
        // It may still hear what it asked for.
        world.server.write(b"answer").unwrap();
        world.client.turn();
        assert_eq!(world.client.heard, b"answer");
    }
}

#[test]
fn an_end_in_words_is_an_end_and_the_other_way_stays_open() {
    for version in BOTH {
        let mut world = world(Width::WIDE, &[version]);
        world.shake_hands();
        world.client.tls.send_close_notify();
        world.client.turn();
        assert!(world.notice().is_readable);
        assert!(!world.read(3));
        assert!(matches!(world.last, Ok(0)));
        world.server.write(b"more").unwrap();
        world.client.turn();
        assert_eq!(world.client.heard, b"more");
        assert!(!world.client.has_end);
        world.server.half_close().unwrap();
        assert_eq!(world.server.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        world.client.turn();
        assert!(world.client.has_end && world.client.pipe.has_end());
    }
}

#[test]
fn a_stream_let_go_ends_and_one_that_is_reset_does_not() {
    for is_reset in [false, true] {
        let mut world = world(Width::WIDE, &BOTH);
        world.shake_hands();
        world.server.write(b"all").unwrap();
        let World { mut client, server, .. } = world;
        client.turn();
        if is_reset {
            server.reset()
        } else {
            server.close()
        }
        client.turn();
        assert_eq!(client.heard, b"all");
        assert_eq!(client.has_end, !is_reset);
    }
}

#[test]
fn a_ticket_leaves_with_the_first_word_or_the_end() {
    type Say = fn(&mut Stream<Pipe>);
    let word: Say = |server| assert_eq!(server.write(b"word").unwrap(), 4);
    let end: Say = |server| server.half_close().unwrap();
    for (say, heard) in [(word, "word"), (end, "")] {
        let mut world = world(Width::WIDE, &[&rustls::version::TLS13]);
        world.shake_hands();
        world.notice();
        assert!(world.client.pipe.arrived().is_empty(), "nobody waits for it");
        say(&mut world.server);
        world.client.turn();
        assert_eq!(world.client.heard, heard.as_bytes());
        assert_eq!(world.client.tls.tls13_tickets_received(), 1);
    }
}

#[test]
fn the_last_word_and_the_end_leave_together() {
    for version in BOTH {
        let mut world = world(Width::WIDE, &[version]);
        world.shake_hands();
        let before = world.client.pipe.writes();
        assert_eq!(world.server.write_last(b"word").unwrap(), 4);
        assert_eq!(world.client.pipe.writes(), before + 1);
        world.client.turn();
        assert!(world.client.has_end && world.client.heard == b"word");
    }
}

#[test]
fn what_is_sealed_and_not_sent_is_counted_and_sent_before_the_end() {
    let mut world = world(Width { capacity: 6000, at_once: usize::MAX }, &BOTH);
    world.shake_hands();
    assert_eq!(world.server.write(&[7; 20_000]).unwrap(), 20_000, "sealed");
    assert_eq!(world.server.write(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let mut rounds = 0;
    while world.server.half_close().is_err() {
        assert!(!world.client.has_end);
        world.client.turn();
        world.notice();
        rounds += 1;
    }
    world.client.turn();
    assert!(rounds > 1 && world.client.has_end);
    assert_eq!(world.client.heard.len(), 20_000);
}

#[test]
fn nothing_more_is_asked_for_behind_all_that_there_is_until_more_is_told_of() {
    let (ours, mut theirs) = pipe(Width::WIDE);
    let mut server = Stream::new(ours);
    let read = |server: &mut Stream<Pipe>| server.read(&mut [0; 10]).map_err(|it| it.kind());
    Sink::write(&mut theirs, b"one").unwrap();
    assert_eq!(read(&mut server), Ok(3));
    assert_eq!(read(&mut server), Err(io::ErrorKind::WouldBlock));
    assert_eq!(theirs.reads(), 2, "nobody tells of more yet");
    server.watch(&mut Poll, Id { slot: 0, serial: 0 }).unwrap();

    let told = Readiness { is_readable: true, ..Readiness::default() };
    Sink::write(&mut theirs, b"three more").unwrap();
    server.note(told);
    assert_eq!((read(&mut server), theirs.reads()), (Ok(10), 3));
    assert_eq!((read(&mut server), theirs.reads()), (Err(io::ErrorKind::WouldBlock), 4));
    Sink::write(&mut theirs, b"two").unwrap();
    server.note(told);
    assert_eq!((read(&mut server), theirs.reads()), (Ok(3), 5));
    assert_eq!((read(&mut server), theirs.reads()), (Err(io::ErrorKind::WouldBlock), 5));

    // The end is told of once, and may be behind bytes.
    Sink::write(&mut theirs, b"last").unwrap();
    theirs.half_close().unwrap();
    server.note(Readiness { has_read_end: true, ..told });
    assert_eq!((read(&mut server), read(&mut server)), (Ok(4), Ok(0)));
}

#[test]
fn what_is_read_and_not_asked_for_is_bounded() {
    let mut world = world(Width::WIDE, &BOTH);
    world.shake_hands();
    while world.client.tls.writer().write(&[1; 16 << 10]).unwrap() > 0 {}
    world.client.turn();
    // A greeting is read in small pieces, and what comes behind it stays where it is.
    world.notice();
    for _ in 0..3 {
        let n = world.server.read(&mut [0; 100]).unwrap();
        assert_eq!(n, 100);
        assert!(world.notice().is_readable);
        assert!(world.client.pipe.unread() > 40_000, "{}", world.client.pipe.unread());
    }
}

#[test]
fn garbage_is_answered_with_an_alert_and_failure() {
    let whole = [&[0x16, 3, 1, 0, 5][..], b"hello"].concat();
    for garbage in [&b"\x16hello, this is no TLS at all"[..], &whole, b"\x16\x03\x01\xff\xff"] {
        let mut world = world(Width::WIDE, &BOTH);
        Sink::write(&mut world.client.pipe, garbage).unwrap();
        world.read(100);
        assert_eq!(world.last.as_ref().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let answer = world.client.pipe.arrived();
        // Of a message that it does not know the library says nothing.
        assert!(matches!(answer[..], [0x15, ..] | []), "an alert: {answer:?}");
        world.read(100);
        assert_eq!(world.last.as_ref().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_handshake_cut_at_any_byte_is_a_failure() {
    for version in BOTH {
        let mut sent = 0;
        loop {
            let mut world = world(Width { capacity: usize::MAX, at_once: 1 }, &[version]);
            for _ in 0..sent {
                while !world.client.tls.wants_write() {
                    world.read(10);
                    while world.client.tls.read_tls(&mut world.client.pipe).is_ok() {}
                    world.client.tls.process_new_packets().unwrap();
                }
                world.client.tls.write_tls(&mut world.client.pipe).unwrap();
            }
            world.client.pipe.half_close().unwrap();
            world.read(10);
            let error = world.last.as_ref().unwrap_err().kind();
            assert_eq!(error, io::ErrorKind::UnexpectedEof, "after {sent} bytes");
            if !world.is_handshaking() {
                break;
            }
            sent += 1;
        }
        assert!(sent > 200, "{sent}");
    }
}

#[test]
fn a_flood_of_key_updates_ends_the_stream() {
    let mut world = world(Width::WIDE, &[&rustls::version::TLS13]);
    world.shake_hands();
    for _ in 0..10 {
        world.client.tls.refresh_traffic_keys().unwrap();
        world.client.tls.writer().write_all(b"x").unwrap();
        world.client.turn();
        world.read(10);
    }
    assert_eq!(world.heard, [b'x'; 10], "some are well");
    for _ in 0..100 {
        world.client.tls.refresh_traffic_keys().unwrap();
        while world.client.tls.wants_write() {
            world.client.tls.write_tls(&mut world.client.pipe).unwrap();
        }
    }
    world.read(10);
    assert_eq!(world.last.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn records_without_bytes_are_nothing_to_read() {
    let mut world = world(Width::WIDE, &[&rustls::version::TLS13]);
    world.shake_hands();
    world.client.turn();
    world.client.tls.refresh_traffic_keys().unwrap();
    world.client.turn();
    assert!(!world.notice().is_readable, "what is no byte of the peer's is none to read");
}
