//! The server binary: settings in, exit code out.

mod cli;
mod log;
mod manual;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xchg_server::{Listen, Server, ServerHandle};

use cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&*error);
            ExitCode::from(2)
        }
    }
}

/// Runs the server to its end. Exit status 1 means that exchanges were cut.
fn run(cli: &Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(shell) = cli.completions {
        manual::completions(shell)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &cli.man {
        manual::page(folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = cli.config()?;
    config.check()?;
    if cli.check_config {
        say(&["the configuration is fine".to_owned()])?;
        return Ok(ExitCode::SUCCESS);
    }
    log::start(cli.log_level, cli.log_format);
    raise_descriptor_limit();
    // Before the address is told: whoever reads it may send a signal at once.
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let server = Server::bind(config)?;
    let addresses: Vec<String> = server.addresses().iter().map(Listen::to_string).collect();
    let handle = server.start()?;
    on_signals(signals, handle.clone());
    if let Some(path) = &cli.port_file {
        write_whole(path, &(addresses.join("\n") + "\n"))
            .map_err(|error| format!("cannot write the port file {}: {error}", path.display()))?;
    }
    tracing::info!(
        addresses = addresses.join(" "),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    say(&addresses)?;
    let ending = handle.join();
    if ending.cut > 0 {
        complain(&*Box::<dyn std::error::Error>::from(format!(
            "{} exchanges were cut; they had not finished in time",
            ending.cut
        )));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The first signal drains, the second cuts.
fn on_signals(mut signals: Signals, handle: ServerHandle) {
    std::thread::spawn(move || {
        let mut received = signals.forever();
        if received.next().is_some() {
            handle.drain();
        }
        if received.next().is_some() {
            handle.cut();
        }
    });
}

/// Each connection takes a descriptor, and the soft limit is often 1,024 only.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the descriptor limit");
    }
}

/// A reader of the file finds all of it or none.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_added_extension("part");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, path)
}

fn say(lines: &[String]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in lines {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()
}

/// Says on stderr what is wrong, and the chain of its causes.
fn complain(error: &dyn std::error::Error) {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    // Without a stderr there is nobody to tell.
    writeln!(io::stderr(), "xchg-server: {text}").ok();
}
