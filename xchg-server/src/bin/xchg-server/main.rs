//! The server binary: settings in, exit code out.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the engine is elsewhere")]

mod ask;
mod cli;
mod health;
mod log;
mod manual;
mod mistakes;
mod sandbox;
mod self_signed;
mod service;
mod signals;
mod top;
mod vital;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use xchg_server::{Config, Error, Listen, OpenSocket, Server};

use cli::Cli;
use mistakes::Mistakes;
use sandbox::Folders;

fn main() -> ExitCode {
    vital::main(|| match run() {
        Ok(code) => code,
        Err(error) => {
            complain(&*error);
            ExitCode::from(2)
        }
    })
}

/// Does what the command line says. Exit status 1 means that exchanges were cut,
/// [`vital::PANICKED`] that a thread panicked.
fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut cli = mistakes::flags();
    if let Some(command) = &cli.command {
        return Ok(command.run());
    }
    let passed = service::sockets()?;
    let config = cli.config(&passed)?;
    if let Some(shell) = cli.completions {
        manual::completions(shell)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &cli.man {
        manual::pages(folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.check_config {
        check_files(&cli)?;
        check_addresses(&config)?;
        config.warnings().iter().for_each(|warning| log::say(&format!("xchg-server: {warning}")));
        say(&["the configuration is fine".to_owned()])?;
        return Ok(ExitCode::SUCCESS);
    }
    serve(config, passed, cli)
}

/// Serves until the server has ended.
fn serve(
    config: Config,
    passed: Vec<OpenSocket>,
    cli: Cli,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    log::start(cli.log_level, cli.log_format);
    raise_descriptor_limit();
    // Before the address is told: whoever reads it may send a signal at once.
    let signals = signals::take()?;
    let manager = service::Manager::find()?;
    // Not asked yet how that went: nobody writes what is logged, and what it failed for is last.
    let server = Server::bind_with(config, passed);
    let sandboxed = match &server {
        Ok(server) => sandbox::enter(cli.sandbox(), &folders(server, &cli)),
        Err(_) => Ok(()),
    };
    log::write()?;
    let server = server?;
    sandboxed?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    let handle = server.start()?;
    signals::obey(signals, handle.clone())?;
    let admin: Vec<_> = handle.admin_addresses().iter().map(ToString::to_string).collect();
    tracing::info!(
        addresses = addresses.join(" "),
        admin = (!admin.is_empty()).then(|| admin.join(" ")),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    // Not here: a pipe that nobody reads, or a file system that is away, would keep the server from
    // ending.
    vital::spawn("xchg-announce", move || announce(&addresses, cli.port_file.as_deref()))?;
    let ending = match manager {
        Some(manager) => manager.follow(&handle),
        None => handle.join(),
    };
    if ending.has_panicked {
        complain(&*Box::<dyn std::error::Error>::from(
            "a thread panicked, which is a mistake in the server; the log says where",
        ));
        return Ok(ExitCode::from(vital::PANICKED));
    }
    if ending.cut > 0 {
        complain(&*Box::<dyn std::error::Error>::from(format!(
            "{} exchanges were cut; they had not finished in time",
            ending.cut
        )));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where files are still needed once the addresses are bound.
fn folders(server: &Server, cli: &Cli) -> Folders {
    let mut folders = Folders::default();
    let addresses = server.addresses().iter().chain(server.admin_addresses());
    addresses.for_each(|address| folders.listen_at(address));
    cli.port_file.iter().for_each(|path| folders.write_at(path));
    server.watched_files().for_each(|path| folders.read_at(path));
    folders
}

/// Sees whether the port file can be written. A server that runs serves on without.
fn check_files(cli: &Cli) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::default();
    if let Some(path) = &cli.port_file {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if path.is_dir() || path.file_name().is_none() {
            mistakes
                .add(format_args!("port-file: {} is a folder: name a file in it", path.display()));
        } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            mistakes.add(format_args!(
                "port-file: there is no folder {}: make it, or name another",
                folder.display()
            ));
        }
    }
    mistakes.none()
}

/// Sees whether each address can be listened on. One that is in use may be so by the server that is
/// to be restarted: that is told, and no mistake.
fn check_addresses(config: &Config) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut bound = Vec::new();
    let listens = config.listen.iter().map(|listen| (vec![listen.clone()], Vec::new()));
    // A server listens somewhere; here where nobody can be.
    let anywhere = || Listen::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let admins = config.admin.iter().map(|address| (vec![anywhere()], vec![address.clone()]));
    for (listen, admin) in listens.chain(admins) {
        match Server::bind(Config { listen, admin, ..config.clone() }) {
            Ok(server) => bound.push(server),
            Err(Error::Listen { listen, source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                log::say(&format!(
                    "xchg-server: {listen} is in use; by a server that runs already?"
                ));
            }
            Err(error) => mistakes.add(with_causes(&error)),
        }
    }
    mistakes.none()
}

/// Tells the addresses. The server serves on if it cannot: they may be known anyway.
fn announce(addresses: &[String], port_file: Option<&Path>) {
    if let Some(path) = port_file
        && let Err(error) = write_whole(path, &(addresses.join("\n") + "\n"))
    {
        tracing::error!(path = %path.display(), %error, "cannot write the port file");
    }
    if let Err(error) = say(addresses) {
        tracing::warn!(%error, "cannot write the addresses to standard output");
    }
}

/// Each connection takes a descriptor, and the soft limit is often 1,024 only.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A service manager's filter may forbid to raise it.
    if limit.current == limit.maximum {
        return;
    }
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
    log::say(&format!("xchg-server: {}", with_causes(error)));
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
