//! The program `xchg-client`: the command line, what is said on stderr, and the exit code. The work is the library's.

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

fn run(common: Common, command: Command, tone: Tone) -> Result<(), Error> {
    match command {
        Command::Upload(upload) => {
            let server = common.server.clone();
            let client = client(common, tone)?;
            uploading::run(client, uploading::prepare(upload, &server, tone)?, tone)
        }
        Command::Download(download) => {
            let client = client(common, tone)?;
            downloading::run(client, downloading::prepare(download)?, tone)
        }
        Command::Status => report::status(&client(common, tone)?.status()?, tone),
        Command::Terminate => report::terminate(&client(common, tone)?.terminate()?, tone),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
    }
}

/// A client that signals stop.
fn client(common: Common, tone: Tone) -> Result<Client, Error> {
    let local = |source| Error::Local { what: "the handling of signals", source };
    let cancel = Cancel::new().map_err(local)?;
    signals::cancel_on_signals(&cancel, tone).map_err(local)?;
    let client = Client::new(common.server).connect_timeout(common.connect_timeout).cancel(cancel);
    Ok(match common.token {
        Some(token) => client.token(token),
        None => client,
    })
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
