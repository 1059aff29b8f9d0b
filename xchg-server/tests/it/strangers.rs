//! What strangers may take of a server: connections, places, and how long they keep them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{InProcess, Peer, Process, config, eventually, offer, payload};
use crate::web::{Client, get, put};
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode};
use xchg_core::{Limits, Outcome, Side};
use xchg_server::Config;

const GREEDY: [u8; 4] = [127, 0, 0, 1];
const BYSTANDER: [u8; 4] = [127, 0, 0, 2];

fn from(source: [u8; 4], address: SocketAddr) -> Peer {
    Peer::connect_from((source, 0).into(), address)
}

fn saying(source: [u8; 4], address: SocketAddr, bytes: &[u8]) -> Peer {
    let mut peer = from(source, address);
    peer.send(bytes);
    peer
}

fn native(side: Side, key: &str) -> Vec<u8> {
    Greeting::new(Command::Offer(offer(side, key))).encode()
}

const TRANSIT: &[u8] =
    b"please relay 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

/// What the server holds when nobody is there.
struct BaseLine<'a> {
    process: &'a Process,
    descriptors: usize,
}

impl BaseLine<'_> {
    fn of(process: &Process) -> BaseLine<'_> {
        // Asking makes what is made once, such as what the first connection takes.
        BaseLine { process, descriptors: descriptors(process) }
    }

    /// Expects that places and descriptors, pipes included, are what they were, but for idle pipes
    /// that are kept for the next exchange.
    fn is_back(&self, address: SocketAddr, idle_pipes: usize) {
        eventually("no place is taken", || {
            let status = Peer::status(address);
            (status.waiting, status.exchanging) == (0, 0)
        });
        let most = self.descriptors + 2 * idle_pipes;
        eventually("descriptors are given back", || descriptors(self.process) <= most);
    }
}

fn descriptors(process: &Process) -> usize {
    std::fs::read_dir(process.proc("fd")).unwrap().count()
}

/// Bystanders of every dialect are served at once, whoever floods the server.
fn bystanders_are_served(address: SocketAddr) {
    let file = payload(7, 100_000);
    let downloads: [(&str, Vec<u8>); 3] = [
        ("classic", b"Gclassic\0".to_vec()),
        ("native", native(Side::Download, "native")),
        ("http", get("http")),
    ];
    for (key, download) in downloads {
        let mut downloader = saying(BYSTANDER, address, &download);
        let upload = crate::common::classic_greeting(b'P', key);
        drop(saying(BYSTANDER, address, &upload).send_all(&file));
        match key {
            "classic" => assert!(downloader.whole() == file),
            "native" => {
                downloader.matched();
                assert!(downloader.whole() == file);
            }
            _ => assert!(Client::of(downloader).download() == file),
        }
    }
    let mut first = saying(BYSTANDER, address, TRANSIT);
    let mut second = saying(BYSTANDER, address, TRANSIT);
    assert_eq!((first.read(3), second.read(3)), (b"ok\n".to_vec(), b"ok\n".to_vec()));
}

#[test]
fn one_source_takes_its_share_of_connections_and_no_more() {
    let server = InProcess::start(Config { max_connections_per_source: Some(20), ..config() });
    let address = server.address();
    // Silent ones, of which some are held over the share to be heard.
    let silent: Vec<Peer> = (0..200).map(|_| from(GREEDY, address)).collect();
    eventually("all are accepted", || server.stats().accepted == 200);
    assert!(server.stats().connections <= 20 + 16 + 2, "{:?}", server.stats());
    bystanders_are_served(address);
    // Who speaks at once is told, in its own words.
    for (greeting, told) in [
        (get("key"), &b"429"[..]),
        (put("key", b"x"), b"429"),
        (native(Side::Download, "key"), b"from your address"),
    ] {
        let said = saying(GREEDY, address, &greeting).rest().unwrap_or_default();
        let is_told = said.windows(told.len()).any(|window| window == told);
        assert!(is_told, "{}", said.escape_ascii());
    }
    saying(GREEDY, address, b"Gclassic\0").let_go();
    drop(silent);
    eventually("they have gone", || server.stats().connections == 0);
    let mut again = saying(GREEDY, address, &native(Side::Download, "key")).waits();
    let upload = crate::common::classic_greeting(b'P', "key");
    drop(saying(GREEDY, address, &upload).send_all(b"served"));
    again.matched();
    assert_eq!(again.whole(), b"served");
}

#[test]
fn one_source_takes_its_share_of_places_and_no_more() {
    let limits = Limits { waiting_per_origin: Some(10), ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let waits =
        |n: usize| saying(GREEDY, server.address(), &native(Side::Download, &n.to_string()));
    let held: Vec<Peer> = (0..10).map(|n| waits(n).waits()).collect();
    assert_eq!(waits(10).refused(), RefusalCode::Busy);
    bystanders_are_served(server.address());
    drop(held);
    server.await_waiting(0);
}

#[test]
fn a_full_server_serves_those_who_wait() {
    const PLACES: usize = 300;
    let server = InProcess::start(Config { max_connections: PLACES, ..config() });
    let key = |n: usize| format!("{n}");
    let mut waiting: Vec<Peer> = (0..PLACES)
        .map(|n| Peer::native(server.address(), Side::Download, &key(n)).waits())
        .collect();
    assert_eq!(
        Peer::native(server.address(), Side::Download, "one more").refused(),
        RefusalCode::Busy,
        "it would have to wait"
    );
    // All of their uploaders at once, none of whom ends before all have begun.
    let mut uploaders: Vec<Peer> =
        (0..PLACES).map(|n| Peer::native(server.address(), Side::Upload, &key(n))).collect();
    for (n, (uploader, downloader)) in uploaders.iter_mut().zip(&mut waiting).enumerate() {
        uploader.matched();
        downloader.matched();
        uploader.send(key(n).as_bytes());
    }
    for (n, (uploader, downloader)) in uploaders.into_iter().zip(waiting).enumerate() {
        uploader.half_close();
        assert_eq!(downloader.whole(), key(n).as_bytes());
    }
    server.await_counts("all have ended", |counts| counts.exchanging == 0);
    assert_eq!(server.counts().completed, PLACES as u64);
    eventually("the places are free", || server.stats().connections == 0);
    Peer::native(server.address(), Side::Download, "one more").waits();
}

/// Silent newcomers cannot hold the reserve: whoever comes later takes the place of the oldest.
#[test]
fn a_full_server_hears_counterparts_in_the_midst_of_silent_newcomers() {
    let server = InProcess::start(Config { max_connections: 4, ..config() });
    let mut waiting: Vec<Peer> = (0..4)
        .map(|n| Peer::native(server.address(), Side::Download, &format!("{n}")).waits())
        .collect();
    let silent: Vec<Peer> = (0..100).map(|_| Peer::connect(server.address())).collect();
    for (n, downloader) in waiting.iter_mut().enumerate() {
        drop(Peer::classic(server.address(), b'P', &format!("{n}")).send_all(b"heard"));
        downloader.matched();
        assert_eq!(downloader.rest().unwrap(), b"heard");
    }
    drop((silent, waiting));
    eventually("all have gone", || server.stats().connections == 0);
}

/// A classic uploader may send all and leave: what it sent waits in its socket.
#[test]
fn an_uploader_that_has_left_is_served_within_its_time_and_gone_after_it() {
    let closed_wait = Duration::from_secs(2);
    let server = InProcess::start(Config { closed_wait, ..config() });
    let leaves = |key: &str, file: &[u8]| {
        let greeting = crate::common::classic_greeting(b'P', key);
        drop(Peer::saying(server.address(), &greeting).send_all(file));
    };
    leaves("served", b"left behind");
    server.await_waiting(1);
    assert_eq!(Peer::classic(server.address(), b'G', "served").whole(), b"left behind");
    assert_eq!(server.next_outcome(), (Outcome::Completed, 11));
    // One that stays connected waits for as long as it likes.
    let patient = Peer::classic(server.address(), b'P', "patient");
    server.await_waiting(1);
    (0..50).for_each(|n| leaves(&format!("gone{n}"), b"x"));
    server.await_waiting(51);
    server.await_waiting(1);
    assert_eq!(server.stats().connections, 1);
    drop(patient.send_all(b"patient"));
    assert_eq!(Peer::classic(server.address(), b'G', "patient").whole(), b"patient");
}

/// Whatever a crowd did, and however it left, nothing of it stays.
#[test]
fn after_a_crowd_has_gone_the_server_holds_what_it_held_before() {
    let (process, address) = Process::start(&["--closed-wait", "0.5", "--workers", "2"]);
    Peer::status(address);
    let before = BaseLine::of(&process);
    let bulk = payload(1, 3_000_000);
    for round in 0..3 {
        let key = |n: usize| format!("{round}-{n}");
        let mut crowd = Vec::new();
        for n in 0..100 {
            // All of what may be left of a peer: silent, half a greeting, waiting, sent and closed.
            crowd.push(Peer::connect(address));
            crowd.push(Peer::saying(address, b"xchg\x01"));
            crowd.push(Peer::classic(address, b'G', &key(n)));
            crowd.push(Peer::native(address, Side::Upload, &format!("native {}", key(n))));
            crowd.push(Peer::saying(address, &get(&format!("get-{}", key(n)))));
            crowd.push(Peer::saying(address, &put(&format!("put-{}", key(n)), b"payload")));
            crowd.push(Peer::saying(address, TRANSIT));
            drop(Peer::classic(address, b'P', &format!("u{}", key(n))).send_all(b"x"));
        }
        // And exchanges that are cut in the midst, with pipes in use.
        for n in 0..20 {
            let cut = format!("cut {}", key(n));
            let mut downloader = Peer::native(address, Side::Download, &cut).waits();
            let mut uploader = Peer::native(address, Side::Upload, &cut);
            uploader.matched();
            downloader.matched();
            let mut stream = uploader.stream();
            stream.set_nonblocking(true).unwrap();
            std::io::Write::write(&mut stream, &bulk).ok();
            stream.set_nonblocking(false).unwrap();
            if n % 2 == 0 {
                uploader.reset();
                crowd.push(downloader);
            } else {
                downloader.reset();
                crowd.push(uploader);
            }
        }
        for (n, peer) in crowd.into_iter().enumerate() {
            if n % 3 == 0 { peer.reset() } else { drop(peer) }
        }
        // Each worker keeps at most 64 pipes for the next exchanges.
        before.is_back(address, 2 * 64);
    }
}

#[test]
fn one_source_makes_no_more_offers_than_it_may_in_a_second() {
    let server = InProcess::start(Config { max_offers_per_second: Some(10), ..config() });
    let address = server.address();
    let key = |n: usize| format!("key{n}");
    let download = |n: usize| saying(GREEDY, address, &native(Side::Download, &key(n)));
    let mut held: Vec<Peer> = (0..40).map(download).collect();
    let told: Vec<Answer> = held.iter_mut().map(Peer::answer).collect();
    // Some more have become due meanwhile, if that took long.
    let waiting = told.iter().filter(|told| matches!(told, Answer::Waiting(_))).count();
    assert!((10..30).contains(&waiting), "{waiting} of 40");
    let refused = told.iter().find_map(|told| match told {
        Answer::Refused { code: RefusalCode::Busy, text } => Some(&**text),
        _ => None,
    });
    assert!(refused.unwrap().contains("try again in 1 s"), "{refused:?}");
    let uploads = (0..40).map(|n| Client::of(saying(GREEDY, address, &put(&key(n % 10), b"x"))));
    let mut uploads: Vec<Client> = uploads.collect();
    let heads: Vec<_> = uploads.iter_mut().map(Client::any_head).collect();
    let over = heads.iter().find(|head| head.status == 429).expect("not all may be taken");
    assert_eq!(over.field("Retry-After"), Some("1"));
    bystanders_are_served(address);
}
