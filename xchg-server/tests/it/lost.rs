//! Exchanges that do not end whole: who is told what, and which outcome is reported.

use std::io::{self, Write};
use std::time::Duration;

use crate::common::{DEADLINE, InProcess, Peer, assert_lost, config, eventually, payload};
use xchg_core::{Event, Outcome, Side};
use xchg_server::Config;

/// Shorter than any test's patience, and longer than a loaded machine stops for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Speaks {
    Classic,
    Native,
}

/// A matched uploader and downloader of any two dialects.
fn pair(server: &InProcess, uploads: Speaks, downloads: Speaks) -> (Peer, Peer) {
    let peer = |speaks, side, command| match speaks {
        Speaks::Classic => Peer::classic(server.address(), command, "pair"),
        Speaks::Native => Peer::native(server.address(), side, "pair"),
    };
    let running = server.exchanges().len();
    let mut downloader = peer(downloads, Side::Download, b'G');
    server.await_waiting(1);
    let mut uploader = peer(uploads, Side::Upload, b'P');
    for (speaks, peer) in [(uploads, &mut uploader), (downloads, &mut downloader)] {
        if matches!(speaks, Speaks::Native) {
            peer.matched();
        }
    }
    // Classic peers are not told.
    eventually("they are paired", || server.exchanges().len() == running + 1);
    (uploader, downloader)
}

fn of_all_dialects(check: impl Fn(Speaks, Speaks)) {
    for uploads in [Speaks::Classic, Speaks::Native] {
        for downloads in [Speaks::Classic, Speaks::Native] {
            check(uploads, downloads);
        }
    }
}

/// Sends until that fails.
fn send_until_told(uploader: &Peer) -> io::Error {
    let mut stream = uploader.stream();
    let chunk = payload(1, 1 << 20);
    for _ in 0..4096 {
        if let Err(error) = stream.write_all(&chunk) {
            return error;
        }
    }
    panic!("4 GiB were taken for a downloader that is gone");
}

#[test]
fn a_downloader_sees_a_reset_when_its_uploader_is_lost() {
    let server = InProcess::default();
    of_all_dialects(|uploads, downloads| {
        let (mut uploader, mut downloader) = pair(&server, uploads, downloads);
        let part = payload(2, 100_000);
        uploader.send(&part);
        assert!(downloader.read(part.len()) == part);
        uploader.reset();
        assert_lost(downloader.rest());
        assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Upload), 100_000));
    });
}

#[test]
fn an_uploader_is_told_at_once_when_its_downloader_is_lost() {
    let server = InProcess::default();
    of_all_dialects(|uploads, downloads| {
        // In the midst of the transfer, while both directions are full.
        let (mut uploader, mut downloader) = pair(&server, uploads, downloads);
        uploader.send(&payload(3, 500_000));
        downloader.read(1);
        downloader.reset();
        assert_lost(Err::<(), _>(send_until_told(&uploader)));
        assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Download), _)));

        // Without a byte on its way, too.
        let (mut uploader, downloader) = pair(&server, uploads, downloads);
        downloader.reset();
        assert_lost(uploader.rest());
        assert_eq!(server.next_outcome(), (Outcome::Lost(Side::Download), 0));
    });
}

/// It closes without a reset; the next byte that reaches it shows that nobody reads.
#[test]
fn a_downloader_that_closes_midway_is_lost() {
    let server = InProcess::default();
    of_all_dialects(|uploads, downloads| {
        let (mut uploader, mut downloader) = pair(&server, uploads, downloads);
        uploader.send(b"part");
        assert_eq!(downloader.read(4), b"part");
        drop(downloader);
        assert_lost(Err::<(), _>(send_until_told(&uploader)));
        assert!(matches!(server.next_outcome(), (Outcome::Lost(Side::Download), _)));
    });
}

#[test]
fn a_downloader_that_never_reads_times_out() {
    let idle_timeout = Duration::from_millis(200);
    let server = InProcess::start(Config { idle_timeout, ..config() });
    of_all_dialects(|uploads, downloads| {
        let (uploader, mut downloader) = pair(&server, uploads, downloads);
        assert_lost(Err::<(), _>(send_until_told(&uploader)));
        assert!(matches!(server.next_outcome(), (Outcome::TimedOut, _)));
        // It gets what was on its way already, and then no clean end.
        assert_lost(downloader.rest());
    });
}

#[test]
fn an_uploader_that_never_sends_times_out() {
    let idle_timeout = Duration::from_millis(200);
    let server = InProcess::start(Config { idle_timeout, ..config() });
    of_all_dialects(|uploads, downloads| {
        let (mut uploader, mut downloader) = pair(&server, uploads, downloads);
        assert_lost(downloader.rest());
        assert_lost(uploader.rest());
        assert_eq!(server.next_outcome(), (Outcome::TimedOut, 0));
    });
}

/// The time is counted from the last byte, whatever timers were set while the peers waited.
#[test]
fn an_exchange_that_moves_outlives_the_idle_timeout() {
    let heartbeat = Duration::from_millis(1);
    let server = InProcess::start(Config { idle_timeout: IDLE_TIMEOUT, heartbeat, ..config() });
    for downloads in [Speaks::Classic, Speaks::Native] {
        let (mut uploader, mut downloader) = pair(&server, Speaks::Native, downloads);
        // Another, begun later, in which nothing moves: when it times out, this one is older than
        // that.
        let _idle = pair(&server, Speaks::Native, Speaks::Native);
        let mut sent = 0;
        let ended = loop {
            match server.events().try_recv() {
                Ok(Event::Ended(_, ended)) => break ended,
                _ => {
                    uploader.send(b".");
                    assert_eq!(downloader.read(1), b".");
                    sent += 1;
                }
            }
        };
        assert_eq!(
            (ended.outcome, ended.bytes),
            (Outcome::TimedOut, 0),
            "it was the idle one that ended"
        );
        drop((uploader, downloader));
        assert_eq!(server.next_outcome(), (Outcome::Completed, sent));
    }
}

#[test]
fn an_uploader_may_trickle() {
    let server = InProcess::default();
    of_all_dialects(|uploads, downloads| {
        let (mut uploader, mut downloader) = pair(&server, uploads, downloads);
        for byte in 0..=255 {
            uploader.send(&[byte]);
            assert_eq!(downloader.read(1), [byte]);
        }
        uploader.half_close();
        assert_eq!(downloader.whole(), b"");
        assert_eq!(server.next_outcome(), (Outcome::Completed, 256));
    });
}

/// Some keep the connection open when they have it all; the uploader need not wait for them for
/// ever.
#[test]
fn a_classic_downloader_that_never_closes_has_all_when_its_time_is_up() {
    let server = InProcess::start(Config { idle_timeout: IDLE_TIMEOUT, ..config() });
    let (uploader, mut downloader) = pair(&server, Speaks::Native, Speaks::Classic);
    let mut uploader = uploader.send_all(b"all of it");
    assert_eq!(uploader.rest().unwrap(), b"");
    assert_eq!(downloader.rest().unwrap(), b"all of it");
    assert_eq!(server.next_outcome(), (Outcome::Completed, 9));
}

/// Its answer is awaited: without it nothing is whole.
#[test]
fn a_native_downloader_that_never_answers_times_out() {
    let server = InProcess::start(Config { idle_timeout: IDLE_TIMEOUT, ..config() });
    let (uploader, mut downloader) = pair(&server, Speaks::Native, Speaks::Native);
    let mut uploader = uploader.send_all(b"all of it");
    assert_eq!(downloader.rest().unwrap(), b"all of it");
    assert_lost(uploader.rest());
    assert_eq!(server.next_outcome(), (Outcome::TimedOut, 9));
}

#[test]
fn a_handle_cancels_its_exchange_and_resets_both() {
    let server = InProcess::default();
    of_all_dialects(|uploads, downloads| {
        let (mut uploader, mut downloader) = pair(&server, uploads, downloads);
        uploader.send(b"part");
        assert_eq!(downloader.read(4), b"part");
        let handle = server.next_exchange();
        handle.cancel();
        let ended = handle.wait();
        assert_eq!((ended.outcome, ended.bytes), (Outcome::Cancelled, 4));
        assert_lost(downloader.rest());
        assert_lost(uploader.rest());
        assert_eq!(server.next_outcome(), (Outcome::Cancelled, 4));
        // Once it is over, that changes nothing.
        handle.cancel();
        assert_eq!(handle.ended(), Some(ended));
    });
}

#[test]
fn events_handles_and_counts_tell_the_same_story() {
    let server = InProcess::default();
    let (mut uploader, mut downloader) = pair(&server, Speaks::Classic, Speaks::Classic);
    uploader.send(b"four");
    assert_eq!(downloader.read(4), b"four");
    let running = server.exchanges();
    assert_eq!(running.len(), 1);
    assert_eq!((running[0].key().as_bytes(), running[0].ended()), (&b"pair"[..], None));
    let Ok(Event::Started(started)) = server.events().recv_timeout(DEADLINE) else {
        panic!("an exchange starts before it ends")
    };
    assert_eq!(started.id(), running[0].id());
    uploader.reset();
    let Ok(Event::Ended(handle, ended)) = server.events().recv_timeout(DEADLINE) else {
        panic!("an exchange ends once")
    };
    assert_eq!(handle.id(), started.id());
    assert_eq!((ended.outcome, ended.bytes), (Outcome::Lost(Side::Upload), 4));
    assert_eq!((handle.ended(), handle.moved_from(Side::Upload)), (Some(ended), 4));
    assert!(server.exchanges().is_empty());
    let (uploader, downloader) = pair(&server, Speaks::Classic, Speaks::Classic);
    drop(uploader.send_all(b"fine!"));
    assert_eq!(downloader.whole(), b"fine!");
    server.await_counts("the second ends", |counts| counts.exchanging == 0);
    let counts = server.counts();
    assert_eq!((counts.completed, counts.failed, counts.bytes, counts.waiting), (1, 1, 9, 0));
}
