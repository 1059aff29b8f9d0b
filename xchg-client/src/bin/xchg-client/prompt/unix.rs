//! The controlling terminal, read line by line.
//!
//! The kernel edits the line, as on the terminals of old: that works on any of them. Only the keys
//! that raise signals are told to end the line instead, so that whoever asked learns of them and
//! can put the terminal right first.

use std::fs::File;
use std::io::{self, Read, Write};

use parking_lot::Mutex;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcgetwinsize, tcsetattr,
};

/// How the terminal was before the first question.
static ORIGINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether the process has a terminal.
pub(super) fn exists() -> bool {
    open().is_ok()
}

/// How many lines the terminal has, if it says so.
pub(crate) fn lines() -> Option<usize> {
    let size = tcgetwinsize(open().ok()?).ok()?;
    Some(size.ws_row.into()).filter(|&lines| lines > 0)
}

/// How many columns the terminal has, if it says so.
pub(crate) fn columns() -> Option<usize> {
    let size = tcgetwinsize(open().ok()?).ok()?;
    Some(size.ws_col.into()).filter(|&columns| columns > 0)
}

/// Forgets what was typed and not read.
pub(super) fn forget_input() -> io::Result<()> {
    Ok(tcflush(open()?, QueueSelector::IFlush)?)
}

/// Notes how the terminal is, for [`restore`].
pub(super) fn remember() {
    let mut original = ORIGINAL.lock();
    if original.is_none() {
        *original = open().ok().and_then(|terminal| tcgetattr(terminal).ok());
    }
}

/// Makes the terminal what it was before the first question, if there was one: for a program that
/// ends in the midst of another.
pub(crate) fn restore() {
    if let (Some(original), Ok(terminal)) = (&*ORIGINAL.lock(), open()) {
        // There is nothing to be done about a terminal that has gone.
        tcsetattr(terminal, OptionalActions::Now, original).ok();
    }
}

/// Shows `question` and reads a line. None if the person pressed Ctrl-C or Ctrl-D.
pub(super) fn read_line(question: &str) -> io::Result<Option<String>> {
    read(question, LocalModes::ECHO)
}

/// Shows `question` and reads a line that is not shown while it is typed.
pub(super) fn read_secret(question: &str) -> io::Result<Option<String>> {
    read(question, LocalModes::empty())
}

fn read(question: &str, echo: LocalModes) -> io::Result<Option<String>> {
    remember();
    loop {
        let mut terminal = open()?;
        let (before, asking) = modes(&terminal, echo)?;
        // Before anybody can react to the question: a key that raised a signal then would do what
        // it usually does.
        tcsetattr(&terminal, OptionalActions::Now, &asking)?;
        let read = terminal.write_all(question.as_bytes()).and_then(|()| read_once(&mut terminal));
        let restored = tcsetattr(&terminal, OptionalActions::Now, &before);
        let line = read?;
        restored?;
        if echo.is_empty() || !line.ends_with(b"\n") {
            terminal.write_all(b"\n")?;
        }
        let code = |index| before.special_codes[index];
        match line.last() {
            None => return Ok(None),
            Some(b'\n') => {
                let line = String::from_utf8_lossy(&line);
                return Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()));
            }
            Some(&last) if last == code(SpecialCodeIndex::VSUSP) => {
                // Goes on here, and asks again, when the person comes back to it.
                kill_current_process_group(Signal::TSTP)?;
            }
            Some(_) => return Ok(None),
        }
    }
}

/// How the terminal is, and how it has to be for a question.
fn modes(terminal: &File, echo: LocalModes) -> io::Result<(Termios, Termios)> {
    let before = tcgetattr(terminal)?;
    let mut asking = before.clone();
    let (interrupt, suspend) = (
        before.special_codes[SpecialCodeIndex::VINTR],
        before.special_codes[SpecialCodeIndex::VSUSP],
    );
    asking.local_modes |= LocalModes::ICANON | LocalModes::IEXTEN;
    asking.local_modes -= LocalModes::ISIG;
    asking.local_modes -= LocalModes::ECHO;
    asking.local_modes |= echo;
    asking.special_codes[SpecialCodeIndex::VEOL] = interrupt;
    asking.special_codes[SpecialCodeIndex::VEOL2] = suspend;
    Ok((before, asking))
}

/// Reads a line with the key that ended it: nothing of it is left out, because a terminal holds no
/// longer ones.
fn read_once(terminal: &mut File) -> io::Result<Vec<u8>> {
    let mut line = vec![0; 4096];
    loop {
        match terminal.read(&mut line) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                line.truncate(read?);
                return Ok(line);
            }
        }
    }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}
