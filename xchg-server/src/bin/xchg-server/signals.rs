//! What signals do: SIGTERM and SIGINT drain, and cut if they come again. No other kills the server
//! unless it is meant to.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use xchg_server::ServerHandle;

use crate::vital;

/// Takes the signals; those that come before [`obey`] is called are kept for it.
pub(crate) fn take() -> io::Result<Signals> {
    // SIGUSR1 and SIGUSR2 mean nothing here, and would kill a process that says nothing of them.
    let mut signals = vec![SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
    // A shell has what it starts in the background ignore Ctrl-C, which is meant for others then.
    if !is_ignored(SIGINT) {
        signals.push(SIGINT);
    }
    Signals::new(signals)
}

/// Does what they say: the first that ends the server drains it, the second cuts.
pub(crate) fn obey(mut signals: Signals, server: ServerHandle) -> io::Result<()> {
    vital::spawn("xchg-signals", move || {
        let mut ends = [ServerHandle::drain, ServerHandle::cut].into_iter();
        for signal in signals.forever() {
            match signal {
                SIGTERM | SIGINT => ends.by_ref().take(1).for_each(|end| end(&server)),
                SIGHUP => tracing::warn!(
                    "the configuration is not read again while the server runs; restart it instead"
                ),
                _ => {}
            }
        }
    })
}

/// Whether the process was started with `signal` ignored. Where `/proc` does not tell, it was not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
