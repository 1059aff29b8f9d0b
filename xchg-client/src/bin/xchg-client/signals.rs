//! Ctrl-C and SIGTERM.

use std::io;

use xchg_client::Cancel;

use crate::progress::Tone;

/// Lets the first signal cancel, so that nothing is left behind, and the second one kill.
#[cfg(unix)]
pub(crate) fn cancel_on_signals(cancel: &Cancel, tone: Tone) -> io::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;
    use std::{process, thread};

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;
    use xchg_client::Error;

    use crate::exit::ExitCode;
    use crate::{progress, prompt};

    /// How long the rest of the program has to clean up. What waits for the network is awake at
    /// once; what waits for something else, such as the reader of a pipe, cannot be woken and has
    /// nothing to clean up.
    const GRACE: Duration = Duration::from_millis(500);
    const INTERRUPTED: i32 = ExitCode::Interrupted as i32;

    // A shell has what it starts in the background ignore Ctrl-C, which is meant for others then.
    let signals: Vec<_> =
        [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let is_second = Arc::new(AtomicBool::new(false));
    for &signal in &signals {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&is_second))?;
        flag::register(signal, Arc::clone(&is_second))?;
    }
    let mut signals = Signals::new(signals)?;
    let cancel = cancel.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            cancel.cancel();
            thread::sleep(GRACE);
            prompt::restore();
            progress::failed(tone, &Error::Cancelled.into(), ExitCode::Interrupted);
            process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// Whether the process was started with `signal` ignored. Where `/proc` does not tell, it was not.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Elsewhere the system's own way has to do.
#[cfg(not(unix))]
pub(crate) fn cancel_on_signals(_: &Cancel, _: Tone) -> io::Result<()> {
    Ok(())
}
