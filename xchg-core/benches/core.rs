//! What the core costs by itself: matching, alone and between threads; reading greetings; memory
//! after a burst.
//!
//! `cargo bench -p xchg-core --bench core`. Each row is the median of five runs of half a second.
//! Run without `--bench`, as `cargo test --benches` does, everything is done a few times, to show
//! that it works.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "reporting is this program's job"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{fs, thread};

use xchg_core::wire::{self, Command, Decoded, Greeting};
use xchg_core::{Broker, Brokered, Key, Limits, Offer, Offered, Outcome, Realm, Rendezvous, Side};

/// Keys in use by turns, so that look-ups do not find the same cache lines again and again.
const KEYS: usize = 4_096;

/// Peers that come in the burst, each under a key of its own.
const BURST: usize = 100_000;

fn main() {
    let runs = if std::env::args().any(|argument| argument == "--bench") {
        Runs { count: 5, length: Duration::from_millis(500) }
    } else {
        Runs { count: 1, length: Duration::from_millis(1) }
    };
    let keys: Vec<Key> = (0..KEYS).map(key).collect();
    // Before the others, while the heap is small.
    burst();
    runs.report("rendezvous: offers, nobody else waits", || offers_to_rendezvous(&keys, 0));
    runs.report("rendezvous: offers, 100,000 others wait", || offers_to_rendezvous(&keys, BURST));
    runs.report("rendezvous: offers withdrawn", || withdrawals(&keys));
    runs.report("broker: offers, 1 thread", || offers_to_broker(&keys, 1));
    runs.report("broker: offers, 2 threads", || offers_to_broker(&keys, 2));
    runs.report("greeting: decoded", greetings);
}

/// How long each thing is measured.
struct Runs {
    count: usize,
    length: Duration,
}

impl Runs {
    /// Prints how often a second `prepare`'s work is done; the work does a batch and gives its
    /// size.
    fn report<Work: FnMut() -> usize>(&self, what: &str, prepare: impl Fn() -> Work) {
        let mut rates: Vec<f64> = (0..self.count).map(|_| self.rate(prepare())).collect();
        rates.sort_by(f64::total_cmp);
        let rate = rates[rates.len() / 2];
        println!("{what:<42} {:>8.2} million/s {:>8.0} ns each", rate / 1e6, 1e9 / rate);
    }

    fn rate(&self, mut work: impl FnMut() -> usize) -> f64 {
        // Tables grow to their size, caches fill.
        work();
        let (begin, mut done) = (Instant::now(), 0);
        while begin.elapsed() < self.length {
            done += work();
        }
        done as f64 / begin.elapsed().as_secs_f64()
    }
}

fn key(number: usize) -> Key {
    Key::parse(format!("key {number:012}").as_bytes()).expect("it has 16 bytes")
}

fn offer(key: &Key, side: Side) -> Offer<u32> {
    Offer::new(Realm::Plain, key.clone(), side, 7)
}

/// Room for the burst and those who come on top of it.
fn limits() -> Limits {
    Limits { waiting: 2 * BURST, ..Limits::default() }
}

/// Each uploader waits until its downloader comes, while `others` wait for somebody else.
fn offers_to_rendezvous(keys: &[Key], others: usize) -> impl FnMut() -> usize {
    let mut rendezvous = Rendezvous::new(limits());
    for number in 0..others {
        let waits = rendezvous.offer(offer(&key(KEYS + number), Side::Download));
        assert!(matches!(waits, Offered::Waiting { .. }));
    }
    move || {
        for key in keys {
            let first = rendezvous.offer(offer(key, Side::Upload));
            assert!(matches!(first, Offered::Waiting { .. }));
            let second = rendezvous.offer(offer(key, Side::Download));
            assert!(matches!(second, Offered::Paired { .. }));
        }
        2 * keys.len()
    }
}

/// Each uploader waits and leaves.
fn withdrawals(keys: &[Key]) -> impl FnMut() -> usize {
    let mut rendezvous = Rendezvous::new(limits());
    move || {
        for key in keys {
            let Offered::Waiting { ticket, .. } = rendezvous.offer(offer(key, Side::Upload)) else {
                unreachable!("nobody else offers");
            };
            assert!(rendezvous.withdraw(ticket).is_some());
        }
        keys.len()
    }
}

/// As for the rendezvous, with the exchange's life on top; each thread has its own share of the
/// keys.
fn offers_to_broker(keys: &[Key], threads: usize) -> impl FnMut() -> usize {
    let broker: Broker<u32> = Broker::new(limits());
    move || {
        // Long enough that starting threads does not count.
        const TURNS: usize = 32;
        thread::scope(|scope| {
            for share in keys.chunks(keys.len() / threads) {
                let broker = &broker;
                scope.spawn(move || (0..TURNS).for_each(|_| pair_all(broker, share)));
            }
        });
        TURNS * 2 * keys.len()
    }
}

fn pair_all(broker: &Broker<u32>, keys: &[Key]) {
    let now = Instant::now();
    for key in keys {
        assert!(matches!(broker.offer(offer(key, Side::Upload), now), Brokered::Waiting { .. }));
        match broker.offer(offer(key, Side::Download), now) {
            Brokered::Paired(pair) => {
                pair.exchange.finish(Outcome::Completed);
            }
            other => unreachable!("the uploader waits, and nobody else offers: {other:?}"),
        }
    }
}

fn greetings() -> impl FnMut() -> usize {
    let mut offer = wire::Offer::new(Realm::Plain, Side::Upload, key(0));
    offer.length = Some(1 << 30);
    let bytes = Greeting::new(Command::Offer(offer)).encode();
    move || {
        for _ in 0..KEYS {
            let decoded = Greeting::decode(black_box(&bytes));
            assert!(matches!(black_box(decoded), Ok(Decoded::Whole { .. })));
        }
        KEYS
    }
}

/// Prints the process's memory before, during and after many peers wait, and after a second burst:
/// growth would be a leak.
fn burst() {
    let broker: Broker<u32> = Broker::new(limits());
    let before = resident_kib();
    for round in ["first", "second"] {
        for number in 0..BURST {
            let waits = broker.offer(offer(&key(number), Side::Download), Instant::now());
            assert!(matches!(waits, Brokered::Waiting { .. }));
        }
        let during = resident_kib();
        for number in 0..BURST {
            let comes = broker.offer(offer(&key(number), Side::Upload), Instant::now());
            assert!(matches!(comes, Brokered::Paired(_)));
        }
        let (Some(before), Some(during), Some(after)) = (before, during, resident_kib()) else {
            return;
        };
        let each = (during.saturating_sub(before) << 10) / BURST as u64;
        println!(
            "memory: {round} burst of {BURST} keys: {before} KiB before, {during} waiting ({each} bytes each), {after} after"
        );
    }
}

/// Resident memory; `None` where there is no /proc.
fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}
