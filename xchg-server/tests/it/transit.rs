//! Peers of magic-wormhole's transit relay protocol.

use std::net::SocketAddr;
use std::thread;

use crate::common::{InProcess, Peer, assert_lost, config, payload};
use xchg_core::Outcome;
use xchg_server::Config;

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const ONE: &str = "aaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbb";

fn line(side: Option<&str>) -> String {
    match side {
        Some(side) => format!("please relay {TOKEN} for side {side}\n"),
        None => format!("please relay {TOKEN}\n"),
    }
}

fn peer(address: SocketAddr, side: Option<&str>) -> Peer {
    Peer::saying(address, line(side).as_bytes())
}

/// Two peers that have been told that they are together.
fn pair(server: &InProcess) -> (Peer, Peer) {
    let mut first = peer(server.address(), Some(ONE));
    server.await_waiting(1);
    let mut second = peer(server.address(), Some(OTHER));
    assert_eq!((first.read(3), second.read(3)), (b"ok\n".to_vec(), b"ok\n".to_vec()));
    (first, second)
}

#[test]
fn peers_of_different_sides_are_glued_together_both_ways() {
    let server = InProcess::default();
    let (mut first, mut second) = pair(&server);
    let (one, other) = (payload(1, 2_000_000), payload(2, 1_000_000));
    let (mut to_first, mut to_second) = (Peer::of(second.stream()), Peer::of(first.stream()));
    thread::scope(|scope| {
        scope.spawn(|| {
            to_second.send(&one);
            to_second.half_close();
        });
        scope.spawn(|| {
            to_first.send(&other);
            to_first.half_close();
        });
        scope.spawn(|| assert!(second.rest().unwrap() == one));
        assert!(first.rest().unwrap() == other);
    });
    assert_eq!(server.next_outcome(), (Outcome::Completed, 3_000_000));
}

#[test]
fn a_half_close_leaves_the_other_way_open() {
    let server = InProcess::default();
    let (mut first, mut second) = pair(&server);
    first.half_close();
    assert_eq!(second.rest().unwrap(), b"");
    second.send(b"still here");
    second.half_close();
    assert_eq!(first.rest().unwrap(), b"still here");
}

#[test]
fn peers_of_one_side_wait_for_another_and_who_is_left_over_is_closed() {
    let server = InProcess::default();
    let mut first = peer(server.address(), Some(ONE));
    server.await_waiting(1);
    let spare = peer(server.address(), Some(ONE));
    server.await_waiting(2);
    let mut second = peer(server.address(), Some(OTHER));
    assert_eq!((first.read(3), second.read(3)), (b"ok\n".to_vec(), b"ok\n".to_vec()));
    assert_eq!(spare.whole(), b"");
    server.await_waiting(0);
}

#[test]
fn a_peer_without_a_side_meets_any() {
    let server = InProcess::default();
    for side in [None, Some(ONE)] {
        let mut first = peer(server.address(), None);
        server.await_waiting(1);
        let mut second = peer(server.address(), side);
        assert_eq!((first.read(3), second.read(3)), (b"ok\n".to_vec(), b"ok\n".to_vec()));
    }
}

#[test]
fn the_first_must_wait_for_its_ok_and_the_second_need_not() {
    let server = InProcess::default();
    // At once, and later.
    let impatient = Peer::saying(server.address(), (line(Some(ONE)) + "hurry").as_bytes());
    assert_eq!(impatient.whole(), b"impatient\n");
    let mut impatient = peer(server.address(), Some(ONE));
    server.await_waiting(1);
    impatient.send(b"hurry");
    assert_eq!(impatient.whole(), b"impatient\n");
    server.await_waiting(0);

    let mut first = peer(server.address(), Some(ONE));
    server.await_waiting(1);
    let mut second = Peer::saying(server.address(), (line(Some(OTHER)) + "hello").as_bytes());
    assert_eq!(first.read(8), b"ok\nhello");
    assert_eq!(second.read(3), b"ok\n");
}

#[test]
fn other_lines_are_bad_handshakes() {
    let server = InProcess::default();
    let endless = "please relay ".to_owned() + &"a".repeat(1100);
    for said in ["please relay me\n", "please receive\n", &endless] {
        assert_eq!(Peer::saying(server.address(), said.as_bytes()).whole(), b"bad handshake\n");
    }
    assert_eq!(server.stats().refused, 3);
}

#[test]
fn a_line_may_be_cut_anywhere() {
    let server = InProcess::start(Config { workers: 1, ..config() });
    let line = line(Some(ONE));
    for cut in 1..line.len() {
        let mut peer = Peer::saying(server.address(), &line.as_bytes()[..cut]);
        Peer::status(server.address());
        peer.send(&line.as_bytes()[cut..]);
        server.await_waiting(1);
        drop(peer);
        server.await_waiting(0);
    }
}

#[test]
fn a_lost_peer_resets_the_other() {
    let server = InProcess::default();
    let (first, mut second) = pair(&server);
    first.reset();
    assert_lost(second.rest());
    let (mut first, second) = pair(&server);
    second.reset();
    assert_lost(first.rest());
}

#[test]
fn a_drain_closes_who_waits() {
    let server = InProcess::default();
    let waits = peer(server.address(), Some(ONE));
    server.await_waiting(1);
    server.drain();
    waits.let_go();
}
