//! Every limit: who is refused, who stays, and that there is room again afterwards.

use std::net::SocketAddr;

use crate::common::{InProcess, Peer, Process, config, eventually, offer, payload};
use crate::web::{Client, get, put, put_chunked};
use xchg_core::wire::{Answer, RefusalCode};
use xchg_core::{Limits, Outcome, Side};
use xchg_server::Config;

fn waits(server: &InProcess, key: &str) -> Peer {
    Peer::native(server.address(), Side::Download, key).waits()
}

fn is_busy(server: &InProcess, key: &str) {
    let native = Peer::native(server.address(), Side::Download, key);
    assert_eq!(native.refused(), RefusalCode::Busy);
    let classic = Peer::classic(server.address(), b'G', key);
    classic.let_go();
}

fn is_served(server: &InProcess, downloader: &mut Peer, key: &str) {
    drop(Peer::classic(server.address(), b'P', key).send_all(b"file"));
    downloader.matched();
    assert_eq!(downloader.rest().unwrap(), b"file");
}

#[test]
fn a_newcomer_over_the_limit_of_waiting_peers_is_refused() {
    let limits = Limits { waiting: 2, ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let mut first = waits(&server, "a");
    let second = waits(&server, "b");
    is_busy(&server, "c");
    // A counterpart of one who waits needs no place.
    is_served(&server, &mut first, "a");
    let _third = waits(&server, "c");
    is_busy(&server, "d");
    drop(second);
    server.await_waiting(1);
    waits(&server, "d");
}

#[test]
fn a_newcomer_over_the_limit_of_its_key_is_refused() {
    let limits = Limits { waiting_per_key: 2, ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let mut first = waits(&server, "same");
    let mut second = waits(&server, "same");
    is_busy(&server, "same");
    let _other = waits(&server, "other");
    is_served(&server, &mut first, "same");
    let _third = waits(&server, "same");
    is_busy(&server, "same");
    is_served(&server, &mut second, "same");
}

#[test]
fn a_newcomer_over_the_limit_of_its_source_is_refused() {
    let limits = Limits { waiting_per_origin: Some(2), ..Limits::default() };
    let server = InProcess::start(Config { limits, ..config() });
    let from = |source: [u8; 4], key: &str| {
        let greeting = xchg_core::wire::Greeting::new(xchg_core::wire::Command::Offer(offer(
            Side::Download,
            key,
        )));
        let mut peer = Peer::connect_from((source, 0).into(), server.address());
        peer.send(&greeting.encode());
        peer
    };
    let first = from([127, 0, 0, 1], "a").waits();
    let _second = from([127, 0, 0, 1], "b").waits();
    assert_eq!(from([127, 0, 0, 1], "c").refused(), RefusalCode::Busy);
    let _elsewhere = from([127, 0, 0, 2], "c").waits();
    drop(first);
    server.await_waiting(2);
    from([127, 0, 0, 1], "d").waits();
}

#[test]
fn a_full_server_says_so_and_evicts_nobody() {
    let server = InProcess::start(Config { max_connections: 4, ..config() });
    let mut waiting: Vec<Peer> = (0..4).map(|key| waits(&server, &format!("{key}"))).collect();
    is_busy(&server, "new");
    assert_eq!(Peer::status(server.address()).waiting, 4);
    // A counterpart of one who waits is served.
    is_served(&server, &mut waiting[0], "0");
    drop(waiting);
    eventually("there is room", || server.stats().connections < 4);
    waits(&server, "new");
}

#[test]
fn a_flood_of_silent_connections_is_survived() {
    let server = InProcess::start(Config { max_connections: 4, ..config() });
    let mut waiting = waits(&server, "before");
    let flood: Vec<Peer> = (0..400).map(|_| Peer::connect(server.address())).collect();
    eventually("all are accepted", || server.stats().accepted == 401);
    // The limit, as many in reserve, and one that each worker is just accepting.
    assert!(server.stats().connections <= 4 + 4 + 2, "{:?}", server.stats());
    is_served(&server, &mut waiting, "before");
    drop(flood);
    eventually("the flood is over", || server.stats().connections <= 1);
}

#[test]
fn a_server_with_few_descriptors_never_runs_out_of_them() {
    // So many that an exchange finds room for its pipes, and so few that it does not.
    for descriptors in [60, 28] {
        let mut command = Process::shell(&format!("ulimit -n {descriptors}"));
        command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
        let (process, address) = Process::serve(command);
        let before = Peer::native(address, Side::Download, "before").waits();
        let open = || std::fs::read_dir(process.proc("fd")).unwrap().count();
        let empty = open();
        let flood: Vec<Peer> =
            (0..200).map(|key| Peer::classic(address, b'G', &format!("{key}"))).collect();
        eventually("some are accepted", || open() > empty);
        drop(flood);
        // Each worker has a backlog of its own, and who asks comes last in one of them.
        for _ in 0..20 {
            eventually("the flood is over", || Peer::status(address).waiting == 1);
        }
        completes(address, before, "before");
        let after = Peer::native(address, Side::Download, "after").waits();
        completes(address, after, "after");
        let log = process.stderr();
        assert!(log.contains("the limit of descriptors allows fewer connections"), "{log}");
        assert!(!log.contains("cannot accept"), "{log}");
    }
}

fn completes(address: SocketAddr, mut downloader: Peer, key: &str) {
    let file = payload(1, 300_000);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(Peer::classic(address, b'P', key).send_all(&file)));
        downloader.matched();
        assert!(downloader.whole() == file);
    });
}

#[test]
fn any_buffer_size_may_be_asked_for() {
    let server = InProcess::default();
    // With less than a segment of loopback, 64 KiB, little moves at a time.
    for (bytes, len) in [(0, 20_000), (4 << 10, 20_000), (1 << 20, 1 << 20), (u32::MAX, 1 << 20)] {
        let asking = |side| {
            let mut offer = offer(side, "buffers");
            offer.buffer_bytes = Some(bytes);
            Peer::offering(server.address(), offer)
        };
        let mut uploader = asking(Side::Upload).waits();
        let mut downloader = asking(Side::Download);
        downloader.matched();
        uploader.matched();
        let file = payload(u64::from(bytes), len);
        std::thread::scope(|scope| {
            scope.spawn(|| drop(uploader.send_all(&file)));
            assert!(downloader.whole() == file, "{bytes} bytes of buffer");
        });
        assert_eq!(server.next_outcome(), (Outcome::Completed, len as u64));
    }
}

/// What is limited is told to nobody: it arrives, and no sooner than it may. That it does not take
/// longer either is the simulation's matter.
#[test]
fn limited_exchanges_are_whole_and_take_their_time() {
    use xchg_server::Rate;
    let slow = Rate::new(2_000_000);
    let file = payload(3, 1_000_000);
    for limits in [
        Config { limit_rate_exchange: slow, ..config() },
        Config { limit_rate_source: slow, ..config() },
        Config { limit_rate_total: slow, ..config() },
        // Copied in several pieces each.
        Config { limit_rate_total: slow, pipe_size: 0, ..config() },
    ] {
        let server = InProcess::start(limits);
        let start = std::time::Instant::now();
        let mut downloader = Peer::classic(server.address(), b'G', "slow");
        let uploader = Peer::classic(server.address(), b'P', "slow");
        let mut stream = uploader.stream();
        let bytes = file.clone();
        let sending = std::thread::spawn(move || {
            std::io::Write::write_all(&mut stream, &bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert!(downloader.rest().unwrap() == file);
        sending.join().unwrap();
        // Half a second, less what is made up for.
        assert!(start.elapsed() > std::time::Duration::from_millis(400));
    }
}

const MOST: u64 = 200_000;

fn short() -> InProcess {
    InProcess::start(Config { max_exchange_bytes: Some(MOST), ..config() })
}

#[test]
fn what_is_announced_to_be_too_long_is_refused_at_once() {
    let server = short();
    let (fits, over) = (usize::try_from(MOST).unwrap(), usize::try_from(MOST).unwrap() + 1);
    let mut client = Client::saying(server.address(), &put("key", &vec![0; over]));
    let (head, text) = client.text();
    assert_eq!(head.status, 413);
    assert!(text.contains("200000 bytes at most"), "{text}");
    let mut offer = offer(Side::Upload, "key");
    offer.length = Some(MOST + 1);
    let mut peer = Peer::offering(server.address(), offer);
    match peer.verdict() {
        Answer::Refused { code, text } => {
            assert_eq!(code, RefusalCode::Forbidden);
            assert!(text.contains("200000 bytes at most"), "{text}");
        }
        answer => panic!("{answer:?} instead of Refused"),
    }
    // And what fits is whole.
    let file = payload(4, fits);
    let mut downloader = Client::saying(server.address(), &get("key"));
    let mut uploader = Client::saying(server.address(), &put("key", &file));
    assert!(downloader.download() == file);
    uploader.uploaded();
}

#[test]
fn what_turns_out_to_be_too_long_is_cut_and_both_sides_know() {
    let server = short();
    let file = payload(5, usize::try_from(MOST).unwrap() + 1);
    // By one byte, and by many.
    for file in [file.clone(), [&file[..], &file].concat()] {
        let mut downloader = Peer::native(server.address(), Side::Download, "key").waits();
        let mut uploader = Client::connect(server.address());
        uploader.send_some(&put_chunked("key", &file, 10_000));
        downloader.matched();
        crate::common::assert_lost(downloader.rest());
        uploader.head();
        uploader.has_failed("passes on 200000 bytes at most");
        assert_eq!(server.next_outcome().0, Outcome::Cancelled);
        let downloader = Peer::classic(server.address(), b'G', "key");
        server.await_waiting(1);
        let mut stream = Peer::classic(server.address(), b'P', "key").stream();
        std::io::Write::write_all(&mut stream, &file).ok();
        downloader.let_go();
        assert_eq!(server.next_outcome().0, Outcome::Cancelled);
    }
    // What just fits is whole.
    let fits = &file[1..];
    let mut downloader = Client::saying(server.address(), &get("key"));
    let mut uploader = Client::saying(server.address(), &put_chunked("key", fits, 10_000));
    assert!(downloader.download() == fits);
    uploader.uploaded();
}

#[test]
fn what_is_too_long_is_cut_for_several_receivers() {
    let server = short();
    let file = payload(6, 1_000_000);
    let mut downloads = [(); 2].map(|()| Client::saying(server.address(), &get("many?n=2")));
    let mut uploader = Client::connect(server.address());
    uploader.send_some(&put_chunked("many?n=2", &file, 10_000));
    for download in &mut downloads {
        let head = download.head();
        assert!(download.body(&head).is_err());
    }
    uploader.head();
    uploader.has_failed("passes on 200000 bytes at most");
}
