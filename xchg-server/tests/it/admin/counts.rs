//! The metrics agree with what a test has counted itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use xchg_core::wire::{Command, Greeting, RefusalCode, Wait};
use xchg_core::{Outcome, Side};
use xchg_server::{Config, Terminate};

use super::{metrics, serve};
use crate::common::{
    InProcess, Peer, Random, classic_greeting, config, eventually, offer, payload,
};

const SPOKEN: [&str; 3] = ["native", "classic", "http"];

/// How an exchange shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Whole,
    Lost(Side),
    Cancelled,
}

const FATES: [Fate; 5] = [
    Fate::Whole,
    Fate::Whole,
    Fate::Lost(Side::Upload),
    Fate::Lost(Side::Download),
    Fate::Cancelled,
];

fn upload(address: SocketAddr, speaks: &str, key: &str, len: usize) -> Peer {
    match speaks {
        "native" => Peer::native(address, Side::Upload, key),
        "classic" => Peer::saying(address, &classic_greeting(b'P', key)),
        _ => {
            let head = format!(
                "PUT /{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
            );
            Peer::saying(address, head.as_bytes())
        }
    }
}

fn download(address: SocketAddr, speaks: &str, key: &str) -> Peer {
    match speaks {
        "native" => Peer::native(address, Side::Download, key),
        "classic" => Peer::saying(address, &classic_greeting(b'G', key)),
        _ => {
            let head =
                format!("GET /{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            Peer::saying(address, head.as_bytes())
        }
    }
}

/// Reads until `part` has come, which is not what any dialect says of its own.
fn read_until(peer: &mut Peer, part: &[u8]) {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(part) {
        peer.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
}

/// Runs one exchange. Gives how it ended, and what it moved.
fn exchange(
    server: &InProcess,
    (up, down): (&str, &str),
    key: &str,
    fate: Fate,
    file: &[u8],
) -> (Outcome, u64) {
    let address = server.address();
    let announced = if fate == Fate::Whole { file.len() } else { file.len() + 1000 };
    let mut uploader = upload(address, up, key, announced);
    server.await_waiting(1);
    let mut downloader = download(address, down, key);
    let handle = server.next_exchange();
    if up == "native" {
        uploader.matched();
    }
    if down == "native" {
        downloader.matched();
    }
    uploader.send(file);
    match fate {
        Fate::Whole => {
            if up != "http" {
                uploader.half_close();
            }
            let taken = downloader.rest().unwrap();
            // Between what its dialect says of its own.
            assert!(taken.windows(file.len()).any(|part| part == file));
            drop(downloader);
            drop(uploader.rest());
        }
        _ => {
            read_until(&mut downloader, file);
            match fate {
                Fate::Lost(Side::Upload) => uploader.reset(),
                Fate::Lost(Side::Download) => downloader.reset(),
                _ => handle.cancel(),
            }
        }
    }
    let ended = server.next_outcome();
    let expected = match fate {
        Fate::Whole => Outcome::Completed,
        Fate::Lost(side) => Outcome::Lost(side),
        Fate::Cancelled => Outcome::Cancelled,
    };
    assert_eq!(ended, (expected, file.len() as u64), "{up} {down} {fate:?}");
    ended
}

/// Two who speak transit, and each say `file` to the other.
fn transit(server: &InProcess, file: &[u8]) -> (Outcome, u64) {
    let line = |side: char| {
        let (token, side) = ("0".repeat(64), side.to_string().repeat(16));
        Peer::saying(server.address(), format!("please relay {token} for side {side}\n").as_bytes())
    };
    let mut peers = [line('a')];
    server.await_waiting(1);
    let mut other = line('b');
    let [one] = &mut peers;
    for peer in [&mut *one, &mut other] {
        assert_eq!(peer.read(3), b"ok\n");
        peer.send(file);
        peer.half_close();
    }
    assert_eq!(one.rest().unwrap(), file);
    assert_eq!(other.rest().unwrap(), file);
    server.next_outcome()
}

/// One who uploads to two at once.
fn group(server: &InProcess, key: &str, file: &[u8]) -> (Outcome, u64) {
    let request = |method: &str, rest: &str| {
        let close = "Host: localhost\r\nConnection: close\r\n";
        let head = format!("{method} /{key}?n=2 HTTP/1.1\r\n{close}{rest}\r\n");
        Peer::saying(server.address(), head.as_bytes())
    };
    let mut uploader = request("PUT", &format!("Content-Length: {}\r\n", file.len()));
    uploader.send(file);
    let receivers = [(); 2].map(|()| request("GET", ""));
    receivers.into_iter().for_each(|receiver| assert!(receiver.whole().ends_with(file)));
    drop(uploader.rest());
    server.next_outcome()
}

/// One who is refused for that.
fn refused(server: &InProcess, code: RefusalCode) {
    let address = server.address();
    let greeting = |command| Peer::saying(address, &Greeting::new(command).encode());
    match code {
        RefusalCode::Forbidden => assert_eq!(greeting(Command::Terminate).refused(), code),
        RefusalCode::TimedOut => {
            let mut offer = offer(Side::Upload, "nobody comes");
            offer.wait = Wait::AtMost(Duration::from_millis(1));
            assert_eq!(Peer::offering(address, offer).refused(), code);
        }
        RefusalCode::Busy => {
            let get = "GET /taken HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let first = Peer::saying(address, get.as_bytes());
            server.await_waiting(1);
            let second = Peer::saying(address, get.as_bytes()).whole();
            assert!(second.starts_with(b"HTTP/1.1 400"));
            drop(first);
            server.await_waiting(0);
        }
        _ => {
            let brew = "BREW /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            assert!(Peer::saying(address, brew.as_bytes()).whole().starts_with(b"HTTP/1.1 405"));
        }
    }
}

#[test]
fn a_thousand_exchanges_and_failures_are_counted_as_they_were() {
    const REFUSALS: [RefusalCode; 4] =
        [RefusalCode::Forbidden, RefusalCode::TimedOut, RefusalCode::Busy, RefusalCode::Malformed];
    let (server, admin) = serve(Config { terminate: Terminate::Never, ..config() });
    let mut random = Random(17);
    let mut pick = move |from: u64| usize::try_from(random.below(from)).unwrap();
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    let mut count = |name: String, by: u64| *expected.entry(name).or_default() += by as f64;
    for index in 0..1000 {
        if index % 5 == 0 {
            let code = REFUSALS[pick(4)];
            refused(&server, code);
            count(format!("xchg_refused_total{{code=\"{}\"}}", code.as_str()), 1);
            continue;
        }
        let file = [&payload(index, pick(3000))[..], b"~end~"].concat();
        let (kind, key) = (pick(10), format!("k{index}"));
        let (up, down) = match kind {
            9 => ("transit", "transit"),
            8 => ("http", "http"),
            _ => (SPOKEN[pick(3)], SPOKEN[pick(3)]),
        };
        let (outcome, bytes) = match kind {
            9 => transit(&server, &file),
            8 => group(&server, &key, &file),
            _ => exchange(&server, (up, down), &key, FATES[pick(5)], &file),
        };
        let labels =
            [("outcome", outcome.as_str()), ("upload_dialect", up), ("download_dialect", down)];
        let labels = labels.map(|(name, value)| format!("{name}=\"{value}\"")).join(",");
        count(format!("xchg_exchanges_total{{{labels}}}"), 1);
        count("xchg_bytes_total".to_owned(), bytes);
        count("xchg_exchange_bytes_sum".to_owned(), bytes);
        for histogram in ["xchg_exchange_bytes", "xchg_exchange_seconds", "xchg_wait_seconds"] {
            count(format!("{histogram}_count"), 1);
        }
    }
    let is_counted_here = |name: &str| {
        ["xchg_exchanges_total", "xchg_refused_total", "xchg_bytes_total"]
            .iter()
            .any(|counter| name.starts_with(counter))
    };
    let mut counted = BTreeMap::new();
    // A worker says what it has moved at the end of its turn, after the exchange's end was told.
    eventually("all bytes are told", || {
        counted = metrics(admin);
        counted["xchg_bytes_total"] >= expected["xchg_bytes_total"]
    });
    for (name, value) in &counted {
        if is_counted_here(name) && *value > 0.0 {
            assert_eq!(expected.get(name), Some(value), "{name}");
        }
    }
    for (name, value) in &expected {
        assert_eq!(counted.get(name), Some(value), "{name}");
    }
    assert_eq!(counted["xchg_exchanges_running"], 0.0);
    eventually("all have gone", || metrics(admin)["xchg_connections"] == 0.0);
    assert!(expected.len() > 30, "all kinds were there: {expected:?}");
}

#[test]
fn who_waits_is_counted_by_realm_and_how_long_they_waited() {
    use xchg_core::Realm;
    let (server, admin) = super::start();
    let mut sealed = offer(Side::Upload, "sealed");
    sealed.realm = Realm::Sealed;
    let _sealed = Peer::offering(server.address(), sealed).waits();
    let plain: Vec<_> = (0..3)
        .map(|key| Peer::native(server.address(), Side::Upload, &key.to_string()).waits())
        .collect();
    let metrics = || metrics(admin);
    let waiting = |realm: &str| metrics()[&format!("xchg_waiting{{realm=\"{realm}\"}}")];
    assert_eq!(["plain", "sealed", "transit"].map(waiting), [3.0, 1.0, 0.0]);
    // It counts whole milliseconds.
    let begun = std::time::Instant::now();
    eventually("some time has gone", || begun.elapsed() > Duration::from_millis(20));
    drop(Peer::native(server.address(), Side::Download, "1"));
    server.next_exchange();
    let counted = metrics();
    assert_eq!(counted["xchg_wait_seconds_count"], 1.0);
    assert!((0.015..60.0).contains(&counted["xchg_wait_seconds_sum"]), "{counted:?}");
    drop(plain);
}
