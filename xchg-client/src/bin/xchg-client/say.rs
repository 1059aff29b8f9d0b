//! Lines for the person, or the program, at stderr.

use std::io::{self, Write};

/// How much is told, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Lines, and a bar on a terminal.
    Human,
    /// Events, one JSON object a line.
    Json,
}

/// Writes a line to stderr. That nobody reads it is no reason to fail.
pub(crate) fn say(line: &str) {
    drop(io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
}
