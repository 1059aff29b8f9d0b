//! `xchg-server top`: a running server, live in a terminal.

mod report;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::ask::Place;
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
    /// The server's admin listener: ADDR:PORT, http://HOST:PORT or unix:PATH
    #[arg(value_name = "ADMIN")]
    place: Place,

    /// Print it once
    #[arg(long)]
    once: bool,

    /// The server's access token, where it has one
    #[arg(long, value_name = "TOKEN", env = "XCHG_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Top {
    /// Shows it. The first question must be answered; later a server may be away for a while.
    pub(crate) fn run(&self) -> ExitCode {
        let shown = self.look().and_then(|report| match self.once || !io::stdout().is_terminal() {
            true => print(&report),
            false => self.follow(report).map_err(|error| format!("the terminal fails: {error}")),
        });
        match shown {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                log::say(&format!("xchg-server: {why}"));
                ExitCode::FAILURE
            }
        }
    }

    fn look(&self) -> Result<Report, String> {
        let ask = |path: &str| {
            let answer = self.place.ask(path, self.token.as_deref())?;
            match answer.status {
                200 => Ok(answer.body),
                status => {
                    let said = answer.body.lines().next().unwrap_or_default().escape_debug();
                    Err(format!("{} answers {status} to {path}: {said}", self.place.as_str()))
                }
            }
        };
        let health = self.place.ask("/healthz", self.token.as_deref())?;
        let health = health.body.lines().next().unwrap_or_default().escape_debug().to_string();
        let (metrics, exchanges) = (ask("/metrics")?, ask("/exchanges")?);
        Report::new(&metrics, &exchanges, health)
            .ok_or_else(|| format!("{} is no admin listener of xchg-server", self.place.as_str()))
    }

    fn follow(&self, first: Report) -> io::Result<()> {
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
            match self.look() {
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
