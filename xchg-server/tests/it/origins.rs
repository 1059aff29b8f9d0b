//! Whom a connection counts for that comes through a proxy: whom the proxy names, if it is trusted.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    Authority, InProcess, Peer, Process, TlsStream, classic_greeting, config, eventually, offer,
    tls,
};
use crate::web::{Client, get, put};
use rustls::ClientConfig;
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode};
use xchg_core::{Limits, Side};
use xchg_server::Config;

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A line that names `peer`, which is an IPv4 address.
fn line(peer: &str) -> Vec<u8> {
    format!("PROXY TCP4 {peer} 198.51.100.1 56324 443\r\n").into_bytes()
}

/// The same in binary, with an extension.
fn binary(peer: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11".to_vec();
    header.extend(peer);
    header.extend([198, 51, 100, 1, 0xdc, 4, 1, 0xbb, 1, 0, 2, b'h', b'2']);
    header
}

/// A server with a listener for proxies.
fn proxied(config: Config) -> InProcess {
    let listen = vec!["127.0.0.1:0,proxy".parse().unwrap()];
    InProcess::start(Config { listen, ..config })
}

/// A server process with JSON logs.
fn logging(listen: &str, args: &[&str]) -> (Process, SocketAddr) {
    let mut command = Process::command();
    command.args(["--listen", listen, "--log-format", "json"]).args(args);
    Process::serve(command)
}

/// Waits for a line of the log that has all of `parts`.
fn logs(process: &Process, parts: &[&str]) {
    eventually(&format!("a line with {parts:?}"), || {
        process.stderr().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    });
}

fn native(side: Side, key: &str) -> Vec<u8> {
    Greeting::new(Command::Offer(offer(side, key))).encode()
}

fn is_busy(mut peer: Peer) -> bool {
    matches!(peer.verdict(), Answer::Refused { code: RefusalCode::Busy, .. })
}

#[test]
fn a_proxys_header_says_whose_a_connection_is() {
    let (process, address) = logging("127.0.0.1:0,proxy", &["--log-keys"]);
    for (key, header, shown) in [
        ("text", TEXT.to_vec(), "192.0.2.7"),
        ("binary", binary([192, 0, 2, 8]), "192.0.2.8"),
        ("loopbk", line("127.0.0.1"), "127.0.0.1"),
        ("unknown", UNKNOWN.to_vec(), "127.0.0.1"),
    ] {
        let mut downloader =
            Peer::saying(address, &[&header[..], &native(Side::Download, key)].concat());
        let upload = classic_greeting(b'P', key);
        drop(Peer::saying(address, &[&header[..], &upload, b"payload"].concat()).send_all(b""));
        downloader.matched();
        assert_eq!(downloader.rest().unwrap(), b"payload");
        let key = format!("\"key\":\"{key}\"");
        let (up, down) =
            (format!("\"uploader\":\"{shown}\""), format!("\"downloader\":\"{shown}\""));
        logs(&process, &["ended", &key, &up, &down]);
    }
}

/// The header, the greeting and the payload come in whatever pieces.
#[test]
fn a_header_in_pieces_costs_no_byte_behind_it() {
    let server = proxied(config());
    for header in [TEXT.to_vec(), binary([192, 0, 2, 8]), UNKNOWN.to_vec(), LOCAL.to_vec()] {
        let all = [&header[..], &put("key", b"in pieces")].concat();
        for cut in (0..=all.len()).step_by(7).chain([header.len()]) {
            let mut uploader = Client::of(Peer::saying(server.address(), &all[..cut]));
            uploader.send(&all[cut..]);
            let download = [&header[..], &get("key")].concat();
            let mut downloader = Client::of(Peer::saying(server.address(), &download));
            assert_eq!(downloader.download(), b"in pieces", "cut at {cut}");
            uploader.uploaded();
        }
    }
}

#[test]
fn limits_of_a_source_are_for_whom_a_proxy_names() {
    let limits = Limits { waiting_per_origin: Some(2), ..Limits::default() };
    let server = proxied(Config { limits, ..config() });
    let waits = |peer: &str, key: &str| {
        Peer::saying(server.address(), &[line(peer), native(Side::Download, key)].concat())
    };
    let _held = [waits("192.0.2.7", "a").waits(), waits("192.0.2.7", "b").waits()];
    assert!(is_busy(waits("192.0.2.7", "c")));
    let _other = waits("192.0.2.8", "c").waits();

    let server = proxied(Config { max_connections_per_source: Some(3), ..config() });
    let connects = |peer: &str| Peer::saying(server.address(), &line(peer));
    let _silent: Vec<Peer> = (0..100).map(|_| connects("192.0.2.7")).collect();
    eventually("all are accepted", || server.stats().accepted == 100);
    eventually("most are closed", || server.stats().connections <= 3 + 16 + 2);
    let mut over = connects("192.0.2.7");
    over.send(&native(Side::Download, "key"));
    assert!(is_busy(over));
    let mut other = connects("192.0.2.8");
    other.send(&native(Side::Download, "key"));
    drop(other.waits());
}

#[test]
fn whoever_comes_through_a_proxy_is_not_on_this_machine() {
    let server = proxied(config());
    for header in [
        line("127.0.0.1"),
        b"PROXY TCP6 ::1 ::1 1 2\r\n".to_vec(),
        UNKNOWN.to_vec(),
        LOCAL.to_vec(),
        binary([127, 0, 0, 1]),
    ] {
        for command in [Command::Terminate, Command::Status] {
            let greeting = Greeting::new(command).encode();
            let peer = Peer::saying(server.address(), &[&header[..], &greeting].concat());
            assert_eq!(peer.refused(), RefusalCode::Forbidden, "{}", header.escape_ascii());
        }
    }
    assert!(!server.counts().draining);
}

#[test]
fn only_trusted_proxies_are_heard() {
    let trusted = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let server = proxied(Config { trusted_proxies: trusted, ..config() });
    let from = |source: [u8; 4]| Peer::connect_from((source, 0).into(), server.address());
    for _ in 0..3 {
        // Before it has said anything.
        from([127, 0, 0, 1]).let_go();
    }
    let mut trusted = from([127, 0, 0, 2]);
    trusted.send(&[TEXT, &native(Side::Download, "key")].concat());
    trusted.waits();
    let stats = server.stats();
    assert_eq!((stats.untrusted_proxies, stats.refused, stats.proxy_header_failures), (3, 3, 0));

    let (process, address) = logging("127.0.0.1:0,proxy", &["--trusted-proxies", "10.0.0.0/8"]);
    Peer::connect(address).let_go();
    logs(&process, &["WARN", "127.0.0.1", "--trusted-proxies"]);
}

#[test]
fn who_brings_no_header_is_refused_where_one_is_due() {
    let server = proxied(Config { greeting_timeout: Duration::from_millis(300), ..config() });
    let transit =
        b"please relay 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    let wrong = [
        native(Side::Upload, "key"),
        get("key"),
        transit.to_vec(),
        b"Gabcdefgh".to_vec(),
        b"Pabcdefgh".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n".to_vec(),
        [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
        b"\x16\x03\x01\x02\x00".to_vec(),
    ];
    for bytes in &wrong {
        Peer::saying(server.address(), bytes).let_go();
    }
    assert_eq!(server.stats().proxy_header_failures, wrong.len() as u64);
    // Half a header, and no more of it in time.
    for bytes in [&TEXT[..20], &LOCAL[..13]] {
        Peer::saying(server.address(), bytes).let_go();
    }
    assert_eq!(server.stats().refused, wrong.len() as u64 + 2);
    assert_eq!(server.counts().waiting, 0);

    let (process, address) = logging("127.0.0.1:0,proxy", &[]);
    Peer::saying(address, b"Gabcdefgh").let_go();
    logs(&process, &["WARN", "127.0.0.1", "send-proxy", "proxy_protocol on"]);
}

#[test]
fn a_header_where_none_is_expected_is_refused() {
    let server = InProcess::start(config());
    for header in [line("127.0.0.1"), binary([192, 0, 2, 8]), UNKNOWN.to_vec(), LOCAL.to_vec()] {
        Peer::saying(server.address(), &[&header[..], b"Pabcdefghpayload"].concat()).let_go();
    }
    assert_eq!(server.stats().proxy_header_failures, 4);
    assert_eq!(server.counts().waiting, 0);
    let (process, address) = logging("127.0.0.1:0", &[]);
    Peer::saying(address, TEXT).let_go();
    logs(&process, &["WARN", "127.0.0.1", "--listen ADDR:PORT,proxy"]);
}

/// A peer whose connection a proxy has passed on as it was: TLS follows the proxy's header.
fn in_tls(address: SocketAddr, client: &Arc<ClientConfig>, header: &[u8]) -> TlsStream {
    let mut stream = tls(address, client);
    stream.sock.write_all(header).unwrap();
    stream
}

#[test]
fn tls_may_follow_a_proxys_header() {
    let authority = Authority::new();
    let path = |name: &str| authority.path(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let args = ["--log-keys", "--tls-cert", &certificate, "--tls-key", &key];
    let (process, address) = logging("127.0.0.1:0,proxy,tls=required", &args);
    let client = authority.client();
    for (key, header, shown) in [
        ("text", TEXT.to_vec(), "192.0.2.7"),
        ("binary", binary([192, 0, 2, 8]), "192.0.2.8"),
        ("unknown", UNKNOWN.to_vec(), "127.0.0.1"),
    ] {
        let mut downloader = in_tls(address, &client, &header);
        downloader.write_all(&classic_greeting(b'G', key)).unwrap();
        let mut uploader = in_tls(address, &client, &header);
        uploader.write_all(&classic_greeting(b'P', key)).unwrap();
        uploader.write_all(b"payload").unwrap();
        uploader.conn.send_close_notify();
        uploader.flush().unwrap();
        let mut heard = Vec::new();
        downloader.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"payload");
        let key = format!("\"key\":\"{key}\"");
        let (up, down) =
            (format!("\"uploader\":\"{shown}\""), format!("\"downloader\":\"{shown}\""));
        logs(&process, &["ended", &key, &up, &down]);
    }
}

/// The proxy speaks first and in the clear; what is within TLS is the peer's own.
#[test]
fn a_header_within_tls_names_nobody() {
    let authority = Authority::new();
    let path = |name: &str| authority.path(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let args = ["--tls-cert", &certificate, "--tls-key", &key];
    let client = authority.client();
    for (listen, outer, shown) in
        [("127.0.0.1:0,proxy", TEXT, "192.0.2.7"), ("127.0.0.1:0", &[], "127.0.0.1")]
    {
        let (process, address) = logging(listen, &args);
        for header in [line("203.0.113.9"), binary([203, 0, 113, 9]), LOCAL.to_vec()] {
            let mut peer = in_tls(address, &client, outer);
            peer.write_all(&[&header[..], &classic_greeting(b'G', "key")].concat()).unwrap();
            assert!(!matches!(peer.read(&mut [0]), Ok(1..)), "it is told nothing");
        }
        logs(&process, &["WARN", shown, "PROXY protocol", "before TLS"]);
        assert!(!process.stderr().contains("203.0.113.9"), "{}", process.stderr());
        assert!(!process.stderr().contains("ended"), "{}", process.stderr());
    }
}

/// A request under `key` that was passed on for `peer`.
fn forwarded(method: &str, key: &str, fields: &str) -> Vec<u8> {
    let length = if method == "PUT" { "Content-Length: 7\r\n" } else { "" };
    let body = if method == "PUT" { "payload" } else { "" };
    format!("{method} /{key} HTTP/1.1\r\nHost: localhost\r\n{length}{fields}\r\n{body}")
        .into_bytes()
}

#[test]
fn fields_of_a_trusted_proxy_say_whose_a_request_is() {
    let (process, address) = logging("127.0.0.1:0", &["--log-keys"]);
    for (key, fields, shown) in [
        ("list", "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"),
        ("made-up", "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", "192.0.2.7"),
        ("real", "X-Real-IP: 192.0.2.8\r\n", "192.0.2.8"),
        ("standard", "Forwarded: for=\"[2001:db8::1]:80\";proto=https\r\n", "2001:db8::1"),
        ("doubtful", "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.8\r\n", "proxy"),
        ("none", "X-Forwarded-Proto: https\r\n", "127.0.0.1"),
    ] {
        let downloader = Peer::saying(address, &forwarded("GET", key, fields));
        let uploader = Peer::saying(address, &forwarded("PUT", key, fields));
        assert_eq!(Client::of(downloader).download(), b"payload");
        // Behind a proxy the answer comes at the end.
        assert_eq!(Client::of(uploader).text().0.status, 200);
        let key = format!("\"key\":\"{key}\"");
        let (up, down) =
            (format!("\"uploader\":\"{shown}\""), format!("\"downloader\":\"{shown}\""));
        logs(&process, &["ended", &key, &up, &down]);
    }
    let (process, address) =
        logging("127.0.0.1:0", &["--log-keys", "--trusted-proxies", "10.0.0.0/8"]);
    let fields = "X-Forwarded-For: 192.0.2.7\r\n";
    let downloader = Peer::saying(address, &forwarded("GET", "liar", fields));
    drop(Peer::saying(address, &forwarded("PUT", "liar", fields)));
    assert_eq!(Client::of(downloader).download(), b"payload");
    logs(
        &process,
        &["ended", "liar", "\"uploader\":\"127.0.0.1\"", "\"downloader\":\"127.0.0.1\""],
    );
}

/// Proxies keep connections, and pass requests of many on through each.
#[test]
fn each_request_on_a_kept_connection_counts_for_its_own_peer() {
    let limits = Limits { waiting_per_origin: Some(1), ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let of = |peer: &str| format!("X-Forwarded-For: {peer}\r\n");
    let mut kept = Client::connect(server.address());
    for peer in ["192.0.2.7", "192.0.2.8"] {
        // It takes the one place of its peer, and gives it back with the exchange.
        kept.send(&forwarded("GET", "kept", &of(peer)));
        server.await_waiting(1);
        let over = Client::saying(server.address(), &forwarded("GET", "over", &of(peer))).rest();
        assert!(over.unwrap().starts_with(b"HTTP/1.1 429 "));
        let other = Peer::saying(server.address(), &forwarded("GET", "other", &of("192.0.2.9")));
        server.await_waiting(2);
        drop(other);
        server.await_waiting(1);
        drop(Peer::classic(server.address(), b'P', "kept").send_all(b"payload"));
        assert_eq!(kept.download(), b"payload");
    }
    // And one that no proxy has passed on is the connection's own.
    kept.send(&forwarded("GET", "kept", ""));
    server.await_waiting(1);
    let over = Client::saying(server.address(), &get("over")).rest();
    assert!(over.unwrap().starts_with(b"HTTP/1.1 429 "));
}
