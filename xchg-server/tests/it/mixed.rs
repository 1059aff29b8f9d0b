//! Peers of different dialects under one key.

use std::thread;

use crate::common::{InProcess, Peer, assert_lost, offer, payload};
use xchg_core::wire::CounterpartDialect;
use xchg_core::{Key, Outcome, Realm, Side};

const LENS: [usize; 4] = [0, 1, 5_000, 3_000_000];

#[test]
fn a_classic_upload_reaches_a_native_downloader() {
    let server = InProcess::default();
    for (index, len) in LENS.into_iter().enumerate() {
        let file = payload(index as u64, len);
        for upload_first in [true, false] {
            let classic = || Peer::classic(server.address(), b'P', "mixed");
            let native = || Peer::native(server.address(), Side::Download, "mixed");
            let (uploader, mut downloader) = in_order(&server, upload_first, classic, native);
            assert_eq!(downloader.matched(), (CounterpartDialect::Classic, None));
            thread::scope(|scope| {
                scope.spawn(|| drop(uploader.send_all(&file)));
                assert!(downloader.rest().unwrap() == file, "{len} bytes");
            });
            drop(downloader);
            assert_eq!(server.next_outcome(), (Outcome::Completed, len as u64));
        }
    }
}

#[test]
fn a_native_upload_reaches_a_classic_downloader_and_hears_when_all_is_taken() {
    let server = InProcess::default();
    for (index, len) in LENS.into_iter().enumerate() {
        let file = payload(index as u64, len);
        for upload_first in [true, false] {
            let native = || {
                let mut offer = offer(Side::Upload, "mixed");
                offer.length = Some(len as u64);
                Peer::offering(server.address(), offer)
            };
            let classic = || Peer::classic(server.address(), b'G', "mixed");
            let (mut uploader, mut downloader) = in_order(&server, upload_first, native, classic);
            assert_eq!(uploader.matched(), (CounterpartDialect::Classic, None));
            thread::scope(|scope| {
                let sending = scope.spawn(|| uploader.send_all(&file));
                assert!(downloader.rest().unwrap() == file, "{len} bytes");
                drop(downloader);
                // A clean close: the counterpart took every byte (rule 15).
                assert_eq!(sending.join().unwrap().rest().unwrap(), b"");
            });
            assert_eq!(server.next_outcome(), (Outcome::Completed, len as u64));
        }
    }
}

fn in_order(
    server: &InProcess,
    upload_first: bool,
    upload: impl Fn() -> Peer,
    download: impl Fn() -> Peer,
) -> (Peer, Peer) {
    let (first, second): (&dyn Fn() -> Peer, &dyn Fn() -> Peer) =
        if upload_first { (&upload, &download) } else { (&download, &upload) };
    let waits = first();
    server.await_waiting(1);
    let comes = second();
    if upload_first { (waits, comes) } else { (comes, waits) }
}

#[test]
fn a_native_uploader_is_reset_when_its_classic_downloader_is_lost() {
    let server = InProcess::default();
    let downloader = Peer::classic(server.address(), b'G', "lost");
    server.await_waiting(1);
    let mut uploader = Peer::native(server.address(), Side::Upload, "lost");
    uploader.matched();
    downloader.reset();
    assert_lost(uploader.rest());
    assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 0));
}

#[test]
fn a_native_downloader_is_reset_when_its_classic_uploader_is_lost() {
    let server = InProcess::default();
    let mut downloader = Peer::native(server.address(), Side::Download, "lost").waits();
    let mut uploader = Peer::classic(server.address(), b'P', "lost");
    uploader.send(b"part");
    downloader.matched();
    assert_eq!(downloader.read(4), b"part");
    uploader.reset();
    assert_lost(downloader.rest());
    assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Upload), 4));
}

#[test]
fn what_a_native_downloader_says_does_not_reach_a_classic_uploader() {
    let server = InProcess::default();
    let mut downloader = Peer::native(server.address(), Side::Download, "talks").waits();
    let uploader = Peer::classic(server.address(), b'P', "talks");
    downloader.matched();
    downloader.send(b"hello?");
    let mut uploader = uploader.send_all(b"file");
    assert_eq!(downloader.rest().unwrap(), b"file");
    drop(downloader);
    assert_eq!(uploader.rest().unwrap(), b"");
    assert_eq!(server.next_outcome(), (Outcome::Completed, 4));
}

#[test]
fn classic_peers_are_not_paired_with_the_sealed_realm() {
    let server = InProcess::default();
    let mut sealed = offer(Side::Download, "realm");
    sealed.realm = Realm::Sealed;
    let _sealed = Peer::offering(server.address(), sealed).waits();
    let _classic = Peer::classic(server.address(), b'P', "realm");
    server.await_waiting(2);
}

/// A classic key is its eight bytes without the NULs at their end: a native peer can name it.
#[test]
fn keys_of_both_dialects_are_the_same_names() {
    let server = InProcess::default();
    let mut native = offer(Side::Download, "x");
    native.key = Key::parse(b"\0a").unwrap();
    let mut downloader = Peer::offering(server.address(), native).waits();
    drop(Peer::saying(server.address(), b"P\0a\0\0\0\0\0\0").send_all(b"named"));
    downloader.matched();
    assert_eq!(downloader.rest().unwrap(), b"named");
}
