//! How fast files get from disk to disk: the real programs, beside what people would use instead.
//!
//! `cargo bench -p xchg-client --bench transfer [-- OPTIONS]`; `--help` lists them. Everything lies
//! in `/dev/shm`, so that no disk is measured, and goes over loopback, so that no network is, but
//! for the rows of a far server, which is behind a line that takes time. Whoever needs a relay uses
//! the same xchg server, in this process. Run without `--bench`, as `cargo test --benches` does,
//! little is sent once, to show that it works.

#![expect(clippy::print_stdout, reason = "reporting is this program's job")]
#![expect(clippy::print_stderr, reason = "so is saying what is missing")]

mod candidate;
mod line;
mod payload;
mod programs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use candidate::Candidate;
use payload::Payload;
use programs::Relay;

type Error = Box<dyn std::error::Error>;

/// How fast files get from disk to disk, with xchg-client and with others.
#[derive(Debug, Parser)]
#[command(name = "transfer")]
struct Arguments {
    /// What to send [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<What>,

    /// Rounds, each of which has every candidate's turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Size of the one file, in MiB
    #[arg(long, default_value_t = 2048)]
    mib: usize,

    /// Number of small files
    #[arg(long, default_value_t = 10_000)]
    files: usize,

    /// Leave out what is not xchg's, tar or socat
    #[arg(long)]
    no_wormholes: bool,

    /// Print an object a row instead of tables
    #[arg(long)]
    json: bool,

    /// Where files come from and go to
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,

    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// One big file
    Big,
    /// A folder of files of 4 KiB
    Small,
    /// A file of 1 KiB, and one that is bigger, over lines of 20 and 100 ms
    Far,
}

/// How far away the far servers are: in the same country, and beyond the ocean.
const FAR: [Option<Duration>; 2] =
    [Some(Duration::from_millis(20)), Some(Duration::from_millis(100))];

impl What {
    /// The round trips to the server to try it with.
    fn distances(self) -> &'static [Option<Duration>] {
        if self == Self::Far { &FAR } else { &[None] }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let arguments = if arguments.bench {
        arguments
    } else {
        Arguments { rounds: 1, mib: 4, files: 100, no_wormholes: true, ..arguments }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("transfer benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    for &what in What::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(&what) {
            continue;
        }
        for &distance in what.distances() {
            let relay = Relay::start(distance)?;
            match what {
                What::Big => {
                    compare(&relay, what, arguments, |folder| Payload::big(folder, arguments.mib))?
                }
                What::Small => compare(&relay, what, arguments, |folder| {
                    Payload::small(folder, arguments.files)
                })?,
                What::Far => {
                    compare(&relay, what, arguments, Payload::kib)?;
                    let mib = arguments.mib.div_ceil(16);
                    compare(&relay, what, arguments, |folder| Payload::big(folder, mib))?;
                }
            }
        }
    }
    Ok(())
}

/// Gives every candidate its turns with a payload, and prints a table.
fn compare(
    relay: &Relay,
    what: What,
    arguments: &Arguments,
    payload: impl FnOnce(&Path) -> Result<Payload, Error>,
) -> Result<(), Error> {
    let folder = tempfile::Builder::new().prefix("xchg-transfer-").tempdir_in(&arguments.folder);
    let folder = folder.map_err(|error| format!("{}: {error}", arguments.folder.display()))?;
    let payload = payload(folder.path())?.at(relay.distance());
    let mut rows: Vec<(Candidate, Vec<f64>)> = Candidate::of(what, !arguments.no_wormholes)
        .into_iter()
        .map(|one| (one, Vec::new()))
        .collect();
    for _ in 0..arguments.rounds {
        for (candidate, seconds) in &mut rows {
            seconds.push(candidate.transfer(relay, &payload)?);
        }
    }
    report(&payload, &rows, arguments);
    Ok(())
}

fn report(payload: &Payload, rows: &[(Candidate, Vec<f64>)], arguments: &Arguments) {
    let median = |seconds: &[f64]| {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let Some(first) = rows.first().map(|(_, seconds)| median(seconds)) else { return };
    if !arguments.json {
        println!("| {} | seconds | ±% | {} | time of the first |", payload.name, payload.unit);
        println!("|---|--:|--:|--:|--:|");
    }
    for (candidate, seconds) in rows {
        let (fastest, slowest) = seconds
            .iter()
            .fold((f64::MAX, 0_f64), |(least, most), &one| (least.min(one), most.max(one)));
        let middle = median(seconds);
        let spread = 100.0 * (slowest - fastest) / middle;
        let (rate, times) = (payload.amount / middle, middle / first);
        if arguments.json {
            println!(
                "{}",
                serde_json::json!({
                    "payload": payload.name, "candidate": candidate.name(), "seconds": middle,
                    "spread_percent": spread, "rate": rate, "unit": payload.unit, "times_the_first": times,
                })
            )
        } else {
            println!(
                "| {} | {middle:.2} | {spread:.0} | {rate:.0} | {times:.2} |",
                candidate.name()
            )
        }
    }
    if !arguments.json {
        println!();
    }
}
