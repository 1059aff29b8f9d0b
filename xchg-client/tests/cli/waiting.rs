//! From the greeting to the match.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tempfile::tempdir;
use xchg_core::wire::{Answer, CounterpartDialect, RefusalCode, Wait, Waiting};
use xchg_core::{Realm, Side};

use crate::server::{Server, receipt};
use crate::support::Client;

#[test]
fn a_refusal_decides_the_exit_code_and_its_text_is_shown_escaped() {
    for (code, exit) in [
        (RefusalCode::Malformed, 1),
        (RefusalCode::Version, 1),
        (RefusalCode::Busy, 3),
        (RefusalCode::TimedOut, 3),
        (RefusalCode::Draining, 3),
        (RefusalCode::Forbidden, 1),
        (RefusalCode::Unsupported, 1),
        (RefusalCode::Other(77), 1),
    ] {
        let server = Server::run(move |mut peer| peer.refuse(code, "no\u{1b}[2J\u{202e}\nreally"));
        let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
        let shown = format!(
            "xchg-client: the server refuses ({}): no\\u{{1b}}[2J\\u{{202e}}\\nreally",
            code.as_str()
        );
        Client::start(Path::new("."), &args).finish().expect(exit, &shown);
        server.finish();
    }
}

#[test]
fn the_greeting_says_all_that_was_asked_for() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("stocks.txt"), "seven").unwrap();
    let server = Server::run(|mut peer| {
        assert_eq!(peer.greeting.token.as_ref().unwrap().as_bytes(), b"sesame");
        let offer = peer.offer();
        assert_eq!((offer.realm, offer.side), (Realm::Plain, Side::Upload));
        assert_eq!(offer.key.as_bytes(), b"stocks.txt");
        assert_eq!(offer.wait, Wait::AtMost(Duration::from_millis(1500)));
        assert_eq!(offer.length, Some(5));
        assert_eq!(offer.buffer_bytes, Some(65_536));
        peer.refuse(RefusalCode::TimedOut, "nobody came");
    });
    let path = folder.path().join("stocks.txt");
    let args = [
        &["upload", "--plain", path.to_str().unwrap(), "--wait", "1.5", "--buffer-size", "64K"][..],
        &["--token", "sesame", "--server", &server.address],
    ];
    Client::start(Path::new("."), &args.concat()).finish().expect(3, "nobody came");
    server.finish();
}

#[test]
fn without_options_a_peer_waits_for_ever_and_asks_for_nothing_more() {
    let server = Server::run(|mut peer| {
        assert_eq!(peer.greeting.token, None);
        let offer = peer.offer();
        assert_eq!(offer.side, Side::Download);
        assert_eq!((offer.wait, offer.length, offer.buffer_bytes), (Wait::Forever, None, None));
        peer.refuse(RefusalCode::Busy, "");
    });
    let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
    Client::start(Path::new("."), &args).finish().expect(3, "");
    server.finish();
}

#[test]
fn heartbeats_and_unknown_answers_are_passed_over() {
    let server = Server::run(|mut peer| {
        peer.wait();
        for _ in 0..3 {
            peer.answer(&Answer::Heartbeat);
        }
        peer.send(&[200, 0, 2, 1, 2]);
        // An answer may come in pieces, and together with what follows it.
        let matched =
            Answer::Matched(xchg_core::wire::Matched::new(CounterpartDialect::Native, None));
        let rest = [matched.encode(), crate::server::framed(b"payload")].concat();
        peer.send(&rest[..2]);
        peer.send(&rest[2..]);
        assert_eq!(peer.read(9), receipt(0, 7));
    });
    let args = ["download", "--plain", "a/stocks.txt", "-o", "-", "--server", &server.address];
    let finished = Client::start(Path::new("."), &args).finish();
    let finished = finished.expect(0, "waiting for an uploader of a/stocks.txt");
    assert_eq!(finished.stdout, b"payload");
    assert_eq!(finished.stderr[1], "matched with an uploader (native)");
    assert!(finished.stderr[2].starts_with("done: 7 B in "), "{finished:?}");
    server.finish();
}

#[test]
fn a_counterpart_in_another_realm_is_mentioned() {
    let server = Server::run(|mut peer| {
        let mut waiting = Waiting::default();
        waiting.elsewhere = Some(Realm::Sealed);
        peer.answer(&Answer::Waiting(waiting));
        peer.refuse(RefusalCode::TimedOut, "nobody came");
    });
    let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
    let part = "an uploader of k waits for a sealed transfer, without --plain";
    Client::start(Path::new("."), &args).finish().expect(3, part);
    server.finish();
}

#[test]
fn a_counterpart_that_comes_to_another_realm_later_is_mentioned_once() {
    let server = Server::run(|mut peer| {
        let mut waiting = Waiting::default();
        peer.answer(&Answer::Waiting(waiting));
        peer.answer(&Answer::Heartbeat);
        waiting.elsewhere = Some(Realm::Sealed);
        for _ in 0..3 {
            peer.answer(&Answer::Waiting(waiting));
        }
        peer.refuse(RefusalCode::TimedOut, "nobody came");
    });
    let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
    let part = "an uploader of k waits for a sealed transfer, without --plain";
    let finished = Client::start(Path::new("."), &args).finish().expect(3, part);
    let times = |part: &str| finished.stderr.iter().filter(|line| line.contains(part)).count();
    assert_eq!((times("waiting for"), times(part)), (1, 1), "{finished:?}");
    server.finish();
}

#[test]
fn a_hint_of_the_server_talks_nobody_out_of_a_secret() {
    let server = Server::run(|mut peer| {
        let mut waiting = Waiting::default();
        waiting.elsewhere = Some(Realm::Plain);
        peer.answer(&Answer::Waiting(waiting));
        peer.refuse(RefusalCode::TimedOut, "nobody came");
    });
    let args = ["download", "k:swordfish", "--server", &server.address];
    let part = "have the other side leave out --plain, and do not use it yourself";
    let finished = Client::start(Path::new("."), &args).finish().expect(3, part);
    assert!(!finished.stderr.concat().contains("unless both use --plain"), "{finished:?}");
    server.finish();
}

#[test]
fn a_server_lost_while_waiting_is_an_error() {
    let server = Server::run(|mut peer| {
        peer.wait();
        peer.answer(&Answer::Heartbeat);
    });
    let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
    let part = format!(
        "lost {} before a counterpart came: the connection was closed; try again",
        server.address
    );
    Client::start(Path::new("."), &args).finish().expect(3, &part);
    server.finish();
}

#[test]
fn something_else_than_an_xchg_server_is_recognised() {
    for (greeting, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "; check the address and port"),
        (b"SSH-2.0-OpenSSH\r\n", "; check the address and port"),
        (&[3, 0, 0], "Matched lacks the counterpart's dialect"),
        (&[5, 0, 1, 0], "a Status body has 41 bytes"),
        (b"", "check that it is an xchg server"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::on(listener.into(), address, move |mut socket| {
            socket.write_all(greeting).unwrap();
            // Having heard the peer out, so that the close is no reset.
            drop(crate::server::Peer::greeted(socket));
        });
        let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
        Client::start(Path::new("."), &args).finish().expect(1, part);
        server.finish();
    }
}

#[test]
fn a_server_that_accepts_and_says_nothing_of_use_is_given_up() {
    let status = &["status"][..];
    let upload = &["upload", "--text", "hello", "--key", "k", "--retry"];
    let download = &["download", "--plain", "k", "-o", "-"];
    for (args, says) in [(status, &[][..]), (upload, &[]), (download, &[]), (status, &[200, 0, 0])]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::on(listener.into(), address, move |socket| {
            let mut peer = crate::server::Peer::greeted(socket);
            // Until the client has left.
            while !says.is_empty() && peer.socket.write_all(says).is_ok() {}
            peer.read_to_end();
        });
        let common = ["--connect-timeout", "1500ms", "--server", &server.address];
        let finished = Client::start(Path::new("."), &[args, &common].concat()).finish();
        let address = &server.address;
        let part = format!("{address} accepted the connection and said nothing within 1.5 s");
        let finished = finished.expect(1, &part);
        let line = format!("connecting to {address}");
        assert!(finished.stderr.contains(&line), "{finished:?}");
        server.finish();
    }
}

#[test]
fn a_wait_that_runs_out_says_for_whom_it_was() {
    for (args, part) in [
        (
            &["download", "--plain", "z", "-o", "-", "--wait", "0"][..],
            "no uploader of z is waiting",
        ),
        (&["upload", "--text", "x", "--key", "z", "--wait", "0s"], "no downloader of z is waiting"),
        (
            &["upload", "--text", "x", "--key", "z", "--wait", "-1"],
            "the server refuses (timed-out)",
        ),
        (
            &["upload", "--text", "x", "--key", "z", "--wait", "1h"],
            "the server refuses (timed-out)",
        ),
    ] {
        let server = Server::run(|mut peer| peer.refuse(RefusalCode::TimedOut, "nobody came"));
        let args = [args, &["--server", &server.address]].concat();
        Client::start(Path::new("."), &args).finish().expect(3, part);
        server.finish();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_wait_that_runs_out_at_the_server_is_told_in_the_same_words() {
    let server = crate::rendezvous::Rendezvous::start();
    let folder = tempdir().unwrap();
    let args = ["upload", "--text", "x", "--key", "z", "--wait", "500ms"];
    let finished = server.run(folder.path(), &args).finish();
    finished.expect(3, "xchg-client: no downloader of z came within 0.5 s");
    let args = ["download", "12342-fabric-lemon-orbit", "--wait", "500ms", "--json"];
    let finished = server.run(folder.path(), &args).finish();
    let finished = finished.expect(3, "no uploader of 12342 came within 0.5 s");
    let event: serde_json::Value = serde_json::from_str(finished.stderr.last().unwrap()).unwrap();
    assert_eq!((&event["event"], &event["cause"]), (&"failed".into(), &"nobody-came".into()));
    let waiting: serde_json::Value = serde_json::from_str(&finished.stderr[1]).unwrap();
    assert_eq!(waiting["key"], "12342");
}
