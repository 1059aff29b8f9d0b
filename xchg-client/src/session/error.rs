//! Why a session ended without a whole transfer.

use std::io;

use crate::files;
use crate::terminal::escape;

/// Why a session ended without a whole transfer.
///
/// What the other peer wrote is escaped wherever it is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The two peers' secrets differ, or one has none. Each offer allows one guess.
    #[error("the two secrets differ, or one side gave none; agree on one, and start both again")]
    WrongSecret,
    /// The session ended after our confirmation was sent and before the right one of the other peer
    /// had come: it may have held a guess at the secret against ours, and left. Only with a secret;
    /// without one there is nothing to guess.
    #[error(
        "the other side was lost at the moment the secrets were compared, which counts as a guess at yours"
    )]
    Unconfirmed {
        /// How the session ended.
        source: Box<Self>,
    },
    /// The other peer's first message has a version that this build does not speak.
    #[error(
        "the other side speaks version {theirs} of the session, this build {}; upgrade the older of the two",
        super::keys::VERSION
    )]
    Version {
        /// The version that the other peer named.
        theirs: u8,
    },
    /// The other peer said something that the protocol does not allow.
    #[error("the other side breaks the session's protocol ({0}); upgrade the older of the two")]
    Protocol(&'static str),
    /// A record does not carry the other peer's seal: it was altered on the way.
    #[error("the data was altered on the way; start again, by another route if it happens again")]
    Tampered,
    /// The stream ended, or was reset, before the other peer had said everything.
    #[error("the other side was lost before the transfer was whole")]
    Lost,
    /// A read or write ran into the timeout that the stream's owner set.
    #[error("the other side has not been heard of for too long")]
    Silent,
    /// The stream failed otherwise.
    #[error("the connection failed while {doing}")]
    Stream {
        /// What was being done, in words.
        doing: &'static str,
        /// What the stream says.
        source: io::Error,
    },
    /// What was being sent is a stream, or went to one, when the session broke off: nothing of it
    /// can be gone on with.
    #[error("{source}; a stream cannot be resumed, start both sides anew")]
    CutStream {
        /// How the session broke off.
        source: Box<Self>,
    },
    /// The downloader does not want what was offered.
    #[error("the other side declined: {}", escape(reason))]
    Declined {
        /// In the other peer's words.
        reason: String,
    },
    /// The downloader cannot take what was offered, for a reason of its own: it may come again when
    /// that is mended.
    #[error("the other side cannot take it: {}", escape(reason))]
    Unable {
        /// In the other peer's words.
        reason: String,
    },
    /// [`Observer::decide`](crate::Observer::decide) declined the offer.
    #[error("the offer was declined here")]
    DeclinedHere,
    /// The other peer failed, and said why.
    #[error("the other side failed: {}", escape(text))]
    Peer {
        /// In the other peer's words.
        text: String,
    },
    /// The other peer's person cancelled.
    #[error("the other side cancelled")]
    PeerCancelled,
    /// [`Cancel::cancel`](crate::Cancel::cancel) was called here.
    #[error("cancelled")]
    Cancelled,
    /// Something about the files on this side.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Error {
    /// Whether the other peer may have learned whether a guess at our secret is right, without
    /// having proved that it knows it.
    pub fn is_guess(&self) -> bool {
        matches!(self, Self::WrongSecret | Self::Unconfirmed { .. })
    }

    /// This error, if it ended a session before the other peer had proved that it knows the secret,
    /// while ours was at stake.
    pub(crate) fn before_confirmation(self) -> Self {
        match self {
            // What ends on this side is not tried again.
            Self::WrongSecret | Self::Cancelled | Self::Files(_) => self,
            error => Self::Unconfirmed { source: Box::new(error) },
        }
    }

    /// What happened, whatever it means for the transfer.
    pub(crate) fn root(&self) -> &Self {
        match self {
            Self::CutStream { source } | Self::Unconfirmed { source } => source.root(),
            error => error,
        }
    }

    /// This error, if it ended the transfer of a stream.
    pub(crate) fn of_stream(self) -> Self {
        match self {
            Self::Lost | Self::Silent | Self::Stream { .. } | Self::PeerCancelled => {
                Self::CutStream { source: Box::new(self) }
            }
            error => error,
        }
    }

    /// Sorts a failed call on the stream into what the caller can do about it.
    pub(crate) fn stream(doing: &'static str, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match source.kind() {
            Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected => Self::Lost,
            Kind::WouldBlock | Kind::TimedOut => Self::Silent,
            _ => Self::Stream { doing, source },
        }
    }

    /// What the other peer is told: nothing about this machine's paths.
    pub(crate) fn for_peer(&self) -> String {
        match self {
            Self::Files(error) => error.for_peer(),
            other => other.to_string(),
        }
    }
}
