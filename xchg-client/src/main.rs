//! The program `xchg-client`: the command line, what is said on stderr, and the exit code. The work is the library's.

mod cause;
mod cli;
mod downloading;
mod exit;
mod manual;
mod name;
mod offer;
mod progress;
mod prompt;
mod questions;
mod report;
mod screen;
mod signals;
mod uploading;

use std::path::Path;
use std::process;

use clap::Parser;
use xchg_client::{Cancel, Client, Error};

use cli::{Cli, Command, Common};
use exit::ExitCode;
use progress::Tone;

/// The server that is used if nobody names one.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:4980";

fn main() -> process::ExitCode {
    let Cli { common, command } = Cli::parse();
    let tone = match (common.json, common.quiet) {
        (true, _) => Tone::Json,
        (_, true) => Tone::Quiet,
        _ => Tone::Human,
    };
    let code = match run(common, command, tone) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            let code = ExitCode::of(&error);
            progress::failed(tone, &error, code);
            code
        }
    };
    code.into()
}

fn run(mut common: Common, command: Command, tone: Tone) -> Result<(), Error> {
    match command {
        Command::Upload(upload) => {
            let cancel = cancel(tone)?;
            let prepared = uploading::prepare(upload, &mut common.server, tone)?;
            uploading::run(client(common).cancel(cancel), prepared, tone)
        }
        Command::Download(download) => {
            let cancel = cancel(tone)?;
            let prepared = downloading::prepare(download, &mut common.server)?;
            downloading::run(client(common).cancel(cancel), prepared, tone)
        }
        Command::Status => {
            let notice = progress::connecting(tone, &common.server);
            let status = client(common).cancel(cancel(tone)?).status()?;
            drop(notice);
            report::status(&status, tone)
        }
        Command::Terminate => {
            let notice = progress::connecting(tone, &common.server);
            let status = client(common).cancel(cancel(tone)?).terminate()?;
            drop(notice);
            report::terminate(&status, tone)
        }
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
    }
}

/// What signals use to stop the program.
fn cancel(tone: Tone) -> Result<Cancel, Error> {
    let local = |source| Error::Local { what: "the handling of signals", source };
    let cancel = Cancel::new().map_err(local)?;
    signals::cancel_on_signals(&cancel, tone).map_err(local)?;
    Ok(cancel)
}

fn client(common: Common) -> Client {
    let client = Client::new(common.server).connect_timeout(common.connect_timeout);
    match common.token {
        Some(token) => client.token(token),
        None => client,
    }
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
