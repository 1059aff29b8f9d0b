//! Systems that are no unix.

use std::io;
use std::path::Path;

/// The system's own way of ending a program has to do.
pub(crate) fn on_first_signal(_: i32, _: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// Not told by modes here.
pub(crate) fn is_open_to_others(_: &Path) -> bool {
    false
}
