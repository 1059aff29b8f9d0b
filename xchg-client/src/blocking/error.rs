//! The crate's one error.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use xchg_core::Side;
use xchg_core::wire::RefusalCode;

use crate::blocking::net::address::{Address, InvalidAddress};
use crate::blocking::net::tls::{Distrust, Fingerprint, TlsProblem};
use crate::code::InvalidCode;
use crate::terminal::escape;
use crate::{Key, files, session};

/// Why a transfer or a command did not do what it should.
///
/// `Display` is one level and says what happened; [`source`](std::error::Error::source) has the
/// rest. What to do about it depends on the application.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no address.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The host's name has no address, or nobody could tell in time.
    #[error("unknown host `{}`", escape(host))]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nothing that accepts connections is there.
    #[error("cannot reach {address}")]
    Connect {
        /// Where.
        address: Address,
        /// How the last attempt failed.
        source: io::Error,
    },
    /// The server's certificate does not show that it is the server that was meant.
    #[error("the certificate of {address} is not to be trusted: {}", escape(&why.to_string()))]
    Certificate {
        /// Where.
        address: Address,
        /// What is wrong with the certificate.
        why: Distrust,
        /// Which one it is.
        fingerprint: Fingerprint,
    },
    /// The server cannot be spoken to in TLS.
    #[error("cannot speak TLS with {address}: {}", escape(why))]
    Tls {
        /// Where.
        address: Address,
        /// What kind of failure it is.
        problem: TlsProblem,
        /// What the failure is, in words.
        why: String,
    },
    /// The server accepted the connection, and did not answer in time.
    #[error("{address} accepted the connection and said nothing within {}", duration_in_words(*timeout))]
    NoAnswer {
        /// Where.
        address: Address,
        /// How long connecting and the first answer might take.
        timeout: Duration,
    },
    /// What answers there does not speak the native dialect.
    #[error("malformed answer: {address} is not an xchg server")]
    NotAServer {
        /// Where.
        address: Address,
        /// Which rule the answer breaks.
        source: xchg_core::Error,
    },
    /// The connection ended, or was silent for too long, before a counterpart came.
    #[error("lost {address} before a counterpart came")]
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
    /// The exchange ended before all its bytes had moved, or before the receipt.
    #[error("lost the {} after {bytes} bytes", role(*counterpart))]
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
    #[error("the uploader announced {announced} bytes and sent {sent}; nothing is kept")]
    WrongLength {
        /// The length that came with the match.
        announced: u64,
        /// Bytes until the end, or until they were too many.
        sent: u64,
    },
    /// The downloader says in its receipt that it has not got the payload.
    #[error("the downloader gave up after {bytes} bytes")]
    NotReceived {
        /// The bytes that the downloader had got by then.
        bytes: u64,
    },
    /// A plain transfer is of one file, and this is a folder.
    #[error("`{}` is a folder", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The text is no code.
    #[error(transparent)]
    Code(#[from] InvalidCode),
    /// The session with the counterpart did not come to a receipt.
    #[error(transparent)]
    Session(session::Error),
    /// What is to be sent cannot be, or the destination cannot take it.
    #[error(transparent)]
    Files(files::Error),
    /// The key does not end in a name that is safe for a new file.
    #[error("the key `{}` is no safe file name", show(key))]
    UnsafeName {
        /// The key.
        key: Key,
    },
    /// [`Observer::decide`](crate::Observer::decide) or
    /// [`Observer::existing`](crate::Observer::existing) declined the offer.
    #[error("the offer was declined here")]
    DeclinedHere,
    /// Somebody used the [`Cancel`](crate::Cancel) token.
    #[error("interrupted")]
    Cancelled,
    /// This process ran out of something.
    #[error("cannot set up {what}")]
    Local {
        /// What cannot be set up.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may well succeed later: no counterpart came, or the server was full,
    /// shutting down, or lost while it had nobody to meet.
    pub fn is_worth_a_retry(&self) -> bool {
        use RefusalCode::{Busy, Draining, TimedOut};
        matches!(
            self,
            Self::ServerLost { had_place: true, .. }
                | Self::Refused { code: Busy | Draining | TimedOut, .. }
        )
    }

    /// Whether the counterpart was lost midway: the same calls on both sides go on where this one
    /// ended.
    pub fn is_cut_short(&self) -> bool {
        use session::Error::{Lost, PeerCancelled, Silent, Stream};
        matches!(self, Self::Session(Lost | Silent | Stream { .. } | PeerCancelled))
    }

    /// Whether the reader of the standard output, or of another pipe that was written to, has left.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Files(files::Error::Io { source, .. })
            if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<session::Error> for Error {
    /// What a session has of its own; what it only passes on is what it was.
    fn from(error: session::Error) -> Self {
        match error {
            session::Error::Files(error) => error.into(),
            session::Error::Cancelled => Self::Cancelled,
            session::Error::DeclinedHere => Self::DeclinedHere,
            error => Self::Session(error),
        }
    }
}

impl From<files::Error> for Error {
    fn from(error: files::Error) -> Self {
        match error {
            files::Error::Stopped => Self::Cancelled,
            error => Self::Files(error),
        }
    }
}

/// The error of a connection that failed, in words for a person where the system's are for a
/// programmer.
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

/// A duration as people write it: `1.5 s`, `5m`, `1h 30m`.
pub fn duration_in_words(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{} s", duration.as_secs_f64()),
        _ => humantime::format_duration(duration).to_string(),
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
