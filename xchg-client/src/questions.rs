//! What the person is asked.

use xchg_client::session::Secret;
use xchg_client::{Code, Error, Key};

use crate::cli::{Transfer, usage_error};
use crate::name::Name;
use crate::prompt::Question;

const SECRET: Question = Question {
    text: "Secret: ",
    otherwise: "put the secret behind the colon; or into the environment, as XCHG_SECRET, and ask for none",
};

const NAME: Question = Question {
    text: "Code or key: ",
    otherwise: "name it: xchg-client download KEY, or download CODE",
};

const ACCEPT: Question = Question { text: "Accept? [Y/n] ", otherwise: "use --yes" };

/// Asks for a secret without showing it.
pub(crate) fn secret() -> Result<Secret, Error> {
    let text = SECRET.ask_secret()?;
    if text.is_empty() {
        usage_error("an empty secret is none; leave out the colon, or --ask-secret");
    }
    Ok(Secret::new(&text))
}

/// Asks for what to download, until it can be understood.
pub(crate) fn name(transfer: &Transfer) -> Result<Name, Error> {
    let answer = NAME.ask(|line| {
        let text = line.trim();
        if !transfer.plain && Code::resembles(text) {
            return match Code::parse(text) {
                Ok(code) => Ok(Answer::Code(code)),
                Err(error) => Err(error.to_string()),
            };
        }
        let key = Key::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Answer::Key(key))
    })?;
    match answer {
        Answer::Code(code) => Ok(Name::of_code(&code)),
        // A secret may be behind a colon here too.
        Answer::Key(key) => Name::parse_bytes(key.as_bytes(), transfer),
    }
}

enum Answer {
    Code(Code),
    Key(Key),
}

/// Whether somebody is there to answer.
pub(crate) fn can_ask() -> bool {
    Question::can_be_asked()
}

/// Asks whether to take what is offered. Where nobody can be asked, it is what the command was for.
///
/// # Errors
/// [`Error::Cancelled`] if the person wants no more, which is a no too.
pub(crate) fn accept() -> Result<bool, Error> {
    let answer = ACCEPT.choose(|line| match line.trim().to_lowercase().as_str() {
        "" | "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("answer y or n"),
    });
    match answer {
        Err(Error::NoTerminal { .. }) => Ok(true),
        answer => answer,
    }
}
