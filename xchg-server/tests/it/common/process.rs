//! The real binary as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{DEADLINE, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_xchg-server");

/// A server process, killed when it goes out of scope.
pub(crate) struct Process {
    child: Child,
    /// Its standard output's lines; disconnected when it has ended.
    stdout: Receiver<String>,
    folder: TempDir,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    /// The lines that nobody had read.
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Process {
    /// A server on loopback, on a port of the system's choice.
    pub(crate) fn start(args: &[&str]) -> (Self, SocketAddr) {
        let mut command = Self::command();
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        Self::serve(command)
    }

    /// Runs `command`, which is to serve an address.
    pub(crate) fn serve(command: Command) -> (Self, SocketAddr) {
        Self::spawn(command).address()
    }

    /// Waits until it has told the address that it serves.
    pub(crate) fn address(self) -> (Self, SocketAddr) {
        let mut process = self;
        let line = process.line();
        let address = line.parse().unwrap_or_else(|_| panic!("{line:?} is no address"));
        (process, address)
    }

    /// The binary, without this process's environment.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(BINARY);
        command.env_clear().stdin(Stdio::null());
        command
    }

    /// The binary under `sh`, after `setup`.
    pub(crate) fn shell(setup: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"{setup}; exec "$0" "$@""#), BINARY]).stdin(Stdio::null());
        command
    }

    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with(command, None)
    }

    /// Runs `command` with a standard error of its own; else it is a file, for nobody reads a pipe
    /// in time.
    pub(crate) fn spawn_with(mut command: Command, stderr: Option<Stdio>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("stderr")).unwrap();
        let stderr = stderr.unwrap_or_else(|| file.into());
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let (sender, stdout) = crossbeam_channel::unbounded();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, stdout, folder }
    }

    /// Runs `command` to its end.
    pub(crate) fn run(command: Command) -> Exit {
        Self::spawn(command).wait()
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        self.stdout
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|error| panic!("{error}; it said {:?}", self.stderr()))
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// A file of the process in `/proc`.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }

    /// The value in KiB of a line such as `VmHWM:   1234 kB` in a file of the process in `/proc`.
    pub(crate) fn kib(&self, file: &str, field: &str) -> u64 {
        let text = std::fs::read_to_string(self.proc(file)).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Exit {
        let mut stdout = Vec::new();
        loop {
            match self.stdout.recv_timeout(DEADLINE) {
                Ok(line) => stdout.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it runs on; it said {:?}", self.stderr()),
            }
        }
        let mut status = None;
        eventually("it ends, whose standard output has", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        Exit { status: status.unwrap(), stdout, stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
