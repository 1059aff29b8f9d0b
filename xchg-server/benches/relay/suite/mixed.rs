//! Small exchanges while many peers wait and long streams run: do the long ones starve the short?

use std::thread;
use std::time::{Duration, Instant};

use super::bulk::{Control, GIB, Load};
use super::candidate::Running;
use super::exchanges;
use super::failure::Result;
use super::idle::Waiter;
use super::meter::measure;
use super::report::{Column, Sample};
use super::route::Route;

static P99_ALONE: Column = Column::new("p99_us_alone", "p99 µs alone", 0);
static P99_MIXED: Column = Column::new("p99_us_mixed", "p99 µs mixed", 0);
static RATE_ALONE: Column = Column::new("exchanges_per_second_alone", "exchanges/s alone", 0);
static RATE_MIXED: Column = Column::new("exchanges_per_second_mixed", "exchanges/s mixed", 0);
static BULK_ALONE: Column = Column::new("gib_per_second_alone", "GiB/s alone", 2);
static BULK_MIXED: Column = Column::new("gib_per_second_mixed", "GiB/s mixed", 2);
static FAILED: Column = Column::sum("failed", "failed");

const STREAMS: usize = 64;
const IN_FLIGHT: usize = 32;

/// Runs small exchanges alone, long streams alone, then both while `waiters` peers wait; `window`
/// each.
pub(crate) fn round(running: &Running, waiters: usize, window: Duration) -> Result<Sample> {
    let (sample, cost) = measure(running.process.as_ref(), || phases(running, waiters, window));
    let mut sample = sample?;
    sample.extend(cost.common());
    Ok(sample)
}

fn phases(running: &Running, waiters: usize, window: Duration) -> Result<Sample> {
    let route = &running.route;
    let small_alone = exchanges::run(route, IN_FLIGHT, window)?;
    let (bulk_alone, ()) = beside_streams(route, || {
        thread::sleep(window);
        Ok(())
    })?;
    let waiting = match &running.process {
        Some(server) if route.is_paired() => Waiter::many(route, server, waiters)?,
        _ => Vec::new(),
    };
    let (bulk_mixed, small_mixed) =
        beside_streams(route, || exchanges::run(route, IN_FLIGHT, window))?;
    drop(waiting);
    Ok(vec![
        (&P99_MIXED, small_mixed.latency_us(990)),
        (&P99_ALONE, small_alone.latency_us(990)),
        (&RATE_ALONE, small_alone.rate()),
        (&RATE_MIXED, small_mixed.rate()),
        (&BULK_ALONE, bulk_alone),
        (&BULK_MIXED, bulk_mixed),
        (&FAILED, (small_alone.failed + small_mixed.failed) as f64),
    ])
}

/// Runs long streams while `work` is done; gives their throughput meanwhile, in GiB a second.
fn beside_streams<T>(route: &Route, work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let (load, control) = (Load::open(route, STREAMS, u64::MAX)?, Control::default());
    thread::scope(|scope| {
        let streams = scope.spawn(|| load.run(&control));
        let (begin, before) = (Instant::now(), control.received());
        let done = work();
        let throughput = (control.received() - before) as f64 / GIB / begin.elapsed().as_secs_f64();
        control.stop();
        streams.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((throughput, done?))
    })
}
