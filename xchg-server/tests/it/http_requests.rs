//! Requests and replies: keep-alive, pipelines, pages, refusals, and what must never be read as a
//! request.

use crate::common::{InProcess, Peer, classic_greeting, config, payload};
use crate::web::{Client, get, head, post_form, put, put_chunked};
use xchg_core::Outcome;
use xchg_server::{Config, Dialect};

fn version() -> Vec<u8> {
    head("GET /version", "").into_bytes()
}

#[test]
fn one_connection_carries_many_uploads() {
    let server = InProcess::default();
    let mut client = Client::connect(server.address());
    for round in 0..20_u16 {
        let payload = payload(round.into(), 1000 * usize::from(round));
        let request = match round % 3 {
            0 => put("key", &payload),
            1 => put_chunked("key", &payload, 700),
            _ => post_form("key", &payload),
        };
        client.send(&request);
        client.hears_of_waiting();
        assert!(Client::saying(server.address(), &get("key")).download() == payload);
        client.is_received();
    }
    assert_eq!(server.counts().completed, 20);
}

#[test]
fn requests_may_be_sent_ahead() {
    let server = InProcess::default();
    let mut client = Client::connect(server.address());
    let requests = [
        version(),
        put("a", b"first"),
        put_chunked("b", b"second", 4),
        post_form("c", b"third"),
        version(),
    ];
    client.send(&requests.concat());
    assert_eq!(client.text().0.status, 200);
    for (key, payload) in [("a", &b"first"[..]), ("b", b"second"), ("c", b"third")] {
        client.hears_of_waiting();
        assert_eq!(Client::saying(server.address(), &get(key)).download(), payload);
        client.is_received();
    }
    assert_eq!(client.text().1, concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn large_requests_may_be_sent_ahead_of_large_replies() {
    let server = InProcess::default();
    let mut client = Client::narrow(server.address());
    // Megabytes of replies, none of which is read before all is sent.
    client.send(&head("GET /", "").repeat(80).into_bytes());
    let first = client.text();
    for _ in 1..80 {
        assert_eq!(client.text().1.len(), first.1.len());
    }
    client.send(&version());
    assert_eq!(client.text().0.status, 200);
}

#[test]
fn a_connection_is_closed_after_a_hundred_requests_and_says_so() {
    let server = InProcess::default();
    let mut client = Client::saying(server.address(), &version().repeat(200));
    for n in 1..=100 {
        let (head, _) = client.text();
        assert_eq!(head.is_last(), n == 100, "request {n}");
    }
    client.is_closed();
}

#[test]
fn http_1_0_and_connection_close_are_answered_and_closed() {
    let server = InProcess::default();
    for request in ["GET /version HTTP/1.0\r\n\r\n", &head("GET /version", "Connection: close\r\n")]
    {
        let mut client = Client::saying(server.address(), request.as_bytes());
        let (head, _) = client.text();
        assert_eq!(head.status, 200);
        client.is_closed();
    }
    let request = head("PUT /key", "Content-Length: 1\r\nConnection: close\r\n") + "x";
    let mut upload = Client::saying(server.address(), request.as_bytes());
    server.await_waiting(1);
    drop(Client::saying(server.address(), &get("key")).download());
    let (head, text) = upload.text();
    assert!(
        head.status == 200 && head.is_last() && text.contains("received successfully"),
        "{text}"
    );
    upload.is_closed();
}

#[test]
fn the_pages_are_served_with_their_policy() {
    let server = InProcess::default();
    let mut client = Client::connect(server.address());
    for (path, title) in [("/", "<title>xchg</title>"), ("/noscript?path=a", "<form")] {
        client.send(head(&format!("GET {path}"), "").as_bytes());
        let (head, html) = client.text();
        assert_eq!(head.status, 200);
        assert_eq!(head.field("content-type"), Some("text/html; charset=utf-8"));
        let policy = head.field("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(html.contains(title) && html.trim_end().ends_with("</html>"));
    }
    client.send(head("GET /help", "").as_bytes());
    assert!(client.text().1.contains("curl -T myfile http://localhost/mypath"));
}

#[test]
fn what_is_not_for_a_person_to_have_whole_takes_nothing() {
    let server = InProcess::default();
    let mut upload = Client::waiting(server.address(), &put("key", b"for a person"));
    for (field, status) in [
        ("Range: bytes=4-\r\n", 400),
        ("Range: bytes=0-3\r\n", 400),
        ("Range: bytes=-4\r\n", 400),
        ("Range: bytes=0-,4-\r\n", 400),
        ("Range: chapters=2\r\n", 400),
        ("User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)\r\n", 403),
        ("User-Agent: WhatsApp/2.23.20.0 A\r\n", 403),
        ("Sec-Purpose: prefetch;prerender\r\n", 403),
        ("X-Moz: prefetch\r\n", 403),
    ] {
        let mut client = Client::saying(server.address(), head("GET /key", field).as_bytes());
        let (head, text) = client.text();
        assert_eq!(head.status, status, "{field}");
        assert!(text.starts_with("[ERROR] ") && head.field("retry-after").is_none(), "{text}");
        server.await_waiting(1);
    }
    let whole = head("GET /key", "Range: bytes=0-\r\nIf-Range: \"x\"\r\n");
    let download = Client::saying(server.address(), whole.as_bytes()).download();
    assert_eq!(download, b"for a person");
    upload.is_received();
}

#[test]
fn head_and_options_are_answered_without_a_body() {
    let server = InProcess::default();
    let mut client = Client::connect(server.address());
    for (start, status) in [
        ("HEAD /", 200),
        ("HEAD /version", 200),
        ("OPTIONS /key", 200),
        ("OPTIONS *", 200),
        ("HEAD /key", 405),
        ("DELETE /key", 405),
        ("PATCH /key", 405),
        ("TRACE /key", 405),
        ("GET /favicon.ico", 204),
        ("GET /robots.txt", 404),
    ] {
        client.send(head(start, "").as_bytes());
        let head = client.head();
        assert_eq!(head.status, status, "{start}");
        if status == 405 && !start.starts_with("HEAD") {
            assert!(client.body(&head).unwrap().starts_with(b"[ERROR] Unsupported method"));
        }
    }
    client.send(&version());
    assert_eq!(client.text().0.status, 200, "nothing was left over");
}

#[test]
fn a_second_sender_is_refused_with_its_body_unread() {
    let server = InProcess::default();
    let mut first = Client::waiting(server.address(), &put("key", b"first"));
    let request = put("key", &payload(1, 20 << 20));
    let mut second = Client::connect(server.address());
    let mut sender = second.stream();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &request));
    let (head, text) = second.text();
    assert_eq!(head.status, 400);
    assert_eq!(text, "[ERROR] Another sender has been connected on '/key'.\n");
    assert!(head.is_last());
    second.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap().expect_err("the body is not read");
    assert_eq!(Client::saying(server.address(), &get("key")).download(), b"first");
    first.is_received();
}

#[test]
fn second_receivers_and_those_who_come_during_an_exchange_are_refused() {
    let server = InProcess::default();
    let mut download = Client::saying(server.address(), &get("key"));
    server.await_waiting(1);
    let (refused, text) = Client::saying(server.address(), &get("key")).text();
    assert_eq!(refused.status, 400);
    assert_eq!(text, "[ERROR] The number of receivers has reached limits.\n");
    let request = head("PUT /key", "Transfer-Encoding: chunked\r\n");
    let mut upload = Client::waiting(server.address(), request.as_bytes());
    assert_eq!(download.head().status, 200);
    for request in [get("key"), put("key", b"x")] {
        let (refused, text) = Client::saying(server.address(), &request).text();
        assert_eq!(refused.status, 400);
        assert_eq!(text, "[ERROR] Connection on '/key' has been established already.\n");
    }
    upload.send(b"0\r\n\r\n");
    upload.hears("[INFO] 1 receiver(s) has/have been connected.");
    upload.hears("[INFO] Start sending to 1 receiver(s)!");
    upload.hears("[INFO] Sent successfully!");
    // The payload is sent: whoever comes now is in nobody's way, though the first receiver has not
    // closed.
    let mut next = Client::waiting(server.address(), &put("key", b"next"));
    assert_eq!(Client::saying(server.address(), &get("key")).download(), b"next");
    next.is_received();
    assert_eq!(download.chunk().unwrap(), None);
    drop(download);
    upload.is_received();
}

#[test]
fn requests_that_two_parsers_may_read_differently_close_the_connection() {
    let server = InProcess::default();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (request, status) in [
        (
            "POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
            400,
        ),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4, 4\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x4\r\n\r\n", 400),
        (
            "POST /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551616\r\n\r\n",
            400,
        ),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\n Transfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /k HTTP/1.1\nHost: h\nContent-Length: 4\n\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\n\r\n", 400),
        ("POST /k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /k HTTP/1.0\r\n\r\n", 411),
        ("GET /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n", 400),
        ("POST /k HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\n\r\n", 417),
        ("GET /k HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        // A body that is not read: what lies there must not be taken for a request.
        ("POST /help HTTP/1.1\r\nHost: localhost\r\nContent-Length: 38\r\n\r\n", 400),
        ("DELETE /k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 38\r\n\r\n", 405),
    ] {
        let mut client = Client::connect(server.address());
        client.send_some(format!("{request}{smuggled}").as_bytes());
        let (head, text) = client.text();
        assert_eq!(head.status, status, "{request}: {text}");
        assert!(head.is_last(), "{request}: {}", head.text);
        client.is_closed();
    }
    assert_eq!(server.counts().waiting, 0, "nothing was smuggled in");
}

#[test]
fn a_head_that_does_not_end_is_refused() {
    let server = InProcess::default();
    let mut client = Client::connect(server.address());
    client.send_some(("GET /k HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(40_000)).as_bytes());
    assert_eq!(client.text().0.status, 431);
    client.is_closed();
}

#[test]
fn first_bytes_may_come_one_at_a_time_in_every_dialect() {
    let server = InProcess::default();
    let dribble = |bytes: &[u8]| {
        let mut client = Client::connect(server.address());
        for byte in bytes {
            client.send(&[*byte]);
        }
        client
    };
    let native = |side| {
        let offer = crate::common::offer(side, "key");
        xchg_core::wire::Greeting::new(xchg_core::wire::Command::Offer(offer)).encode()
    };
    let transit = format!("please relay {} for side {}\n", "a".repeat(64), "b".repeat(16));
    for (upload, download) in [
        (put("key", b"x"), get("key")),
        (put_chunked("key", b"x", 1), b"GET /key HTTP/1.0\r\n\r\n".to_vec()),
        (post_form("key", b"x"), classic_greeting(b'G', "key").to_vec()),
        (put("key", b"x"), native(xchg_core::Side::Download)),
        ([&classic_greeting(b'P', "key")[..], b"x"].concat(), get("key")),
        // Keys that begin as methods do.
        (b"PUT\0\0\0\0\0\0x".to_vec(), b"GUT\0\0\0\0\0\0".to_vec()),
        (b"POST card".to_vec(), b"GOST card".to_vec()),
        (native(xchg_core::Side::Upload), native(xchg_core::Side::Download)),
        (transit.clone().into_bytes(), transit.replace('b', "c").into_bytes()),
    ] {
        let download = dribble(&download);
        server.await_waiting(1);
        let upload = dribble(&upload);
        let exchange = server.next_exchange();
        upload.half_close();
        let mut download = download;
        if exchange.realm() != xchg_core::Realm::Plain {
            download.half_close();
        }
        download.rest().unwrap();
        drop(download);
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
}

#[test]
fn dialects_can_be_switched_off() {
    let only =
        |dialects: &[Dialect]| InProcess::start(Config { dialects: dialects.to_vec(), ..config() });
    let server = only(&[Dialect::Native, Dialect::Classic]);
    for method in ["GET", "PUT", "HEAD", "FOO"] {
        let request = format!("{method} /key HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stranger = Client::saying(server.address(), request.as_bytes());
        let words = String::from_utf8(stranger.rest().unwrap()).unwrap();
        let is_told = words.contains("It speaks: native, classic.") && !words.contains("curl");
        assert!(is_told, "{method}: {words}");
    }

    let server = only(&[Dialect::Http]);
    assert_eq!(Client::saying(server.address(), &version()).text().0.status, 200);
    let classic = [b'P', b'G', b'F'].map(|command| classic_greeting(command, "abc"));
    for stranger in [&b"xchg\x01"[..], b"please relay 0"]
        .into_iter()
        .chain(classic.iter().map(|greeting| &greeting[..]))
    {
        let words = Client::saying(server.address(), stranger).rest().unwrap();
        let words = String::from_utf8(words).unwrap();
        assert!(words.contains("It speaks: http.") && words.contains("curl -T "), "{words}");
    }
    let mut upload = Client::waiting(server.address(), &put("key", b"x"));
    assert_eq!(Client::saying(server.address(), &get("key")).download(), b"x");
    upload.is_received();
}

#[test]
fn strangers_are_told_what_is_spoken_here() {
    let server = InProcess::default();
    for first in [&b"hello\r\n"[..], b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n", b"\0"] {
        let words = Peer::saying(server.address(), first).rest().unwrap();
        let words = String::from_utf8(words).unwrap();
        assert!(words.contains("native, classic, http, transit"), "{words}");
        assert!(words.contains("curl -T FILE") && words.contains("xchg-client"), "{words}");
    }
}
