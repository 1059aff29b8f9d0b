//! The ways to get a payload across.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::payload::Payload;
use crate::programs::{Mailbox, Process, Relay, find, free_port, xchg};
use crate::{Error, What};

/// One row of a table.
#[derive(Debug, Clone)]
pub(crate) enum Candidate {
    /// xchg-client, encrypted from end to end.
    Sealed,
    /// xchg-client with `--plain`.
    Plain,
    /// A direct connection of two socats.
    Socat,
    /// tar through xchg-client with `--plain`.
    TarPlain,
    /// tar through a direct connection of two socats.
    TarSocat,
    /// Python's magic-wormhole, relayed: `wormhole` and the mailbox server's `twist`.
    Wormhole { wormhole: PathBuf, twist: PathBuf },
    /// Rust's, relayed.
    WormholeRs { wormhole_rs: PathBuf, twist: PathBuf },
}

impl Candidate {
    /// All that can send `what` and are installed; of the others it is said that they are missing.
    pub(crate) fn of(what: What, wormholes: bool) -> Vec<Self> {
        let mut all = vec![Self::Sealed];
        let socat = find("XCHG_SOCAT_BIN", "socat").is_some();
        let tar = find("XCHG_TAR_BIN", "tar").is_some();
        match what {
            What::Far => {
                all.push(Self::Plain);
                return all;
            }
            What::Big => {
                all.push(Self::Plain);
                all.extend(socat.then_some(Self::Socat));
            }
            What::Small => {
                all.extend(tar.then_some(Self::TarPlain));
                all.extend((tar && socat).then_some(Self::TarSocat));
            }
        }
        for (is_there, name) in [(socat, "socat"), (tar, "tar")] {
            if !is_there {
                eprintln!("{name} is not installed; its rows are left out");
            }
        }
        // They pack folders, each in its own way.
        if !wormholes || what == What::Small {
            return all;
        }
        let twist = find("XCHG_WORMHOLE_BIN", "twist");
        let found = |name, make: fn(PathBuf, PathBuf) -> Self| {
            let found = find("XCHG_WORMHOLE_BIN", name).zip(twist.clone());
            if found.is_none() {
                eprintln!(
                    "{name} or twist is not in $XCHG_WORMHOLE_BIN or $PATH; its rows are left out"
                );
            }
            found.map(|(program, twist)| make(program, twist))
        };
        all.extend(found("wormhole-rs", |wormhole_rs, twist| Self::WormholeRs {
            wormhole_rs,
            twist,
        }));
        all.extend(found("wormhole", |wormhole, twist| Self::Wormhole { wormhole, twist }));
        all
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sealed => "xchg",
            Self::Plain => "xchg --plain",
            Self::Socat => "socat, direct",
            Self::TarPlain => "tar, xchg --plain, tar",
            Self::TarSocat => "tar, socat, direct, tar",
            Self::Wormhole { .. } => "magic-wormhole (Python)",
            Self::WormholeRs { .. } => "wormhole-rs",
        }
    }

    /// Sends the payload into an empty inbox, sees that it is whole, and gives the seconds that it
    /// took, to the last program's end: from the first one's start, or, over a long line, from the
    /// start of the one that completes the pair.
    pub(crate) fn transfer(&self, relay: &Relay, payload: &Payload) -> Result<f64, Error> {
        fs::create_dir(&payload.inbox)?;
        let seconds =
            self.run(relay, payload).map_err(|error| format!("{}: {error}", self.name()))?;
        payload.check()?;
        fs::remove_dir_all(&payload.inbox)?;
        Ok(seconds)
    }

    fn run(&self, relay: &Relay, payload: &Payload) -> Result<f64, Error> {
        let (path, inbox) = (payload.path.as_os_str(), payload.inbox.as_os_str());
        match self {
            Self::Sealed => relayed(
                relay,
                xchg(relay, ["upload".as_ref(), path, "--key=k:secret".as_ref()]),
                xchg(relay, ["download".as_ref(), "k:secret".as_ref(), "-o".as_ref(), inbox]),
            ),
            Self::Plain => relayed(
                relay,
                xchg(relay, ["upload".as_ref(), "--plain".as_ref(), path, "--key=k".as_ref()]),
                xchg(
                    relay,
                    [
                        "download".as_ref(),
                        "--plain".as_ref(),
                        "k".as_ref(),
                        "-o".as_ref(),
                        payload.arrived().as_os_str(),
                    ],
                ),
            ),
            Self::Socat => {
                let (from, to) = (payload.path.display(), payload.arrived());
                let to = to.display();
                direct(
                    |port| {
                        socat(
                            &format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"),
                            &format!("OPEN:{to},creat"),
                        )
                    },
                    |port| {
                        socat(
                            &format!("OPEN:{from},rdonly"),
                            &format!("TCP:127.0.0.1:{port},retry=1000,interval=0.001"),
                        )
                    },
                    None,
                    None,
                )
            }
            Self::TarPlain => {
                let start = Instant::now();
                let mut packing = Process::start(&mut pack(&payload.path))?;
                let mut upload = xchg(relay, ["upload", "--plain", "-", "--key=k"]);
                let mut upload = Process::start(upload.stdin(packing.output()?))?;
                relay.await_peer(&mut upload)?;
                let mut download = xchg(relay, ["download", "--plain", "k", "-o", "-"]);
                let mut download = Process::start(download.stdout(Stdio::piped()))?;
                let unpacking = Process::start(unpack(&payload.inbox).stdin(download.output()?))?;
                all_finish([packing, upload, download, unpacking])?;
                Ok(start.elapsed().as_secs_f64())
            }
            Self::TarSocat => direct(
                |port| socat(&format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"), "STDOUT"),
                |port| socat("STDIN", &format!("TCP:127.0.0.1:{port},retry=1000,interval=0.001")),
                Some(pack(&payload.path)),
                Some(unpack(&payload.inbox)),
            ),
            Self::Wormhole { wormhole, twist } => {
                let mailbox = Mailbox::start(twist, &payload.inbox.with_file_name(""))?;
                let (relay, path) = (format!("tcp:{}", relay.address()), path.to_string_lossy());
                let common = ["--relay-url", &mailbox.url, "--transit-helper", &relay];
                let send = ["send", "--no-listen", "--hide-progress", "--code", "7-bench", &path];
                let receive =
                    ["receive", "--no-listen", "--hide-progress", "--accept-file", "7-bench"];
                both(
                    quiet(wormhole, &[&common[..], &send].concat(), &payload.inbox),
                    quiet(wormhole, &[&common[..], &receive].concat(), &payload.inbox),
                )
            }
            Self::WormholeRs { wormhole_rs, twist } => {
                let mailbox = Mailbox::start(twist, &payload.inbox.with_file_name(""))?;
                let (relay, path) = (format!("tcp://{}", relay.address()), path.to_string_lossy());
                let common = [
                    "--rendezvous-server",
                    &mailbox.url,
                    "--relay-server",
                    &relay,
                    "--force-relay",
                ];
                let (send, receive) = (["--code", "8-bench", &path], ["--noconfirm", "8-bench"]);
                both(
                    quiet(wormhole_rs, &[&["send"], &common[..], &send].concat(), &payload.inbox),
                    quiet(
                        wormhole_rs,
                        &[&["receive"], &common[..], &receive].concat(),
                        &payload.inbox,
                    ),
                )
            }
        }
    }
}

/// An upload that waits at the relay before its download comes.
fn relayed(relay: &Relay, mut upload: Command, mut download: Command) -> Result<f64, Error> {
    let mut start = Instant::now();
    let mut upload = Process::start(&mut upload)?;
    relay.await_peer(&mut upload)?;
    if relay.distance().is_some() {
        start = Instant::now();
    }
    let download = Process::start(&mut download)?;
    all_finish([upload, download])?;
    Ok(start.elapsed().as_secs_f64())
}

fn both(mut one: Command, mut other: Command) -> Result<f64, Error> {
    let start = Instant::now();
    let (one, other) = (Process::start(&mut one)?, Process::start(&mut other)?);
    all_finish([one, other])?;
    Ok(start.elapsed().as_secs_f64())
}

/// A receiver that listens on a port and a sender that dials it, each perhaps behind or before
/// another program.
fn direct(
    receiver: impl FnOnce(u16) -> Command,
    sender: impl FnOnce(u16) -> Command,
    source: Option<Command>,
    sink: Option<Command>,
) -> Result<f64, Error> {
    let port = free_port()?;
    let (mut receiver, mut sender) = (receiver(port), sender(port));
    let start = Instant::now();
    let mut processes = Vec::new();
    if sink.is_some() {
        receiver.stdout(Stdio::piped());
    }
    let mut receiving = Process::start(&mut receiver)?;
    if let Some(mut sink) = sink {
        processes.push(Process::start(sink.stdin(receiving.output()?))?);
    }
    if let Some(mut source) = source {
        let mut source = Process::start(&mut source)?;
        sender.stdin(source.output()?);
        processes.push(source);
    }
    processes.push(Process::start(&mut sender)?);
    processes.push(receiving);
    all_finish(processes)?;
    Ok(start.elapsed().as_secs_f64())
}

fn all_finish(processes: impl IntoIterator<Item = Process>) -> Result<(), Error> {
    processes.into_iter().try_for_each(Process::finish)
}

/// A program that asks nothing and whose words do not matter.
fn quiet(program: &Path, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// One way, with blocks of a size that suits it.
fn socat(from: &str, to: &str) -> Command {
    let mut command = Command::new("socat");
    command.args(["-u", "-b262144", from, to]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn pack(folder: &Path) -> Command {
    let mut command = Command::new("tar");
    command
        .arg("-c")
        .arg("-C")
        .arg(folder.with_file_name(""))
        .args(folder.file_name())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn unpack(folder: &Path) -> Command {
    let mut command = Command::new("tar");
    command.arg("-x").arg("-C").arg(folder).stdout(Stdio::null());
    command
}
