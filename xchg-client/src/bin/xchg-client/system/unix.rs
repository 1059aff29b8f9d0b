//! Unix.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Calls `act`, on a thread of its own, at the first Ctrl-C or SIGTERM. The second one ends the
/// program with `exit_code`.
pub(crate) fn on_first_signal(
    exit_code: i32,
    act: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // A shell has what it starts in the background ignore Ctrl-C, which is meant for others then.
    let signals: Vec<_> =
        [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let is_second = Arc::new(AtomicBool::new(false));
    for &signal in &signals {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(signal, exit_code, Arc::clone(&is_second))?;
        flag::register(signal, Arc::clone(&is_second))?;
    }
    let mut signals = Signals::new(signals)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            act();
        }
    })?;
    Ok(())
}

/// Whether the process was started with `signal` ignored. Where `/proc` does not tell, it was not.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether other users can read or change the file at `path`.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}
