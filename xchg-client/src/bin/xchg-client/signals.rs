//! Ctrl-C and SIGTERM.

use std::time::Duration;
use std::{io, process, thread};

use xchg_client::{Cancel, Error};

use crate::exit::ExitCode;
use crate::say::Verbosity;
use crate::{progress, prompt, system};

/// How long the rest of the program has to clean up. What waits for the network is awake at once;
/// what waits for something else, such as the reader of a pipe, cannot be woken and has nothing to
/// clean up.
const GRACE: Duration = Duration::from_millis(500);

const INTERRUPTED: i32 = ExitCode::Interrupted as i32;

/// Lets the first signal cancel, so that nothing is left behind, and the second one kill.
pub(crate) fn cancel_on_signals(cancel: &Cancel, verbosity: Verbosity) -> io::Result<()> {
    let cancel = cancel.clone();
    system::on_first_signal(INTERRUPTED, move || {
        cancel.cancel();
        thread::sleep(GRACE);
        prompt::restore();
        progress::failed(verbosity, &Error::Cancelled.into(), ExitCode::Interrupted);
        process::exit(INTERRUPTED);
    })
}
