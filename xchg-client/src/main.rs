//! The program `xchg-client`: the command line, what is said on stderr, and the exit code. The work is the library's.

mod cli;
mod exit;
mod manual;
mod progress;
mod report;
mod signals;

use std::path::{Path, PathBuf};
use std::process;

use clap::Parser;
use xchg_client::prompt::Question;
use xchg_client::{
    Cancel, Client, DownloadOptions, Error, Key, Side, Source, Target, UploadOptions, key_for,
};

use cli::{Cli, Command, Common, Download, Upload};
use exit::ExitCode;
use progress::{Reporter, Tone};

/// What a download asks for if the command line does not say it.
const WHICH_KEY: Question =
    Question { text: "Key: ", otherwise: "name the key: xchg-client download KEY" };

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
        Command::Upload(upload) => run_upload(client(common)?, upload, tone),
        Command::Download(download) => run_download(client(common)?, download, tone),
        Command::Status => report::status(&client(common)?.status()?, tone),
        Command::Terminate => report::terminate(&client(common)?.terminate()?, tone),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
    }
}

/// A client that signals can interrupt.
fn client(common: Common) -> Result<Client, Error> {
    let local = |source| Error::Local { what: "the handling of signals", source };
    let cancel = Cancel::new().map_err(local)?;
    signals::cancel_on_signals(&cancel).map_err(local)?;
    let client = Client::new(common.server).connect_timeout(common.connect_timeout).cancel(cancel);
    Ok(match common.token {
        Some(token) => client.token(token),
        None => client,
    })
}

fn run_upload(mut client: Client, upload: Upload, tone: Tone) -> Result<(), Error> {
    let Upload { file, key, pace, transfer } = upload;
    let key = match key {
        Some(key) => key,
        None => key_for(&file)?,
    };
    let source = if is_dash(&file) { Source::Stdin } else { Source::File(file) };
    if let Some(bytes) = transfer.buffer_size {
        client = client.buffer_bytes(bytes);
    }
    let mut reporter = Reporter::new(tone, Side::Upload, &key);
    let mut options = UploadOptions::new(key, source);
    options.wait = transfer.wait;
    options.pace = pace;
    options.rate_limit = transfer.limit_rate;
    let summary = client.upload(options, &mut reporter)?;
    reporter.done(&summary);
    Ok(())
}

fn run_download(mut client: Client, download: Download, tone: Tone) -> Result<(), Error> {
    let Download { key, output, overwrite, transfer } = download;
    let key = match key {
        Some(key) => key,
        None => WHICH_KEY.ask(|line| Key::parse(line.trim().as_bytes()))?,
    };
    let target = match output {
        Some(path) if is_dash(&path) => Target::Stdout,
        path => Target::Path { path: path.unwrap_or(PathBuf::from(".")), overwrite },
    };
    if let Some(bytes) = transfer.buffer_size {
        client = client.buffer_bytes(bytes);
    }
    let mut reporter = Reporter::new(tone, Side::Download, &key);
    let mut options = DownloadOptions::new(key, target);
    options.wait = transfer.wait;
    options.rate_limit = transfer.limit_rate;
    let summary = client.download(options, &mut reporter)?;
    reporter.done(&summary);
    Ok(())
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
