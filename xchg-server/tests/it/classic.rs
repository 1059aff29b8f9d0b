//! Classic peers: nine bytes, the payload, no answers.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;

use crate::common::{InProcess, Peer, assert_lost, classic_greeting, config, eventually, payload};
use xchg_core::{Outcome, Side};
use xchg_server::Config;

/// More than the sockets' buffers at both ends hold, however far the kernel lets them grow.
const LARGER_THAN_BUFFERS: usize = 48 << 20;

fn upload(address: SocketAddr, key: &str) -> Peer {
    Peer::classic(address, b'P', key)
}

fn download(address: SocketAddr, key: &str) -> Peer {
    Peer::classic(address, b'G', key)
}

#[test]
fn a_file_arrives_whole_whoever_comes_first() {
    let server = InProcess::default();
    for (index, len) in [0, 1, 7, 2_047, 2_048, 65_536, 3_000_001].into_iter().enumerate() {
        let file = payload(index as u64, len);
        let whole = (Outcome::Completed, len as u64);

        let mut downloader = download(server.address(), "key");
        server.await_waiting(1);
        let mut uploader = upload(server.address(), "key").send_all(&file);
        assert!(downloader.rest().unwrap() == file, "{len} bytes, download first");
        drop(downloader);
        assert_eq!(uploader.rest().unwrap(), b"");
        assert_eq!(server.next_outcome(), whole);

        let uploader = upload(server.address(), "key");
        server.await_waiting(1);
        let sending = {
            let file = file.clone();
            thread::spawn(move || drop(uploader.send_all(&file)))
        };
        assert!(
            download(server.address(), "key").rest().unwrap() == file,
            "{len} bytes, upload first"
        );
        sending.join().unwrap();
        assert_eq!(server.next_outcome(), whole);
    }
}

#[test]
fn both_may_come_at_once() {
    let server = InProcess::default();
    let file = payload(1, 100_000);
    for _ in 0..50 {
        thread::scope(|scope| {
            scope.spawn(|| upload(server.address(), "same").send_all(&file));
            assert!(download(server.address(), "same").rest().unwrap() == file);
        });
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
}

#[test]
fn an_uploader_may_close_before_its_downloader_comes() {
    let server = InProcess::default();
    for len in [0, 1, 2_000, 30_000] {
        let file = payload(2, len);
        drop(upload(server.address(), "left").send_all(&file));
        server.await_waiting(1);
        assert!(download(server.address(), "left").rest().unwrap() == file, "{len} bytes");
        assert_eq!(server.next_outcome(), (Outcome::Completed, len as u64));
    }
}

/// Some systems answer a keepalive probe for a connection that was closed a minute ago with a
/// reset. What had been sent before, and that it was all, is at the server already.
#[test]
fn a_reset_behind_the_end_of_an_upload_takes_nothing_back() {
    let server = InProcess::default();
    let file = payload(3, 30_000);

    // While it waits.
    let uploader = upload(server.address(), "waits").send_all(&file);
    uploader.await_acknowledged();
    uploader.reset();
    server.await_waiting(1);
    assert!(download(server.address(), "waits").rest().unwrap() == file);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 30_000));

    // While its counterpart reads slowly.
    let server = InProcess::start(Config {
        recv_buffer: Some(1 << 20),
        send_buffer: Some(4 << 10),
        ..config()
    });
    let file = payload(4, 1 << 20);
    let mut downloader = download(server.address(), "reads");
    server.await_waiting(1);
    let uploader = upload(server.address(), "reads").send_all(&file);
    let first = downloader.read(1);
    uploader.await_acknowledged();
    uploader.reset();
    assert!([first, downloader.whole()].concat() == file);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 1 << 20));
}

#[test]
fn an_upload_larger_than_the_sockets_buffers_waits_for_its_downloader() {
    let server = InProcess::default();
    let file = payload(5, LARGER_THAN_BUFFERS);
    let mut uploader = upload(server.address(), "large");
    server.await_waiting(1);
    // As much as fits: the rest can leave only once somebody reads.
    let mut stream = uploader.stream();
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(n) = stream.write(&file[sent..]) {
        sent += n;
    }
    assert!(sent < file.len(), "all of it fitted into buffers");
    assert_eq!(server.counts().exchanging, 0);
    stream.set_nonblocking(false).unwrap();
    let mut downloader = download(server.address(), "large");
    thread::scope(|scope| {
        scope.spawn(|| {
            uploader.send(&file[sent..]);
            uploader.half_close();
        });
        assert!(downloader.rest().unwrap() == file);
    });
    drop(downloader);
    assert_eq!(server.next_outcome().0, Outcome::Completed);
}

#[test]
fn a_waiting_peer_that_resets_is_never_paired() {
    let server = InProcess::default();
    for command in [b'P', b'G'] {
        let mut peer = Peer::classic(server.address(), command, "gone");
        if command == b'P' {
            peer.send(&payload(6, 10_000));
        }
        server.await_waiting(1);
        peer.reset();
        server.await_waiting(0);
    }
    // Behind unread bytes a reset looks like an end to whoever only reads.
    let mut peer = Peer::connect(server.address());
    peer.send(&[&classic_greeting(b'P', "gone")[..], &payload(7, 50_000)].concat());
    peer.reset();
    eventually("it came and is gone", || {
        let stats = server.stats();
        stats.accepted == 3 && stats.connections == 0
    });
    exchange_is_fine(&server, "gone");
}

#[test]
fn a_waiting_downloader_that_closes_has_left() {
    let server = InProcess::default();
    let downloader = download(server.address(), "free");
    server.await_waiting(1);
    drop(downloader);
    server.await_waiting(0);
    exchange_is_fine(&server, "free");
}

/// Nothing is expected of it: what it says may be anything else, but no downloader's.
#[test]
fn a_downloader_that_says_more_than_its_greeting_is_reset() {
    let server = InProcess::default();
    let greeting = classic_greeting(b'G', "stray");
    assert_lost(Peer::saying(server.address(), &[&greeting[..], b"\n"].concat()).rest());
    let mut downloader = download(server.address(), "stray");
    server.await_waiting(1);
    downloader.send(b"\n");
    assert_lost(downloader.rest());
    assert_eq!(server.counts().waiting, 0);
    assert_eq!(server.stats().refused, 2);
    exchange_is_fine(&server, "stray");
}

#[test]
fn what_a_downloader_says_in_its_exchange_harms_nothing() {
    let server = InProcess::default();
    let file = payload(8, 5_000_000);
    let stray = payload(9, 300_000);
    let mut downloader = download(server.address(), "stray");
    server.await_waiting(1);
    thread::scope(|scope| {
        scope.spawn(|| upload(server.address(), "stray").send_all(&file));
        let head = downloader.read(1_000_000);
        downloader.send(&stray);
        assert!([head, downloader.rest().unwrap()].concat() == file);
    });
    downloader.send(&stray);
    drop(downloader);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 5_000_000));
}

#[test]
fn several_under_a_key_are_served_in_order_of_arrival() {
    let server = InProcess::default();
    let waiting: Vec<Peer> = (1..=8)
        .map(|count| {
            let peer = download(server.address(), "queue");
            server.await_waiting(count);
            peer
        })
        .collect();
    for (index, mut downloader) in waiting.into_iter().enumerate() {
        drop(upload(server.address(), "queue").send_all(index.to_string().as_bytes()));
        assert_eq!(downloader.rest().unwrap(), index.to_string().as_bytes());
    }
    for index in 0..8 {
        drop(upload(server.address(), "queue").send_all(&[index]));
        server.await_waiting(u64::from(index) + 1);
    }
    for index in 0..8 {
        assert_eq!(download(server.address(), "queue").rest().unwrap(), [index]);
    }
}

#[test]
fn a_thousand_keys_wait_at_once() {
    let server = InProcess::default();
    let mut downloaders: Vec<Peer> =
        (0..1000).map(|key| download(server.address(), &format!("k{key}"))).collect();
    server.await_waiting(1000);
    for key in (0..1000).rev() {
        drop(upload(server.address(), &format!("k{key}")).send_all(format!("{key}").as_bytes()));
    }
    for (key, downloader) in downloaders.iter_mut().enumerate() {
        assert_eq!(downloader.rest().unwrap(), key.to_string().as_bytes());
    }
}

#[test]
fn keys_that_differ_by_a_byte_do_not_meet() {
    let server = InProcess::default();
    let keys: Vec<&[u8; 8]> =
        vec![b"a\0\0\0\0\0\0\0", b"\0a\0\0\0\0\0\0", b"a\0b\0\0\0\0\0", b"aaaaaaaa", b"aaaaaaab"];
    let mut waiting = Vec::new();
    for (count, key) in (1..).zip(&keys) {
        waiting.push(Peer::saying(server.address(), &[b"G", &key[..]].concat()));
        server.await_waiting(count);
    }
    for (key, downloader) in keys.iter().zip(&mut waiting) {
        drop(Peer::saying(server.address(), &[b"P", &key[..]].concat()).send_all(&key[..]));
        assert_eq!(downloader.rest().unwrap(), &key[..]);
    }
}

#[test]
fn an_empty_key_is_refused_by_a_reset() {
    let server = InProcess::default();
    for command in [b'P', b'G'] {
        Peer::classic(server.address(), command, "").let_go();
    }
    assert_eq!(server.counts().waiting, 0);
    assert_eq!(server.stats().refused, 2);
}

#[test]
fn an_upload_cut_by_a_reset_is_lost_even_behind_unread_bytes() {
    let server = InProcess::default();
    let mut downloader = download(server.address(), "cut");
    server.await_waiting(1);
    let mut uploader = Peer::connect(server.address());
    uploader.send(&[&classic_greeting(b'P', "cut")[..], &payload(10, 40_000)].concat());
    uploader.reset();
    assert_lost(downloader.rest());
    assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Upload), _)));
}

/// Checks that `key` serves a fresh pair.
fn exchange_is_fine(server: &InProcess, key: &str) {
    let mut downloader = download(server.address(), key);
    server.await_waiting(1);
    drop(upload(server.address(), key).send_all(b"fresh"));
    assert_eq!(downloader.rest().unwrap(), b"fresh");
    drop(downloader);
    assert_eq!(server.next_outcome(), (Outcome::Completed, 5));
}
