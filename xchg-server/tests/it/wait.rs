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
        Peer::classic(server.address(), command, "key").let_go();
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

/// An offer of who names `name` in one of two realms; without a secret it says which name that is.
fn naming(realm: Realm, side: Side, name: &str, has_secret: bool) -> xchg_core::wire::Offer {
    let mut offer = offer(side, name);
    if realm == Realm::Sealed {
        let key =
            std::mem::replace(&mut offer.key, Key::parse(name.as_bytes()).unwrap().meeting_key());
        (offer.realm, offer.twin) = (realm, (!has_secret).then_some(key));
    }
    offer
}

/// The peer that makes `offer`, and in which other realm it hears of a counterpart.
fn coming(server: &InProcess, offer: xchg_core::wire::Offer) -> (Peer, Option<Realm>) {
    let mut peer = Peer::offering(server.address(), offer);
    match peer.answer() {
        Answer::Waiting(waiting) => (peer, waiting.elsewhere),
        answer => panic!("{answer:?} instead of Waiting"),
    }
}

#[test]
fn a_peer_hears_of_a_counterpart_in_the_other_realm() {
    let server = InProcess::default();
    let come = |realm, side, name: &str| coming(&server, naming(realm, side, name, false));
    let (plain, none) = come(Realm::Plain, Side::Upload, "name");
    assert_eq!(none, None);
    let (_told, found) = come(Realm::Sealed, Side::Download, "name");
    assert_eq!(found, Some(Realm::Plain));
    let (_untold, none) = coming(&server, naming(Realm::Sealed, Side::Download, "name", true));
    assert_eq!(none, None, "who keeps its name a secret is not told");
    let (_uploader, none) = come(Realm::Sealed, Side::Upload, "other");
    assert_eq!(none, None, "another name");
    let (_same_side, none) = come(Realm::Plain, Side::Upload, "other");
    assert_eq!(none, None, "an uploader does not help an uploader");
    drop(plain);
    server.await_waiting(4);
    let (_plain, found) = come(Realm::Plain, Side::Upload, "name");
    assert_eq!(found, Some(Realm::Sealed));
}

#[test]
fn who_waits_is_told_when_a_counterpart_comes_to_the_other_realm() {
    let heartbeat = Duration::from_millis(20);
    let server = InProcess::start(Config { heartbeat, ..config() });
    for (realm, other) in [(Realm::Plain, Realm::Sealed), (Realm::Sealed, Realm::Plain)] {
        let (mut waits, none) = coming(&server, naming(realm, Side::Upload, "name", false));
        assert_eq!(none, None);
        assert_eq!(waits.answer(), Answer::Heartbeat);
        let (comes, found) = coming(&server, naming(other, Side::Download, "name", false));
        assert_eq!(found, Some(realm));
        let mut told = xchg_core::wire::Waiting::default();
        told.elsewhere = Some(other);
        // One may be under way from before.
        while waits.answer() == Answer::Heartbeat {}
        assert_eq!(waits.answer(), Answer::Waiting(told));
        drop(comes);
        server.await_waiting(1);
        while waits.answer() != Answer::Heartbeat {}
        assert_eq!(waits.answer(), Answer::Heartbeat, "it has left");
        drop(waits);
        server.await_waiting(0);
    }
}

#[test]
fn nobody_may_ask_who_waits_under_a_key_that_is_not_its_own() {
    let server = InProcess::default();
    let hash = |name: &str| Key::parse(name.as_bytes()).unwrap().meeting_key();
    let _uploader = Peer::native(server.address(), Side::Upload, "name").waits();
    for (realm, key, twin) in [
        (Realm::Sealed, Key::parse(b"k").unwrap(), Key::parse(b"name").unwrap()),
        (Realm::Sealed, hash("k"), Key::parse(b"name").unwrap()),
        (Realm::Sealed, Key::parse(b"name").unwrap(), hash("name")),
        (Realm::Plain, Key::parse(b"k").unwrap(), Key::parse(b"name").unwrap()),
        (Realm::Plain, Key::parse(b"k").unwrap(), hash("name")),
        (Realm::Plain, hash("name"), Key::parse(b"name").unwrap()),
    ] {
        let mut offer = offer(Side::Download, "k");
        (offer.realm, offer.key, offer.twin) = (realm, key, Some(twin));
        let peer = Peer::offering(server.address(), offer);
        assert_eq!(peer.refused(), RefusalCode::Malformed);
    }
    server.await_waiting(1);
}

#[test]
fn a_place_is_free_again_when_its_time_is_up() {
    let server = InProcess::start(Config { wait_timeout: Some(SHORT), ..config() });
    let early = waiting_for(server.address(), Side::Download, Wait::Forever);
    assert_eq!(early.refused(), RefusalCode::TimedOut);
    let uploader = waiting_for(server.address(), Side::Upload, Wait::Forever).waits();
    assert_eq!(uploader.refused(), RefusalCode::TimedOut, "nobody was there to be paired with");
}
