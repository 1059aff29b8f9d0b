//! Nothing that is not about a peer can fail a peer: whatever stderr and stdout are, exchanges go
//! on, and the server ends when it is told.

use std::fs::File;
use std::io::{PipeReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::common::{Peer, Process, eventually, payload};
use rustix::process::Signal;
use xchg_core::Side;
use xchg_core::wire::RefusalCode;

/// More than a pipe holds in lines at level debug, three an exchange.
const EXCHANGES: usize = 1_000;

/// A standard error that fails in some way, and what must be kept for that.
fn stderrs() -> Vec<(&'static str, Stdio, Option<PipeReader>)> {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let (unread, pipe) = std::io::pipe().unwrap();
    vec![
        ("a full disk", full.into(), None),
        ("a pipe whose reader has gone", gone.into(), None),
        ("a pipe that nobody reads", pipe.into(), Some(unread)),
    ]
}

fn debugging() -> Command {
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--log-level", "debug"]);
    command
}

/// Has small exchanges one after another.
fn exchange_much(address: SocketAddr) {
    for index in 0..EXCHANGES {
        let key = format!("{index}");
        drop(Peer::classic(address, b'P', &key).send_all(b"whole"));
        assert_eq!(Peer::classic(address, b'G', &key).whole(), b"whole", "exchange {index}");
    }
}

/// Sees that a drain lets one go who waits, and an exchange that runs end whole, and the process
/// with it.
fn drains_in_good_order(process: Process, address: SocketAddr, about: &str) {
    let waits = Peer::native(address, Side::Upload, "waits").waits();
    let mut uploader = Peer::native(address, Side::Upload, "runs").waits();
    let mut downloader = Peer::native(address, Side::Download, "runs");
    downloader.matched();
    uploader.matched();
    uploader.send(b"part");
    assert_eq!(downloader.read(4), b"part");
    process.signal(Signal::TERM);
    assert_eq!(waits.refused(), RefusalCode::Draining, "{about}");
    let file = payload(1, 1_000_000);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(uploader.send_all(&file)));
        assert!(downloader.whole() == file, "{about}");
    });
    let exit = process.wait();
    assert_eq!(exit.status.code(), Some(0), "{about}: {}", exit.stderr);
}

#[test]
fn a_stderr_that_takes_nothing_harms_nobody() {
    for (about, stderr, _kept) in stderrs() {
        let (process, address) = Process::spawn_with(debugging(), Some(stderr)).address();
        exchange_much(address);
        drains_in_good_order(process, address, about);
    }
}

#[test]
fn a_closed_stderr_harms_nobody() {
    let mut command = Process::shell("exec 2>&-");
    command.args(["--listen", "127.0.0.1:0", "--log-level", "debug"]);
    let (process, address) = Process::serve(command);
    drains_in_good_order(process, address, "closed");
}

#[test]
fn lines_that_a_pipe_had_no_room_for_are_counted_and_the_count_is_told() {
    let (mut unread, pipe) = std::io::pipe().unwrap();
    for format in ["text", "json"] {
        let mut command = debugging();
        command.args(["--log-format", format]);
        let stderr = pipe.try_clone().unwrap();
        let (process, address) = Process::spawn_with(command, Some(stderr.into())).address();
        // A pipe of 64 KiB and queues of a MiB, by three lines an exchange of 100 bytes and more
        // each.
        let waits = Peer::native(address, Side::Upload, "waits").waits();
        for _ in 0..12 {
            exchange_much(address);
        }
        process.signal(Signal::TERM);
        assert_eq!(waits.refused(), RefusalCode::Draining);
        let mut text = String::new();
        let mut said = Vec::new();
        eventually("the loss is told", || {
            let mut some = [0; 1 << 16];
            let n = unread.read(&mut some).unwrap();
            said.extend_from_slice(&some[..n]);
            text = String::from_utf8_lossy(&said).into_owned();
            text.contains(" log lines were lost")
        });
        let (before, _) = text.split_once(" log lines were lost").unwrap();
        let count: String = before.chars().rev().take_while(char::is_ascii_digit).collect();
        let count: usize = count.chars().rev().collect::<String>().parse().unwrap();
        assert!(count > 1000, "{count}");
        assert_eq!(process.wait().status.code(), Some(0));
    }
}

#[test]
fn a_log_line_is_not_torn_and_comes_in_order() {
    let (process, address) = Process::start(&["--log-level", "debug", "--log-format", "json"]);
    for index in 0..50 {
        let key = format!("{index}");
        drop(Peer::classic(address, b'P', &key).send_all(b"whole"));
        assert_eq!(Peer::classic(address, b'G', &key).whole(), b"whole");
    }
    process.signal(Signal::TERM);
    let exit = process.wait();
    let lines: Vec<serde_json::Value> =
        exit.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!((of("listening"), of("matched"), of("drained")), (1, 50, 1));
    assert_eq!(lines.last().unwrap()["message"], "drained");
}

#[test]
fn a_stdout_that_takes_nothing_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // A pipe is opened whose reader then goes.
    let gone = format!(
        "mkfifo {0}/gone; exec 4<>{0}/gone; exec >{0}/gone; exec 4<&-",
        folder.path().display()
    );
    for setup in ["exec >/dev/full", "exec >&-", &gone] {
        let ports = folder.path().join("ports");
        let mut command = Process::shell(setup);
        command.args(["--listen", "127.0.0.1:0", "--port-file"]).arg(&ports);
        let process = Process::spawn(command);
        eventually("the port is told", || ports.exists());
        let address = std::fs::read_to_string(&ports).unwrap().trim().parse().unwrap();
        std::fs::remove_file(&ports).unwrap();
        drains_in_good_order(process, address, setup);
    }
}

#[test]
fn a_port_file_that_cannot_be_written_harms_nobody() {
    let (process, address) = Process::start(&["--port-file", "/proc/none/ports"]);
    eventually("the log says so", || process.stderr().contains("cannot write the port file"));
    drains_in_good_order(process, address, "no port file");
}

#[test]
fn the_journal_is_told_how_much_lines_matter_and_nobody_else() {
    for is_journal in [true, false] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = Process::command();
        command.args(["--listen", "127.0.0.1:0", "--max-connections", "500000000"]);
        let is = file.as_file().metadata().unwrap();
        let inode = is.ino() + u64::from(!is_journal);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", is.dev()));
        command.stdout(Stdio::null()).stderr(file.reopen().unwrap());
        let mut server = command.spawn().unwrap();
        let log = || std::fs::read_to_string(file.path()).unwrap();
        eventually("it listens", || log().contains(" listening "));
        server.kill().unwrap();
        server.wait().unwrap();
        let log = log();
        let priority = |line: &str| match line {
            _ if line.contains(" WARN ") => "<4>20",
            _ => "<6>20",
        };
        assert!(log.contains(" WARN "), "{log}");
        let begins_so = |line: &str| line.starts_with(priority(line));
        assert_eq!(log.lines().all(begins_so), is_journal, "{log}");
        assert_eq!(log.lines().any(begins_so), is_journal, "{log}");
    }
}
