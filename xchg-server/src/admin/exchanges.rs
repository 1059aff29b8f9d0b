//! The list of the exchanges that run, made while it is sent.

use std::collections::HashMap;
use std::fmt::Write;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use xchg_core::{ExchangeHandle, ExchangeId};

use crate::dialect::http::ChunkedEncoder;
use crate::engine::tally::spoken;

/// Exchanges listed at most.
const MAX_LISTED: usize = 10_000;

/// Exchanges listed at a time: some 32 KiB.
const AT_A_TIME: usize = 200;

/// How old what a rate is measured from must be, at least.
const RATE_OVER: Duration = Duration::from_secs(1);

/// How fast exchanges went since they were last listed.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<ExchangeId, Measured>);

#[derive(Debug)]
struct Measured {
    handle: ExchangeHandle,
    /// What a rate is measured from, and what it will be measured from when that is old enough.
    from: (Instant, u64),
    next: (Instant, u64),
}

impl Rates {
    /// Forgets the exchanges that have ended.
    fn tidy(&mut self) {
        self.0.retain(|_, measured| measured.handle.ended().is_none());
    }

    /// Bytes a second since the exchange was last asked for, a second ago or before; or else since
    /// it began.
    fn rate(&mut self, handle: &ExchangeHandle, bytes: u64, now: Instant) -> u64 {
        let began = (handle.started(), 0);
        let measured = self.0.entry(handle.id()).or_insert_with(|| Measured {
            handle: handle.clone(),
            from: began,
            next: began,
        });
        if now.saturating_duration_since(measured.next.0) >= RATE_OVER {
            measured.from = measured.next;
            measured.next = (now, bytes);
        }
        let (at, before) = measured.from;
        let nanos = now.saturating_duration_since(at).as_nanos();
        let moved = u128::from(bytes.saturating_sub(before));
        u64::try_from(moved * 1_000_000_000 / nanos.max(1)).unwrap_or(u64::MAX)
    }
}

/// A list being sent.
#[derive(Debug)]
pub(super) struct Listing {
    rest: std::vec::IntoIter<ExchangeHandle>,
    left_out: usize,
    /// Unless its end is that of the connection.
    chunked: Option<ChunkedEncoder>,
}

impl Listing {
    /// A list of the first of `handles`.
    pub(super) fn new(
        mut handles: Vec<ExchangeHandle>,
        chunked: Option<ChunkedEncoder>,
        rates: &mut Rates,
    ) -> Self {
        rates.tidy();
        let left_out = handles.len().saturating_sub(MAX_LISTED);
        handles.truncate(MAX_LISTED);
        Self { rest: handles.into_iter(), left_out, chunked }
    }

    /// Appends what is next of the answer's body to `out`. Gives whether there is more behind it.
    pub(super) fn next(&mut self, rates: &mut Rates, now: Instant, out: &mut Vec<u8>) -> bool {
        let mut lines = String::new();
        for handle in self.rest.by_ref().take(AT_A_TIME) {
            write_line(&mut lines, &handle, rates, now);
        }
        let goes_on = self.rest.len() > 0;
        if !goes_on && self.left_out > 0 {
            writeln!(lines, "{{\"left_out\":{}}}", self.left_out).expect("a string takes it");
        }
        let Some(encoder) = &mut self.chunked else {
            out.extend_from_slice(lines.as_bytes());
            return goes_on;
        };
        if let Some(len) = NonZeroU64::new(lines.len() as u64) {
            out.extend_from_slice(encoder.head(len).as_ref());
            out.extend_from_slice(lines.as_bytes());
        }
        if !goes_on {
            out.extend_from_slice(encoder.last());
        }
        goes_on
    }
}

/// Nothing that a peer chose is in it: keys are shown by their fingerprints.
fn write_line(lines: &mut String, handle: &ExchangeHandle, rates: &mut Rates, now: Instant) {
    let bytes = handle.bytes();
    let rate = rates.rate(handle, bytes, now);
    let seconds = now.saturating_duration_since(handle.started()).as_secs_f64();
    let (id, realm, key) = (handle.id(), handle.realm().as_str(), handle.key().fingerprint());
    let spoken = spoken(handle);
    let upload = spoken.map_or("unknown", |spoken| spoken.upload.as_str());
    let download = spoken.map_or("unknown", |spoken| spoken.download.as_str());
    writeln!(
        lines,
        "{{\"exchange\":{id},\"realm\":\"{realm}\",\"key\":\"{key}\",\"upload_dialect\":\"{upload}\",\
         \"download_dialect\":\"{download}\",\"bytes\":{bytes},\"seconds\":{seconds:.3},\"rate\":{rate}}}"
    )
    .expect("a string takes it");
}

#[cfg(test)]
mod tests {
    use xchg_core::{Broker, Brokered, Exchange, Key, Limits, Offer, Realm, Side};

    use super::*;

    fn exchange(now: Instant) -> Exchange {
        let broker = Broker::new(Limits::default());
        let offer = |side| Offer::new(Realm::Plain, Key::parse(b"key").unwrap(), side, ());
        assert!(matches!(broker.offer(offer(Side::Upload), now), Brokered::Waiting { .. }));
        match broker.offer(offer(Side::Download), now) {
            Brokered::Paired(pair) => pair.exchange,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rate_is_that_of_the_time_since_it_was_last_asked_for() {
        let start = Instant::now();
        let exchange = exchange(start);
        let (handle, mut rates) = (exchange.handle(), Rates::default());
        let mut rate = |seconds: f64| {
            let now = start + Duration::from_secs_f64(seconds);
            rates.rate(&handle, handle.bytes(), now)
        };
        exchange.add_moved(Side::Upload, 1000);
        assert_eq!(rate(10.0), 100, "at first since it began");
        exchange.add_moved(Side::Upload, 1000);
        assert_eq!(rate(12.0), 500, "then since the last time");
        assert_eq!(rate(12.1), 1000 * 10 / 21, "whoever asks close behind gets no worse a number");
        assert_eq!(rate(14.0), 0, "it stands still");
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let now = Instant::now();
        let (one, other, mut rates) = (exchange(now), exchange(now), Rates::default());
        // They are of two brokers, which both begin to count at 1.
        rates.rate(&one.handle(), 0, now);
        rates.tidy();
        assert_eq!(rates.0.len(), 1);
        one.finish(xchg_core::Outcome::Completed);
        rates.tidy();
        assert_eq!(rates.0.len(), 0);
        drop(other);
    }

    #[test]
    fn a_list_is_bounded_and_says_what_it_leaves_out() {
        let exchange = exchange(Instant::now());
        let handles = vec![exchange.handle(); MAX_LISTED + 3];
        let mut rates = Rates::default();
        let mut listing = Listing::new(handles, Some(ChunkedEncoder::new()), &mut rates);
        let (mut out, mut parts) = (Vec::new(), 1);
        while listing.next(&mut rates, Instant::now(), &mut out) {
            parts += 1;
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(parts, MAX_LISTED / AT_A_TIME);
        assert_eq!(text.matches("{\"exchange\":1,").count(), MAX_LISTED);
        assert!(text.ends_with("{\"left_out\":3}\n\r\n0\r\n\r\n"), "{}", &text[text.len() - 300..]);
    }
}
