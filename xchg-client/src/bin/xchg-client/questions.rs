//! What the person is asked.

use std::convert::Infallible;

use xchg_client::Secret;
use xchg_client::files::{Existing, Manifest, Survey};
use xchg_client::terminal::escape;

use crate::cli::usage_error;
use crate::failure::Failure;
use crate::offer;
use crate::prompt::{self, Question};
use crate::say::say;

const SECRET: Question = Question {
    text: "Secret: ",
    otherwise: "put the secret behind the colon; or into the environment, as XCHG_SECRET, and ask for none",
};

const NAME: Question = Question {
    text: "Code or key: ",
    otherwise: "name it: xchg-client download KEY, or download CODE",
};

/// About a text, of which nothing can be seen before it comes.
const ACCEPT_TEXT: Question = Question { text: "Accept? [Y/n] ", otherwise: "use --yes" };

const ACCEPT: Question = Question { text: "Accept? [Y/n/v] ", otherwise: "use --yes" };

const EXISTING: Question = Question {
    text: "[o]verwrite, [r]ename, [v]iew, [a]bort? ",
    otherwise: "use --overwrite or --rename",
};

const EXISTING_FILE: Question =
    Question { text: "[o]verwrite, [r]ename, [a]bort? ", otherwise: "use --overwrite or --rename" };

const MORE: Question = Question { text: "Enter for more, q to stop: ", otherwise: "" };

/// How many lines are shown at once where the terminal does not say how many it has.
const PAGE_LINES: usize = 22;

/// Asks for a secret without showing it.
pub(crate) fn secret() -> Result<Secret, Failure> {
    let text = SECRET.ask_secret()?;
    if text.is_empty() {
        usage_error("an empty secret is none; leave out the colon, or --ask-secret");
    }
    Ok(Secret::new(&text))
}

/// Asks for what to download, until `read` understands it.
pub(crate) fn name<T>(read: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    NAME.ask(|line| read(line.trim()))
}

/// Whether somebody is there to answer.
pub(crate) fn can_ask() -> bool {
    Question::can_be_asked()
}

/// What an answer means.
enum Reply<T> {
    Settled(T),
    /// First show all of it.
    View,
}

/// Asks whether to take what is offered, all of which is shown if the person wants to see it.
///
/// # Errors
/// [`Error::Cancelled`] if the person wants no more, which is a no too.
pub(crate) fn accept(manifest: &Manifest, survey: &Survey) -> Result<bool, Failure> {
    if offer::is_text(manifest) {
        return ACCEPT_TEXT.choose(|line| yes_or_no(line).ok_or("answer y or n"));
    }
    until_settled(manifest, survey, || {
        ACCEPT.choose(|line| match line.trim().to_lowercase().as_str() {
            "v" | "view" => Ok(Reply::View),
            line => yes_or_no(line)
                .map(Reply::Settled)
                .ok_or("answer y or n, or v to view all that is offered"),
        })
    })
}

/// Asks what to do with a file that has the `name`; `None` is to take nothing at all.
///
/// # Errors
/// As [`accept`].
pub(crate) fn existing_file(name: &str) -> Result<Option<Existing>, Failure> {
    say(&format!("{} exists", escape(name)));
    EXISTING_FILE.choose(|line| match line.trim().to_lowercase().as_str() {
        "o" | "overwrite" => Ok(Some(Existing::Overwrite)),
        "r" | "rename" => Ok(Some(Existing::Rename)),
        "a" | "abort" => Ok(None),
        _ => Err("answer o, r or a"),
    })
}

/// Asks what to do with names that are taken; `None` is to take nothing at all.
///
/// # Errors
/// As [`accept`].
pub(crate) fn existing(manifest: &Manifest, survey: &Survey) -> Result<Option<Existing>, Failure> {
    until_settled(manifest, survey, || {
        EXISTING.choose(|line| match line.trim().to_lowercase().as_str() {
            "o" | "overwrite" => Ok(Reply::Settled(Some(Existing::Overwrite))),
            "r" | "rename" => Ok(Reply::Settled(Some(Existing::Rename))),
            "a" | "abort" => Ok(Reply::Settled(None)),
            "v" | "view" => Ok(Reply::View),
            _ => Err("answer o, r, v or a"),
        })
    })
}

fn yes_or_no(line: &str) -> Option<bool> {
    match line.trim().to_lowercase().as_str() {
        "" | "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

fn until_settled<T>(
    manifest: &Manifest,
    survey: &Survey,
    ask: impl Fn() -> Result<Reply<T>, Failure>,
) -> Result<T, Failure> {
    loop {
        match ask()? {
            Reply::Settled(answer) => return Ok(answer),
            Reply::View => view(&offer::listing(manifest, survey))?,
        }
    }
}

/// Shows `lines`, as many at once as the terminal has.
fn view(lines: &[String]) -> Result<(), Failure> {
    // One is for the question, and one for what was there before.
    let page = prompt::lines().map_or(PAGE_LINES, |lines| lines.saturating_sub(2)).max(1);
    let mut pages = lines.chunks(page).peekable();
    while let Some(page) = pages.next() {
        page.iter().for_each(|line| say(&format!("    {line}")));
        let stops = |line: &str| Ok::<_, Infallible>(line.trim().eq_ignore_ascii_case("q"));
        if pages.peek().is_some() && MORE.choose(stops)? {
            return Ok(());
        }
    }
    Ok(())
}
