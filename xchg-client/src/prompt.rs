//! Asks the person at the terminal.
//!
//! The terminal is the one that the process belongs to, whatever its standard streams are: a payload may come and go there.
//! Ctrl-C at a question is [`Error::Cancelled`].

use std::fmt::Display;
use std::io::{self, IsTerminal};

use rustyline::completion::Completer;
use rustyline::config::{Behavior, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use crate::Error;
use crate::code::{WORD_COUNT, complete, is_separator};

/// A question to the person.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// What is shown before the answer, such as `Code: `.
    pub text: &'static str,
    /// What to do instead where nobody can be asked, such as `name it: xchg-client download CODE`.
    pub otherwise: &'static str,
}

impl Question {
    /// Whether [`Question::ask`] finds somebody to ask.
    pub fn can_be_asked() -> bool {
        can_edit()
    }

    /// Asks for a line that `read` understands; if it does not, its error is shown, and the line can be corrected.
    ///
    /// The tabulator completes the words of a [`Code`](crate::Code).
    ///
    /// # Errors
    /// [`Error::NoTerminal`] if nobody can be asked, [`Error::Cancelled`] if the person wants no more.
    pub fn ask<T, E: Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Result<T, Error> {
        if !can_edit() {
            return Err(self.nobody());
        }
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .completion_type(CompletionType::List)
            .auto_add_history(false);
        let mut editor =
            Editor::<Words, DefaultHistory>::with_config(config.build()).map_err(failed)?;
        editor.set_helper(Some(Words));
        let mut question = self.text.to_owned();
        let mut line = String::new();
        loop {
            line = editor.readline_with_initial(&question, (&line, "")).map_err(failed)?;
            match read(&line) {
                Ok(answer) => return Ok(answer),
                Err(error) => question = format!("{error}\n{}", self.text),
            }
        }
    }

    /// Asks for a line that nobody shall see: it is not shown while it is typed. It may be empty.
    ///
    /// Ctrl-C raises SIGINT after all. A program that does not handle it leaves a terminal that shows nothing.
    ///
    /// # Errors
    /// As [`Question::ask`].
    pub fn ask_secret(&self) -> Result<String, Error> {
        if !has_terminal() {
            return Err(self.nobody());
        }
        rpassword::prompt_password(self.text).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => Error::Cancelled,
            _ => broken(error),
        })
    }

    fn nobody(&self) -> Error {
        Error::NoTerminal { otherwise: self.otherwise }
    }
}

/// Whether somebody is there who sees a question.
fn has_terminal() -> bool {
    // A script has its caller's terminal, and neither of these streams is it when nobody looks.
    (io::stdin().is_terminal() || io::stderr().is_terminal()) && opens_terminal()
}

#[cfg(unix)]
fn opens_terminal() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/tty").is_ok()
}

#[cfg(not(unix))]
fn opens_terminal() -> bool {
    true
}

/// Whether a line can be edited too. On a terminal without a cursor, rustyline would use the standard streams.
fn can_edit() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    has_terminal() && !["dumb", "cons25", "emacs"].contains(&&*term.to_ascii_lowercase())
}

fn failed(error: ReadlineError) -> Error {
    match error {
        ReadlineError::Eof | ReadlineError::Interrupted => Error::Cancelled,
        ReadlineError::Io(error) => broken(error),
        other => broken(io::Error::other(other)),
    }
}

fn broken(source: io::Error) -> Error {
    Error::Local { what: "the terminal", source }
}

/// Completes the words of a code.
struct Words;

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(completions(&line[..cursor]))
    }
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Hinter for Words {
    type Hint = String;
}
impl Validator for Words {}

/// Where the word at the end of `line` begins, and what it can become, with the dash that follows it. There is nothing to complete
/// before the number, after the last word, and where nothing of a word has been typed.
fn completions(line: &str) -> (usize, Vec<String>) {
    let start = line
        .rfind(is_separator)
        .map_or(0, |at| at + line[at..].chars().next().map_or(0, char::len_utf8));
    let (before, word) = line.split_at(start);
    let parts = before.split(is_separator).filter(|part| !part.is_empty()).count();
    if word.is_empty() || !(1..=WORD_COUNT).contains(&parts) {
        return (start, Vec::new());
    }
    let dash = if parts < WORD_COUNT { "-" } else { "" };
    (start, complete(word).iter().map(|word| format!("{word}{dash}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_behind_the_number() {
        for (line, start, expected) in [
            ("12342-fab", 6, &["fabric-"][..]),
            ("12342 FABR", 6, &["fabric-"]),
            ("12342 – fabr", 10, &["fabric-"]),
            ("12342-fabric-lemo", 13, &["lemon-"]),
            ("12342-fabric-lemon-orb", 19, &["orbit"]),
            ("12342-clo", 6, &["clock-", "clog-", "close-", "cloth-", "cloud-", "clown-"]),
            ("12342-", 6, &[]),
            ("12342-zzz", 6, &[]),
            ("12342-fabric-lemon-orbit-zo", 25, &[]),
            ("fab", 0, &[]),
            ("", 0, &[]),
        ] {
            let expected = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(completions(line), (start, expected), "{line}");
        }
    }
}
