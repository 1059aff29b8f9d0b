//! Native peers: answers, then a stream each way.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

use crate::common::{InProcess, Peer, assert_lost, offer, payload};
use xchg_core::wire::{Answer, CounterpartDialect};
use xchg_core::{Outcome, Side};

fn upload(address: SocketAddr, key: &str) -> Peer {
    Peer::native(address, Side::Upload, key)
}

fn download(address: SocketAddr, key: &str) -> Peer {
    Peer::native(address, Side::Download, key)
}

/// An uploader and a downloader that have been matched.
fn pair(server: &InProcess, key: &str) -> (Peer, Peer) {
    let mut uploader = upload(server.address(), key).waits();
    let mut downloader = download(server.address(), key);
    assert_eq!(downloader.answer(), matched(None));
    assert_eq!(uploader.answer(), matched(None));
    (uploader, downloader)
}

fn matched(length: Option<u64>) -> Answer {
    Answer::Matched(xchg_core::wire::Matched::new(CounterpartDialect::Native, length))
}

#[test]
fn a_stream_arrives_whole_whoever_comes_first() {
    let server = InProcess::default();
    for (index, len) in [0, 1, 2_048, 65_536, 3_000_001].into_iter().enumerate() {
        let file = payload(index as u64, len);
        for first in Side::BOTH {
            let waits = Peer::native(server.address(), first, "key").waits();
            let comes = Peer::native(server.address(), !first, "key");
            let (mut uploader, mut downloader) = match first {
                Side::Upload => (waits, comes),
                Side::Download => (comes, waits),
            };
            assert_eq!(uploader.matched(), (CounterpartDialect::Native, None));
            assert_eq!(downloader.matched(), (CounterpartDialect::Native, None));
            thread::scope(|scope| {
                scope.spawn(|| drop(uploader.send_all(&file)));
                assert!(downloader.rest().unwrap() == file, "{len} bytes, {first:?} first");
            });
            drop(downloader);
            assert_eq!(server.next_outcome(), (Outcome::Completed, len as u64));
        }
    }
}

#[test]
fn both_may_come_at_once() {
    let server = InProcess::default();
    for _ in 0..50 {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut uploader = upload(server.address(), "same");
                uploader.matched();
                drop(uploader.send_all(b"together"));
            });
            let mut downloader = download(server.address(), "same");
            downloader.matched();
            assert_eq!(downloader.rest().unwrap(), b"together");
        });
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
}

#[test]
fn the_downloader_is_told_the_length_that_the_uploader_said() {
    let server = InProcess::default();
    let with_length = || {
        let mut offer = offer(Side::Upload, "long");
        offer.length = Some(1 << 40);
        Peer::offering(server.address(), offer)
    };
    let mut uploader = with_length().waits();
    let mut downloader = download(server.address(), "long");
    assert_eq!(downloader.matched(), (CounterpartDialect::Native, Some(1 << 40)));
    assert_eq!(uploader.matched(), (CounterpartDialect::Native, None));

    let mut downloader = download(server.address(), "long").waits();
    let mut uploader = with_length();
    assert_eq!(downloader.matched(), (CounterpartDialect::Native, Some(1 << 40)));
    assert_eq!(uploader.matched(), (CounterpartDialect::Native, None));
}

#[test]
fn a_half_close_is_passed_on_and_the_other_way_stays_open() {
    let server = InProcess::default();
    for first in Side::BOTH {
        let (uploader, downloader) = pair(&server, "half");
        let (mut ends, mut goes_on) = match first {
            Side::Upload => (uploader, downloader),
            Side::Download => (downloader, uploader),
        };
        ends.send(b"question");
        ends.half_close();
        assert_eq!(goes_on.rest().unwrap(), b"question");
        goes_on.send(b"answer");
        assert_eq!(ends.read(6), b"answer");
        goes_on.send(b"more");
        goes_on.half_close();
        assert_eq!(ends.rest().unwrap(), b"more");
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
}

#[test]
fn bytes_go_both_ways_in_turns() {
    let server = InProcess::default();
    let (mut uploader, mut downloader) = pair(&server, "turns");
    for round in 0..200_u32 {
        uploader.send(&round.to_be_bytes());
        assert_eq!(downloader.read(4), round.to_be_bytes());
        downloader.send(&(!round).to_be_bytes());
        assert_eq!(uploader.read(4), (!round).to_be_bytes());
    }
    drop(uploader);
    drop(downloader);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 800));
}

#[test]
fn much_goes_both_ways_at_once_without_a_deadlock() {
    const LEN: usize = 24 << 20;
    let server = InProcess::default();
    let (uploader, downloader) = pair(&server, "both");
    let sides = [(uploader, payload(1, LEN)), (downloader, payload(2, LEN))];
    let streams = [sides[0].0.stream(), sides[1].0.stream()];
    // Both send all before they read a byte of their own accord: each has a thread for either
    // direction.
    thread::scope(|scope| {
        for (mut stream, (_, file)) in streams.into_iter().zip(&sides) {
            scope.spawn(move || {
                stream.write_all(file).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            });
        }
        let [(mut uploader, sent), (mut downloader, back)] =
            [&sides[0], &sides[1]].map(|(peer, file)| (peer.stream(), file));
        scope.spawn(move || assert!(rest(&mut downloader) == *sent));
        scope.spawn(move || assert!(rest(&mut uploader) == *back));
    });
    assert_eq!(server.next_outcome(), (Outcome::Completed, LEN as u64));
}

fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_waiting_peer_that_leaves_is_never_paired() {
    let server = InProcess::default();
    for side in Side::BOTH {
        let mut half_closed = Peer::native(server.address(), side, "gone").waits();
        half_closed.half_close();
        server.await_waiting(0);
        assert_eq!(half_closed.rest().unwrap(), b"");

        drop(Peer::native(server.address(), side, "gone").waits());
        server.await_waiting(0);

        Peer::native(server.address(), side, "gone").waits().reset();
        server.await_waiting(0);
    }
    let (uploader, downloader) = pair(&server, "gone");
    drop(uploader.send_all(b"fresh"));
    drop(downloader);
    server.next_outcome();
}

#[test]
fn bytes_sent_before_the_match_belong_to_the_exchange() {
    let server = InProcess::default();
    let early = payload(3, 100_000);
    let mut uploader = upload(server.address(), "early").waits();
    uploader.send(&early);
    let mut downloader = download(server.address(), "early");
    downloader.matched();
    uploader.matched();
    drop(uploader.send_all(b"late"));
    assert!(downloader.rest().unwrap() == [&early[..], b"late"].concat());
}

#[test]
fn several_under_a_key_are_served_in_order_of_arrival() {
    let server = InProcess::default();
    // A peer has its place when it is told that it waits.
    let downloaders: Vec<Peer> =
        (0..8).map(|_| download(server.address(), "queue").waits()).collect();
    for (index, mut downloader) in (0..).zip(downloaders) {
        let mut uploader = upload(server.address(), "queue");
        uploader.matched();
        drop(uploader.send_all(&[index]));
        downloader.matched();
        assert_eq!(downloader.rest().unwrap(), [index]);
    }
}

#[test]
fn a_thousand_keys_wait_at_once() {
    let server = InProcess::default();
    let uploaders: Vec<Peer> =
        (0..1000).map(|key| upload(server.address(), &format!("key {key}")).waits()).collect();
    for (key, mut uploader) in uploaders.into_iter().enumerate().rev() {
        let mut downloader = download(server.address(), &format!("key {key}"));
        downloader.matched();
        uploader.matched();
        drop(uploader.send_all(&key.to_be_bytes()));
        assert_eq!(downloader.rest().unwrap(), key.to_be_bytes());
    }
}

#[test]
fn the_longest_key_is_told_from_one_that_differs_in_its_last_byte() {
    let server = InProcess::default();
    let (one, other) = ("k".repeat(254) + "a", "k".repeat(254) + "b");
    let mut uploader = upload(server.address(), &one).waits();
    let _stranger = download(server.address(), &other).waits();
    let mut downloader = download(server.address(), &one);
    downloader.matched();
    uploader.matched();
}

#[test]
fn a_lost_peer_resets_the_other() {
    let server = InProcess::default();
    for lost in Side::BOTH {
        let (uploader, downloader) = pair(&server, "lost");
        let (lost_peer, mut other) = match lost {
            Side::Upload => (uploader, downloader),
            Side::Download => (downloader, uploader),
        };
        lost_peer.reset();
        assert_lost(other.rest());
        assert_eq!(server.next_outcome(), (Outcome::Lost(lost), 0));
    }
}
