//! Runs the real program, with a deadline on every wait.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Far longer than anything takes on the slowest machine. Only a failing test gets here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running `xchg-client`, killed when dropped.
pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Receiver<String>,
    seen: Vec<String>,
}

/// What became of one.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<String>,
}

/// The program in `folder`, with nothing in its environment that changes what it does.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xchg-client"));
    command.args(args).current_dir(folder);
    for variable in ["XCHG_SERVER", "XCHG_TOKEN", "XCHG_SECRET", "XDG_CONFIG_HOME", "HOME"] {
        command.env_remove(variable);
    }
    command
}

impl Client {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::spawn(command(folder, args))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (send_stdout, receive_stdout) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            send_stdout.send(bytes)
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send_line, receive_line) = mpsc::channel();
        thread::spawn(move || stderr.lines().try_for_each(|line| send_line.send(line.unwrap())));
        Self {
            stdin: child.stdin.take(),
            child,
            stdout: Some(receive_stdout),
            stderr: receive_line,
            seen: Vec::new(),
        }
    }

    /// Waits for a line on stderr that contains `part`.
    pub(crate) fn wait_for(&mut self, part: &str) {
        loop {
            let line = self.stderr.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no `{part}` in {:?}", self.seen));
            self.seen.push(line);
            if self.seen.last().unwrap().contains(part) {
                return;
            }
        }
    }

    /// Writes to the program's stdin, which stays open.
    #[allow(dead_code, reason = "not every crate of tests needs it")]
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Ends the program's stdin.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for a line on stderr about which `is_it`; `None` if the program ends before.
    #[allow(dead_code, reason = "not every crate of tests needs it")]
    pub(crate) fn find_line(&mut self, mut is_it: impl FnMut(&str) -> bool) -> Option<String> {
        loop {
            match self.stderr.recv_timeout(DEADLINE) {
                Ok(line) => {
                    let found = is_it(&line);
                    self.seen.push(line);
                    if found {
                        return self.seen.last().cloned();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("nothing new after {:?}", self.seen),
            }
        }
    }

    /// Kills the program as nothing can prevent it.
    #[allow(dead_code, reason = "not every crate of tests needs it")]
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the program's end.
    pub(crate) fn finish(mut self) -> Finished {
        let stdout = self.stdout.take().unwrap().recv_timeout(DEADLINE).expect("it ends in time");
        while let Ok(line) = self.stderr.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        let code = self.child.wait().unwrap().code();
        Finished { code, stdout, stderr: std::mem::take(&mut self.seen) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Finished {
    /// Checks the exit code, and that stderr contains `part`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.concat().contains(part), "no `{part}` in {self:?}");
        self
    }
}

/// The names in `folder`, hidden ones too.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
