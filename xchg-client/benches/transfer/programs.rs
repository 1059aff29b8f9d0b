//! Programs that take part, as processes; and the server that relays.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use xchg_server::{Config, Listen, Server, ServerHandle};

use crate::{Error, line};

/// The server that all who need a relay use.
pub(crate) struct Relay {
    server: ServerHandle,
    address: SocketAddr,
    distance: Option<Duration>,
}

impl Relay {
    /// On this machine, or a round trip of this length away.
    pub(crate) fn start(distance: Option<Duration>) -> Result<Self, Error> {
        let listen = vec!["127.0.0.1:0".parse::<Listen>()?];
        let server = Server::bind(Config { listen, ..Config::default() })?.start()?;
        let address = server.addresses()[0].to_string().parse()?;
        let address = match distance {
            Some(round_trip) => line::to(address, round_trip)?,
            None => address,
        };
        Ok(Self { server, address, distance })
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How long the way there and back takes, if it takes long.
    pub(crate) fn distance(&self) -> Option<Duration> {
        self.distance
    }

    /// Blocks until a peer waits for its counterpart, or `peer` has ended.
    pub(crate) fn await_peer(&self, peer: &mut Process) -> Result<(), Error> {
        while self.server.counts().waiting == 0 {
            if peer.has_ended()? {
                return Err(format!("{} has ended before it had a counterpart", peer.name).into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.cut();
    }
}

/// A process that does not outlive the benchmark.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Error> {
        let name = Path::new(command.get_program()).display().to_string();
        let child = command.stderr(Stdio::piped()).spawn();
        let child = child.map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { name, child })
    }

    /// What it writes, for a process behind it.
    pub(crate) fn output(&mut self) -> Result<ChildStdout, Error> {
        self.child.stdout.take().ok_or_else(|| format!("{} writes nothing", self.name).into())
    }

    fn has_ended(&mut self) -> Result<bool, Error> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("{}: {status}: {}", self.name, said.trim()).into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `name` in the folder that the environment variable names, else in `$PATH`.
pub(crate) fn find(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A mailbox server for magic-wormhole's clients.
pub(crate) struct Mailbox {
    _process: Process,
    pub(crate) url: String,
}

impl Mailbox {
    pub(crate) fn start(twist: &Path, folder: &Path) -> Result<Self, Error> {
        let mut process = Process::start(
            Command::new(twist)
                .args([
                    "--log-format=text",
                    "wormhole-mailbox",
                    "--port",
                    "tcp:0:interface=127.0.0.1",
                ])
                .current_dir(folder)
                .stdout(Stdio::piped()),
        )?;
        let mut log = BufReader::new(process.output()?);
        let mut line = String::new();
        while !line.contains("starting on ") {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err("the mailbox server does not start".into());
            }
        }
        let port = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        // What it goes on to say must not fill the pipe.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Ok(Self { _process: process, url: format!("ws://127.0.0.1:{port}/v1") })
    }
}

/// xchg-client with `arguments`, for the server at `relay`.
pub(crate) fn xchg<S: AsRef<OsStr>>(
    relay: &Relay,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xchg-client"));
    command
        .args(["--server", &relay.address(), "--quiet"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
