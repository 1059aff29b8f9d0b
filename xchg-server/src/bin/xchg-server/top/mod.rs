//! `xchg-server top`: a running server, live in a terminal.

mod report;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::ask::{Asker, How, Place};
use crate::log;
use report::Report;
use terminal::{Key, Terminal};

/// How often it is shown anew.
const REFRESH: Duration = Duration::from_secs(1);

/// Show a running server: its exchanges with their rates, who waits, and totals
///
/// In a terminal it is shown anew each second, the fastest exchanges first, until q or Ctrl-C.
/// Where standard output is none, or with --once, it is printed once, with all exchanges.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The server's admin listener: ADDR:PORT, http://HOST:PORT or unix:PATH; https:// is for one
    /// with a proxy before it
    #[arg(value_name = "ADMIN")]
    place: Place,

    /// Print it once
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    how: How,
}

impl Top {
    /// Shows it. The first question must be answered; later a server may be away for a while.
    pub(crate) fn run(&self) -> ExitCode {
        match self.show() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                log::say(&format!("xchg-server: {why}"));
                ExitCode::FAILURE
            }
        }
    }

    fn show(&self) -> Result<(), String> {
        let asker = self.how.at(&self.place)?;
        let report = self.look(&asker)?;
        if self.once || !io::stdout().is_terminal() {
            print(&report)
        } else {
            self.follow(&asker, report).map_err(|error| format!("the terminal fails: {error}"))
        }
    }

    fn look(&self, asker: &Asker<'_>) -> Result<Report, String> {
        let ask = |path: &str| {
            let answer = asker.ask(path)?;
            match answer.status {
                200 => Ok(answer.body),
                status => {
                    let said = answer.body.lines().next().unwrap_or_default().escape_debug();
                    Err(format!("{} answers {status} to {path}: {said}", self.place.as_str()))
                }
            }
        };
        let health = asker.ask("/healthz")?;
        let health = health.body.lines().next().unwrap_or_default().escape_debug().to_string();
        let (metrics, exchanges) = (ask("/metrics")?, ask("/exchanges")?);
        Report::new(&metrics, &exchanges, health)
            .ok_or_else(|| format!("{} is no admin listener of xchg-server", self.place.as_str()))
    }

    fn follow(&self, asker: &Asker<'_>, first: Report) -> io::Result<()> {
        let mut terminal = Terminal::take()?;
        let (mut report, mut last, mut trouble) = (first, None, None);
        loop {
            let (rows, columns) = terminal.size();
            let mut lines = report.lines(self.place.as_str(), last.as_ref(), rows);
            if let Some(why) = &trouble {
                lines.truncate(rows.saturating_sub(1));
                lines.insert(0, format!("{why}; trying again"));
            }
            terminal.show(&lines, columns)?;
            let by = Instant::now() + REFRESH;
            if terminal.wait(by)? == Some(Key::Quit) {
                return Ok(());
            }
            match self.look(asker) {
                Ok(next) => {
                    last = Some(std::mem::replace(&mut report, next));
                    trouble = None;
                }
                Err(why) => trouble = Some(why),
            }
        }
    }
}

/// Prints it whole. Whoever has read enough may leave.
fn print(report: &Report) -> Result<(), String> {
    let lines = report.lines("", None, usize::MAX);
    let mut stdout = io::stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(stdout, "{line}"));
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}
