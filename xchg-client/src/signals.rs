//! Ctrl-C and SIGTERM.

use std::io;

use xchg_client::Cancel;

/// Lets the first signal cancel, so that nothing is left behind, and the second one kill.
#[cfg(unix)]
pub(crate) fn cancel_on_signals(cancel: &Cancel) -> io::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;
    use std::{process, thread};

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;

    use crate::exit::ExitCode;

    /// How long the rest of the program has to clean up. What waits for the network is awake at once; what waits for
    /// something else, such as the reader of a pipe, cannot be woken and has nothing to clean up.
    const GRACE: Duration = Duration::from_millis(500);
    const INTERRUPTED: i32 = ExitCode::Interrupted as i32;

    let is_second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&is_second))?;
        flag::register(signal, Arc::clone(&is_second))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let cancel = cancel.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            cancel.cancel();
            thread::sleep(GRACE);
            process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// Elsewhere the system's own way has to do.
#[cfg(not(unix))]
pub(crate) fn cancel_on_signals(_: &Cancel) -> io::Result<()> {
    Ok(())
}
