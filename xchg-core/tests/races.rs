//! The broker's races, in every order that matters.
//!
//! `RUSTFLAGS='--cfg model' cargo test --profile model -p xchg-core --test races --target-dir
//! target/model` has loom run each of them in all orders that differ in what is shared, and with
//! all values that an atomic may show. `tests/mutants.sh` proves that this finds mistakes.

#![cfg(model)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use loom::thread;
use xchg_core::{
    Broker, Brokered, Event, Key, Limits, Offer, Origin, Outcome, Pair, Place, Realm, Refusal, Side,
};

fn explore(race: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let count = orders.clone();
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        race();
    });
    let orders = orders.load(Ordering::Relaxed);
    assert!(orders > 1, "the threads meet nowhere");
}

/// A connection that can be neither copied nor made twice.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conn(usize);

fn key(name: u8) -> Key {
    Key::parse(&[name]).unwrap()
}

fn offer(id: usize, name: u8, side: Side) -> Offer<Conn> {
    Offer::new(Realm::Plain, key(name), side, Conn(id))
}

fn now() -> Instant {
    // Time stands still in the model; any will do.
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "tests bring the time along")]
        Instant::now()
    });
    *START
}

fn broker(limits: Limits) -> Broker<Conn> {
    // With a seed: what runs must be the same in all orders but for the order.
    Broker::with_seed(limits, 7)
}

fn waits(brokered: Brokered<Conn>) -> Place {
    match brokered {
        Brokered::Waiting { place, .. } => place,
        other => panic!("it should wait: {other:?}"),
    }
}

fn paired(brokered: Brokered<Conn>) -> Pair<Conn> {
    match brokered {
        Brokered::Paired(pair) => pair,
        other => panic!("it should be paired: {other:?}"),
    }
}

fn pair_in(broker: &Broker<Conn>, name: u8) -> Pair<Conn> {
    waits(broker.offer(offer(0, name, Side::Upload), now()));
    paired(broker.offer(offer(1, name, Side::Download), now()))
}

fn refusal(brokered: &Brokered<Conn>) -> Option<Refusal> {
    match brokered {
        Brokered::Refused { why, .. } => Some(*why),
        _ => None,
    }
}

/// What comes out of an offer at once; its exchange, if it makes one, ends.
fn settle(brokered: Brokered<Conn>, out: &mut Vec<Conn>) {
    match brokered {
        Brokered::Waiting { .. } => {}
        Brokered::Refused { conn, .. } => out.push(conn),
        Brokered::Paired(pair) => {
            pair.exchange.finish(Outcome::Completed);
            out.extend([pair.upload, pair.download]);
        }
    }
}

/// Each of the first `count` connections has come out once.
fn assert_each_came_out_once(mut out: Vec<Conn>, count: usize) {
    out.sort();
    assert_eq!(out, (0..count).map(Conn).collect::<Vec<_>>());
}

#[test]
fn of_a_pairing_a_withdrawal_and_an_expiry_one_wins() {
    explore(|| {
        let broker = broker(Limits::default());
        let deadline = Some(now());
        let place = waits(broker.offer(Offer { deadline, ..offer(0, 1, Side::Upload) }, now()));
        let withdrawal = {
            let broker = broker.clone();
            thread::spawn(move || broker.withdraw(place))
        };
        let expiry = {
            let broker = broker.clone();
            thread::spawn(move || broker.expire(now() + Duration::from_secs(1)))
        };
        let mut out = Vec::new();
        settle(broker.offer(offer(1, 1, Side::Download), now()), &mut out);
        out.extend(withdrawal.join().unwrap());
        out.extend(expiry.join().unwrap());
        let counts = broker.counts();
        assert_eq!(counts.waiting, 2 - out.len() as u64);
        out.extend(broker.drain().0.into_iter().map(|offer| offer.conn));
        assert_each_came_out_once(out, 2);
    });
}

#[test]
fn of_two_newcomers_one_is_paired_and_the_other_waits() {
    explore(|| {
        let broker = broker(Limits::default());
        waits(broker.offer(offer(0, 1, Side::Upload), now()));
        let other = {
            let broker = broker.clone();
            thread::spawn(move || broker.offer(offer(1, 1, Side::Download), now()))
        };
        let one = broker.offer(offer(2, 1, Side::Download), now());
        let (pair, place) = match (one, other.join().unwrap()) {
            (Brokered::Paired(pair), Brokered::Waiting { place, .. })
            | (Brokered::Waiting { place, .. }, Brokered::Paired(pair)) => (pair, place),
            other => panic!("{other:?}"),
        };
        let mut out = vec![pair.upload, pair.download];
        out.extend(broker.withdraw(place));
        assert_each_came_out_once(out, 3);
    });
}

#[test]
fn a_group_is_complete_once_and_with_everybody() {
    explore(|| {
        let broker = broker(Limits::default());
        let offer_one = |id, side| {
            let broker = broker.clone();
            move || broker.offer(Offer { receivers: 2, ..offer(id, 1, side) }, now())
        };
        let one = thread::spawn(offer_one(0, Side::Download));
        let other = thread::spawn(offer_one(1, Side::Download));
        let upload = offer_one(2, Side::Upload)();
        let mut out = Vec::new();
        for brokered in [one.join().unwrap(), other.join().unwrap(), upload] {
            if let Brokered::Paired(pair) = brokered {
                assert_eq!(pair.upload, Conn(2));
                out.extend([pair.upload, pair.download]);
                out.extend(pair.others);
            }
        }
        assert_each_came_out_once(out, 3);
    });
}

#[test]
fn a_drain_sees_every_exchange_and_loses_nobody() {
    explore(|| {
        let broker = broker(Limits::default());
        let place = waits(broker.offer(offer(0, 1, Side::Upload), now()));
        let withdrawal = {
            let broker = broker.clone();
            thread::spawn(move || broker.withdraw(place))
        };
        let drained_already = Arc::new(AtomicUsize::new(0));
        let newcomer = {
            let (broker, drained_already) = (broker.clone(), drained_already.clone());
            thread::spawn(move || {
                let mut out = Vec::new();
                let brokered = broker.offer(offer(1, 1, Side::Download), now());
                if let Brokered::Paired(_) = brokered {
                    thread::yield_now();
                    assert_eq!(drained_already.load(Ordering::SeqCst), 0, "its exchange runs");
                }
                settle(brokered, &mut out);
                out
            })
        };
        let (released, drained) = broker.drain();
        let mut out: Vec<_> = released.into_iter().map(|offer| offer.conn).collect();
        assert_eq!(drained.wait_until(None), 0);
        drained_already.store(1, Ordering::SeqCst);
        assert!(broker.exchanges().is_empty());
        let completed = broker.counts().completed;
        out.extend(newcomer.join().unwrap());
        assert_eq!(broker.counts().completed, completed, "what has run is counted");
        out.extend(withdrawal.join().unwrap());
        assert_each_came_out_once(out, 2);
    });
}

#[test]
fn the_last_end_wakes_a_drain() {
    explore(|| {
        let broker = broker(Limits::default());
        let (one, other) = (pair_in(&broker, 1), pair_in(&broker, 2));
        let (_, drained) = broker.drain();
        let threads = [one, other].map(|pair| {
            thread::spawn(move || {
                pair.exchange.add_moved(Side::Upload, 3);
                pair.exchange.finish(Outcome::Completed);
            })
        });
        assert_eq!(drained.wait_until(None), 0);
        let counts = broker.counts();
        assert_eq!((counts.completed, counts.bytes), (2, 6));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn whoever_waits_for_the_end_finds_it_counted() {
    explore(|| {
        let broker = broker(Limits::default());
        let pair = pair_in(&broker, 1);
        let handle = pair.exchange.handle();
        let end = thread::spawn(move || {
            pair.exchange.add_moved(Side::Upload, 2);
            pair.exchange.finish(Outcome::Completed);
        });
        assert_eq!(handle.wait().bytes, 2);
        let counts = broker.counts();
        assert_eq!((counts.exchanging, counts.completed, counts.bytes), (0, 1, 2));
        assert!(broker.exchanges().is_empty());
        end.join().unwrap();
    });
}

#[test]
fn a_cancel_reaches_the_hook_or_finds_the_exchange_ended() {
    explore(|| {
        let broker = broker(Limits::default());
        let pair = pair_in(&broker, 1);
        let handle = pair.exchange.handle();
        let heard = Arc::new(AtomicUsize::new(0));
        let cancel = {
            let handle = handle.clone();
            thread::spawn(move || handle.cancel())
        };
        let hook = {
            let heard = heard.clone();
            move || {
                heard.fetch_add(1, Ordering::SeqCst);
            }
        };
        pair.exchange.on_cancel(hook);
        cancel.join().unwrap();
        assert!(heard.load(Ordering::SeqCst) >= 1);
        assert!(pair.exchange.is_cancelled());
        pair.exchange.finish(Outcome::Cancelled);
        assert_eq!(handle.wait().outcome, Outcome::Cancelled);
    });
}

#[test]
fn a_cancel_among_an_end_calls_no_hook_afterwards() {
    explore(|| {
        let broker = broker(Limits::default());
        let pair = pair_in(&broker, 1);
        let handle = pair.exchange.handle();
        let ended = Arc::new(AtomicUsize::new(0));
        let seen = ended.clone();
        pair.exchange.on_cancel(move || assert_eq!(seen.load(Ordering::SeqCst), 0));
        let cancel = thread::spawn(move || handle.cancel());
        pair.exchange.finish(Outcome::Completed);
        ended.store(1, Ordering::SeqCst);
        cancel.join().unwrap();
    });
}

/// Those who may wait are never more than the limit, and a place that is given back is free.
fn assert_places(limits: Limits) {
    explore(move || {
        let broker = broker(limits);
        let origin = Some(Origin(1));
        let first = waits(broker.offer(Offer { origin, ..offer(0, 1, Side::Upload) }, now()));
        let threads = [1, 2].map(|id| {
            let broker = broker.clone();
            let name = u8::try_from(id + 1).unwrap();
            thread::spawn(move || {
                broker.offer(Offer { origin, ..offer(id, name, Side::Upload) }, now())
            })
        });
        assert_eq!(broker.withdraw(first), Some(Conn(0)));
        let newcomers = threads.map(|thread| thread.join().unwrap());
        let waiting: Vec<Place> = newcomers
            .into_iter()
            .filter_map(|brokered| match brokered {
                Brokered::Waiting { place, .. } => Some(place),
                _ => None,
            })
            .collect();
        assert!(waiting.len() <= 1, "two have one place");
        assert_eq!(broker.counts().waiting, waiting.len() as u64);
        waiting.into_iter().for_each(|place| assert!(broker.withdraw(place).is_some()));
        waits(broker.offer(Offer { origin, ..offer(3, 4, Side::Upload) }, now()));
    });
}

#[test]
fn no_more_wait_than_may() {
    assert_places(Limits { waiting: 1, ..Limits::default() });
}

#[test]
fn no_more_wait_of_one_origin_than_may() {
    assert_places(Limits { waiting_per_origin: Some(1), ..Limits::default() });
}

#[test]
fn an_exclusive_offer_waits_beside_no_exchange() {
    explore(|| {
        let broker = broker(Limits::default());
        waits(broker.offer(offer(0, 1, Side::Upload), now()));
        let pairing = {
            let broker = broker.clone();
            thread::spawn(move || broker.offer(offer(1, 1, Side::Download), now()))
        };
        let exclusive = Offer { exclusive: true, ..offer(2, 1, Side::Download) };
        let exclusive = broker.offer(exclusive, now());
        match (&exclusive, &pairing.join().unwrap()) {
            (Brokered::Paired(_), Brokered::Waiting { .. }) => {}
            (refused, Brokered::Paired(_)) => {
                assert_eq!(refusal(refused), Some(Refusal::Exchanging));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_key_is_free_once_its_exchanges_have_freed_it_or_ended() {
    explore(|| {
        let broker = broker(Limits::default());
        let (one, other) = (pair_in(&broker, 1), pair_in(&broker, 1));
        let freed = thread::spawn(move || {
            one.exchange.free_key();
            one
        });
        let ended = thread::spawn(move || {
            other.exchange.finish(Outcome::Completed);
        });
        let early = Offer { exclusive: true, ..offer(2, 1, Side::Upload) };
        let early = broker.offer(early, now());
        let running = freed.join().unwrap();
        ended.join().unwrap();
        match early {
            Brokered::Waiting { place, .. } => assert!(broker.withdraw(place).is_some()),
            early => assert_eq!(refusal(&early), Some(Refusal::Exchanging)),
        }
        waits(broker.offer(Offer { exclusive: true, ..offer(3, 1, Side::Upload) }, now()));
        assert_eq!(broker.counts().exchanging, 1);
        drop(running);
    });
}

#[test]
fn who_has_subscribed_is_told_whoever_leaves() {
    explore(|| {
        let broker = broker(Limits::default());
        let before = pair_in(&broker, 1);
        drop(broker.subscribe(1));
        let end = thread::spawn(move || {
            // Finds that nobody listens any more; or that somebody does again.
            before.exchange.finish(Outcome::Completed);
        });
        let events = broker.subscribe(8);
        let pair = pair_in(&broker, 2);
        end.join().unwrap();
        pair.exchange.finish(Outcome::Completed);
        let told: Vec<_> = events.try_iter().collect();
        assert!(matches!(told.last(), Some(Event::Ended(..))), "{told:?}");
        let started = told.iter().filter(|event| matches!(event, Event::Started(_))).count();
        assert_eq!(started, 1, "{told:?}");
    });
}
