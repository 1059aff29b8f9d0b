//! The terminal of systems other than unix, which edit lines themselves.

use std::io;

/// What the person did.
pub(super) enum Line {
    /// Typed this.
    Answer(String),
    /// Ended the input.
    Left,
}

/// Whether what is typed is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Yes,
    No,
}

/// Whether the process has a terminal.
pub(super) fn exists() -> bool {
    true
}

/// Nothing here tells.
pub(crate) fn lines() -> Option<usize> {
    None
}

/// Nothing here tells.
pub(crate) fn columns() -> Option<usize> {
    None
}

/// Nothing here can do that.
pub(super) fn forget_input() -> io::Result<()> {
    Ok(())
}

/// Nothing here changes how the terminal is.
pub(super) fn remember() {}

/// Nothing here changes how the terminal is.
pub(crate) fn restore() {}

/// Shows `question` and reads a line.
pub(super) fn read_line(question: &str, shown: Shown) -> io::Result<Line> {
    if shown == Shown::No {
        return rpassword::prompt_password(question).map(Line::Answer);
    }
    eprint!("{question}");
    let mut line = String::new();
    match io::stdin().read_line(&mut line)? {
        0 => Ok(Line::Left),
        _ => Ok(Line::Answer(line.trim_end_matches(['\n', '\r']).to_owned())),
    }
}
