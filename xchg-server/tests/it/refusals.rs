//! Whoever is refused can tell that from the success of an empty payload, in every dialect.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{InProcess, Peer, config, offer};
use crate::web::{get, put};
use xchg_core::wire::{Answer, Command, Decoded, Greeting, Wait};
use xchg_core::{Limits, Side};
use xchg_server::Config;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    Classic,
    Native,
    Http,
    Http10,
    Transit,
}

const DIALECTS: [Speaks; 5] =
    [Speaks::Classic, Speaks::Native, Speaks::Http, Speaks::Http10, Speaks::Transit];

/// What a peer sends that offers `side` under `key`.
fn greeting(speaks: Speaks, side: Side, key: &str) -> Vec<u8> {
    match (speaks, side) {
        (Speaks::Classic, Side::Upload) => crate::common::classic_greeting(b'P', key).to_vec(),
        (Speaks::Classic, Side::Download) => crate::common::classic_greeting(b'G', key).to_vec(),
        (Speaks::Native, _) => {
            let mut offer = offer(side, key);
            offer.wait = Wait::Forever;
            Greeting::new(Command::Offer(offer)).encode()
        }
        (Speaks::Http, Side::Upload) => put(key, b"x"),
        (Speaks::Http, Side::Download) => get(key),
        (Speaks::Http10, Side::Upload) => {
            format!("PUT /{key} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx").into_bytes()
        }
        (Speaks::Http10, Side::Download) => format!("GET /{key} HTTP/1.0\r\n\r\n").into_bytes(),
        (Speaks::Transit, _) => format!("please relay {key:0>64}\n").into_bytes(),
    }
}

/// Whether a peer that heard this to its connection's end takes it for success.
fn looks_like_success(speaks: Speaks, side: Side, heard: &io::Result<Vec<u8>>) -> bool {
    let Ok(bytes) = heard else { return false };
    match speaks {
        // All that a classic client knows is whether its connection failed.
        Speaks::Classic => true,
        Speaks::Native => answers(bytes).iter().any(|answer| matches!(answer, Answer::Matched(_))),
        Speaks::Transit => bytes.starts_with(b"ok\n"),
        Speaks::Http | Speaks::Http10 => {
            let text = String::from_utf8_lossy(bytes);
            let is_ok = text
                .split("\r\n")
                .any(|line| line.starts_with("HTTP/1.") && line.contains(" 200 "));
            // An uploader's running answer is a 200 from the start, and whole only with its last
            // chunk.
            let is_whole = side == Side::Download || text.ends_with("0\r\n\r\n");
            is_ok && is_whole
        }
    }
}

fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Ok(Decoded::Whole { message, len }) = Answer::decode(bytes) {
        answers.extend(message);
        bytes = &bytes[len..];
    }
    answers
}

/// Expects that `peer` hears something else than success.
fn is_refused(speaks: Speaks, side: Side, mut peer: Peer, why: &str) {
    let heard = peer.rest();
    assert!(
        !looks_like_success(speaks, side, &heard),
        "{why}: {speaks:?} {side:?} heard {:?}",
        heard.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    );
}

fn each(check: impl Fn(Speaks, Side)) {
    for speaks in DIALECTS {
        for side in Side::BOTH {
            check(speaks, side);
        }
    }
}

fn offers(address: SocketAddr, speaks: Speaks, side: Side, key: &str) -> Peer {
    Peer::saying(address, &greeting(speaks, side, key))
}

#[test]
fn a_wait_in_vain_never_looks_like_success() {
    let wait_timeout = Some(Duration::from_millis(50));
    let server = InProcess::start(Config { wait_timeout, ..config() });
    each(|speaks, side| {
        let peer = offers(server.address(), speaks, side, "vain");
        is_refused(speaks, side, peer, "timed out");
    });
}

#[test]
fn a_drain_never_looks_like_success() {
    each(|speaks, side| {
        let server = InProcess::default();
        let waits = offers(server.address(), speaks, side, "drain");
        server.await_waiting(1);
        server.drain();
        is_refused(speaks, side, waits, "drained");
    });
}

#[test]
fn a_limit_never_looks_like_success() {
    let limits = Limits { waiting: 1, ..Limits::default() };
    for (why, config) in [
        ("places", Config { limits, ..config() }),
        ("connections", Config { max_connections: 2, ..config() }),
        ("connections of a source", Config { max_connections_per_source: Some(2), ..config() }),
        (
            "places of a source",
            Config {
                limits: Limits { waiting_per_origin: Some(1), ..Limits::default() },
                ..config()
            },
        ),
    ] {
        let server = InProcess::start(config);
        let _first = Peer::native(server.address(), Side::Upload, "first").waits();
        let _second = Peer::connect(server.address());
        crate::common::eventually("both are there", || server.stats().connections == 2);
        each(|speaks, side| {
            let peer = offers(server.address(), speaks, side, "limit");
            is_refused(speaks, side, peer, why);
        });
    }
}

#[test]
fn a_greeting_that_never_ends_never_looks_like_success() {
    let greeting_timeout = Duration::from_millis(50);
    let server = InProcess::start(Config { greeting_timeout, ..config() });
    each(|speaks, side| {
        let whole = greeting(speaks, side, "slow");
        let cut = whole.len().min(8);
        let peer = Peer::saying(server.address(), &whole[..cut]);
        is_refused(speaks, side, peer, "slow");
    });
}

#[test]
fn an_uploader_lost_before_its_first_byte_never_looks_like_success() {
    each(|speaks, _| {
        if speaks == Speaks::Transit {
            return;
        }
        let server = InProcess::default();
        let download = offers(server.address(), speaks, Side::Download, "lost");
        server.await_waiting(1);
        let upload = Peer::native(server.address(), Side::Upload, "lost");
        server.next_exchange();
        upload.reset();
        let mut download = download;
        let heard = download.rest();
        let is_whole = match (&heard, speaks) {
            (Err(_), _) => false,
            (Ok(bytes), Speaks::Http | Speaks::Http10) => {
                String::from_utf8_lossy(bytes).contains(" 200 ")
            }
            (Ok(_), _) => true,
        };
        assert!(!is_whole, "{speaks:?} heard {heard:?}");
    });
}
