//! The crate's one error.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xchg_core::Side;
use xchg_core::wire::RefusalCode;

use crate::terminal::escape;
use crate::{Address, InvalidCode, Key, files, session};

/// Why a transfer or a command did not do what it should.
///
/// `Display` is one level and says what to do; [`source`](std::error::Error::source) has the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no address.
    #[error("`{text}` is no address: {why}", text = escape(text))]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The host's name has no address, or nobody could tell in time.
    #[error("unknown host `{}`; check its spelling and your network", escape(host))]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nothing that accepts connections is there.
    #[error("cannot reach {address}; {}", connect_advice(source))]
    Connect {
        /// Where.
        address: Address,
        /// How the last attempt failed.
        source: io::Error,
    },
    /// The server accepted the connection, and did not answer in time.
    #[error("{address} accepted the connection and said nothing within {}; check that it is an xchg server, or allow more time with --connect-timeout", duration_in_words(*timeout))]
    NoAnswer {
        /// Where.
        address: Address,
        /// How long connecting and the first answer might take.
        timeout: Duration,
    },
    /// What answers there does not speak the native dialect.
    #[error("malformed answer: {address} is not an xchg server; check the address and port")]
    NotAServer {
        /// Where.
        address: Address,
        /// Which rule the answer breaks.
        source: xchg_core::Error,
    },
    /// The connection ended, or was silent for too long, before a counterpart came.
    #[error("lost {address} before a counterpart came; {}", lost_advice(*had_place))]
    ServerLost {
        /// Where.
        address: Address,
        /// Whether the server had said that the offer waits: it is one, then, and may come back.
        had_place: bool,
        /// How the connection ended.
        source: io::Error,
    },
    /// The server said no.
    #[error("the server refuses ({}): {}", code.as_str(), escape(text))]
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for the person. Hostile until escaped, as `Display` does.
        text: String,
    },
    /// The wait is over.
    #[error("{}", nobody_came(*counterpart, key, *wait))]
    NobodyCame {
        /// For whom it was.
        counterpart: Side,
        /// What the person calls the exchange.
        key: String,
        /// How long it was.
        wait: Duration,
    },
    /// The exchange ended before all its bytes had moved, or before the receipt.
    #[error("lost the {} after {bytes} bytes; both sides have to try again", role(*counterpart))]
    CounterpartLost {
        /// Which side was lost.
        counterpart: Side,
        /// Payload bytes moved until then.
        bytes: u64,
        /// How the connection ended.
        source: io::Error,
    },
    /// The counterpart breaks a rule of PROTOCOL.md section 2.
    #[error("the {} breaks the protocol: {what}", role(*counterpart))]
    Malformed {
        /// Which side does.
        counterpart: Side,
        /// Which rule.
        what: &'static str,
    },
    /// The uploader did not send as many bytes as it had announced.
    #[error(
        "the uploader announced {announced} bytes and sent {sent}; nothing is kept, both sides have to try again"
    )]
    WrongLength {
        /// The length that came with the match.
        announced: u64,
        /// Bytes until the end, or until they were too many.
        sent: u64,
    },
    /// The downloader says in its receipt that it has not got the payload.
    #[error("the downloader gave up after {bytes} bytes; its own message says why")]
    NotReceived {
        /// What it had got by then.
        bytes: u64,
    },
    /// What is to be uploaded cannot be read.
    #[error("cannot read `{}`", path.display())]
    Source {
        /// Its name.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A folder cannot be uploaded.
    #[error("`{}` is a folder; name a file, or pack the folder: tar c FOLDER | xchg-client upload - --key NAME.tar", path.display())]
    SourceIsFolder {
        /// Its name.
        path: PathBuf,
    },
    /// The file has another length than was announced, or became shorter while it was being sent: the downloader has no whole version
    /// of it.
    #[error("`{}` has changed since the upload began; upload it again", path.display())]
    SourceChanged {
        /// Its name.
        path: PathBuf,
    },
    /// The text is no code.
    #[error(transparent)]
    Code(#[from] InvalidCode),
    /// The session with the counterpart did not come to a receipt.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// What is to be sent cannot be, or the destination cannot take it.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The key does not end in a name that is safe for a new file.
    #[error("the key `{}` is no safe file name; name the file yourself: -o FILE", show(key))]
    UnsafeName {
        /// The key.
        key: Key,
    },
    /// There is something already under the name.
    #[error("`{}` exists; use --overwrite or --rename, or another name with -o", path.display())]
    TargetExists {
        /// The name.
        path: PathBuf,
    },
    /// What is offered would be added to a folder that exists, and nobody was asked.
    #[error("`{}` exists, and {names} new {} there; use --merge, or another folder with -o", escape(folder), if *names == 1 { "name would be" } else { "names would be" })]
    WouldMerge {
        /// Within the destination; the first, if there are several.
        folder: String,
        /// How many new names there would be in folders that exist.
        names: usize,
    },
    /// The payload cannot be written.
    #[error("cannot write {}", target_name(path.as_deref()))]
    Target {
        /// The file; `None` for the standard output and other writers.
        path: Option<PathBuf>,
        /// How it failed.
        source: io::Error,
    },
    /// The payload does not fit.
    #[error("no space in `{}` for {needed} bytes, {available} are free; make room, or choose another place with -o", folder.display())]
    NoSpace {
        /// Where the file was to be.
        folder: PathBuf,
        /// The payload's length in bytes.
        needed: u64,
        /// Free for this user, in bytes.
        available: u64,
    },
    /// A person would have to be asked, and there is none.
    #[error("there is no terminal to ask at; {otherwise}")]
    NoTerminal {
        /// What to do instead.
        otherwise: &'static str,
    },
    /// Somebody used the [`Cancel`](crate::Cancel) token, or left a question unanswered.
    #[error("interrupted")]
    Cancelled,
    /// This process ran out of something.
    #[error("cannot set up {what}")]
    Local {
        /// What it is.
        what: &'static str,
        /// How it failed.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may well succeed later: no counterpart came, or the server was full, shutting down, or lost while
    /// it had nobody to meet.
    pub fn is_worth_a_retry(&self) -> bool {
        use RefusalCode::{Busy, Draining, TimedOut};
        matches!(
            self,
            Error::NobodyCame { .. }
                | Error::ServerLost { had_place: true, .. }
                | Error::Refused { code: Busy | Draining | TimedOut, .. }
        )
    }

    /// Whether the counterpart was lost midway: the same calls on both sides go on where this one ended.
    pub fn is_cut_short(&self) -> bool {
        use session::Error::{Lost, PeerCancelled, Silent, Stream};
        matches!(self, Error::Session(Lost | Silent | Stream { .. } | PeerCancelled))
    }

    /// Whether the reader of the standard output, or of another pipe that was written to, has left.
    pub fn is_broken_pipe(&self) -> bool {
        let source = match self {
            Error::Target { source, .. }
            | Error::Session(session::Error::Files(files::Error::Io { source, .. })) => source,
            _ => return false,
        };
        source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// The error of a connection that failed, in words for a person where the system's are for a programmer.
pub(crate) fn in_plain_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the connection was closed"),
        io::ErrorKind::TimedOut => io::Error::new(error.kind(), "nothing was heard for too long"),
        _ => error,
    }
}

/// A key, fit for a terminal.
fn show(key: &Key) -> String {
    escape(&String::from_utf8_lossy(key.as_bytes()))
}

fn role(side: Side) -> &'static str {
    match side {
        Side::Upload => "uploader",
        Side::Download => "downloader",
    }
}

fn nobody_came(counterpart: Side, key: &str, wait: Duration) -> String {
    let (role, key) = (role(counterpart), escape(key));
    match wait {
        Duration::ZERO => format!("no {role} of {key} is waiting"),
        wait => format!("no {role} of {key} came within {}", duration_in_words(wait)),
    }
}

/// A duration as people write it: `1.5 s`, `5m`, `1h 30m`.
pub fn duration_in_words(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{} s", duration.as_secs_f64()),
        _ => humantime::format_duration(duration).to_string(),
    }
}

fn target_name(path: Option<&Path>) -> String {
    path.map_or("the output".into(), |path| format!("`{}`", path.display()))
}

fn lost_advice(had_place: bool) -> &'static str {
    if had_place { "try again" } else { "check that it is an xchg server, and try again" }
}

fn connect_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "is the server running? start one with xchg-server"
        }
        io::ErrorKind::TimedOut => "check the address, or allow more time with --connect-timeout",
        _ => "check the address and your network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_is_escaped() {
        let error =
            Error::Refused { code: RefusalCode::Busy, text: "full\n\u{1b}[31m\u{202e}".into() };
        assert_eq!(error.to_string(), "the server refuses (busy): full\\n\\u{1b}[31m\\u{202e}");
    }

    #[test]
    fn only_what_passes_by_itself_is_worth_a_retry() {
        use RefusalCode::*;
        for (code, retry) in [
            (Malformed, false),
            (Version, false),
            (Busy, true),
            (TimedOut, true),
            (Draining, true),
            (Forbidden, false),
            (Unsupported, false),
            (Other(99), false),
        ] {
            let error = Error::Refused { code, text: String::new() };
            assert_eq!(error.is_worth_a_retry(), retry, "{code:?}");
        }
    }
}
