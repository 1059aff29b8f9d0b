//! What is a request to whoever sent it on is a request here: no client's bytes are taken for
//! another dialect's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common::{InProcess, Peer, assert_lost, classic_greeting, config, eventually, payload};
use xchg_core::Side;
use xchg_server::Config;

/// Of what an attacker would have taken for an answer.
pub(crate) const PLANTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted";

/// Methods that begin like each dialect does, and some that do not. None is served.
pub(crate) const METHODS: [&str; 46] = [
    "P",
    "PURGE",
    "PRI",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "PROPPATCHES",
    "PABCDEF",
    "PABCDEFG",
    "PABCDEFGH",
    "PABCDEFGHI",
    "PABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "G",
    "GETX",
    "GABCDEF",
    "GABCDEFG",
    "GABCDEFGH",
    "GABCDEFGHI",
    "GABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "F",
    "FOO",
    "FABCDEF",
    "FABCDEFG",
    "FABCDEFGH",
    "FABCDEFGHI",
    "FOOBARBAZ",
    "FABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "x",
    "xchg",
    "xchgx",
    "xchg-upload",
    "XCHG",
    "p",
    "put",
    "please",
    "please-relay",
    "pleaser",
    "get",
    "DELETE",
    "TRACE",
    "BREW",
    "options",
    "0",
    "!#$%&'*+-.^_`|~",
    "A",
    "CONNECT",
];

const TARGETS: [&str; 5] = ["/", "/ABCDEFG", "*", "http://localhost/ABCDEFG", "localhost:80"];

fn single() -> InProcess {
    InProcess::start(Config { workers: 1, ..config() })
}

pub(crate) fn request(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// Has an uploader wait wherever `bytes` would lead as a classic download.
pub(crate) fn plant(server: &InProcess, bytes: &[u8]) -> Peer {
    let key = str::from_utf8(&bytes[1..9]).unwrap();
    let mut uploader = Peer::native(server.address(), Side::Upload, key).waits();
    uploader.send(PLANTED);
    uploader
}

/// Says `bytes` cut at `cuts`, each piece heard before the next is sent. Gives the longest time
/// between two pieces.
fn say(address: SocketAddr, bytes: &[u8], cuts: &[usize]) -> (Peer, Duration) {
    let mut peer = Peer::connect(address);
    let (mut from, mut longest) = (0, Duration::ZERO);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        let start = Instant::now();
        peer.send(&bytes[from..cut]);
        if cut < bytes.len() {
            // Who came later is answered: the earlier one has been heard.
            Peer::status(address);
            longest = longest.max(start.elapsed());
        }
        from = cut;
    }
    (peer, longest)
}

/// The answer to `bytes`, at a server of its own where something waits for them. What is cut is
/// tried again if this machine was so slow that a classic client's silence could be seen in it.
fn answer(bytes: &[u8], cuts: &[usize]) -> String {
    const NO_SILENCE: Duration = Duration::from_millis(100);
    loop {
        let server = single();
        let planted = plant(&server, bytes);
        let (mut peer, longest) = say(server.address(), bytes, cuts);
        let answer = peer.rest();
        if longest < NO_SILENCE {
            assert_eq!(server.counts().waiting, 1, "{}", bytes.escape_ascii());
            assert!(!server.counts().draining, "{}", bytes.escape_ascii());
            drop(planted);
            return String::from_utf8(answer.unwrap()).unwrap();
        }
    }
}

#[test]
fn a_method_of_any_spelling_is_answered_in_http() {
    for method in METHODS {
        for target in TARGETS {
            let answer = answer(&request(method, target), &[]);
            assert!(answer.starts_with("HTTP/1.1 405 "), "{method} {target}: {answer}");
            assert!(!answer.contains("planted"), "{method} {target}: {answer}");
        }
    }
}

#[test]
fn a_method_of_any_spelling_may_come_byte_by_byte() {
    for method in METHODS {
        let request = request(method, "/ABCDEFG");
        let cuts: Vec<usize> = (1..method.len().max(9) + 4).collect();
        let answer = answer(&request, &cuts);
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(!answer.contains("planted"), "{method}: {answer}");
    }
}

/// A body that is a whole response is put where another request looks, to a hasty reader, for a
/// download of it.
#[test]
fn a_response_in_a_body_is_never_an_answer() {
    let server = single();
    let upload = format!(
        "PUT /ABCDEFG%20 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        PLANTED.len()
    );
    let uploader = Peer::saying(server.address(), &[upload.as_bytes(), PLANTED].concat());
    server.await_waiting(1);
    let request = request("GABCDEFG", "/");
    for cuts in [&[][..], &[1], &[8], &[9], &[10]] {
        let (mut peer, _) = say(server.address(), &request, cuts);
        // Reset, if this machine was slow.
        let answer = peer.rest().unwrap_or_default();
        assert!(!answer.windows(7).any(|part| part == b"planted"), "cut at {cuts:?}");
    }
    drop(uploader);
}

#[test]
fn nine_letters_are_a_download_once_nothing_follows() {
    let server = single();
    for cut in [1, 5, 8] {
        drop(Peer::classic(server.address(), b'P', "letters!").send_all(b"payload"));
        server.await_waiting(1);
        let (peer, _) = say(server.address(), &classic_greeting(b'G', "letters!"), &[cut]);
        assert_eq!(peer.whole(), b"payload");
    }
    // With a space it is a request's beginning also in one piece.
    for key in ["a letter", "letters "] {
        drop(Peer::classic(server.address(), b'P', key).send_all(b"payload"));
        server.await_waiting(1);
        assert_eq!(Peer::classic(server.address(), b'G', key).whole(), b"payload");
    }
}

#[test]
fn an_upload_of_letters_only_is_one_once_nothing_follows() {
    let server = single();
    let long = vec![b'a'; 100_000];
    for body in [&b""[..], b"a", b"hello", b"hello world", b"hello world HTTP", &long] {
        for ends in [true, false] {
            let mut uploader = Peer::classic(server.address(), b'P', "letters!");
            uploader.send(body);
            if ends {
                uploader.half_close();
            }
            server.await_waiting(1);
            uploader.half_close();
            assert!(Peer::classic(server.address(), b'G', "letters!").whole() == body);
        }
    }
}

#[test]
fn an_upload_that_looks_like_a_request_is_none() {
    let server = single();
    for body in [&b"hello /etc/passwd\r\n\r\n"[..], b" /\r\n\r\n", b"x y HTTP/1.1\r\n\r\n"] {
        let bytes = [&classic_greeting(b'P', "letters!")[..], body].concat();
        let answer = String::from_utf8(Peer::saying(server.address(), &bytes).whole()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(server.counts().waiting, 0);
}

#[test]
fn nobody_terminates_who_goes_on_talking() {
    let server = single();
    for greeting in [classic_greeting(b'F', ""), classic_greeting(b'F', "letters!")] {
        for behind in [&b"\0"[..], b"\n", b"\r\n\r\n", b": x\r\n"] {
            assert_lost(Peer::saying(server.address(), &[&greeting[..], behind].concat()).rest());
        }
    }
    assert!(!server.counts().draining);
    assert_eq!(server.stats().refused, 8);
}

#[test]
fn nine_bytes_terminate_once_nothing_follows() {
    for key in ["", "letters!"] {
        for ends in [true, false] {
            let server = single();
            let terminator = Peer::classic(server.address(), b'F', key);
            if ends {
                terminator.half_close();
            }
            eventually("it drains", || server.counts().draining);
            assert_eq!(terminator.whole(), b"");
            server.join();
        }
    }
}

/// What a peer of each dialect begins with that has letters only, byte by byte.
#[test]
fn letters_without_end_are_refused() {
    let server = single();
    for first in [b'G', b'F', b'x', b'A'] {
        let mut peer = Peer::saying(server.address(), &[first]);
        let mut stream = peer.stream();
        let letters = payload(1, 1 << 20).iter().map(|byte| b'a' + byte % 26).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            scope.spawn(|| std::io::Write::write_all(&mut stream, &letters).ok());
            // A classic peer is reset, others are told.
            let answer = peer.rest().unwrap_or_default();
            assert!(answer.is_empty() || answer.starts_with(b"This is an xchg server."));
        });
    }
    assert_eq!((server.stats().refused, server.counts().waiting), (4, 0));
}
