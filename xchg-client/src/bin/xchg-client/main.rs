//! The program `xchg-client`: the command line, what is said on stderr, and the exit code. The work
//! is the library's.

mod cause;
mod cli;
mod config;
mod downloading;
mod exit;
mod failure;
mod manual;
mod name;
mod offer;
mod progress;
mod prompt;
mod qr;
mod questions;
mod report;
mod say;
mod screen;
mod signals;
mod system;
mod uploading;

use std::path::Path;
use std::process;

use clap::Parser;
use xchg_client::{Address, Cancel, Client, Error};

use cli::{Cli, Command, Common, usage_error};
use config::Settings;
use exit::ExitCode;
use failure::Failure;
use say::Verbosity;

/// The server that is used if nobody names one.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:4980";

fn main() -> process::ExitCode {
    let Cli { common, command } = Cli::try_parse().unwrap_or_else(|error| cli::leave(&error));
    let verbosity = match (common.json, common.quiet) {
        (true, _) => Verbosity::Json,
        (_, true) => Verbosity::Quiet,
        _ => Verbosity::Human,
    };
    let code = match run(common, command, verbosity) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            let code = ExitCode::of(&error);
            progress::failed(verbosity, &error, code);
            code
        }
    };
    code.into()
}

fn run(common: Common, command: Command, verbosity: Verbosity) -> Result<(), Failure> {
    match command {
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
        command => ask_server(common, command, verbosity),
    }
}

/// Runs a command for which there has to be a server.
fn ask_server(common: Common, command: Command, verbosity: Verbosity) -> Result<(), Failure> {
    let Settings { server, token, trust, cert, wait, yes } = config::load(verbosity);
    let asked = common.trust();
    let mut server = common.server.or(server).unwrap_or_else(default_server);
    let cancel = cancel(verbosity)?;
    let client = |server: &Address| {
        let client = Client::new(server.clone()).connect_timeout(common.connect_timeout);
        if asked.is_some() && !matches!(server, Address::Tls { .. }) {
            usage_error(&format!(
                "--ca and --pin say whom to trust in TLS, which is not spoken at {server}; name the \
                 server as https://HOST or xchgs://HOST"
            ));
        }
        let client = client.trust(asked.clone().or(trust.clone()).unwrap_or_default());
        let client = client.identity(common.cert.clone().or(cert.clone()));
        client.cancel(cancel.clone()).token(common.token.clone().or(token.clone()))
    };
    match command {
        Command::Upload(mut upload) => {
            upload.transfer.wait = upload.transfer.wait.or(wait);
            let prepared = uploading::prepare(upload, &mut server, verbosity)?;
            uploading::run(client(&server), prepared, verbosity)
        }
        Command::Download(mut download) => {
            download.transfer.wait = download.transfer.wait.or(wait);
            download.yes |= yes && !download.no_yes;
            let prepared = downloading::prepare(download, &mut server)?;
            downloading::run(client(&server), prepared, verbosity)
        }
        Command::Status => {
            let notice = progress::connecting(verbosity, &server);
            let status = client(&server).status()?;
            drop(notice);
            report::status(&status, verbosity)
        }
        Command::Terminate => {
            let notice = progress::connecting(verbosity, &server);
            let status = client(&server).terminate()?;
            drop(notice);
            report::terminate(&status, verbosity)
        }
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

fn default_server() -> Address {
    DEFAULT_SERVER.parse().expect("it is an address")
}

/// What signals use to stop the program.
fn cancel(verbosity: Verbosity) -> Result<Cancel, Error> {
    let local = |source| Error::Local { what: "the handling of signals", source };
    let cancel = Cancel::new().map_err(local)?;
    signals::cancel_on_signals(&cancel, verbosity).map_err(local)?;
    Ok(cancel)
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
