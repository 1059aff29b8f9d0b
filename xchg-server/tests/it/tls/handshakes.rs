//! Handshakes: how they go, and what they may cost others.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::HandshakeKind;
use xchg_server::Config;

use super::{World, finish};
use crate::common::{Peer, TlsStream, classic_greeting, config, eventually, payload, tls};

#[test]
fn bytes_that_come_one_by_one_are_heard() {
    let world = World::default();
    let mut stream = world.connect();
    stream.conn.writer().write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut sealed = Vec::new();
    while stream.conn.is_handshaking() || stream.conn.wants_write() {
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut sealed).unwrap();
        }
        for byte in sealed.drain(..) {
            stream.sock.write_all(&[byte]).unwrap();
        }
        if stream.conn.is_handshaking() {
            stream.conn.read_tls(&mut stream.sock).unwrap();
            stream.conn.process_new_packets().unwrap();
        }
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Help for xchg"), "{answer}");
}

#[test]
fn handshakes_that_stall_are_bounded_and_let_go() {
    let greeting_timeout = Duration::from_secs(3);
    let world = World::start(Config { greeting_timeout, ..config() });
    let hello = [0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3];
    let stalled: Vec<Peer> = (0..1100).map(|_| Peer::saying(world.address(), &hello)).collect();
    // Beyond the limit they are closed at once; those within it have their time.
    eventually("some are too many", || world.server.stats().refused >= 76);
    assert_eq!(world.server.stats().refused, 76);
    // Nobody else is kept from anything, but for more handshakes.
    let mut upload = Peer::classic(world.address(), b'P', "beside");
    upload.send(b"bytes");
    upload.half_close();
    assert_eq!(Peer::classic(world.address(), b'G', "beside").whole(), b"bytes");
    eventually("all are let go", || world.server.stats().refused == 1100);
    eventually("all are gone", || world.server.stats().connections == 0);
    drop(stalled);
    let mut stream = world.saying(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(stream.read_to_string(&mut String::new()).is_ok());
}

/// The first words of a client that begins to shake hands.
fn hello(stream: &mut TlsStream) -> Vec<u8> {
    let mut hello = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut hello).unwrap();
    }
    hello
}

/// An exchange of `sent` in TLS on both sides.
fn exchange(world: &World, key: &str, sent: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut upload = world.saying(&classic_greeting(b'P', key));
            upload.write_all(sent).unwrap();
            finish(&mut upload);
            upload.read_to_end(&mut Vec::new()).unwrap();
        });
        let mut heard = Vec::new();
        let mut download = world.saying(&classic_greeting(b'G', key));
        download.read_to_end(&mut heard).unwrap();
        assert!(heard == sent, "{key}: {} bytes", heard.len());
    });
}

#[test]
fn who_shakes_hands_byte_by_byte_holds_up_nobody() {
    const SLOW: usize = 500;
    const OTHERS: usize = 50;
    let greeting_timeout = Duration::from_secs(120);
    let world = World::start(Config { workers: 1, greeting_timeout, ..config() });
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let mut stream = world.connect();
            let hello = hello(&mut stream);
            (stream, hello)
        })
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| exchange(&world, "bulk", &payload(1, 64 << 20)));
        scope.spawn(|| {
            (0..OTHERS).for_each(|key| exchange(&world, &format!("{key}"), &payload(2, 1000)));
        });
        let longest = slow.iter().map(|(_, hello)| hello.len()).max().unwrap();
        for place in 0..longest - 1 {
            for (stream, hello) in &mut slow {
                // The last byte is kept.
                if let Some([byte, _, ..]) = hello.get(place..) {
                    stream.sock.write_all(&[*byte]).unwrap();
                }
            }
        }
    });
    let others = 2 * (1 + OTHERS as u64);
    world.server.await_counts("others have ended", |counts| counts.completed == others / 2);
    let stats = world.server.stats();
    assert_eq!((stats.tls_handshakes, stats.tls_handshake_failures), (others, 0));
    assert_eq!((stats.refused, world.server.counts().failed), (0, 0));
    assert!(stats.connections >= SLOW as u64, "{stats:?}");
    // They count for the limit all the same.
    let more: Vec<Peer> =
        (0..600).map(|_| Peer::saying(world.address(), &[0x16, 3, 1, 1, 0])).collect();
    eventually("some are too many", || world.server.stats().refused >= 76);
    assert_eq!(world.server.stats().refused, 76);
    drop(more);
    eventually("those are gone", || world.server.stats().connections == SLOW as u64);
    // And are served, late as they are.
    for (stream, hello) in &mut slow[..20] {
        stream.sock.write_all(&hello[hello.len() - 1..]).unwrap();
        stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("Help for xchg"), "{answer}");
    }
    drop(slow);
    eventually("all are gone", || world.server.stats().connections == 0);
}

#[test]
fn garbage_is_told_by_an_alert_and_counted() {
    let world = World::default();
    let mut peer = Peer::saying(world.address(), b"\x16this is no TLS, whatever it begins with");
    let answer = peer.rest().unwrap();
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
    eventually("it is counted", || world.server.stats().tls_handshake_failures == 1);
}

#[test]
fn who_offers_only_other_protocols_is_not_served() {
    let world = World::default();
    let mut config = (*world.client).clone();
    for (protocols, is_served) in [(&["http/1.1", "h2"][..], true), (&["ftp"], false), (&[], true)]
    {
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut stream = tls(world.address(), &Arc::new(config.clone()));
        let served = stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let served = served.and_then(|()| stream.read_to_string(&mut String::new()));
        assert_eq!(served.is_ok(), is_served, "{protocols:?}");
    }
}

#[test]
fn sessions_are_resumed() {
    let world = World::default();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let mut stream = world.saying(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.read_to_string(&mut String::new()).unwrap();
        assert_eq!(stream.conn.handshake_kind(), Some(kind));
    }
}
