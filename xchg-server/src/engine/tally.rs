//! What is counted of exchanges, once each: how they ended, between whom, how long they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use xchg_core::{ExchangeHandle, Outcome, Side, Sides};

use crate::dialect::Dialect;

const DIALECTS: usize = Dialect::ALL.len();

/// From a file that the other side was about to fetch to a person who reads a key aloud tomorrow.
const WAIT_SECONDS: [f64; 10] = [0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0];

/// From a message within a machine to a disk image over a slow line.
const EXCHANGE_SECONDS: [f64; 10] =
    [0.001, 0.01, 0.1, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0];

/// What has ended since the start.
#[derive(Debug)]
pub(crate) struct Tally {
    ended: [[[AtomicU64; DIALECTS]; DIALECTS]; OUTCOMES.len()],
    /// How long the first of two, or of several, had waited when the last came.
    pub(crate) wait_seconds: Histogram,
    pub(crate) exchange_seconds: Histogram,
    pub(crate) exchange_bytes: Histogram,
}

/// Exchanges that ended in the same way between peers that speak the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alike {
    pub(crate) outcome: Outcome,
    pub(crate) dialects: Sides<Dialect>,
    pub(crate) count: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            ended: Default::default(),
            wait_seconds: Histogram::new(WAIT_SECONDS),
            exchange_seconds: Histogram::new(EXCHANGE_SECONDS),
            // 1 KiB, 16 KiB and so on, to 256 GiB.
            exchange_bytes: Histogram::new(exponential_buckets(1024.0, 16.0, 8)),
        }
    }

    /// Two peers, or several, have been paired, the first of whom had waited so long.
    pub(crate) fn paired(&self, waited: Duration) {
        self.wait_seconds.observe(waited.as_secs_f64());
    }

    /// An exchange has ended.
    pub(crate) fn ended(&self, handle: &ExchangeHandle, outcome: Outcome, took: Duration) {
        self.exchange_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a bucket and a sum of it are approximate")]
        self.exchange_bytes.observe(handle.bytes() as f64);
        let index = OUTCOMES.iter().position(|&known| known == outcome);
        if let (Some(index), Some(spoken)) = (index, spoken(handle)) {
            // Relaxed: the counters guard no other memory.
            self.ended[index][spoken.upload as usize][spoken.download as usize]
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many exchanges have ended, of each kind of which there were any.
    pub(crate) fn all_ended(&self) -> impl Iterator<Item = Alike> {
        OUTCOMES.iter().zip(&self.ended).flat_map(|(&outcome, uploads)| {
            Dialect::ALL.iter().zip(uploads).flat_map(move |(&upload, downloads)| {
                Dialect::ALL.iter().zip(downloads).filter_map(move |(&download, count)| {
                    let count = count.load(Ordering::Relaxed);
                    let dialects = Sides { upload, download };
                    (count > 0).then_some(Alike { outcome, dialects, count })
                })
            })
        })
    }
}

/// The ways in which an exchange ends.
const OUTCOMES: [Outcome; 5] = [
    Outcome::Completed,
    Outcome::Lost(Side::Upload),
    Outcome::Lost(Side::Download),
    Outcome::Cancelled,
    Outcome::TimedOut,
];

/// What an exchange's tag says of those who speak in it: 0 is nothing.
pub(crate) fn tag(spoken: Sides<Dialect>) -> u32 {
    let place = spoken.upload as usize * DIALECTS + spoken.download as usize;
    u32::try_from(place + 1).expect("dialects are few")
}

/// What the peers of an exchange speak; the first of the receivers, where there are several.
pub(crate) fn spoken(handle: &ExchangeHandle) -> Option<Sides<Dialect>> {
    let place = usize::try_from(handle.tag().checked_sub(1)?).ok()?;
    let dialect = |index: usize| Dialect::ALL.get(index).copied();
    Some(Sides { upload: dialect(place / DIALECTS)?, download: dialect(place % DIALECTS)? })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use xchg_core::{Broker, Brokered, Exchange, Key, Limits, Offer, Realm, Side};

    use super::*;

    fn exchange(upload: Dialect, download: Dialect) -> Exchange {
        let broker = Broker::new(Limits::default());
        let offer = |side| Offer::new(Realm::Plain, Key::parse(b"key").unwrap(), side, ());
        assert!(matches!(
            broker.offer(offer(Side::Upload), Instant::now()),
            Brokered::Waiting { .. }
        ));
        match broker.offer(offer(Side::Download), Instant::now()) {
            Brokered::Paired(pair) => {
                pair.exchange.set_tag(tag(Sides { upload, download }));
                pair.exchange
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_two_dialects_and_every_outcome_are_counted_apart() {
        let tally = Tally::new();
        let mut expected = Vec::new();
        for outcome in OUTCOMES {
            for upload in Dialect::ALL {
                for download in Dialect::ALL {
                    let exchange = exchange(upload, download);
                    let dialects = spoken(&exchange.handle()).unwrap();
                    assert_eq!((dialects.upload, dialects.download), (upload, download));
                    tally.ended(&exchange.handle(), outcome, Duration::ZERO);
                    exchange.finish(outcome);
                    expected.push(Alike { outcome, dialects, count: 1 });
                }
            }
        }
        assert_eq!(tally.all_ended().collect::<Vec<_>>(), expected);
    }
}
