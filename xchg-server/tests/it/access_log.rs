//! What the log says at level info: a line for each exchange and each refusal, of whom, and no more
//! of a kind than are of use.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::common::{Peer, Process, eventually};
use rustix::process::Signal;
use serde_json::Value;
use xchg_core::Side;
use xchg_core::wire::RefusalCode;

/// A server that logs JSON at the level that is the default.
fn start(args: &[&str]) -> (Process, SocketAddr) {
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json"]).args(args);
    Process::serve(command)
}

fn lines(process: &Process, message: &str) -> Vec<Value> {
    let text = process.stderr();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// The line with `message`, once it is there, as the fields that a test can foresee.
fn line(process: &Process, message: &str) -> BTreeMap<String, Value> {
    eventually(message, || !lines(process, message).is_empty());
    let Value::Object(fields) = lines(process, message).remove(0) else { unreachable!() };
    fields.into_iter().filter(|(name, _)| name != "timestamp").collect()
}

#[test]
fn an_exchange_has_a_line_that_says_who_and_how_it_ended() {
    let (process, address) = start(&["--log-keys"]);
    let from = |source: [u8; 4]| Peer::connect_from((source, 0).into(), address);
    let mut uploader = from([127, 0, 0, 2]);
    uploader.send(b"PUT /seen HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nwhole");
    let mut downloader = from([127, 0, 0, 3]);
    downloader.send(b"Gseen\0\0\0\0");
    assert_eq!(downloader.whole(), b"whole");
    drop(uploader.rest());
    let fields = line(&process, "ended");
    assert_eq!(fields["uploader"], "127.0.0.2");
    assert_eq!(fields["upload_dialect"], "http");
    assert_eq!(fields["downloader"], "127.0.0.3");
    assert_eq!(fields["download_dialect"], "classic");
    assert_eq!((&fields["outcome"], &fields["bytes"]), (&"completed".into(), &5.into()));
    assert_eq!((&fields["key"], &fields["level"]), (&"seen".into(), &"INFO".into()));
    assert!(fields["seconds"].as_f64().unwrap() < 20.0);
    assert!(fields["rate"].is_u64(), "{fields:?}");
    assert_eq!(fields["realm"], "plain");
}

#[test]
fn an_exchange_has_the_same_line_for_people() {
    let (process, address) = Process::start(&[]);
    drop(Peer::classic(address, b'P', "seen").send_all(b"whole"));
    assert_eq!(Peer::classic(address, b'G', "seen").whole(), b"whole");
    eventually("ended", || process.stderr().contains(" ended "));
    let said = process.stderr();
    let line = said.lines().find(|line| line.contains(" ended ")).unwrap();
    for part in [
        " INFO ended exchange=1 key=\"",
        " realm=\"plain\" outcome=\"completed\" bytes=5 seconds=",
        " rate=",
        " uploader=127.0.0.1 upload_dialect=\"classic\" downloader=\"127.0.0.1\" download_dialect=\"classic\"",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn addresses_are_shown_as_far_as_is_asked_for_at_every_level() {
    for (how, expected) in [("truncated", "127.0.0.0/24"), ("none", "hidden")] {
        let (process, address) = start(&["--log-addresses", how, "--log-level", "debug"]);
        let from = |last| Peer::connect_from(([127, 0, 0, last], 0).into(), address);
        let (mut lost, mut downloader) = (from(77), from(78));
        lost.send(b"Plost\0\0\0\0");
        downloader.send(b"Glost\0\0\0\0");
        eventually("matched", || !lines(&process, "matched").is_empty());
        lost.reset();
        drop(downloader.rest());
        let mut refused = from(79);
        refused.send(b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for (message, fields) in [
            ("ended", &["uploader", "downloader"][..]),
            ("lost", &["peer"]),
            ("matched", &["uploader", "downloader"]),
            ("refused", &["peer"]),
        ] {
            let line = line(&process, message);
            fields.iter().for_each(|&field| assert_eq!(line[field], expected, "{line:?}"));
        }
        for whole in ["127.0.0.77", "127.0.0.78", "127.0.0.79"] {
            assert!(!process.stderr().contains(whole), "{}", process.stderr());
        }
    }
}

#[test]
fn an_exchange_with_several_receivers_has_one_line_that_names_all() {
    let (process, address) = start(&[]);
    let request = |method: &str, rest: &str| {
        let head = format!("{method} /seen?n=2 HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n");
        Peer::saying(address, head.as_bytes())
    };
    let mut uploader = request("PUT", "Content-Length: 5\r\n");
    uploader.send(b"whole");
    let receivers = [(); 2].map(|()| request("GET", "Connection: close\r\n"));
    receivers.into_iter().for_each(|receiver| assert!(receiver.whole().ends_with(b"whole")));
    let fields = line(&process, "ended");
    assert_eq!(
        (&fields["uploader"], &fields["downloader"]),
        (&"127.0.0.1".into(), &"127.0.0.1,127.0.0.1".into())
    );
    assert_eq!(fields["bytes"], 5);
}

#[test]
fn each_refusal_has_a_line_that_says_whom_and_why() {
    /// Arguments of the server, what a peer says, the code, and what it speaks if that is known.
    type Case<'a> = (&'a [&'a str], &'a [u8], &'a str, Option<&'a str>);
    let refusals: [Case<'_>; 6] = [
        (&[], b"\x16\x03\x01\x02\x00\x01", "malformed", None),
        (&[], b"GET /key HTTP/1.1\r\n\r\n", "malformed", None),
        (
            &[],
            b"BREW /key HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "malformed",
            Some("http"),
        ),
        (&["--terminate", "never"], &forbidden(), "forbidden", Some("native")),
        (&["--wait-timeout", "0.05"], b"Gsought\0\0", "timed-out", Some("classic")),
        (&["--max-waiting", "1"], b"Gsought\0\0", "busy", Some("classic")),
    ];
    for (args, greeting, code, dialect) in refusals {
        let (process, address) = start(args);
        let _waits = Peer::native(address, Side::Download, "other").waits();
        let mut peer = Peer::connect_from(([127, 0, 0, 9], 0).into(), address);
        peer.send(greeting);
        drop(peer.rest());
        let is_it = |line: &Value| line["peer"] == "127.0.0.9";
        eventually(code, || lines(&process, "refused").iter().any(is_it));
        let all = lines(&process, "refused");
        let line = all.iter().find(|line| is_it(line)).unwrap();
        assert_eq!(line["code"], code, "{line}");
        if let Some(dialect) = dialect {
            assert_eq!(line["dialect"], dialect, "{line}");
        }
        let names_key = line["key"].as_str().is_some_and(|key| key.len() == 8 && key != "sought");
        assert_eq!(names_key, code == "busy", "{line}");
        assert!(!line["text"].as_str().unwrap().is_empty(), "{line}");
    }
}

fn forbidden() -> Vec<u8> {
    use xchg_core::wire::{Command, Greeting};
    Greeting::new(Command::Terminate).encode()
}

#[test]
fn a_flood_of_refusals_and_exchanges_is_counted_not_logged() {
    const FLOOD: usize = 300;
    let (process, address) = start(&["--max-waiting", "1"]);
    let mut waits = Peer::native(address, Side::Download, "waits").waits();
    for key in 0..FLOOD {
        let refused = Peer::native(address, Side::Download, &format!("{key}"));
        assert_eq!(refused.refused(), RefusalCode::Busy);
    }
    let told = || -> u64 {
        let text = process.stderr();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let counts = lines.filter(|line| line["kind"] == "refused").filter_map(|line| {
            line["message"].as_str()?.strip_suffix(" log lines were left out")?.parse::<u64>().ok()
        });
        counts.sum()
    };
    // However many seconds it took, each refusal is in the log or in a count; and nobody else comes
    // to have it told.
    eventually("the rest is counted", || {
        told() + lines(&process, "refused").len() as u64 == FLOOD as u64
    });
    assert!(told() > 0, "{}", process.stderr());
    drop(Peer::classic(address, b'P', "waits").send_all(b"whole"));
    waits.matched();
    assert_eq!(waits.whole(), b"whole");
    process.signal(Signal::TERM);
    assert_eq!(process.wait().status.code(), Some(0));
}

#[test]
fn every_line_about_a_peer_has_its_address_at_level_debug_too() {
    let (process, address) = start(&["--log-level", "debug"]);
    // One exchange that is whole, one that loses its uploader, and one that loses one of several
    // receivers.
    drop(Peer::classic(address, b'P', "whole").send_all(b"whole"));
    assert_eq!(Peer::classic(address, b'G', "whole").whole(), b"whole");
    let mut uploader = Peer::native(address, Side::Upload, "lost").waits();
    let mut downloader = Peer::native(address, Side::Download, "lost");
    downloader.matched();
    uploader.matched();
    uploader.reset();
    drop(downloader.rest());
    let get = || Peer::saying(address, b"GET /two?n=2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (one, other) = (get(), get());
    let mut uploader = Peer::saying(
        address,
        b"PUT /two?n=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf.",
    );
    eventually("all are matched", || lines(&process, "matched").len() == 3);
    one.reset();
    eventually("one is lost", || !lines(&process, "a receiver is lost").is_empty());
    uploader.send(b"whole");
    drop(uploader.rest());
    drop(other);
    eventually("all have ended", || lines(&process, "ended").len() == 3);
    for (message, fields) in [
        ("matched", &["uploader"][..]),
        ("ended", &["uploader", "downloader"]),
        ("lost", &["peer"]),
        ("a receiver is lost", &["peer"]),
    ] {
        for line in lines(&process, message) {
            for field in fields {
                assert!(line[field].as_str().unwrap().starts_with("127.0.0.1"), "{line}");
            }
        }
    }
}
