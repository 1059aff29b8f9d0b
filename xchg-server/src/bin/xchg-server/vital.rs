//! Threads without which the program would be alive by half: a panic of one ends it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;

use crate::log;

/// The exit status when a thread has panicked, as for any Rust program whose main thread has.
pub(crate) const PANICKED: u8 = 101;

/// Runs `work` on a thread called `name`. Its panic ends the process with status [`PANICKED`].
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            log::flush();
            std::process::exit(PANICKED.into());
        }
    })?;
    Ok(())
}

/// Runs the main thread's `work`, so that a panic of its own is in the log when the process ends.
pub(crate) fn main(work: impl FnOnce() -> ExitCode) -> ExitCode {
    let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| ExitCode::from(PANICKED));
    log::flush();
    code
}
