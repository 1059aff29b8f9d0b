//! How long peers wait, and what they are told meanwhile.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::common::{InProcess, Peer, config, offer, payload};
use xchg_core::wire::{Answer, CounterpartDialect, RefusalCode, Wait};
use xchg_core::{Key, Realm, Side};
use xchg_server::Config;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);

fn waiting_for(address: SocketAddr, side: Side, wait: Wait) -> Peer {
    let mut offer = offer(side, "key");
    offer.wait = wait;
    Peer::offering(address, offer)
}

#[test]
fn the_shorter_of_the_peers_wait_and_the_servers_counts() {
    for (wait, wait_timeout) in [
        (Wait::AtMost(Duration::ZERO), None),
        (Wait::AtMost(SHORT), None),
        (Wait::AtMost(SHORT), Some(LONG)),
        (Wait::AtMost(LONG), Some(SHORT)),
        (Wait::Forever, Some(SHORT)),
        (Wait::Forever, Some(Duration::ZERO)),
    ] {
        let server = InProcess::start(Config { wait_timeout, ..config() });
        for side in Side::BOTH {
            let peer = waiting_for(server.address(), side, wait).waits();
            assert_eq!(peer.refused(), RefusalCode::TimedOut, "{wait:?}, {wait_timeout:?}");
            assert_eq!(server.counts().waiting, 0);
        }
    }
}

#[test]
fn who_waits_not_at_all_is_paired_with_whoever_waits_already() {
    let server = InProcess::default();
    for side in Side::BOTH {
        let mut waits = waiting_for(server.address(), side, Wait::Forever).waits();
        let mut comes = waiting_for(server.address(), !side, Wait::AtMost(Duration::ZERO));
        assert!(matches!(comes.answer(), Answer::Matched(_)));
        waits.matched();
    }
}

#[test]
fn a_classic_peer_is_closed_when_the_servers_limit_is_reached() {
    let server = InProcess::start(Config { wait_timeout: Some(SHORT), ..config() });
    for command in [b'P', b'G'] {
        assert_eq!(Peer::classic(server.address(), command, "key").whole(), b"");
    }
}

#[test]
fn the_waiting_hear_heartbeats_until_they_are_matched() {
    let heartbeat = Duration::from_millis(1);
    let server = InProcess::start(Config { heartbeat, ..config() });
    let mut waits = waiting_for(server.address(), Side::Download, Wait::Forever).waits();
    for _ in 0..50 {
        assert_eq!(waits.answer(), Answer::Heartbeat);
    }
    let mut comes = waiting_for(server.address(), Side::Upload, Wait::Forever);
    comes.matched();
    assert_eq!(waits.matched(), (CounterpartDialect::Native, None));
}

#[test]
fn no_heartbeat_strays_into_an_exchange() {
    let heartbeat = Duration::from_millis(1);
    let server = InProcess::start(Config { heartbeat, ..config() });
    thread::scope(|scope| {
        for pairs in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..100 {
                    let key = format!("{pairs}");
                    let side = Side::BOTH[round % 2];
                    let mut waits = Peer::native(server.address(), side, &key).waits();
                    // The next one is due within the millisecond in which the counterpart comes.
                    assert_eq!(waits.answer(), Answer::Heartbeat);
                    let mut comes = Peer::native(server.address(), !side, &key);
                    comes.matched();
                    waits.matched();
                    let (said, back) = (payload(1, 5_000), payload(2, 5_000));
                    comes.send(&said);
                    waits.send(&back);
                    assert!(waits.read(5_000) == said && comes.read(5_000) == back);
                    comes.half_close();
                    waits.half_close();
                    assert!(waits.whole().is_empty() && comes.whole().is_empty());
                }
            });
        }
    });
}

#[test]
fn classic_peers_hear_no_heartbeats() {
    let heartbeat = Duration::from_millis(1);
    let server = InProcess::start(Config { heartbeat, workers: 1, ..config() });
    let downloader = Peer::classic(server.address(), b'G', "quiet");
    server.await_waiting(1);
    // One who came later hears many.
    let mut native = Peer::native(server.address(), Side::Download, "other").waits();
    for _ in 0..20 {
        assert_eq!(native.answer(), Answer::Heartbeat);
    }
    drop(Peer::classic(server.address(), b'P', "quiet").send_all(b"file"));
    assert_eq!(downloader.whole(), b"file");
}

#[test]
fn a_peer_hears_of_a_counterpart_in_another_realm() {
    let server = InProcess::default();
    let in_realm = |realm, side| {
        let mut offer = offer(side, "key");
        offer.realm = realm;
        let mut peer = Peer::offering(server.address(), offer);
        match peer.answer() {
            Answer::Waiting(waiting) => (peer, waiting.elsewhere),
            answer => panic!("{answer:?} instead of Waiting"),
        }
    };
    let (_sealed, none) = in_realm(Realm::Sealed, Side::Upload);
    assert_eq!(none, None);
    let (_same_side, none) = in_realm(Realm::Plain, Side::Upload);
    assert_eq!(none, None, "an uploader does not help an uploader");
    let (sealed, elsewhere) = in_realm(Realm::Sealed, Side::Upload);
    assert_eq!(elsewhere, None);
    drop((sealed, _same_side));
    server.await_waiting(1);
    let (_plain, elsewhere) = in_realm(Realm::Plain, Side::Download);
    assert_eq!(elsewhere, Some(Realm::Sealed));
}

#[test]
fn a_peer_hears_of_a_counterpart_under_the_key_that_is_its_twin() {
    let server = InProcess::default();
    let come = |realm, side, key: &str, twin: Option<&str>| {
        let mut offer = offer(side, key);
        offer.realm = realm;
        offer.twin = twin.map(|twin| Key::parse(twin.as_bytes()).unwrap());
        let mut peer = Peer::offering(server.address(), offer);
        match peer.answer() {
            Answer::Waiting(waiting) => (peer, waiting.elsewhere),
            answer => panic!("{answer:?} instead of Waiting"),
        }
    };
    let (plain, none) = come(Realm::Plain, Side::Upload, "name", Some("hash"));
    assert_eq!(none, None);
    let (_told, found) = come(Realm::Sealed, Side::Download, "hash", Some("name"));
    assert_eq!(found, Some(Realm::Plain));
    let (_untold, none) = come(Realm::Sealed, Side::Download, "hash", None);
    assert_eq!(none, None, "who does not say its twin is not told");
    let (_uploader, none) = come(Realm::Sealed, Side::Upload, "other", Some("name"));
    assert_eq!(none, None, "an uploader does not help an uploader");
    drop(plain);
    server.await_waiting(3);
    let (_plain, found) = come(Realm::Plain, Side::Upload, "name", Some("hash"));
    assert_eq!(found, Some(Realm::Sealed));
}

#[test]
fn a_place_is_free_again_when_its_time_is_up() {
    let server = InProcess::start(Config { wait_timeout: Some(SHORT), ..config() });
    let early = waiting_for(server.address(), Side::Download, Wait::Forever);
    assert_eq!(early.refused(), RefusalCode::TimedOut);
    let uploader = waiting_for(server.address(), Side::Upload, Wait::Forever).waits();
    assert_eq!(uploader.refused(), RefusalCode::TimedOut, "nobody was there to be paired with");
}
