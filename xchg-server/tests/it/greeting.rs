//! First bytes: whole, cut, slow, wrong, and far too many.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{
    InProcess, Peer, assert_lost, classic_greeting, config, eventually, offer, payload,
};
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode, Token};
use xchg_core::{Outcome, Side};
use xchg_server::Config;

/// A server whose one worker hears everybody in the order in which they speak.
fn single() -> InProcess {
    InProcess::start(Config { workers: 1, ..config() })
}

/// A peer that has sent `first`, which the server has read, and then `second`.
fn saying_in_two(address: SocketAddr, first: &[u8], second: &[u8]) -> Peer {
    let mut peer = Peer::saying(address, first);
    // Who came later is answered: the earlier one has been heard.
    Peer::status(address);
    peer.send(second);
    peer
}

fn long_native_greeting() -> Vec<u8> {
    let mut offer = offer(Side::Upload, "a key of more than a few bytes");
    offer.length = Some(5);
    offer.buffer_bytes = Some(1 << 16);
    let mut greeting = Greeting::new(Command::Offer(offer));
    greeting.token = Some(Token::parse(b"token").unwrap());
    greeting.encode()
}

#[test]
fn a_native_greeting_may_be_cut_anywhere() {
    let server = single();
    let greeting = long_native_greeting();
    for cut in 1..greeting.len() {
        let (first, second) = greeting.split_at(cut);
        let mut peer = saying_in_two(server.address(), first, second);
        assert!(matches!(peer.answer(), Answer::Waiting(_)), "cut at {cut}");
        drop(peer);
        server.await_waiting(0);
    }
}

#[test]
fn a_classic_greeting_may_be_cut_anywhere() {
    let server = single();
    let upload = [&classic_greeting(b'P', "k")[..], b"payload"].concat();
    for cut in 1..upload.len() {
        let (first, second) = upload.split_at(cut);
        let uploader = saying_in_two(server.address(), first, second);
        uploader.half_close();
        let greeting = classic_greeting(b'G', "k");
        let (first, second) = greeting.split_at(cut.min(8));
        let downloader = saying_in_two(server.address(), first, second);
        assert_eq!(downloader.whole(), b"payload", "cut at {cut}");
        assert_eq!(server.next_outcome(), (Outcome::Completed, 7));
    }
}

#[test]
fn a_greeting_may_come_byte_by_byte() {
    let server = single();
    for greeting in [&long_native_greeting()[..], &classic_greeting(b'P', "dribbles")] {
        let mut peer = Peer::connect(server.address());
        for byte in greeting {
            assert_eq!(server.counts().waiting, 0);
            peer.send(&[*byte]);
            Peer::status(server.address());
        }
        server.await_waiting(1);
        peer.reset();
        server.await_waiting(0);
    }
}

#[test]
fn what_follows_a_greeting_at_once_is_the_exchanges() {
    let server = InProcess::default();
    for len in [1, 2_000, 2_047, 2_048, 2_049, 10_000] {
        let file = payload(1, len);
        let uploader = [&classic_greeting(b'P', "tail")[..], &file].concat();
        drop(Peer::connect(server.address()).send_all(&uploader));
        server.await_waiting(1);
        assert!(Peer::classic(server.address(), b'G', "tail").whole() == file, "{len} bytes");
    }
}

/// Its greeting and its end come as one event, after the connection has been registered for events.
#[test]
fn a_peer_that_greets_and_ends_at_once_has_left() {
    let server = single();
    let upload = Greeting::new(Command::Offer(offer(Side::Upload, "brief"))).encode();
    let download = Greeting::new(Command::Offer(offer(Side::Download, "brief"))).encode();
    for greeting in [&classic_greeting(b'G', "brief")[..], &upload, &download] {
        for cut in [0, 1] {
            let (first, second) = greeting.split_at(cut);
            let mut peer = Peer::saying(server.address(), first);
            Peer::status(server.address());
            peer.send_with_end(second);
            assert!(peer.rest().is_ok(), "it is closed");
            assert_eq!(server.counts().waiting, 0);
        }
    }
    // To an uploader of the classic dialect that is the usual way.
    let mut uploader = Peer::connect(server.address());
    Peer::status(server.address());
    uploader.send_with_end(&[&classic_greeting(b'P', "brief")[..], b"news"].concat());
    assert_eq!(Peer::classic(server.address(), b'G', "brief").whole(), b"news");
}

#[test]
fn a_peer_that_ends_amid_its_greeting_is_reset() {
    let server = single();
    let greeting = classic_greeting(b'G', "brief");
    for cut in 1..greeting.len() {
        let peer = Peer::saying(server.address(), &greeting[..cut]);
        peer.half_close();
        peer.let_go();
    }
    let native = long_native_greeting();
    let peer = Peer::saying(server.address(), &native[..native.len() - 1]);
    peer.half_close();
    peer.let_go();
    let silent = Peer::connect(server.address());
    silent.half_close();
    assert_eq!(silent.whole(), b"", "who asks for nothing is let go");
}

#[test]
fn a_peer_that_does_not_say_what_it_wants_in_time_is_closed() {
    let greeting_timeout = Duration::from_millis(100);
    let server = InProcess::start(Config { greeting_timeout, ..config() });
    assert_eq!(Peer::connect(server.address()).rest().unwrap(), b"", "it has said nothing");
    for begins in [&b"G"[..], b"Pstocks", b"x", b"xchg\x01\x01", &long_native_greeting()[..40]] {
        Peer::saying(server.address(), begins).let_go();
    }
    // One more byte does not buy more time.
    let mut peer = Peer::connect(server.address());
    let mut stream = peer.stream();
    for byte in [&b"xchg\x01\x01\x08\x00"[..], &[0; 2048]].concat() {
        if stream.write_all(&[byte]).is_err() || server.stats().refused == 7 {
            break;
        }
        Peer::status(server.address());
    }
    eventually("it is refused", || server.stats().refused == 7);
    assert_eq!(peer.rest().unwrap_or_default(), b"", "and not for what it said");
    eventually("all are closed", || server.stats().connections == 0);
}

#[test]
fn unknown_bytes_are_told_what_is_spoken_here() {
    let server = InProcess::default();
    for bytes in
        [&b"hello\r\n"[..], b"\0", b"xchm\x01", b"please?", b"SSH-2.0-OpenSSH_9.9\r\n", b"pabc\0"]
    {
        let said = Peer::saying(server.address(), bytes).whole();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("xchg") && said.ends_with('\n'), "{said:?} to {bytes:?}");
    }
    assert_eq!(server.stats().refused, 6);
}

#[test]
fn native_greetings_that_break_a_rule_are_refused_with_its_code() {
    use RefusalCode::{Malformed, Unsupported, Version};
    let server = InProcess::default();
    let forever = [0xff; 8];
    let body = |command: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&b"xchg\x01"[..], &[command], &len, &body].concat()
    };
    let cases = [
        ("version", b"xchg\x02".to_vec(), Version),
        ("no version", b"xchg\x00\x01\x00\x00".to_vec(), Version),
        ("oversized body", b"xchg\x01\x01\x08\x01".to_vec(), Malformed),
        ("unknown command", body(9, &[]), Unsupported),
        ("unknown realm", body(1, &[&[7], &forever, b"\x01k"]), Unsupported),
        ("empty offer", body(1, &[]), Malformed),
        ("cut in the wait", body(2, &[&[0], &forever[..7]]), Malformed),
        ("wait below -1", body(2, &[&[0], &(-2_i64).to_be_bytes(), b"\x01k"]), Malformed),
        ("empty key", body(2, &[&[0], &forever, b"\x00"]), Malformed),
        ("cut in the key", body(2, &[&[0], &forever, b"\x03ke"]), Malformed),
        ("cut extension", body(2, &[&[0], &forever, b"\x01k", b"\x00\x09\x00"]), Malformed),
        ("long extension", body(2, &[&[0], &forever, b"\x01k", b"\x00\x09\x00\x02v"]), Malformed),
        ("short length", body(1, &[&[0], &forever, b"\x01k", b"\x00\x02\x00\x01v"]), Malformed),
        ("empty token", body(3, &[b"\x00\x01\x00\x00"]), Malformed),
        ("stray byte", body(4, &[b"\x00"]), Malformed),
    ];
    let count = cases.len() as u64;
    for (what, greeting, code) in cases {
        assert_eq!(Peer::saying(server.address(), &greeting).refused(), code, "{what}");
    }
    assert_eq!((server.stats().refused, server.counts().waiting), (count, 0));
}

#[test]
fn unknown_extensions_are_skipped() {
    let server = InProcess::default();
    let mut greeting = Greeting::new(Command::Offer(offer(Side::Upload, "k"))).encode();
    greeting.extend_from_slice(b"\x7f\xff\x00\x03new");
    greeting[7] += 7;
    Peer::saying(server.address(), &greeting).waits();
}

#[test]
fn a_classic_key_may_look_like_a_command() {
    let server = InProcess::default();
    for key in ["UT", "ET", "P", "F"] {
        let downloader = Peer::classic(server.address(), b'G', key);
        server.await_waiting(1);
        drop(Peer::classic(server.address(), b'P', key).send_all(key.as_bytes()));
        assert_eq!(downloader.whole(), key.as_bytes());
    }
}

#[test]
fn garbage_without_end_is_cut_off_early() {
    /// Both ends' socket buffers and the server's patience, several times over.
    const BOUND: usize = 256 << 20;
    let server = InProcess::default();
    let garbage = vec![b'a'; 1 << 20];
    for begins in [
        &b"aa:aa"[..],
        b"xchg\x01\x01\xff\xff",
        b"xchg\x01\x09\x00\x00",
        b"xchg\x07",
        b"please relay ",
        b"G\0\0\0\0\0\0\0\0",
    ] {
        let peer = Peer::saying(server.address(), begins);
        let mut stream = peer.stream();
        let mut sent = 0;
        let error = loop {
            match stream.write_all(&garbage) {
                Ok(()) => sent += garbage.len(),
                Err(error) => break error,
            }
            assert!(sent < BOUND, "{begins:?}: {sent} bytes of a 4 GiB greeting were taken");
        };
        assert_lost(Err::<(), _>(error));
    }
    assert_eq!(server.stats().refused, 6);
}
