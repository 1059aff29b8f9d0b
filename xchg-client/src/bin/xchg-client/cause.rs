//! What went wrong, in a word for programs and a few for the line that says that it is tried again.

use xchg_client::{Error, RefusalCode, files, session};

use crate::failure::Failure;

/// The cause of a failure, for programs. The words are stable; more may come.
pub(crate) fn word(failure: &Failure) -> &'static str {
    match failure {
        Failure::Client(error) => word_of_error(error),
        Failure::NobodyCame { .. } => "nobody-came",
        Failure::WouldMerge { .. } => "would-merge",
        Failure::NoTerminal { .. } => "no-terminal",
        Failure::Read { .. } => "unreadable",
        Failure::Write { .. } => "unwritable",
    }
}

/// The word for an error of the library.
pub(crate) fn word_of_error(error: &Error) -> &'static str {
    match error {
        Error::Address(_) | Error::Code(_) => "usage",
        Error::UnknownHost { .. } => "unknown-host",
        Error::Connect { .. } => "unreachable",
        Error::NoAnswer { .. } => "no-answer",
        Error::NotAServer { .. } => "not-a-server",
        Error::ServerLost { .. } => "server-lost",
        Error::Refused { code: RefusalCode::TimedOut, .. } => "nobody-came",
        Error::Refused { code: RefusalCode::Busy, .. } => "busy",
        Error::Refused { code: RefusalCode::Draining, .. } => "draining",
        Error::Refused { .. } => "refused",
        Error::CounterpartLost { .. } => "cut-short",
        Error::UnsafeName { .. } => "unsafe-name",
        Error::Folder { .. } => "unreadable",
        Error::Malformed { .. } | Error::WrongLength { .. } | Error::NotReceived { .. } => {
            "other-side"
        }
        Error::DeclinedHere => "declined",
        Error::Cancelled => "interrupted",
        Error::Files(error) => word_of_files(error),
        Error::Session(error) => word_of_session(error),
        _ => "internal",
    }
}

fn word_of_session(error: &session::Error) -> &'static str {
    use session::Error as Session;
    match error {
        Session::WrongSecret | Session::Unconfirmed { .. } => "wrong-secret",
        Session::Declined { .. } => "declined",
        Session::Lost | Session::Silent | Session::Stream { .. } | Session::PeerCancelled => {
            "cut-short"
        }
        _ => "other-side",
    }
}

fn word_of_files(error: &files::Error) -> &'static str {
    use files::Error as Files;
    match error {
        Files::Exists { .. } | Files::InTheWay { .. } => "exists",
        Files::Name { .. } | Files::Collision { .. } | Files::NotUnicode { .. } => "unsafe-name",
        Files::NoSpace { .. } | Files::DiskFull { .. } => "no-space",
        Files::Changed { .. } => "changed",
        Files::Destination { .. } | Files::NotOneFile | Files::Busy { .. } => "unwritable",
        Files::Manifest(_) | Files::WrongHash { .. } | Files::NotText => "other-side",
        Files::Io { doing: "writing out", .. } => "unwritable",
        Files::Io { doing: "reading", .. } => "unreadable",
        Files::Nothing
        | Files::Unreadable { .. }
        | Files::NoName { .. }
        | Files::Duplicate { .. }
        | Files::Special { .. }
        | Files::LinkLeaves { .. }
        | Files::LinkLoop { .. } => "unreadable",
        _ => "internal",
    }
}

/// What happened, without what may be advised behind it, which belongs to the end of it all.
pub(crate) fn in_short(error: &Error) -> String {
    let text = error.to_string();
    // The words of the other side are whole only with what it advises.
    if let Error::Session(session::Error::Unable { .. }) = error {
        return text;
    }
    text.split_once("; ").map_or(&*text, |(what, _)| what).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word of [`word`], in the order of the help.
    const WORDS: [&str; 24] = [
        "usage",
        "no-terminal",
        "unknown-host",
        "unreachable",
        "no-answer",
        "not-a-server",
        "server-lost",
        "refused",
        "busy",
        "draining",
        "nobody-came",
        "wrong-secret",
        "declined",
        "would-merge",
        "exists",
        "unsafe-name",
        "no-space",
        "unreadable",
        "changed",
        "unwritable",
        "cut-short",
        "other-side",
        "interrupted",
        "internal",
    ];

    #[test]
    fn every_word_is_documented() {
        for word in WORDS {
            let help = crate::cli::EXIT_CODES_AND_EVENTS;
            let mut words = help.split(|c: char| c.is_whitespace() || ",.".contains(c));
            assert!(words.any(|listed| listed == word), "{word}");
        }
    }

    #[test]
    fn causes_have_their_words() {
        let refused = |code| Error::Refused { code, text: String::new() };
        for (error, expected) in [
            (Error::Cancelled, "interrupted"),
            (Error::DeclinedHere, "declined"),
            (refused(RefusalCode::Busy), "busy"),
            (refused(RefusalCode::TimedOut), "nobody-came"),
            (refused(RefusalCode::Forbidden), "refused"),
            (session::Error::WrongSecret.into(), "wrong-secret"),
            (session::Error::Lost.into(), "cut-short"),
            (files::Error::Nothing.into(), "unreadable"),
            (files::Error::Exists { path: "a".into(), more: 0 }.into(), "exists"),
            (session::Error::Files(files::Error::Stopped).into(), "interrupted"),
        ] {
            assert_eq!(word(&Failure::from(error)), expected);
            assert!(WORDS.contains(&expected));
        }
    }
}
