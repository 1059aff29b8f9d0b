//! A line that can be edited, with completion of the words of codes.

use std::env;
use std::fmt::Display;
use std::io;

use rustyline::completion::Completer;
use rustyline::config::{Behavior, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use xchg_client::code;

use super::terminal;

/// Whether the terminal has a cursor that can be moved. On others, rustyline would use the standard
/// streams.
pub(super) fn is_possible() -> bool {
    let term = env::var("TERM").unwrap_or_default();
    !["", "dumb", "cons25", "emacs"].contains(&&*term.to_ascii_lowercase())
}

/// Asks for a line that `read` understands. What it did not understand is a key press away.
///
/// # Errors
/// `Interrupted` if the person wants no more.
pub(super) fn ask<T, E: Display>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> io::Result<T> {
    terminal::remember();
    let config = Config::builder()
        .behavior(Behavior::PreferTerm)
        .completion_type(CompletionType::List)
        .auto_add_history(true);
    let mut editor = Editor::<Words, DefaultHistory>::with_config(config.build()).map_err(plain)?;
    editor.set_helper(Some(Words));
    let mut question = text.to_owned();
    loop {
        match read(&editor.readline(&question).map_err(plain)?) {
            Ok(answer) => return Ok(answer),
            Err(error) => question = format!("{error}\n{text}"),
        }
    }
}

fn plain(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Eof | ReadlineError::Interrupted => io::ErrorKind::Interrupted.into(),
        ReadlineError::Io(error) => error,
        other => io::Error::other(other),
    }
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
        Ok(code::completions(&line[..cursor]))
    }
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Hinter for Words {
    type Hint = String;
}
impl Validator for Words {}
