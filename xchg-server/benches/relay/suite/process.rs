//! Servers as child processes: started, watched, stopped on every way out, and their costs read
//! from /proc.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::{During, Failure, Result};

/// How long a server may take to start listening, and to end once told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The process groups now running, for the one way out on which no `Drop` runs: a signal.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Ends every server and removes `folder` when this process is told to end.
pub(crate) fn clean_up_on_signals(folder: &Path) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).during("cannot catch signals")?;
    let folder = folder.to_owned();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Kept locked until the exit, so that no server is started meanwhile.
            let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().for_each(|&group| kill(group));
            fs::remove_dir_all(folder).ok();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// A server with its children, which dies with this value.
pub(crate) struct ServerProcess {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `program`, in a process group of its own, with its output going to a file in
    /// `folder`.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join("log");
        let output = File::create(&log).during(format_args!("cannot create {}", log.display()))?;
        let errors = output.try_clone().during("cannot share the log's descriptor")?;
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let child = dying_with_us(program, arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .during(format_args!("cannot start {}", program.display()))?;
        let group = Pid::from_child(&child);
        running.push(group);
        Ok(Self { name: name.to_owned(), child, group, log })
    }

    /// Fails, with what the server said last, if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().during(format_args!("cannot watch {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Ends the server with SIGTERM, as its keeper would.
    ///
    /// # Errors
    /// It does not end within [`PATIENCE`], or says that it failed.
    pub(crate) fn stop(mut self) -> Result<()> {
        rustix::process::kill_process(self.group, Signal::TERM)
            .during(format_args!("cannot signal {}", self.name))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().during(format_args!("cannot watch {}", self.name))? {
                // socat and our own relay know no better end than the signal's; 143 is how socat
                // words it.
                Some(status) if status.success() || matches!(status.code(), None | Some(143)) => {
                    return Ok(());
                }
                Some(status) => return Err(self.ended(status)),
                None if Instant::now() > deadline => {
                    return Err(Failure::new(format!(
                        "{} goes on {PATIENCE:?} after SIGTERM",
                        self.name
                    )));
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
        Failure::new(format!("{} ended unasked ({status}); its last words:\n  {last}", self.name))
    }

    /// Processor time that the server and its children have used since it started.
    ///
    /// Linux counts it in ticks of 10 ms (`USER_HZ`, 100 on every architecture that Rust has;
    /// proc(5)).
    pub(crate) fn processor_time(&self) -> Duration {
        let ticks =
            self.family().iter().map(|status| status.ticks + status.ticks_of_the_gone).sum();
        ticks_to_time(ticks)
    }

    /// Memory that is resident now, in bytes, exactly; pages that its processes share count once
    /// for each.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.family()
            .iter()
            .filter_map(|status| read_kib(status.pid, "smaps_rollup", "Rss:"))
            .sum::<u64>()
            << 10
    }

    /// The most memory that was resident, in bytes: exact for a single process; a lower bound, to
    /// be sampled, for one that starts others, since the ended take theirs along.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.family()
            .iter()
            .filter_map(|status| read_kib(status.pid, "status", "VmHWM:"))
            .sum::<u64>()
            << 10
    }

    /// The server's process and all that descend from it.
    fn family(&self) -> Vec<Status> {
        let root = self.group.as_raw_nonzero().get();
        let mut strangers: Vec<Status> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| Status::read(entry.ok()?.file_name().to_str()?.parse().ok()?))
            .collect();
        let mut family: Vec<Status> =
            strangers.extract_if(.., |status| status.pid == root).collect();
        let mut next = 0;
        while let Some(parent) = family.get(next).map(|status| status.pid) {
            family.extend(strangers.extract_if(.., |status| status.parent == parent));
            next += 1;
        }
        family
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        kill(self.group);
        // Nothing to be done about either failure: it was killed, and the log goes with the folder.
        self.child.wait().ok();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|&group| group != self.group);
    }
}

/// Even SIGKILL to this process shall leave no server behind: setpriv, where it is, asks the kernel
/// to see to that.
fn dying_with_us(program: &Path, arguments: &[String]) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments).process_group(0);
    command
}

fn kill(group: Pid) {
    // Fails only if all of the group are gone, which is what is wanted.
    kill_process_group(group, Signal::KILL).ok();
}

/// Looks for `name` where the shell would, and in the folders of system servers, which are not on
/// every `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Processor time that this process has used.
pub(crate) fn own_processor_time() -> Duration {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    ticks_to_time(Status::read(own).map_or(0, |status| status.ticks))
}

/// Time that all processors together have spent on anything at all since the machine started.
pub(crate) fn busy_processor_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; see proc(5).
    ticks_to_time(ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>())
}

fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// What /proc/PID/stat says of a process, in proc(5)'s order.
struct Status {
    pid: i32,
    parent: i32,
    /// User and system time of all threads, the ended ones' included.
    ticks: u64,
    /// The same of children that have ended and been waited for.
    ticks_of_the_gone: u64,
}

impl Status {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold blanks.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            ticks_of_the_gone: number(13)? + number(14)?,
        })
    }
}

/// The number of KiB after `label` in a file of /proc/PID.
fn read_kib(pid: i32, file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(label)?.trim().strip_suffix("kB")?.trim().parse().ok())
}
