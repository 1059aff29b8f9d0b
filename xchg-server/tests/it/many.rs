//! Many peers at once.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use crate::common::{
    InProcess, Peer, Process, Random, assert_lost, config, eventually, offer, payload,
};
use crate::web::{Client, head};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xchg_core::wire::{Answer, CounterpartDialect, RefusalCode, Wait};
use xchg_core::{Outcome, Side, Sides};
use xchg_server::Config;

const WAITERS: usize = 10_000;

/// What a waiting peer may cost in user space.
const MAX_BYTES_PER_WAITER: u64 = 1024;

/// Whether this process and its children may open so many descriptors.
fn may_open(count: u64) -> bool {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    maximum.is_none_or(|maximum| maximum >= count) && setrlimit(Resource::Nofile, raised).is_ok()
}

/// So many peers that wait, of both dialects.
fn crowd(address: SocketAddr) -> Vec<Peer> {
    let peers: Vec<Peer> = (0..WAITERS)
        .map(|index| match index % 2 {
            0 => Peer::classic(address, b'G', &format!("{index}")),
            _ => Peer::native(address, Side::Upload, &format!("{index}")),
        })
        .collect();
    eventually("all wait", || Peer::status(address).waiting == WAITERS as u64);
    peers
}

/// Memory that only the process itself has, in bytes.
fn own_memory(process: &Process) -> u64 {
    process.kib("smaps_rollup", "Private_Dirty") << 10
}

fn leave(peers: Vec<Peer>, address: SocketAddr) {
    peers.into_iter().for_each(Peer::reset);
    eventually("nobody waits", || Peer::status(address).waiting == 0);
}

#[test]
fn ten_thousand_wait_for_little_memory() {
    if !may_open(WAITERS as u64 + 1_000) {
        return println!("skipped: too few descriptors are allowed here; raise ulimit -Hn");
    }
    let (process, address) = Process::start(&[]);
    let before = own_memory(&process);
    let peers = crowd(address);
    let per_waiter = own_memory(&process).saturating_sub(before) / WAITERS as u64;
    assert!(per_waiter < MAX_BYTES_PER_WAITER, "{per_waiter} bytes for each who waits");

    // In their midst a pair is served as ever.
    let downloader = Peer::classic(address, b'G', "pair");
    drop(Peer::classic(address, b'P', "pair").send_all(b"in their midst"));
    assert_eq!(downloader.whole(), b"in their midst");

    // Those who left have left nothing behind but their timers, for a while: otherwise four crowds
    // would be over the bound.
    leave(peers, address);
    for _ in 0..3 {
        let peers = crowd(address);
        let per_waiter = own_memory(&process).saturating_sub(before) / WAITERS as u64;
        assert!(per_waiter < MAX_BYTES_PER_WAITER, "{per_waiter} bytes after another crowd");
        leave(peers, address);
    }
}

/// Those who send as much of a head as there may be do not cost much more.
#[test]
fn web_uploads_with_the_largest_heads_wait_for_little_memory() {
    const UPLOADS: u64 = 1_000;
    if !may_open(UPLOADS + 1_000) {
        return println!("skipped: too few descriptors are allowed here; raise ulimit -Hn");
    }
    let large = |bytes: usize| "v".repeat(bytes);
    let form = "Content-Type: multipart/form-data; boundary=b\r\n";
    for (method, fields) in [
        ("PUT", format!("Content-Type: {}\r\nX-Piping: x\r\n", large(1000))),
        ("PUT", "X-Piping: v\r\n".repeat(30)),
        ("POST", format!("{form}X-Piping: {}\r\n", large(1000))),
    ] {
        let (process, address) = Process::start(&[]);
        let junk = format!("Idempotency-Key: {0}\r\nCookie: {0}\r\n", large(7_000));
        let fields = format!("{fields}{junk}Content-Length: 100000\r\n");
        let before = own_memory(&process);
        // One at a time: what is held of a head that has not all come yet is another matter.
        let clients: Vec<Client> = (0..UPLOADS)
            .map(|index| {
                let request = head(&format!("{method} /{index}"), &fields);
                Client::waiting(address, request.as_bytes())
            })
            .collect();
        let per_waiter = own_memory(&process).saturating_sub(before) / UPLOADS;
        // Beside what is kept of the request: its connection, its place, its timers.
        let most = 2048 + MAX_BYTES_PER_WAITER;
        assert!(per_waiter < most, "{per_waiter} bytes for each {method} that waits");
        drop(clients);
    }
}

/// One pair of random dialects and size, that come in random order; every byte is checked.
fn random_pair(address: SocketAddr, seed: u64) {
    let mut random = Random(seed);
    let key = format!("{seed:x}");
    let file = payload(
        seed,
        usize::try_from(match random.below(4) {
            0 => random.below(3),
            1 => random.below(3_000),
            2 => random.below(100_000),
            _ => random.below(1_000_000),
        })
        .unwrap(),
    );
    let [uploads_native, downloads_native, upload_first] = [(); 3].map(|()| random.below(2) == 0);
    let upload = || {
        let mut peer = if uploads_native {
            Peer::native(address, Side::Upload, &key)
        } else {
            Peer::classic(address, b'P', &key)
        };
        if uploads_native {
            assert_eq!(peer.matched().0, dialect(downloads_native));
        }
        drop(peer.send_all(&file));
    };
    let download = || {
        let mut peer = if downloads_native {
            Peer::native(address, Side::Download, &key)
        } else {
            Peer::classic(address, b'G', &key)
        };
        if downloads_native {
            assert_eq!(peer.matched().0, dialect(uploads_native));
        }
        assert!(peer.whole() == file, "{} bytes under {key}", file.len());
    };
    thread::scope(|scope| {
        if upload_first {
            scope.spawn(upload);
            download();
        } else {
            scope.spawn(download);
            upload();
        }
    });
}

fn dialect(is_native: bool) -> CounterpartDialect {
    if is_native { CounterpartDialect::Native } else { CounterpartDialect::Classic }
}

#[test]
fn two_hundred_pairs_exchange_at_once() {
    const PAIRS: u64 = 200;
    for workers in [1, 2, 4] {
        let server = InProcess::start(Config { workers, ..config() });
        let address = server.address();
        thread::scope(|scope| {
            for pair in 0..PAIRS {
                scope.spawn(move || random_pair(address, workers as u64 * 1_000 + pair));
            }
        });
        for _ in 0..PAIRS {
            assert_eq!(server.next_outcome().0, Outcome::Completed);
        }
        let counts = server.counts();
        assert_eq!((counts.completed, counts.failed, counts.waiting), (PAIRS, 0, 0));
    }
}

/// What became of an offer made in the throng.
fn is_matched(peer: &mut Peer) -> bool {
    loop {
        match peer.try_answer() {
            Ok(Answer::Waiting(_) | Answer::Heartbeat) => {}
            Ok(Answer::Matched(_)) => return true,
            Ok(Answer::Refused { code: RefusalCode::TimedOut, .. }) => return false,
            Ok(answer) => panic!("{answer:?}"),
            // Its counterpart left at once; a close without a word would be a peer forgotten.
            Err(error) => {
                assert_lost(Err::<(), _>(error));
                return false;
            }
        }
    }
}

/// Sends a number and the end, to somebody who may have left.
fn say(peer: &Peer, number: u64) {
    let mut stream = peer.stream();
    let said = stream.write_all(&number.to_be_bytes());
    if let Err(error) = said.and_then(|()| stream.shutdown(Shutdown::Write)) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server must take it, or close");
    }
}

/// Offers a side again and again, each time with a number of its own. Gives the sum of those that
/// came through.
fn throng(address: SocketAddr, side: Side, numbers: Range<u64>) -> u64 {
    let mut random = Random(numbers.start);
    let mut sum = 0;
    for number in numbers {
        let mut offer = offer(side, &format!("key {}", random.below(3)));
        offer.wait = Wait::AtMost(Duration::from_millis(random.below(8)));
        if random.below(4) == 0 {
            // Leaves before it waits, while it waits, or in the midst of an exchange.
            drop(Peer::offering(address, offer.clone()));
        }
        let mut peer = Peer::offering(address, offer);
        if !is_matched(&mut peer) {
            continue;
        }
        // A downloader says back what it got: only what is heard back has come through.
        if side == Side::Upload {
            say(&peer, number);
        }
        if let Ok(bytes) = peer.rest()
            && let Ok(bytes) = <[u8; 8]>::try_from(bytes)
        {
            let heard = u64::from_be_bytes(bytes);
            assert!(side == Side::Download || heard == number, "it is another's");
            sum += heard;
            if side == Side::Download {
                say(&peer, heard);
            }
        }
    }
    sum
}

/// Offers, pairings, withdrawals and timeouts race over few keys: nobody is paired twice,
/// forgotten, or given another's bytes.
#[test]
fn a_throng_under_few_keys_is_paired_off() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 300;
    let server = InProcess::start(Config { workers: 4, ..config() });
    let address = server.address();
    let sums = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let side = if thread % 2 == 0 { Side::Upload } else { Side::Download };
                let numbers = thread * ROUNDS + 1..(thread + 1) * ROUNDS + 1;
                (side, scope.spawn(move || throng(address, side, numbers)))
            })
            .collect();
        let mut sums = Sides::<u64>::default();
        for (side, thread) in threads {
            sums[side] += thread.join().unwrap();
        }
        sums
    });
    assert!(sums.upload > 0 && sums.upload == sums.download, "{sums:?}");
    eventually("all is over", || server.counts().exchanging + server.counts().waiting == 0);
}
