//! Asks the person at the terminal.
//!
//! The terminal is the one that the process belongs to, whatever its standard streams are: a
//! payload may come and go there. Ctrl-C at a question is [`Error::Cancelled`], never a signal;
//! Ctrl-Z stops the program, which asks again when it goes on.

mod editor;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "portable.rs")]
mod terminal;

use std::fmt::Display;
use std::io::{self, IsTerminal};

use xchg_client::Error;

use crate::failure::Failure;

pub(crate) use terminal::{columns, lines, restore};

/// A question to the person.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// What is shown before the answer, such as `Code: `.
    pub(crate) text: &'static str,
    /// What to do instead where nobody can be asked, such as `name it: xchg-client download CODE`.
    pub(crate) otherwise: &'static str,
}

impl Question {
    /// Whether somebody is there to be asked.
    pub(crate) fn can_be_asked() -> bool {
        // A script has its caller's terminal, and neither of these streams is it when nobody looks.
        (io::stdin().is_terminal() || io::stderr().is_terminal()) && terminal::exists()
    }

    /// Asks for a line that `read` understands; if it does not, its error is shown, and the
    /// question is asked again.
    ///
    /// The tabulator completes the words of a [`Code`](xchg_client::Code), and the arrows bring
    /// back what was not understood, on terminals that can do that.
    ///
    /// # Errors
    /// [`Failure::NoTerminal`] if nobody can be asked, [`Error::Cancelled`] if the person wants no
    /// more.
    pub(crate) fn ask<T, E: Display>(
        &self,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        self.check()?;
        if editor::is_possible() {
            return editor::ask(self.text, read).map_err(failed);
        }
        self.until_understood(read)
    }

    /// Asks for one of a few answers. What was typed before the question is none of them.
    ///
    /// # Errors
    /// As [`Question::ask`].
    pub(crate) fn choose<T, E: Display>(
        &self,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        self.check()?;
        terminal::forget_input().map_err(failed)?;
        self.until_understood(read)
    }

    /// Asks for a line that nobody shall see: it is not shown while it is typed. It may be empty.
    ///
    /// # Errors
    /// As [`Question::ask`].
    pub(crate) fn ask_secret(&self) -> Result<String, Failure> {
        self.check()?;
        answer(terminal::read_secret(self.text))
    }

    fn until_understood<T, E: Display>(
        &self,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let mut question = self.text.to_owned();
        loop {
            match read(&answer(terminal::read_line(&question))?) {
                Ok(answer) => return Ok(answer),
                Err(error) => question = format!("{error}\n{}", self.text),
            }
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if Self::can_be_asked() {
            return Ok(());
        }
        Err(Failure::NoTerminal { otherwise: self.otherwise })
    }
}

fn answer(line: io::Result<Option<String>>) -> Result<String, Failure> {
    line.map_err(failed)?.ok_or_else(|| Error::Cancelled.into())
}

fn failed(source: io::Error) -> Failure {
    let error = match source.kind() {
        io::ErrorKind::Interrupted => Error::Cancelled,
        _ => Error::Local { what: "the terminal", source },
    };
    error.into()
}
