//! The broker under many threads: nothing lost, nothing paired twice, drains that see every
//! exchange.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xchg_core::{
    Broker, Brokered, Event, ExchangeHandle, Key, Limits, NoEvent, Offer, Origin, Outcome, Pair,
    Place, Realm, Refusal, Role, Side,
};

/// A connection that can be neither copied nor made twice.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conn {
    id: usize,
    key: u8,
    side: Side,
}

fn key(name: u8) -> Key {
    Key::parse(&[name]).unwrap()
}

fn offer_of(id: usize, name: u8, side: Side) -> Offer<Conn> {
    Offer::new(Realm::Plain, key(name), side, Conn { id, key: name, side })
}

#[expect(clippy::disallowed_methods, reason = "tests bring the time along")]
fn now() -> Instant {
    Instant::now()
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
    waits(broker.offer(offer_of(0, name, Side::Download), now()));
    paired(broker.offer(offer_of(1, name, Side::Upload), now()))
}

fn assert_is_a_pair(pair: &Pair<Conn>) {
    assert_eq!(pair.upload.side, Side::Upload);
    assert_eq!(pair.download.side, Side::Download);
    assert_eq!(pair.upload.key, pair.download.key);
    assert!(pair.spares.is_empty());
}

const THREADS: usize = 6;
const OFFERS: usize = 3_000;

/// The n-th of a thread's offers: few keys, so that threads meet, and sides that come in no even
/// order.
fn nth_offer(thread: usize, n: usize) -> Offer<Conn> {
    let id = thread * OFFERS + n;
    let side = Side::BOTH[(id / 3 + thread) % 2];
    offer_of(id, u8::try_from(id * 7 % 23).unwrap(), side)
}

#[test]
fn offers_of_many_threads_are_each_paired_once() {
    let broker = Broker::new(Limits::default());
    let offer_all = |thread| {
        let mut seen = Vec::new();
        for n in 0..OFFERS {
            if let Brokered::Paired(pair) = broker.offer(nth_offer(thread, n), now()) {
                assert_is_a_pair(&pair);
                seen.extend([pair.upload.id, pair.download.id]);
                pair.exchange.add_moved(Side::Upload, 1);
                pair.exchange.finish(Outcome::Completed);
            }
        }
        seen
    };
    let mut seen: Vec<usize> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || offer_all(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let pairs = seen.len() as u64 / 2;
    let counts = broker.counts();
    assert_eq!((counts.completed, counts.bytes, counts.failed), (pairs, pairs, 0));
    assert_eq!(counts.waiting, (THREADS * OFFERS - seen.len()) as u64);

    let (released, drained) = broker.drain();
    assert_eq!(drained.wait_until(None), 0);
    let left: BTreeSet<_> =
        released.iter().map(|offer| (offer.conn.key, offer.conn.side)).collect();
    assert!(left.iter().all(|&(key, side)| !left.contains(&(key, !side))), "none left its match");
    seen.extend(released.iter().map(|offer| offer.conn.id));
    seen.sort_unstable();
    assert_eq!(seen, (0..THREADS * OFFERS).collect::<Vec<_>>(), "each came out once");
}

#[test]
fn a_drain_among_offers_loses_nothing_and_sees_every_exchange() {
    for round in 0..20 {
        let broker = Broker::new(Limits::default());
        let events = broker.subscribe(2 * THREADS * OFFERS);
        let drained_already = AtomicBool::new(false);
        let offered = AtomicUsize::new(0);
        let offer_all = |thread| {
            let mut out = Vec::new();
            for n in 0..OFFERS / 10 {
                offered.fetch_add(1, Ordering::Relaxed);
                match broker.offer(nth_offer(thread, n), now()) {
                    Brokered::Waiting { .. } => {}
                    Brokered::Refused { conn, why } => {
                        assert_eq!(why, Refusal::Closed);
                        out.push(conn);
                    }
                    Brokered::Paired(pair) => {
                        thread::yield_now();
                        assert!(!drained_already.load(Ordering::SeqCst), "an exchange still ran");
                        pair.exchange.finish(Outcome::Completed);
                        out.extend([pair.upload, pair.download]);
                    }
                }
            }
            out
        };
        let mut out: Vec<Conn> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || offer_all(n))).collect();
            // Each round drains at another moment, as far as the scheduler has it.
            while offered.load(Ordering::Relaxed) < round * 60 {
                thread::yield_now();
            }
            let (released, drained) = broker.drain();
            assert_eq!(drained.wait_until(None), 0);
            drained_already.store(true, Ordering::SeqCst);
            let mut out: Vec<_> = released.into_iter().map(|offer| offer.conn).collect();
            assert!(broker.exchanges().is_empty());
            threads.into_iter().for_each(|thread| out.extend(thread.join().unwrap()));
            out
        });
        out.sort();
        assert_eq!(out.len(), THREADS * OFFERS / 10);
        out.dedup();
        assert_eq!(out.len(), THREADS * OFFERS / 10, "each came out once");
        let (started, ended): (Vec<_>, Vec<_>) =
            events.try_iter().partition(|event| matches!(event, Event::Started(_)));
        assert_eq!(started.len(), ended.len());
        assert_eq!(ended.len() as u64, broker.counts().completed);
        assert!(broker.counts().draining);
    }
}

#[test]
fn of_a_withdrawal_and_a_pairing_one_wins() {
    let broker = Broker::new(Limits::default());
    let barrier = Barrier::new(2);
    let (mut withdrawn, mut rounds_paired) = (0, 0);
    for _ in 0..2_000 {
        let place = waits(broker.offer(offer_of(0, 1, Side::Upload), now()));
        let (taken_back, brokered) = thread::scope(|scope| {
            let withdrawal = scope.spawn(|| {
                barrier.wait();
                broker.withdraw(place)
            });
            barrier.wait();
            let brokered = broker.offer(offer_of(1, 1, Side::Download), now());
            (withdrawal.join().unwrap(), brokered)
        });
        match (taken_back, brokered) {
            (Some(conn), Brokered::Waiting { place, .. }) => {
                assert_eq!(conn.id, 0);
                assert_eq!(broker.withdraw(place).unwrap().id, 1);
                withdrawn += 1;
            }
            (None, Brokered::Paired(pair)) => {
                assert_is_a_pair(&pair);
                rounds_paired += 1;
            }
            other => panic!("both or neither won: {other:?}"),
        }
        assert_eq!(broker.withdraw(place), None, "the ticket is used");
        assert_eq!(broker.counts().waiting, 0);
    }
    assert_eq!(withdrawn + rounds_paired, 2_000);
}

#[test]
fn the_limits_hold_across_keys_and_threads() {
    let base = Limits::default();
    assert_most_that_wait(Limits { waiting: 50, ..base }, Refusal::Full, 50);
    assert_most_that_wait(Limits { waiting_per_origin: Some(30), ..base }, Refusal::OriginFull, 90);
    assert_most_that_wait(Limits { waiting_per_key: 2, ..base }, Refusal::KeyFull, 200);
}

/// Offers of three origins under a hundred keys, from many threads: `most` of them may wait, the
/// others are refused.
fn assert_most_that_wait(limits: Limits, refusal: Refusal, most: usize) {
    let broker = Broker::new(limits);
    let offer_all = |thread: usize| {
        let mut taken = Vec::new();
        for name in 0..100 {
            let origin = Some(Origin(thread as u64 % 3));
            let offer = Offer { origin, ..offer_of(thread, name, Side::Upload) };
            match broker.offer(offer, now()) {
                Brokered::Waiting { place, .. } => taken.push(place),
                Brokered::Refused { why, .. } => assert_eq!(why, refusal),
                Brokered::Paired(_) => panic!("there are uploads only"),
            }
            assert!(broker.counts().waiting <= most as u64);
        }
        taken
    };
    let places: Vec<Place> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || offer_all(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(places.len(), most);
    for place in places {
        assert!(broker.withdraw(place).is_some());
    }
    waits(broker.offer(offer_of(0, 0, Side::Upload), now()));
}

#[test]
fn who_waits_is_given_back_at_its_deadline() {
    let broker = Broker::new(Limits::default());
    let start = now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(broker.next_deadline(), None);
    for id in [3, 1, 2] {
        let deadline = Some(at(id as u64));
        let name = u8::try_from(id).unwrap();
        waits(broker.offer(Offer { deadline, ..offer_of(id, name, Side::Upload) }, start));
    }
    assert_eq!(broker.next_deadline(), Some(at(1)));
    assert_eq!(broker.expire(start), []);
    let mut expired: Vec<_> = broker.expire(at(2)).iter().map(|conn| conn.id).collect();
    expired.sort_unstable();
    assert_eq!(expired, [1, 2]);
    assert_eq!(broker.next_deadline(), Some(at(3)));
    assert_eq!(broker.counts().waiting, 1);
}

#[test]
fn one_seed_is_one_order() {
    let order = |seed| {
        let (broker, start) = (Broker::with_seed(Limits::default(), seed), now());
        for id in 0..100 {
            let name = u8::try_from(id).unwrap();
            let deadline = Some(start);
            waits(broker.offer(Offer { deadline, ..offer_of(id, name, Side::Upload) }, start));
        }
        broker.expire(start).into_iter().map(|conn| conn.id).collect::<Vec<_>>()
    };
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(8));
}

#[test]
fn an_exclusive_offer_is_refused_while_another_waits_or_is_exchanging() {
    let broker = Broker::new(Limits::default());
    let exclusive =
        |id, side| broker.offer(Offer { exclusive: true, ..offer_of(id, 1, side) }, now());
    let refusal = |brokered| match brokered {
        Brokered::Refused { why, .. } => Some(why),
        _ => None,
    };
    waits(exclusive(0, Side::Upload));
    assert_eq!(refusal(exclusive(1, Side::Upload)), Some(Refusal::SideTaken));
    let first = paired(exclusive(2, Side::Download));
    assert_eq!(refusal(exclusive(3, Side::Upload)), Some(Refusal::Exchanging));
    assert_eq!(refusal(exclusive(4, Side::Download)), Some(Refusal::Exchanging));
    // Others may queue, and be paired, under a key that is in use.
    let second = pair_in(&broker, 1);
    first.exchange.finish(Outcome::Completed);
    let why = refusal(exclusive(5, Side::Upload));
    assert_eq!(why, Some(Refusal::Exchanging), "one exchange of two has ended");
    second.exchange.finish(Outcome::Completed);
    waits(exclusive(6, Side::Upload));
}

#[test]
fn an_exchange_whose_payload_is_sent_stands_in_nobodys_way() {
    let broker = Broker::new(Limits::default());
    let exclusive =
        |id, side| broker.offer(Offer { exclusive: true, ..offer_of(id, 1, side) }, now());
    let (first, second) = (pair_in(&broker, 1), pair_in(&broker, 1));
    for _ in 0..2 {
        first.exchange.free_key();
        let refused = exclusive(0, Side::Download);
        assert!(
            matches!(refused, Brokered::Refused { why: Refusal::Exchanging, .. }),
            "{refused:?}"
        );
    }
    second.exchange.free_key();
    waits(exclusive(1, Side::Download));
    assert_eq!(broker.counts().exchanging, 2, "they run all the same");
    let third = paired(exclusive(2, Side::Upload));
    first.exchange.finish(Outcome::Completed);
    second.exchange.finish(Outcome::Completed);
    let refused = exclusive(3, Side::Upload);
    assert!(matches!(refused, Brokered::Refused { why: Refusal::Exchanging, .. }), "{refused:?}");
    drop(third);
    waits(exclusive(4, Side::Upload));
}

#[test]
fn events_tell_of_each_start_and_end_in_order() {
    let broker = Broker::new(Limits::default());
    let (events, one_only, gone) = (broker.subscribe(10), broker.subscribe(1), broker.subscribe(9));
    drop(gone);
    let pair = pair_in(&broker, 1);
    let id = pair.exchange.id();
    pair.exchange.add_moved(Side::Upload, 5);
    pair.exchange.finish(Outcome::Lost(Side::Upload));
    let told: Vec<_> = events.try_iter().collect();
    let [Event::Started(started), Event::Ended(handle, ended)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((started.id(), handle.id()), (id, id));
    assert_eq!((ended.outcome, ended.bytes), (Outcome::Lost(Side::Upload), 5));
    assert_eq!(handle.ended(), Some(*ended));
    assert_eq!(one_only.try_iter().count(), 1, "who lags misses events and holds nobody up");
}

#[test]
fn whoever_waits_for_the_end_finds_it_counted() {
    let broker = Broker::new(Limits::default());
    for n in 1..=500 {
        let pair = pair_in(&broker, 1);
        let handle = pair.exchange.handle();
        thread::scope(|scope| {
            scope.spawn(|| {
                let ended = handle.wait();
                assert_eq!((ended.outcome, ended.bytes), (Outcome::Completed, 2));
                let counts = broker.counts();
                assert_eq!((counts.exchanging, counts.completed, counts.bytes), (0, n, 2 * n));
            });
            pair.exchange.add_moved(Side::Upload, 2);
            pair.exchange.finish(Outcome::Completed);
        });
    }
}

#[test]
fn handles_show_how_far_an_exchange_is() {
    let broker = Broker::new(Limits::default());
    let start = now();
    waits(broker.offer(offer_of(0, 7, Side::Upload), start));
    let pair = paired(broker.offer(offer_of(1, 7, Side::Download), start));
    let [handle] = &broker.exchanges()[..] else { panic!("one runs") };
    assert_eq!((handle.key(), handle.realm()), (&key(7), Realm::Plain));
    assert_eq!((handle.started(), handle.ended()), (start, None));
    pair.exchange.add_moved(Side::Upload, 10);
    pair.exchange.add_moved(Side::Upload, 5);
    pair.exchange.add_moved(Side::Download, 1);
    assert_eq!((handle.moved_from(Side::Upload), handle.moved_from(Side::Download)), (15, 1));
    drop(pair);
    let ended = handle.ended().expect("dropped unfinished");
    assert_eq!((ended.outcome, ended.bytes), (Outcome::Cancelled, 15));
    assert_eq!(broker.counts().failed, 1);
    assert!(broker.exchanges().is_empty());
}

#[test]
fn an_exchange_is_found_by_its_name_while_it_runs_and_shows_its_tag() {
    let broker = Broker::new(Limits::default());
    let pair = pair_in(&broker, 1);
    let id = pair.exchange.id();
    assert_eq!(broker.exchange(id).unwrap().tag(), 0);
    pair.exchange.set_tag(7);
    let handle = broker.exchange(id).unwrap();
    assert_eq!((handle.id(), handle.tag()), (id, 7));
    pair.exchange.finish(Outcome::Completed);
    assert!(broker.exchange(id).is_none());
    assert_eq!(handle.tag(), 7);
}

#[test]
fn who_waits_is_counted_in_their_realm() {
    let broker = Broker::new(Limits::default());
    let waiting = || Realm::ALL.map(|realm| broker.waiting_in(realm));
    for name in 0..20 {
        waits(broker.offer(offer_of(0, name, Side::Upload), now()));
    }
    let sealed = Offer { realm: Realm::Sealed, ..offer_of(1, 0, Side::Download) };
    let place = waits(broker.offer(sealed, now()));
    assert_eq!(waiting(), [20, 1, 0]);
    assert!(broker.withdraw(place).is_some());
    drop(paired(broker.offer(offer_of(2, 3, Side::Download), now())));
    assert_eq!(waiting(), [19, 0, 0]);
    drop(broker.drain());
    assert_eq!(waiting(), [0, 0, 0]);
}

#[test]
fn between_equals_the_bytes_of_both_ways_count() {
    let broker = Broker::new(Limits::default());
    for (realm, bytes) in [(Realm::Sealed, 10), (Realm::Transit, 11)] {
        let role = |side| match realm {
            Realm::Transit => Role::Label(None),
            _ => Role::Side(side),
        };
        let offer = |side| Offer { realm, role: role(side), ..offer_of(0, 1, side) };
        waits(broker.offer(offer(Side::Upload), now()));
        let pair = paired(broker.offer(offer(Side::Download), now()));
        let handle = pair.exchange.handle();
        pair.exchange.add_moved(Side::Upload, 10);
        pair.exchange.add_moved(Side::Download, 1);
        assert_eq!(pair.exchange.bytes(), bytes);
        drop(pair);
        let ended = handle.wait();
        assert_eq!((ended.outcome, ended.bytes), (Outcome::Cancelled, bytes));
    }
}

#[test]
fn a_cancel_reaches_the_hook_whichever_comes_first() {
    let broker = Broker::new(Limits::default());
    for cancel_first in [true, false] {
        let pair = pair_in(&broker, 1);
        let handle: ExchangeHandle = pair.exchange.handle();
        let (said, heard) = crossbeam_channel::unbounded();
        assert!(!pair.exchange.is_cancelled());
        if cancel_first {
            handle.cancel();
        }
        pair.exchange.on_cancel(move || said.send(()).unwrap());
        if !cancel_first {
            assert!(heard.is_empty());
            handle.cancel();
        }
        assert_eq!(heard.len(), 1);
        assert!(pair.exchange.is_cancelled());
        pair.exchange.finish(Outcome::Cancelled);
        handle.cancel();
        assert_eq!(heard.len(), 1, "an exchange that has ended is not cancelled");
        assert!(heard.recv().is_ok() && heard.recv().is_err(), "the hook is dropped at the end");
    }
}

#[test]
fn a_drain_that_is_not_awaited_to_the_end_says_how_many_run() {
    let broker = Broker::new(Limits::default());
    let pairs = [pair_in(&broker, 1), pair_in(&broker, 2)];
    waits(broker.offer(offer_of(9, 3, Side::Upload), now()));
    let (released, drained) = broker.drain();
    assert_eq!(released.iter().map(|offer| offer.conn.id).collect::<Vec<_>>(), [9]);
    assert_eq!(drained.wait_until(Some(now())), 2);
    drop(pairs);
    assert_eq!(drained.wait_until(None), 0);
    let late = broker.offer(offer_of(10, 3, Side::Upload), now());
    assert!(matches!(late, Brokered::Refused { why: Refusal::Closed, .. }), "{late:?}");
}

#[test]
fn whoever_asks_for_an_event_learns_whether_one_may_still_come() {
    let broker = Broker::new(Limits::default());
    let mut events = broker.subscribe(0);
    assert_eq!(events.try_recv().unwrap_err(), NoEvent::Yet);
    assert_eq!(events.recv_timeout(Duration::ZERO).unwrap_err(), NoEvent::Yet);
    let pair = pair_in(&broker, 1);
    drop(broker);
    assert!(matches!(events.recv_timeout(Duration::ZERO), Ok(Event::Started(_))));
    assert_eq!(events.try_recv().unwrap_err(), NoEvent::Yet, "the exchange runs");
    drop(pair);
    assert!(matches!(events.next(), Some(Event::Ended(..))));
    assert_eq!(events.try_recv().unwrap_err(), NoEvent::Ever);
    assert_eq!(events.recv_timeout(Duration::ZERO).unwrap_err(), NoEvent::Ever);
    assert_eq!(events.recv().unwrap_err(), NoEvent::Ever);
    assert!(events.next().is_none());
}
