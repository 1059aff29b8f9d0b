//! The terminal of systems other than unix, which edit lines themselves.

use std::io;

/// Whether the process has a terminal.
pub(super) fn exists() -> bool {
    true
}

/// How many lines the terminal has: nothing here tells.
pub(crate) fn lines() -> Option<usize> {
    None
}

/// How many columns the terminal has: nothing here tells.
pub(crate) fn columns() -> Option<usize> {
    None
}

/// Forgets what was typed and not read, where that is possible: not here.
pub(super) fn forget_input() -> io::Result<()> {
    Ok(())
}

/// Notes how the terminal is, which nothing here changes.
pub(super) fn remember() {}

/// Makes the terminal what it was, which it still is.
pub(crate) fn restore() {}

/// Shows `question` and reads a line. None if the person ended the input.
pub(super) fn read_line(question: &str) -> io::Result<Option<String>> {
    eprint!("{question}");
    let mut line = String::new();
    match io::stdin().read_line(&mut line)? {
        0 => Ok(None),
        _ => Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned())),
    }
}

/// Shows `question` and reads a line that is not shown while it is typed.
pub(super) fn read_secret(question: &str) -> io::Result<Option<String>> {
    rpassword::prompt_password(question).map(Some)
}
