//! The command line, and what it means in bytes, seconds and peers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// How fast the xchg server relays, compared with no relay at all and with other relays.
#[derive(Debug, Parser)]
#[command(name = "relay")]
pub(crate) struct Arguments {
    /// Print one JSON object a row instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Move an eighth of the bytes, in short windows and two rounds: for a first look.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Workloads to run [default: all].
    #[arg(long, value_delimiter = ',', value_name = "WORKLOADS")]
    pub(crate) only: Vec<Workload>,
    /// Rounds of each case, each round running every candidate once [default: 3, with --quick 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// Other relays to compare with [default: all that are installed].
    #[arg(long, value_delimiter = ',', value_name = "RELAYS")]
    pub(crate) against: Option<Vec<Rival>>,
    /// Arguments for xchg-server, separated by blanks; given more than once, each makes a row of
    /// its own.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub(crate) server_args: Vec<String>,
    /// Another build of xchg-server to measure instead of this workspace's.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) server: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Passed by the benchmark to itself once it runs in a network namespace of its own.
    #[arg(long, hide = true)]
    pub(crate) isolated: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Throughput of a few long streams.
    Bulk,
    /// Throughput of one long stream to several receivers.
    Receivers,
    /// Small exchanges a second, and how long each takes.
    Rate,
    /// What TLS costs.
    Tls,
    /// What many waiting peers cost.
    Idle,
    /// Small exchanges while many wait and long streams run.
    Mixed,
}

/// A relay that xchg is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rival {
    /// This benchmark's own relay: a blocking thread a connection.
    Threads,
    /// HAProxy in TCP mode, with pipes of 1 MiB and with pipes of default size.
    Haproxy,
    /// nginx with its stream module.
    Nginx,
    /// socat, a process a connection.
    Socat,
}

/// How much of everything one run does.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: u32,
    /// Bytes that each candidate moves in a round of `bulk`, over all its streams.
    pub(crate) bulk_bytes: u64,
    /// Concurrent streams, one case each.
    pub(crate) streams: &'static [usize],
    /// Receivers of one stream, one case each.
    pub(crate) receivers: &'static [usize],
    /// How long small exchanges are started in a round of `rate`.
    pub(crate) rate_window: Duration,
    /// Exchanges in flight, one case each.
    pub(crate) in_flight: &'static [usize],
    /// Peers waiting in `idle` and `mixed`.
    pub(crate) waiters: usize,
    /// How long nothing happens in `idle` while the server's processor time is watched.
    pub(crate) idle_window: Duration,
    /// How long each of the three phases of `mixed` takes: small exchanges, streams, both.
    pub(crate) mixed_window: Duration,
}

impl Scale {
    pub(crate) fn of(arguments: &Arguments) -> Self {
        let mut scale = if arguments.quick { Self::quick() } else { Self::full() };
        if !arguments.only.is_empty() {
            scale.workloads.retain(|workload| arguments.only.contains(workload));
        }
        scale.rounds = arguments.rounds.unwrap_or(scale.rounds);
        scale
    }

    fn full() -> Self {
        Self {
            workloads: Workload::value_variants().to_vec(),
            rounds: 3,
            bulk_bytes: 4 << 30,
            streams: &[1, 8, 64],
            receivers: &[2, 8],
            rate_window: Duration::from_secs(1),
            in_flight: &[1, 32, 256],
            waiters: 10_000,
            idle_window: Duration::from_secs(5),
            mixed_window: Duration::from_secs(2),
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 2,
            bulk_bytes: 512 << 20,
            rate_window: Duration::from_millis(300),
            waiters: 2_000,
            idle_window: Duration::from_secs(1),
            mixed_window: Duration::from_millis(500),
            ..Self::full()
        }
    }

    /// What `cargo test --benches` runs: everything once, in about a second.
    pub(crate) fn smoke() -> Self {
        Self {
            rounds: 1,
            bulk_bytes: 8 << 20,
            streams: &[4],
            receivers: &[3],
            rate_window: Duration::from_millis(50),
            in_flight: &[8],
            waiters: 100,
            idle_window: Duration::from_millis(50),
            mixed_window: Duration::from_millis(50),
            ..Self::full()
        }
    }
}
