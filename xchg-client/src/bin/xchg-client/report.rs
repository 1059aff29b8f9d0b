//! What the server reports, on stdout.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::FormattedDuration;
use serde::Serialize;
use xchg_client::StatusReport;

use crate::failure::Failure;
use crate::say::Verbosity;

/// `status --json`.
#[derive(Serialize)]
struct Status {
    waiting: u64,
    exchanging: u64,
    completed: u64,
    failed: u64,
    uptime_millis: u64,
    draining: bool,
}

/// `terminate --json`.
#[derive(Serialize)]
struct Terminated {
    released: u64,
    exchanging: u64,
}

/// Shows how the server is.
pub(crate) fn status(report: &StatusReport, verbosity: Verbosity) -> Result<(), Failure> {
    let &StatusReport { waiting, exchanging, completed, failed, uptime_millis, draining } = report;
    if verbosity == Verbosity::Json {
        let status = Status { waiting, exchanging, completed, failed, uptime_millis, draining };
        return print(json(&status).as_bytes());
    }
    let uptime = FormattedDuration(Duration::from_millis(uptime_millis)).to_string();
    let rows = [
        ("waiting peers", waiting.to_string()),
        ("running exchanges", exchanging.to_string()),
        ("completed exchanges", completed.to_string()),
        ("failed exchanges", failed.to_string()),
        ("uptime", uptime),
        ("draining", if draining { "yes" } else { "no" }.into()),
    ];
    let widest = rows.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    let table = rows.map(|(name, value)| format!("{name:<20} {value:>widest$}\n"));
    print(table.concat().as_bytes())
}

/// Shows what a drain released, and what it still waits for.
pub(crate) fn terminate(report: &StatusReport, verbosity: Verbosity) -> Result<(), Failure> {
    let &StatusReport { waiting: released, exchanging, .. } = report;
    match verbosity {
        Verbosity::Json => print(json(&Terminated { released, exchanging }).as_bytes()),
        Verbosity::Quiet => Ok(()),
        Verbosity::Human => {
            let text =
                format!("released waiting peers: {released}\nrunning exchanges: {exchanging}\n");
            print(text.as_bytes())
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and flags are always JSON") + "\n"
}

/// Prints all of `text`, or says why not.
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text).and_then(|()| stdout.flush());
    printed.map_err(|source| Failure::Write { path: None, source })
}
