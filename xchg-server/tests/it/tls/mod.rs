//! TLS on the port: every dialect within, what is required where, cuts and ends.

mod certificates;
mod handshakes;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode};
use xchg_core::{Outcome, Side};
use xchg_server::{Config, Listen};

use crate::common::{
    Authority, InProcess, Peer, TlsStream, assert_lost, classic_greeting, config, offer, payload,
    tls,
};

struct World {
    authority: Authority,
    client: Arc<ClientConfig>,
    server: InProcess,
}

impl World {
    fn start(config: Config) -> Self {
        let authority = Authority::new();
        let server = InProcess::start(authority.certify(config));
        Self { client: authority.client(), authority, server }
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
    fn default() -> Self {
        Self::start(config())
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
    if is_secured {
        Box::new(world.connect())
    } else {
        Box::new(Peer::connect(world.address()).stream())
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
