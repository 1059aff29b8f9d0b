//! `relay::run` over connections in memory and over sockets: every order of ends, every way to
//! fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use proptest::prelude::*;
use xchg_core::relay::{self, Duplex, Memory, Socket, memory};
use xchg_core::{
    Broker, Brokered, Ended, ExchangeHandle, Key, Limits, Offer, Outcome, Pair, Realm, Side,
};

/// Any connection, so that both sides of a test may be of different types.
type Conn = Arc<dyn Duplex + Send + Sync>;

/// A relay that runs on a thread of its own.
struct Running {
    thread: JoinHandle<Ended>,
    handle: ExchangeHandle,
    broker: Broker<Conn>,
}

impl Running {
    fn start(upload: Conn, download: Conn) -> Self {
        let broker = Broker::new(Limits::default());
        let Pair { exchange, upload, download, .. } = pair(&broker, upload, download);
        let handle = exchange.handle();
        let thread = thread::spawn(move || relay::run(exchange, upload, download));
        Self { thread, handle, broker }
    }

    fn over(upload: Memory, download: Memory) -> Self {
        Self::start(Arc::new(upload), Arc::new(download))
    }

    /// The outcome and the bytes moved, which everybody is told alike.
    fn outcome(self) -> (Outcome, u64) {
        let ended = self.thread.join().unwrap();
        assert_eq!(self.handle.wait(), ended);
        assert_eq!(self.handle.moved_from(Side::Upload), ended.bytes);
        assert_eq!(self.broker.counts().exchanging, 0);
        (ended.outcome, ended.bytes)
    }
}

fn pair(broker: &Broker<Conn>, upload: Conn, download: Conn) -> Pair<Conn> {
    #[expect(clippy::disallowed_methods, reason = "tests bring the time along")]
    let now = Instant::now();
    let key = Key::parse(b"key").unwrap();
    let offer = |side, conn| broker.offer(Offer::new(Realm::Plain, key.clone(), side, conn), now);
    assert!(matches!(offer(Side::Upload, upload), Brokered::Waiting { .. }));
    let Brokered::Paired(pair) = offer(Side::Download, download) else { panic!("they pair") };
    pair
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn read_to_end(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map(|_| bytes)
}

/// Writes in pieces of `piece` bytes, then half-closes.
fn say(to: &Memory, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        { to }.write_all(piece).unwrap();
    }
    to.half_close().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bytes_of_both_ways_arrive_whatever_the_sizes(
        (up, down) in (0..300_000usize, prop_oneof![0..10usize, 0..300_000usize]),
        (up_capacity, down_capacity) in (100..200_000usize, 100..200_000usize),
        piece in 1..100_000usize,
    ) {
        let (uploader, upload) = memory(up_capacity);
        let (downloader, download) = memory(down_capacity);
        let running = Running::over(upload, download);
        let (up, down) = (noise(up), noise(down));
        thread::scope(|scope| {
            scope.spawn(|| say(&uploader, &up, piece));
            scope.spawn(|| say(&downloader, &down, piece));
            let back = scope.spawn(|| read_to_end(&uploader).unwrap());
            assert!(read_to_end(&downloader).unwrap() == up);
            assert!(back.join().unwrap() == down);
        });
        let ended = running.handle.wait();
prop_assert_eq!((ended.outcome, ended.bytes), (Outcome::Completed, up.len() as u64));
        prop_assert_eq!(running.handle.moved_from(Side::Download), down.len() as u64);
        running.outcome();
    }
}

#[test]
fn a_half_close_passes_and_the_other_way_goes_on() {
    for first in Side::BOTH {
        let (uploader, upload) = memory(10);
        let (downloader, download) = memory(10);
        let running = Running::over(upload, download);
        let (first, second) = match first {
            Side::Upload => (uploader, downloader),
            Side::Download => (downloader, uploader),
        };
        say(&first, b"my last", 3);
        assert_eq!(read_to_end(&second).unwrap(), b"my last");
        say(&second, b"is not mine", 2);
        assert_eq!(read_to_end(&first).unwrap(), b"is not mine");
        assert_eq!(running.outcome().0, Outcome::Completed);
    }
}

#[test]
fn an_uploader_that_sends_all_and_leaves_is_not_lost() {
    let (uploader, upload) = memory(4);
    let (downloader, download) = memory(100);
    (&uploader).write_all(b"gone").unwrap();
    drop(uploader);
    let running = Running::over(upload, download);
    assert_eq!(read_to_end(&downloader).unwrap(), b"gone");
    drop(downloader);
    assert_eq!(running.outcome(), (Outcome::Completed, 4));
}

#[test]
fn a_side_that_fails_is_named_and_the_other_is_cut() {
    for side in Side::BOTH {
        let (uploader, upload) = memory(10);
        let (downloader, download) = memory(10);
        let running = Running::over(upload, download);
        (&uploader).write_all(b"half").unwrap();
        let mut half = [0; 4];
        (&downloader).read_exact(&mut half).unwrap();
        let (failing, other) = match side {
            Side::Upload => (uploader, downloader),
            Side::Download => (downloader, uploader),
        };
        failing.abort();
        assert_eq!(read_to_end(&other).unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(running.outcome(), (Outcome::Lost(side), 4));
    }
}

#[test]
fn a_downloader_that_leaves_midway_is_lost_to_an_uploader_that_is_blocked() {
    let (uploader, upload) = memory(10);
    let (downloader, download) = memory(10);
    let running = Running::over(upload, download);
    let writer =
        thread::spawn(move || (&uploader).write_all(&noise(1_000_000)).unwrap_err().kind());
    let mut some = [0; 1000];
    (&downloader).read_exact(&mut some).unwrap();
    drop(downloader);
    assert_eq!(writer.join().unwrap(), ErrorKind::ConnectionAborted);
    assert!(matches!(running.outcome(), (Outcome::Lost(Side::Download), bytes) if bytes >= 1000));
}

#[test]
fn a_cancel_ends_a_relay_that_is_blocked_both_ways() {
    let (uploader, upload) = memory(10);
    let (downloader, download) = memory(10);
    let running = Running::over(upload, download);
    (&uploader).write_all(b"abc").unwrap();
    (&downloader).read_exact(&mut [0; 3]).unwrap();
    running.handle.cancel();
    assert_eq!(read_to_end(&uploader).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(read_to_end(&downloader).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(running.outcome(), (Outcome::Cancelled, 3));
}

#[test]
fn an_exchange_cancelled_beforehand_moves_nothing() {
    let (uploader, upload) = memory(10);
    let (_downloader, download) = memory(10);
    (&uploader).write_all(b"abc").unwrap();
    let broker: Broker<Conn> = Broker::new(Limits::default());
    let pair = pair(&broker, Arc::new(upload), Arc::new(download));
    pair.exchange.handle().cancel();
    let ended = relay::run(pair.exchange, pair.upload, pair.download);
    assert_eq!((ended.outcome, ended.bytes), (Outcome::Cancelled, 0));
}

#[test]
fn a_downloader_that_never_reads_stops_the_uploader_within_the_buffers() {
    const CAPACITY: usize = 1000;
    let (uploader, upload) = memory(CAPACITY);
    let (downloader, download) = memory(CAPACITY);
    let running = Running::over(upload, download);
    // Each connection's buffer, and one read that the relay holds: no more than one buffer.
    let most = 3 * CAPACITY;
    let accepted = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(n) = Duplex::write(&uploader, &[7; 100]) {
                accepted.fetch_add(n, Ordering::SeqCst);
            }
        });
        while accepted.load(Ordering::SeqCst) < 2 * CAPACITY {
            thread::yield_now();
        }
        // Reading a little lets a little more in, and no more than that.
        (&downloader).read_exact(&mut [0; CAPACITY]).unwrap();
        while accepted.load(Ordering::SeqCst) < 3 * CAPACITY {
            thread::yield_now();
        }
        running.handle.cancel();
    });
    assert!(accepted.load(Ordering::SeqCst) <= most + CAPACITY);
    assert!(matches!(running.outcome(), (Outcome::Cancelled, bytes) if bytes <= most as u64));
}

/// A connection whose calls misbehave as `fault` says; its reads block until it is aborted.
struct Faulty {
    fault: Fault,
    end: Memory,
}

/// How a call goes: 1 as it should, anything else otherwise.
type Fault = fn(Call) -> io::Result<usize>;

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Read,
    Write,
    HalfClose,
    Abort,
}

impl Duplex for Faulty {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (self.fault)(Call::Read)?;
        self.end.read(buf)
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        match (self.fault)(Call::Write)? {
            1 => self.end.write(buf),
            lie => Ok(lie),
        }
    }

    fn half_close(&self) -> io::Result<()> {
        (self.fault)(Call::HalfClose)?;
        self.end.half_close()
    }

    fn abort(&self) {
        self.end.abort();
        (self.fault)(Call::Abort).ok();
    }
}

#[test]
fn whatever_a_connection_does_wrong_ends_its_own_exchange_and_no_thread() {
    let faults: [(&str, Fault); 7] = [
        ("read panics", |call| if call == Call::Read { panic!("read") } else { Ok(1) }),
        ("write panics", |call| if call == Call::Write { panic!("write") } else { Ok(1) }),
        ("write fails", |call| match call {
            Call::Write => Err(ErrorKind::TimedOut.into()),
            _ => Ok(1),
        }),
        ("write takes nothing", |call| Ok(usize::from(call != Call::Write))),
        ("write takes more than there is", |_| Ok(usize::MAX)),
        ("half-close panics", |call| if call == Call::HalfClose { panic!("half") } else { Ok(1) }),
        ("abort panics too", |call| match call {
            Call::Write | Call::Abort => panic!("write, abort"),
            _ => Ok(1),
        }),
    ];
    for (what, fault) in faults {
        for side in Side::BOTH {
            let (peer, conn) = memory(10);
            let (_faulty_peer, end) = memory(10);
            let faulty: Conn = Arc::new(Faulty { fault, end });
            let running = match side {
                Side::Upload => Running::start(faulty, Arc::new(conn)),
                Side::Download => Running::start(Arc::new(conn), faulty),
            };
            // What reads fail on was not written; the rest fails on these bytes or on their end.
            (&peer).write_all(b"x").and_then(|()| peer.half_close()).ok();
            let outcome = running.outcome();
            assert_eq!(outcome.0, Outcome::Lost(side), "{what}");
            assert_eq!(read_to_end(&peer).unwrap_err().kind(), ErrorKind::ConnectionAborted);
        }
    }
}

#[test]
fn sockets_relay_and_a_cancel_wakes_them() {
    let (uploader, upload) = UnixStream::pair().unwrap();
    let (downloader, download) = UnixStream::pair().unwrap();
    let running = Running::start(Arc::new(Socket(upload)), Arc::new(Socket(download)));
    let bytes = noise(3_000_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            (&uploader).write_all(&bytes).unwrap();
            Socket(&uploader).half_close().unwrap();
        });
        let mut got = vec![0; bytes.len()];
        (&downloader).read_exact(&mut got).unwrap();
        assert!(got == bytes);
        assert_eq!((&downloader).read(&mut [0]).unwrap(), 0);
    });
    // The uploader's way is over; the downloader's is still open, and blocks.
    running.handle.cancel();
    assert_eq!(running.outcome(), (Outcome::Cancelled, 3_000_000));
    assert_eq!((&uploader).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_socket_whose_peer_left_is_an_error_and_no_signal() {
    let (uploader, upload) = UnixStream::pair().unwrap();
    let (downloader, download) = UnixStream::pair().unwrap();
    drop(downloader);
    let running = Running::start(Arc::new(Socket(upload)), Arc::new(Socket(download)));
    (&uploader).write_all(b"to nobody").unwrap();
    assert_eq!(running.outcome(), (Outcome::Lost(Side::Download), 0));
}
