//! What a piece of work cost: time, processor time of the server and of the benchmark itself,
//! memory.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{ServerProcess, busy_processor_time, own_processor_time};
use super::report::{Column, Sample};

/// How often memory is looked at while work is measured: seldom enough to cost nothing.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);

/// What a piece of work cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) elapsed: Duration,
    /// Zero where there is no server.
    pub(crate) server_time: Duration,
    pub(crate) generator_time: Duration,
    /// Most memory of the server, in bytes.
    pub(crate) peak_resident_bytes: u64,
    /// Share of all processors that went to other programs.
    pub(crate) others: f64,
}

static GENERATOR_BUSY: Column = Column::new("generator_percent_of_a_processor", "generator %", 0);
static MEMORY: Column = Column::new("peak_resident_mib", "peak MiB", 1);
static OTHERS: Column = Column::new("other_programs_percent", "others %", 0);

impl Cost {
    /// The numbers that mean the same in every workload.
    pub(crate) fn common(&self) -> Sample {
        vec![
            (
                &GENERATOR_BUSY,
                100.0 * self.generator_time.as_secs_f64() / self.elapsed.as_secs_f64(),
            ),
            (&MEMORY, self.peak_resident_bytes as f64 / f64::from(1 << 20)),
            (&OTHERS, 100.0 * self.others),
        ]
    }
}

/// Does `work` and says what it cost the server, if there is one, and this process.
pub(crate) fn measure<T>(server: Option<&ServerProcess>, work: impl FnOnce() -> T) -> (T, Cost) {
    let server_time = || server.map_or(Duration::ZERO, ServerProcess::processor_time);
    let memory = || server.map_or(0, ServerProcess::peak_resident_bytes);
    thread::scope(|scope| {
        let (finished, wait) = mpsc::channel::<()>();
        let watch = scope.spawn(move || {
            let mut peak = memory();
            while wait.recv_timeout(MEMORY_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(memory());
            }
            peak.max(memory())
        });
        let before = (server_time(), own_processor_time(), busy_processor_time());
        let begin = Instant::now();
        let value = work();
        let elapsed = begin.elapsed();
        let after = (server_time(), own_processor_time(), busy_processor_time());
        drop(finished);
        let server_time = after.0.saturating_sub(before.0);
        let generator_time = after.1.saturating_sub(before.1);
        let others = after.2.saturating_sub(before.2).saturating_sub(server_time + generator_time);
        let cost = Cost {
            elapsed,
            server_time,
            generator_time,
            others: others.as_secs_f64() / elapsed.as_secs_f64() / processors() as f64,
            peak_resident_bytes: watch.join().unwrap_or(0),
        };
        (value, cost)
    })
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Waits until the server does nothing any more: all that was sent to it has been dealt with.
///
/// Gives up after a few seconds, for a server that is never quiet; what is measured next then shows
/// it.
pub(crate) fn settle(server: &ServerProcess) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut quiet = 0;
    while quiet < 5 && Instant::now() < deadline {
        let before = server.processor_time();
        thread::sleep(Duration::from_millis(40));
        quiet = if server.processor_time() == before { quiet + 1 } else { 0 };
    }
}
