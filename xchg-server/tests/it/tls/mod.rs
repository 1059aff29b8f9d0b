//! TLS on the port: every dialect within, what is required where, cuts and ends, and certificates
//! that change.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode};
use xchg_core::{Outcome, Side};
use xchg_server::{Config, Listen, Server};

use crate::common::{
    Authority, InProcess, Peer, TlsStream, assert_lost, classic_greeting, config, eventually,
    offer, payload, tls,
};

struct World {
    authority: Authority,
    client: Arc<ClientConfig>,
    server: InProcess,
}

impl World {
    fn start(config: Config) -> World {
        let authority = Authority::new();
        let server = InProcess::start(authority.certify(config));
        World { client: authority.client(), authority, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn connect(&self) -> TlsStream {
        tls(self.address(), &self.client)
    }

    fn saying(&self, bytes: &[u8]) -> TlsStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream
    }
}

impl Default for World {
    fn default() -> World {
        World::start(config())
    }
}

fn listening(options: &str) -> Config {
    let listen: Listen = format!("127.0.0.1:0,{options}").parse().unwrap();
    Config { listen: vec![listen], ..config() }
}

/// Says within that no more comes, and ends the stream below as well.
fn finish(stream: &mut TlsStream) {
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock).unwrap();
    }
    stream.sock.shutdown(Shutdown::Write).unwrap();
}

/// A peer's end, in TLS or not.
trait Stream: Read + Write + Send {
    fn finish(&mut self);
}

impl Stream for TlsStream {
    fn finish(&mut self) {
        finish(self);
    }
}

impl Stream for TcpStream {
    fn finish(&mut self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

fn stream(world: &World, is_secured: bool) -> Box<dyn Stream> {
    match is_secured {
        true => Box::new(world.connect()),
        false => Box::new(Peer::connect(world.address()).stream()),
    }
}

#[test]
fn peers_in_tls_meet_each_other_and_those_without() {
    let world = World::default();
    let sent = payload(1, 3_000_000);
    for (up, down) in [(true, false), (false, true), (true, true)] {
        for dialect in ["classic", "http", "native"] {
            let (mut upload, mut download) = (stream(&world, up), stream(&world, down));
            let (hello, asks): (Vec<u8>, Vec<u8>) = match dialect {
                "classic" => {
                    (classic_greeting(b'P', "key").into(), classic_greeting(b'G', "key").into())
                }
                "http" => (
                    format!(
                        "PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                        sent.len()
                    )
                    .into(),
                    b"GET /key HTTP/1.0\r\nHost: localhost\r\n\r\n".to_vec(),
                ),
                _ => {
                    let greeting =
                        |side| Greeting::new(Command::Offer(offer(side, "key"))).encode();
                    (greeting(Side::Upload), greeting(Side::Download))
                }
            };
            let sent = &sent;
            let heard = thread::scope(|scope| {
                scope.spawn(move || {
                    upload.write_all(&hello).unwrap();
                    if dialect == "native" {
                        read_until_matched(&mut *upload);
                    }
                    upload.write_all(sent).unwrap();
                    if dialect != "http" {
                        upload.finish();
                    }
                    upload.read_to_end(&mut Vec::new()).ok();
                });
                download.write_all(&asks).unwrap();
                if dialect == "native" {
                    read_until_matched(&mut *download);
                    download.finish();
                }
                let mut heard = Vec::new();
                download.read_to_end(&mut heard).unwrap();
                heard
            });
            assert!(heard.ends_with(sent), "{dialect}: {} bytes", heard.len());
            assert!(dialect == "http" || heard.len() == sent.len());
            let (outcome, bytes) = world.server.next_outcome();
            assert_eq!((outcome, bytes), (Outcome::Completed, sent.len() as u64));
        }
    }
    assert_eq!(world.server.stats().tls_handshakes, 12);
    assert_eq!(world.server.stats().tls_handshake_failures, 0);
}

fn read_until_matched(stream: &mut dyn Stream) {
    loop {
        let mut answer = vec![0; 3];
        stream.read_exact(&mut answer).unwrap();
        let len = usize::from(u16::from_be_bytes([answer[1], answer[2]]));
        answer.resize(3 + len, 0);
        stream.read_exact(&mut answer[3..]).unwrap();
        let decoded = Answer::decode(&answer).unwrap();
        if format!("{decoded:?}").contains("Matched") {
            return;
        }
    }
}

#[test]
fn who_must_use_tls_and_does_not_is_told_so_in_its_dialect() {
    let world = World::start(listening("tls=required"));
    let address = world.address();
    let mut http = Peer::saying(
        address,
        b"PUT /key HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 3\r\n\r\nabc",
    );
    let answer = String::from_utf8(http.rest().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.contains("Upgrade: TLS") && answer.contains("https://localhost:1/"), "{answer}");
    let native = Peer::native(address, Side::Upload, "key");
    assert_eq!(native.refused(), RefusalCode::Unsupported);
    assert_lost(Peer::classic(address, b'G', "key").rest());
    let transit = format!("please relay {} for side {}\n", "0".repeat(64), "1".repeat(16));
    let mut transit = Peer::saying(address, transit.as_bytes());
    assert_lost(transit.rest());
    assert_eq!(world.server.counts().waiting, 0);

    let mut stream = world.saying(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK") && answer.contains("https://localhost/mypath"), "{answer}");
}

#[test]
fn where_tls_is_off_what_it_begins_with_is_nothing() {
    let authority = Authority::new();
    let listen = vec!["127.0.0.1:0,tls=off".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    for config in [authority.certify(Config { listen, ..config() }), config()] {
        let server = InProcess::start(config);
        let mut peer = Peer::saying(server.address(), &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
        let words = String::from_utf8(peer.rest().unwrap()).unwrap();
        assert!(words.contains("xchg"), "it is told what is spoken here: {words}");
    }
}

#[test]
fn a_payload_that_is_cut_is_never_whole() {
    let world = World::default();
    for has_end in [true, false] {
        let mut upload = world.saying(&classic_greeting(b'P', "cut"));
        upload.write_all(&[7; 100_000]).unwrap();
        let mut download = Peer::classic(world.address(), b'G', "cut");
        assert_eq!(download.read(100_000).len(), 100_000);
        if has_end {
            finish(&mut upload);
            assert_eq!(download.whole(), b"");
            assert_eq!(world.server.next_outcome().0, Outcome::Completed);
        } else {
            upload.sock.shutdown(Shutdown::Write).unwrap();
            assert_lost(download.rest());
            assert_eq!(world.server.next_outcome().0, Outcome::Lost(Side::Upload));
        }
    }
}

#[test]
fn a_downloader_that_is_cut_off_sees_no_end() {
    let world = World::default();
    let mut download = world.saying(&classic_greeting(b'G', "cut"));
    let mut upload = Peer::classic(world.address(), b'P', "cut");
    upload.send(&[7; 50_000]);
    download.read_exact(&mut [0; 50_000]).unwrap();
    upload.reset();
    assert!(download.read(&mut [0]).is_err());
}

#[test]
fn where_the_length_is_known_an_end_without_a_word_is_no_cut() {
    let world = World::default();
    let head = "PUT /known HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let mut download = world.saying(b"GET /known HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.server.await_waiting(1);
    let mut upload = world.connect();
    upload.write_all(head.as_bytes()).unwrap();
    upload.sock.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello") {
        let mut byte = [0];
        download.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
    // It has everything, and goes as many clients do: without a word.
    download.sock.shutdown(Shutdown::Both).unwrap();
    assert_eq!(world.server.next_outcome(), (Outcome::Completed, 5));
}

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

#[test]
fn only_who_shows_a_certificate_is_served_where_one_is_wanted() {
    let authority = Authority::new();
    let params = rcgen::CertificateParams::new(["somebody".to_owned()]).unwrap();
    authority.issue(params, "client.pem", "client-key.pem");
    let config = Config {
        client_ca: Some(authority.path("root.pem")),
        ..authority.certify(listening("tls=required"))
    };
    let server = InProcess::start(config);
    for (identity, is_served) in [(None, false), (Some(("client.pem", "client-key.pem")), true)] {
        let mut stream = tls(server.address(), &authority.client_showing(identity));
        let asked = stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answered = asked.and_then(|()| stream.read_to_string(&mut String::new()));
        assert_eq!(answered.is_ok(), is_served);
    }
}

#[test]
fn a_waiting_peer_may_say_what_is_no_word_of_its() {
    let heartbeat = Duration::from_millis(20);
    let world = World::start(Config { heartbeat, ..config() });
    let greeting = Greeting::new(Command::Offer(offer(Side::Upload, "patient"))).encode();
    let mut upload = world.saying(&greeting);
    world.server.await_waiting(1);
    for _ in 0..3 {
        // New keys, and records of nothing; a peer that spoke now would be sent away.
        upload.conn.refresh_traffic_keys().unwrap();
        upload.flush().unwrap();
        let mut beat = [0; 3];
        upload.read_exact(&mut beat).unwrap();
        let len = u16::from_be_bytes([beat[1], beat[2]]);
        upload.read_exact(&mut vec![0; len.into()]).unwrap();
    }
    assert_eq!(world.server.counts().waiting, 1);
    finish(&mut upload);
    world.server.await_waiting(0);
}

#[test]
fn pages_of_other_schemes_are_foreign_on_this_machine() {
    let world = World::default();
    let host = format!("localhost:{}", world.address().port());
    for (origin, status) in [
        (format!("https://{host}"), "200"),
        (format!("http://{host}"), "403"),
        ("https://example.org".to_owned(), "403"),
    ] {
        let head = format!("GET /help HTTP/1.0\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        let mut answer = String::new();
        world.saying(head.as_bytes()).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.0 {status}")), "{origin}: {answer}");
    }
}

/// The certificate that newcomers are shown.
fn shown(world: &World) -> Vec<u8> {
    let mut fresh = (*world.client).clone();
    fresh.resumption = rustls::client::Resumption::disabled();
    let mut stream = tls(world.address(), &Arc::new(fresh));
    stream.write_all(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_certificate_is_replaced_without_a_failure() {
    let world = World::default();
    let stops = AtomicBool::new(false);
    let exchanges = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (world, stops, exchanges) = (&world, &stops, &exchanges);
            scope.spawn(move || {
                for count in 0_u64.. {
                    if stops.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("{worker}-{count}");
                    let sent = payload(count, 2000);
                    let mut upload = world.saying(&classic_greeting(b'P', &key));
                    upload.write_all(&sent).unwrap();
                    finish(&mut upload);
                    let mut heard = Vec::new();
                    let mut download = world.saying(&classic_greeting(b'G', &key));
                    download.read_to_end(&mut heard).unwrap();
                    assert!(heard == sent);
                    exchanges.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let first = shown(&world);
        let started = Instant::now();
        world.authority.renew();
        eventually("the new certificate is shown", || shown(&world) != first);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let second = shown(&world);
        // A broken one changes nothing, and is told once it has stayed.
        std::fs::write(world.authority.path("cert.pem"), "nonsense").unwrap();
        eventually("the failure is counted", || world.server.stats().tls_reload_failures == 1);
        assert_eq!(shown(&world), second);
        world.authority.renew();
        eventually("the third certificate is shown", || shown(&world) != second);
        stops.store(true, Ordering::Relaxed);
    });
    let stats = world.server.stats();
    assert_eq!((stats.tls_reloads, stats.tls_reload_failures), (2, 1));
    assert!(stats.tls_expires.is_some());
    let begun = exchanges.load(Ordering::Relaxed);
    world.server.await_counts("all have ended", |counts| counts.completed == begun);
    assert_eq!(world.server.counts().failed, 0);
}

#[test]
fn what_needs_a_certificate_says_so() {
    let config = Config { client_ca: Some("ca.pem".into()), ..listening("tls=required") };
    let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("listen: `127.0.0.1:0,tls=required`: "), "{problems:?}");
    assert!(problems[1].starts_with("client-ca: it needs a certificate"), "{problems:?}");
    assert!(problems.iter().all(|problem| problem.contains("--tls-cert")), "{problems:?}");
    assert!(Server::bind(config).is_err());
    let authority = Authority::new();
    let nowhere = authority.certify(listening("tls=off"));
    assert!(nowhere.problems()[0].to_string().contains("no address takes TLS"));
}
