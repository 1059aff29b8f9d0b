//! The benchmark as a whole: conditions, candidates, workloads, rounds.

#![expect(clippy::print_stdout, reason = "reporting is this program's job")]

mod arguments;
mod blocking;
mod bulk;
mod candidate;
mod contender;
mod exchanges;
mod failure;
mod idle;
mod isolation;
mod meter;
mod mixed;
mod poller;
mod process;
mod rate;
mod receivers;
mod report;
mod route;
mod statistics;
mod tls;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use clap::Parser;

use arguments::{Arguments, Scale, Workload};
use candidate::{Candidate, Conditions, Running, SERVE_THREADS};
use contender::{Contender, Round};
use failure::{During, Failure, Result};
use report::Table;

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, SERVE_THREADS, listen, port_file] => serve_threads(listen, port_file),
        // What cargo passes when it runs benchmarks; without it they are being tested.
        ref all if all.contains(&"--bench") => bench(),
        _ => smoke(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("relay benchmark: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

fn serve_threads(listen: &str, port_file: &str) -> Result<()> {
    let address = listen.parse().during("cannot read the address to listen on")?;
    let listener = route::listen(address).during("cannot listen")?;
    blocking::serve(&listener, Path::new(port_file)).during("cannot serve")
}

fn bench() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.isolated {
        isolation::furnish()?
    } else {
        isolation::enter()?
    }
    let scale = Scale::of(&arguments);
    // Peers that wait, both ends of 64 streams and of 256 exchanges, and room.
    let needed = scale.waiters as u64 + 1_000;
    let descriptors = isolation::raise_descriptor_limit();
    if descriptors < needed {
        let advice = "raise it with `ulimit -n`, or run as root";
        return Err(Failure::new(format!(
            "{needed} descriptors are needed, the limit is {descriptors}: {advice}"
        )));
    }
    Suite::run(&arguments, scale, Output::of(&arguments))
}

/// Moves a few bytes in every way, to show that the benchmark works.
fn smoke() -> Result<()> {
    let arguments = Arguments::parse_from(["relay", "--against", "threads"]);
    Suite::run(&arguments, Scale::smoke(), Output::None)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    None,
    Tables,
    Json,
}

impl Output {
    fn of(arguments: &Arguments) -> Self {
        if arguments.json { Self::Json } else { Self::Tables }
    }
}

struct Suite {
    scale: Scale,
    candidates: Vec<Candidate>,
    conditions: Conditions,
    output: Output,
}

impl Suite {
    fn run(arguments: &Arguments, scale: Scale, output: Output) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("xchg-relay-bench-").tempdir();
        let folder = folder.during("cannot create a temporary folder")?;
        process::clean_up_on_signals(folder.path())?;
        let conditions = Conditions {
            isolated: arguments.isolated,
            ask_for_reno: !arguments.isolated,
            folder: folder.path().to_owned(),
        };
        let suite = Self { scale, candidates: Candidate::all(arguments)?, conditions, output };
        suite.describe();
        let failures: usize =
            suite.scale.workloads.iter().map(|workload| suite.workload(*workload)).sum();
        match failures {
            0 => Ok(()),
            _ => Err(Failure::new(format!("{failures} rows are missing, for the reasons given"))),
        }
    }

    /// Gives the number of rows that failed.
    fn workload(&self, workload: Workload) -> usize {
        let scale = &self.scale;
        let all: Vec<&Candidate> = self.candidates.iter().collect();
        let pairing: Vec<&Candidate> =
            all.iter().copied().filter(|candidate| candidate.pairs()).collect();
        match workload {
            Workload::Bulk => scale
                .streams
                .iter()
                .map(|&streams| {
                    let round = |running: &Running| bulk::round(running, streams, scale.bulk_bytes);
                    let warm_up =
                        |running: &Running| bulk::round(running, streams, scale.bulk_bytes / 8);
                    self.case("bulk", format!("{streams} at once"), &all, Some(&warm_up), &round)
                })
                .sum(),
            Workload::Receivers => {
                let xchgs: Vec<&Candidate> =
                    all.iter().copied().filter(|candidate| candidate.is_xchg()).collect();
                scale
                    .receivers
                    .iter()
                    .map(|&count| {
                        let bytes = scale.bulk_bytes / count as u64;
                        let round = |running: &Running| receivers::round(running, count, bytes);
                        let warm_up =
                            |running: &Running| receivers::round(running, count, bytes / 8);
                        self.case(
                            "receivers",
                            format!("{count} of one stream"),
                            &xchgs,
                            Some(&warm_up),
                            &round,
                        )
                    })
                    .sum()
            }
            Workload::Rate => scale
                .in_flight
                .iter()
                .map(|&in_flight| {
                    let round =
                        |running: &Running| rate::round(running, in_flight, scale.rate_window);
                    let warm_up =
                        |running: &Running| rate::round(running, in_flight, scale.rate_window / 8);
                    self.case(
                        "rate",
                        format!("{in_flight} in flight"),
                        &all,
                        Some(&warm_up),
                        &round,
                    )
                })
                .sum(),
            Workload::Idle => {
                let round =
                    |running: &Running| idle::round(running, scale.waiters, scale.idle_window);
                self.case("idle", format!("{} waiting", scale.waiters), &pairing, None, &round)
            }
            Workload::Tls => {
                let folder = &self.conditions.folder;
                let xchgs: Vec<Candidate> = all
                    .iter()
                    .filter(|candidate| candidate.is_xchg())
                    .map(|candidate| candidate.offering_tls(&tls::certificate_folder(folder)))
                    .collect();
                let xchgs: Vec<&Candidate> = xchgs.iter().collect();
                let each = |case: tls::Case| {
                    let (bytes, window) = (scale.bulk_bytes, scale.rate_window);
                    let round =
                        |running: &Running| tls::round(running, folder, case, bytes, window);
                    let warm_up = |running: &Running| {
                        tls::round(running, folder, case, bytes / 8, window / 8)
                    };
                    self.case("tls", case.name(), &xchgs, Some(&warm_up), &round)
                };
                tls::Case::ALL.into_iter().map(each).sum()
            }
            Workload::Mixed => {
                let round =
                    |running: &Running| mixed::round(running, scale.waiters, scale.mixed_window);
                self.case("mixed", format!("{} waiting", scale.waiters), &all, None, &round)
            }
        }
    }

    /// Runs every candidate once a round, beginning with another one each time, and reports.
    ///
    /// With a warm-up, whose numbers are thrown away, candidates run on from round to round;
    /// without one, each round has a server of its own, in which nothing is left of the round
    /// before. A candidate that fails gets no row, and its reason is printed; gives the number of
    /// those.
    fn case(
        &self,
        workload: &str,
        case: String,
        candidates: &[&Candidate],
        warm_up: Option<&Round>,
        round: &Round,
    ) -> usize {
        let mut contenders: Vec<Contender> =
            candidates.iter().map(|candidate| Contender::new(candidate)).collect();
        for number in 0..self.scale.rounds as usize {
            for turn in 0..contenders.len() {
                let index = (number + turn) % contenders.len();
                let contender = &mut contenders[index];
                self.progress(&format!(
                    "{workload}, {case}, round {}, {}",
                    number + 1,
                    contender.candidate.name
                ));
                contender.play(&self.conditions, warm_up, round);
            }
        }
        let mut rows = Vec::new();
        let mut failures = Vec::new();
        for contender in contenders {
            let name = contender.candidate.name.clone();
            match contender.finish() {
                Ok(samples) => rows.push((name, samples)),
                Err(failure) => {
                    failures.push(format!("{workload}, {case}, {name}: {}", failure.chain()))
                }
            }
        }
        self.report(&Table::new(workload, case, rows));
        failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
        failures.len()
    }

    /// What a reader of the numbers has to know, apart from them.
    fn describe(&self) {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let congestion = if self.conditions.isolated {
            format!(
                "congestion control {} in a network namespace of its own",
                isolation::congestion_control()
            )
        } else {
            format!(
                "congestion control reno on the benchmark's sockets, but {} on the relays'; run as root to give all \
             of them reno",
                isolation::congestion_control()
            )
        };
        let lines = [
            format!("Linux {}", read("/proc/sys/kernel/osrelease")),
            format!("{} processors", meter::processors()),
            format!(
                "load average {} at the start",
                read("/proc/loadavg").split(' ').next().unwrap_or_default()
            ),
            congestion,
            format!("medians of {} rounds", self.scale.rounds),
        ];
        match self.output {
            Output::Tables => println!("{}.\n", lines.join(", ")),
            Output::Json => eprintln!("{}.", lines.join(", ")),
            Output::None => {}
        }
    }

    fn progress(&self, doing: &str) {
        if self.output != Output::None && io::stderr().is_terminal() {
            // Erases the line before.
            eprint!("\r\x1b[K{doing}\r");
        }
    }

    fn report(&self, table: &Table) {
        self.progress("");
        match self.output {
            Output::Tables => println!("{}", table.text()),
            Output::Json => table.json_lines().for_each(|line| println!("{line}")),
            Output::None => {}
        }
    }
}
