//! Http peers that wait: what they are told meanwhile, how they leave, and why they are let go.

use std::io::Write;
use std::time::Duration;

use crate::common::{InProcess, Peer, config};
use crate::web::{Client, get, head, put};
use xchg_core::{Limits, Outcome, Side};
use xchg_server::Config;

const OLD_GET: &[u8] = b"GET /key HTTP/1.0\r\n\r\n";

#[test]
fn a_waiting_downloader_is_kept_alive_by_interim_responses() {
    let processing_interval = Duration::from_millis(10);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let mut download = Client::saying(server.address(), &get("key"));
    for _ in 0..5 {
        let head = download.any_head();
        assert_eq!((head.status, &head.text[..]), (102, "HTTP/1.1 102 Processing\r\n\r\n"));
    }
    let mut upload = Client::saying(server.address(), &put("key", b"at last"));
    assert_eq!(download.download(), b"at last");
    drop(download);
    upload.uploaded();
}

#[test]
fn a_waiting_uploader_is_told_so_again_and_again() {
    let processing_interval = Duration::from_millis(10);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let mut upload = Client::waiting(server.address(), &put("key", b"x"));
    for _ in 0..5 {
        upload.hears("[INFO] Waiting for 1 receiver(s)...");
    }
    assert_eq!(Client::saying(server.address(), &get("key")).download(), b"x");
    upload.is_received();
}

/// The end is stuck behind a body that is not being read, until the peer is told something.
#[test]
fn an_uploader_that_leaves_in_the_middle_of_a_large_body_frees_the_path() {
    let processing_interval = Duration::from_millis(50);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let request = head("PUT /key", "Content-Length: 100000000\r\n");
    let upload = Client::waiting(server.address(), request.as_bytes());
    let mut stream = upload.stream();
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[7; 100_000]).is_ok() {}
    server.await_waiting(1);
    drop((upload, stream));
    server.await_waiting(0);
}

#[test]
fn old_clients_are_told_nothing_while_they_wait() {
    let processing_interval = Duration::from_millis(10);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let mut old = Client::saying(server.address(), OLD_GET);
    let request = b"PUT /other HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
    let mut upload = Client::saying(server.address(), request);
    server.await_waiting(2);
    // By the fifth to another, these two would have had theirs.
    let mut new = Client::saying(server.address(), &get("third"));
    for _ in 0..5 {
        assert_eq!(new.any_head().status, 102);
    }
    drop(Peer::classic(server.address(), b'P', "key").send_all(b"old"));
    let head = old.any_head();
    assert_eq!(head.status, 200);
    assert_eq!(old.body(&head).unwrap(), b"old");
    let mut download = Peer::native(server.address(), Side::Download, "other");
    download.matched();
    assert_eq!(download.rest().unwrap(), b"x");
    drop(download);
    let (head, text) = upload.text();
    assert_eq!(head.status, 200);
    assert_eq!(text.matches("Waiting").count(), 1, "{text}");
}

#[test]
fn who_is_behind_a_proxy_is_told_at_the_end() {
    let processing_interval = Duration::from_millis(10);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let forwarded = "X-Forwarded-For: 192.0.2.1\r\n";
    let mut download = Client::saying(server.address(), head("GET /a", forwarded).as_bytes());
    let fields = format!("{forwarded}Expect: 100-continue\r\nContent-Length: 1\r\n");
    let mut upload = Client::saying(server.address(), head("PUT /b", &fields).as_bytes());
    assert_eq!(upload.any_head().status, 100);
    upload.send(b"x");
    server.await_waiting(2);
    let mut new = Client::saying(server.address(), &get("third"));
    for _ in 0..5 {
        assert_eq!(new.any_head().status, 102);
    }
    drop(Peer::classic(server.address(), b'P', "a").send_all(b"late"));
    let told = download.any_head();
    assert_eq!(told.status, 200, "it is the first");
    assert_eq!(download.body(&told).unwrap(), b"late");
    drop(Peer::classic(server.address(), b'G', "b").whole());
    let told = upload.any_head();
    assert_eq!((told.status, told.is_last()), (200, false));
    let text = String::from_utf8(upload.body(&told).unwrap()).unwrap();
    assert!(text.ends_with("[INFO] All receiver(s) was/were received successfully.\n"), "{text}");
    // The next request on the same connection, which fails.
    let fields = format!("{forwarded}Content-Length: 1000000\r\n");
    upload.send((head("PUT /c", &fields) + "part").as_bytes());
    server.await_waiting(2);
    let mut lost = Client::narrow(server.address());
    lost.send(&get("c"));
    assert_eq!(lost.head().status, 200);
    drop(lost);
    assert!(upload.cut_text(502).contains("[ERROR] A receiver aborted."));
}

/// Its end is stuck behind a body that nobody reads.
#[test]
fn who_leaves_in_the_midst_of_a_body_frees_its_place() {
    let processing_interval = Duration::from_millis(50);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let length = "Content-Length: 1000000000\r\n";
    for head in [
        head("PUT /key", length),
        head("PUT /key", &format!("X-Forwarded-For: 192.0.2.1\r\n{length}")),
        format!("PUT /key HTTP/1.0\r\n{length}\r\n"),
    ] {
        let upload = Peer::saying(server.address(), head.as_bytes());
        server.await_waiting(1);
        let mut stream = upload.stream();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[7; 65_536]).is_ok() {}
        drop((stream, upload));
        server.await_waiting(0);
    }
}

#[test]
fn interim_responses_can_be_switched_off() {
    let off = Config { processing_interval: Duration::ZERO, ..config() };
    let heartbeat = Duration::from_millis(10);
    let server = InProcess::start(Config { heartbeat, ..off });
    let mut download = Client::saying(server.address(), &get("key"));
    let mut native = Peer::native(server.address(), Side::Download, "other").waits();
    for _ in 0..5 {
        assert_eq!(native.answer(), xchg_core::wire::Answer::Heartbeat);
    }
    let mut upload = Client::saying(server.address(), &put("key", b"x"));
    assert_eq!(download.any_head().status, 200);
    drop(download);
    upload.hears_of_waiting();
}

/// Its body lies unread before its end, so that a read would not find out.
#[test]
fn an_uploader_that_leaves_frees_the_path_at_once() {
    let server = InProcess::default();
    let long = head("PUT /key", "Content-Length: 10000000\r\n").into_bytes();
    let long = [long, vec![7; 100_000]].concat();
    for request in [put("key", b"all of it"), put("key", &[7; 100_000]), long] {
        for resets in [false, true] {
            let upload = Client::waiting(server.address(), &request);
            server.await_waiting(1);
            if resets {
                upload.reset()
            } else {
                drop(upload)
            }
            server.await_waiting(0);
        }
    }
    let mut upload = Client::waiting(server.address(), &put("key", b"another"));
    assert_eq!(Client::saying(server.address(), &get("key")).download(), b"another");
    upload.is_received();
}

/// A half-close looks like a close to the server, and an upload that is called off is far more
/// frequent than a tool that half-closes and then waits for its answer.
#[test]
fn an_uploader_that_half_closes_while_it_waits_has_left() {
    let server = InProcess::default();
    let mut upload = Client::waiting(server.address(), &put("key", b"all of it"));
    server.await_waiting(1);
    upload.half_close();
    server.await_waiting(0);
    upload.is_closed();
}

#[test]
fn a_downloader_that_leaves_frees_the_path_at_once() {
    let server = InProcess::default();
    for resets in [false, true] {
        // A request behind it is no reason to keep it.
        let download = Client::saying(server.address(), &[get("key"), get("other")].concat());
        server.await_waiting(1);
        if resets {
            download.reset()
        } else {
            drop(download)
        }
        server.await_waiting(0);
    }
    let mut upload = Client::waiting(server.address(), &put("key", b"x"));
    assert_eq!(Client::saying(server.address(), &get("key")).download(), b"x");
    upload.is_received();
}

#[test]
fn a_wait_in_vain_ends_with_words() {
    let wait_timeout = Some(Duration::from_millis(50));
    let server = InProcess::start(Config { wait_timeout, ..config() });
    let address = server.address();
    for request in [&get("key")[..], OLD_GET] {
        let mut client = Client::saying(address, request);
        let (head, text) = client.text();
        assert_eq!(head.status, 504, "{}", head.text);
        assert!(text.starts_with("[ERROR]"), "{text}");
        client.is_closed();
    }
    let mut old = Client::saying(address, b"PUT /key HTTP/1.0\r\nContent-Length: 9\r\n\r\n");
    let text = old.cut_text(504);
    assert!(text.contains("[ERROR]"), "{text}");
    let mut upload = Client::waiting(address, &put("key", b"x"));
    upload.has_failed("No receiver came in time");
    upload.is_closed();
    server.await_waiting(0);
}

#[test]
fn an_upload_that_has_waited_in_vain_does_not_wait_again_by_itself() {
    let wait_timeout = Some(Duration::from_millis(50));
    let server = InProcess::start(Config { wait_timeout, ..config() });
    let fields = "Content-Length: 1\r\nIdempotency-Key: \"one\"\r\n";
    let request = (head("PUT /key", fields) + "x").into_bytes();
    Client::waiting(server.address(), &request).has_failed("No receiver came in time");
    let (head, text) = Client::saying(server.address(), &request).text();
    assert_eq!(head.status, 409, "{text}");
}

#[test]
fn a_drain_tells_those_who_wait() {
    let server = InProcess::default();
    let mut download = Client::saying(server.address(), &get("a"));
    let mut old = Client::saying(server.address(), b"PUT /b HTTP/1.0\r\nContent-Length: 9\r\n\r\n");
    let mut upload = Client::waiting(server.address(), &put("c", b"x"));
    // An idle connection, for a request after the drain has begun.
    let mut late = Client::saying(server.address(), &head("GET /version", "").into_bytes());
    assert_eq!(late.text().0.status, 200);
    late.send(&get("healthz"));
    assert_eq!(late.text().1, "ok\n");
    server.await_waiting(3);
    // It runs on as long as an exchange does.
    let mut running = Peer::native(server.address(), Side::Download, "d").waits();
    let mut uploader = Peer::native(server.address(), Side::Upload, "d");
    running.matched();
    server.drain();
    let (head, text) = download.text();
    assert_eq!((head.status, head.field("retry-after")), (503, Some("1")), "{text}");
    assert!(old.cut_text(503).contains("[ERROR]"));
    upload.has_failed("shutting down");
    late.send(&get("healthz"));
    let (head, text) = late.text();
    assert_eq!((head.status, head.field("retry-after"), &text[..]), (503, Some("1"), "draining\n"));
    late.send(&get("e"));
    let (head, text) = late.text();
    assert_eq!((head.status, head.field("retry-after")), (503, Some("1")), "{text}");
    uploader.matched();
    drop((running, uploader));
    assert_eq!(server.join().cut, 0);
}

#[test]
fn limits_are_told_with_the_time_to_return() {
    let limits = Limits { waiting: 2, ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let _classic = Peer::classic(server.address(), b'G', "key");
    server.await_waiting(1);
    let _download = Client::saying(server.address(), &get("other"));
    server.await_waiting(2);
    for request in [get("third"), put("fourth", b"x")] {
        let mut client = Client::saying(server.address(), &request);
        let (head, text) = client.text();
        assert_eq!((head.status, head.field("retry-after")), (503, Some("30")), "{text}");
        assert!(text.starts_with("[ERROR] ") && head.is_last(), "{text}");
    }
    // A counterpart needs no room.
    let mut upload = Client::saying(server.address(), &put("other", b"x"));
    upload.hears_of_waiting();
}

#[test]
fn limits_of_a_source_are_its_own_fault() {
    let limits = Limits { waiting_per_origin: Some(1), ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let _download = Client::saying(server.address(), &get("key"));
    server.await_waiting(1);
    let (head, text) = Client::saying(server.address(), &get("other")).text();
    assert_eq!((head.status, head.field("retry-after")), (429, Some("30")), "{text}");
}

#[test]
fn a_full_server_answers_in_http() {
    let server = InProcess::start(Config { max_connections: 2, ..config() });
    let download = Client::saying(server.address(), &get("key"));
    server.await_waiting(1);
    let second = Client::connect(server.address());
    crate::common::eventually("both are accepted", || server.stats().connections == 2);
    let (head, _) = Client::saying(server.address(), &get("other")).text();
    assert_eq!((head.status, head.field("retry-after")), (503, Some("30")));
    let (head, _) = Client::saying(server.address(), &head_of_version()).text();
    assert!(head.is_last(), "nobody stays who came too many");
    drop((download, second));
    server.await_waiting(0);
}

fn head_of_version() -> Vec<u8> {
    head("GET /version", "").into_bytes()
}

#[test]
fn a_waiting_peer_of_another_dialect_is_in_the_way_of_a_second_http_peer_only() {
    let server = InProcess::default();
    let upload = Peer::classic(server.address(), b'P', "key");
    server.await_waiting(1);
    let (head, text) = Client::saying(server.address(), &put("key", b"x")).text();
    assert_eq!(
        (head.status, &text[..]),
        (400, "[ERROR] Another sender has been connected on '/key'.\n")
    );
    let download = Peer::classic(server.address(), b'G', "key");
    drop((upload, download));
    assert!(matches!(server.next_outcome(), (Outcome::Completed, 0)));
}

#[test]
fn an_uploader_hears_of_a_receiver_that_waits_for_an_encrypted_transfer() {
    let processing_interval = Duration::from_millis(20);
    let server = InProcess::start(Config { processing_interval, ..config() });
    let mut upload = Client::waiting(server.address(), &put("key", b"x"));
    let waiting = "[INFO] Waiting for 1 receiver(s)...";
    upload.hears(waiting);
    let mut offer = crate::common::offer(Side::Download, "key");
    (offer.realm, offer.key) = (xchg_core::Realm::Sealed, offer.key.meeting_key());
    let receiver = Peer::offering(server.address(), offer.clone()).waits();
    let line = "[INFO] A receiver waits here for an encrypted transfer; it has to take --plain.\n";
    loop {
        let chunk = upload.chunk().unwrap().expect("the answer goes on");
        match std::str::from_utf8(&chunk).unwrap() {
            told if told == line => break,
            told => assert_eq!(told.trim_end(), waiting),
        }
    }
    // Who comes later is told at once.
    drop(upload);
    server.await_waiting(1);
    let mut upload = Client::waiting(server.address(), &put("key", b"x"));
    upload.hears(line.trim_end());
    drop(receiver);
}
