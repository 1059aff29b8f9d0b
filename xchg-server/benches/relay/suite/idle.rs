//! What many waiting peers cost: memory and processor time of the server, and delay for those who
//! are paired.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::candidate::Running;
use super::exchanges::PAYLOAD_BYTES;
use super::failure::{During, Failure, Result};
use super::meter::settle;
use super::process::ServerProcess;
use super::report::{Column, Sample};
use super::route::{Route, Side};
use super::statistics::percentile;

static MEMORY: Column = Column::new("bytes_per_waiter", "bytes/waiter", 0);
static EMPTY: Column = Column::new("resident_mib_empty", "MiB empty", 1);
static FULL: Column = Column::new("resident_mib_waiting", "MiB waiting", 1);
static AFTER: Column = Column::new("resident_mib_after", "MiB after", 1);
static IDLE: Column = Column::new("idle_processor_percent", "idle CPU %", 2);
static P50_ALONE: Column = Column::new("pairing_p50_us_alone", "p50 µs alone", 0);
static P99_ALONE: Column = Column::new("pairing_p99_us_alone", "p99 µs alone", 0);
static P50_AMONG: Column = Column::new("pairing_p50_us_among", "p50 µs among", 0);
static P99_AMONG: Column = Column::new("pairing_p99_us_among", "p99 µs among", 0);

/// Pairings that are timed, without the other waiting peers and among them.
const TIMED: usize = 1_000;

const MIB: f64 = (1 << 20) as f64;

/// Has `count` peers wait, watches the server for `window` while nothing happens, then pairs every
/// one of them.
///
/// # Errors
/// One of those who waited does not get its payload.
pub(crate) fn round(running: &Running, count: usize, window: Duration) -> Result<Sample> {
    let (route, server) = (&running.route, running.server()?);
    let alone = pair_alone(route, server, TIMED.min(count))?;
    let empty = server.resident_bytes();
    let mut waiters = Waiter::many(route, server, count)?;
    let full = server.resident_bytes();
    let idle = processor_share(server, window);
    let others = waiters.split_off(TIMED.min(count));
    let among = pair_all(route, waiters)?;
    pair_all(route, others)?;
    settle(server);
    let after = server.resident_bytes();
    Ok(vec![
        (&MEMORY, (full as f64 - empty as f64) / count as f64),
        (&EMPTY, empty as f64 / MIB),
        (&FULL, full as f64 / MIB),
        (&AFTER, after as f64 / MIB),
        (&IDLE, idle * 100.0),
        (&P50_ALONE, percentile(&alone, 500) as f64 / 1e3),
        (&P99_ALONE, percentile(&alone, 990) as f64 / 1e3),
        (&P50_AMONG, percentile(&among, 500) as f64 / 1e3),
        (&P99_AMONG, percentile(&among, 990) as f64 / 1e3),
    ])
}

/// Times pairings with few peers waiting: as many as it takes to not wait for the server before
/// each.
fn pair_alone(route: &Route, server: &ServerProcess, count: usize) -> Result<Vec<u64>> {
    let mut latencies = Vec::with_capacity(count);
    while latencies.len() < count {
        latencies.extend(pair_all(route, Waiter::many(route, server, 100)?)?);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// Pairs one after the other; gives what each took in nanoseconds, ascending.
fn pair_all(route: &Route, waiters: Vec<Waiter>) -> Result<Vec<u64>> {
    let mut latencies = Vec::with_capacity(waiters.len());
    for waiter in waiters {
        let latency = waiter.pair(route)?;
        latencies.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// Share of one processor that the server uses although nothing happens.
fn processor_share(server: &ServerProcess, window: Duration) -> f64 {
    let before = server.processor_time();
    thread::sleep(window);
    (server.processor_time() - before).as_secs_f64() / window.as_secs_f64()
}

/// A downloader whose counterpart has not come.
pub(crate) struct Waiter {
    serial: u32,
    stream: TcpStream,
}

impl Waiter {
    /// Has `count` peers wait, each for a key of its own; returns once the server has taken all of
    /// them in.
    pub(crate) fn many(route: &Route, server: &ServerProcess, count: usize) -> Result<Vec<Self>> {
        let waiter = |number| {
            let serial = route.next_serial();
            let stream = route.greet(Side::Download, serial);
            let stream =
                stream.during(format_args!("peer {number} of {count} cannot connect to wait"))?;
            Ok(Self { serial, stream })
        };
        let waiters = (1..=count).map(waiter).collect();
        settle(server);
        waiters
    }

    /// Brings the counterpart; gives the time from its connecting to the end of the stream here.
    fn pair(mut self, route: &Route) -> Result<Duration> {
        let begin = Instant::now();
        self.upload(route).during("a waiting peer's counterpart cannot upload")?;
        let mut arrived = Vec::with_capacity(PAYLOAD_BYTES + 1);
        self.stream.read_to_end(&mut arrived).during("a peer that waited got no payload")?;
        let latency = begin.elapsed();
        if arrived == payload(self.serial) {
            return Ok(latency);
        }
        Err(Failure::new(format!(
            "a peer that waited got {} bytes that are not its payload",
            arrived.len()
        )))
    }

    fn upload(&self, route: &Route) -> io::Result<()> {
        let mut message = Route::greeting(Side::Upload, self.serial).to_vec();
        message.extend(payload(self.serial));
        route.connect()?.write_all(&message)
    }
}

fn payload(serial: u32) -> Vec<u8> {
    serial.to_be_bytes().into_iter().cycle().take(PAYLOAD_BYTES).collect()
}
