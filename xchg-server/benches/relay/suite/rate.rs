//! Small exchanges: how many a second, and how long each takes.

use std::time::Duration;

use super::candidate::Running;
use super::exchanges::run;
use super::failure::Result;
use super::meter::measure;
use super::report::{Column, Sample};

static RATE: Column = Column::new("exchanges_per_second", "exchanges/s", 0);
static P50: Column = Column::new("p50_us", "p50 µs", 0);
static P99: Column = Column::new("p99_us", "p99 µs", 0);
static P999: Column = Column::new("p999_us", "p99.9 µs", 0);
static SERVER: Column = Column::new("server_us_per_exchange", "server µs each", 1);
static FAILED: Column = Column::sum("failed", "failed");

/// Starts exchanges for `window`, keeping `in_flight` of them under way.
pub(crate) fn round(running: &Running, in_flight: usize, window: Duration) -> Result<Sample> {
    let (finished, cost) =
        measure(running.process.as_ref(), || run(&running.route, in_flight, window));
    let finished = finished?;
    let exchanges = finished.count();
    let mut sample = vec![
        (&RATE, finished.rate()),
        (&P50, finished.latency_us(500)),
        (&P99, finished.latency_us(990)),
        (&P999, finished.latency_us(999)),
        (&SERVER, cost.server_time.as_secs_f64() * 1e6 / exchanges),
        (&FAILED, finished.failed as f64),
    ];
    sample.extend(cost.common());
    Ok(sample)
}
