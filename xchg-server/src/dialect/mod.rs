//! What peers speak. A dialect turns a peer's first bytes into an [`Ask`] and the server's words
//! into bytes; it does no I/O.
//!
//! To add one: a file here, its shape in [`detect`], and its variant in [`Dialect`] and [`Voice`].
//! Every question that the engine has about a peer is a method of these, and a match without a
//! wildcard: the compiler names those that a newcomer has to answer.

mod classic;
mod detect;
pub(crate) mod http;
mod native;
pub(crate) mod proxy;
mod transit;
mod voice;

use std::borrow::Cow;
use std::time::Duration;

use xchg_core::wire::{Greeting, RefusalCode, StatusReport, Token, Wait};
use xchg_core::{Key, Realm, Refusal, Role, Side};

pub(crate) use detect::{Agreement, Detected, MAX_GREETING_LEN, SILENCE, detect, what_we_speak};
pub(crate) use voice::Voice;

/// A wire protocol that peers may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Dialect {
    /// The xchg protocol (PROTOCOL.md section 1), which xchg-client speaks.
    Native,
    /// Nine bytes and the payload.
    Classic,
    /// HTTP/1.1 and 1.0, for curl and browsers.
    Http,
    /// The transit relay protocol of magic-wormhole.
    Transit,
}

/// What a peer asks for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// To be paired.
    Offer(Arrival),
    /// To drain the server.
    Terminate { token: Option<Token> },
    /// To be told how the server is.
    Status { token: Option<Token> },
}

/// A peer's arrival.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) realm: Realm,
    pub(crate) key: Key,
    pub(crate) role: Role,
    pub(crate) wait: Wait,
    /// The payload's length in bytes, where an uploader said it.
    pub(crate) length: Option<u64>,
    /// The size in bytes that the peer wants its socket's buffers to have.
    pub(crate) buffer_bytes: Option<u32>,
    /// How many downloaders the exchange is to have.
    pub(crate) receivers: u16,
    /// The key under which a counterpart would be in the other realm, if it is another one.
    pub(crate) twin: Option<Key>,
    /// The access token that it shows.
    pub(crate) token: Option<Token>,
}

impl Arrival {
    pub(crate) fn new(realm: Realm, key: Key, side: Side) -> Self {
        let role = Role::Side(side);
        let (length, buffer_bytes, twin, token) = (None, None, None, None);
        let wait = Wait::Forever;
        Self { realm, key, role, wait, length, buffer_bytes, receivers: 1, twin, token }
    }
}

/// What a dialect makes of the bytes so far.
#[derive(Debug)]
pub(crate) enum Heard {
    /// More must come.
    Partial,
    /// An ask, which took `len` bytes; what follows belongs to the exchange.
    Ask { ask: Ask, len: usize },
    /// Not a greeting; `text` says why.
    Malformed { code: RefusalCode, text: String },
    /// No greeting but requests, of which a peer may make several: [`http`] understands them.
    Requests,
}

/// Why a peer is not served.
#[derive(Debug)]
pub(crate) enum NotServed<'a> {
    /// What `code` stands for; `text` says more.
    For { code: RefusalCode, text: &'a str },
    /// Its offer is not taken.
    Refused(Refusal),
    /// It offers more than the `most` bytes that an exchange may move.
    TooLong { most: u64 },
    /// Its source makes offers too often; it may make the next after so many seconds.
    TooOften { seconds: u64 },
}

impl NotServed<'_> {
    pub(crate) fn code(&self) -> RefusalCode {
        match self {
            NotServed::For { code, .. } => *code,
            NotServed::Refused(Refusal::Closed) => RefusalCode::Draining,
            NotServed::Refused(_) | NotServed::TooOften { .. } => RefusalCode::Busy,
            NotServed::TooLong { .. } => RefusalCode::Forbidden,
        }
    }

    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            NotServed::For { text, .. } => Cow::Borrowed(text),
            NotServed::Refused(why) => why.to_string().into(),
            NotServed::TooLong { most } => {
                format!("this server passes on {most} bytes at most; send less, or in parts").into()
            }
            NotServed::TooOften { seconds } => {
                format!("too many offers come from your address; try again in {seconds} s").into()
            }
        }
    }
}

/// What comes of it if a peer says anything while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// It may: what it says is the exchange's, or is read when the wait is over.
    Kept,
    /// It is told so, and closed.
    Told(&'static [u8]),
    /// Its dialect has no word for that: it is reset, and the log says why.
    Untold(&'static str),
}

impl Dialect {
    /// All that there are.
    pub const ALL: [Self; 4] = match Self::Native {
        // What is missing here does not compile.
        Self::Native | Self::Classic | Self::Http | Self::Transit => {
            [Self::Native, Self::Classic, Self::Http, Self::Transit]
        }
    };

    /// The dialect's name in settings, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic => "classic",
            Self::Http => "http",
            Self::Transit => "transit",
        }
    }

    /// Reads what a peer begins with.
    pub(crate) fn hear(self, bytes: &[u8]) -> Heard {
        match self {
            Self::Native => native::hear(bytes),
            Self::Classic => classic::hear(bytes),
            Self::Transit => transit::hear(bytes),
            Self::Http => Heard::Requests,
        }
    }

    /// To a peer that asked how the server is, or terminated it. Http peers ask at the admin
    /// listener, and classic ones cannot hear anything.
    pub(crate) fn status(self, report: StatusReport) -> Vec<u8> {
        match self {
            Self::Native => native::status(report),
            Self::Classic | Self::Http | Self::Transit => Vec::new(),
        }
    }

    /// Whether a peer that ends its stream while it waits as `role` has left. A classic uploader
    /// has not: it sends all and closes, and its bytes and its end are held in the socket.
    pub(crate) fn leaves_by_ending(self, role: &Role) -> bool {
        match self {
            Self::Classic => *role != Role::Side(Side::Upload),
            Self::Native | Self::Http | Self::Transit => true,
        }
    }

    /// Whether a peer's offer is taken only while nobody exchanges anything under its key, so that
    /// what repeats a request by itself gets no other payload.
    pub(crate) fn wants_key_alone(self) -> bool {
        match self {
            Self::Http => true,
            Self::Native | Self::Classic | Self::Transit => false,
        }
    }

    /// Whether an uploader of this dialect is sent what a downloader of `other` says. Where not, it
    /// is read and dropped.
    pub(crate) fn hears(self, other: Self) -> bool {
        match self {
            Self::Native | Self::Transit => self == other,
            Self::Classic | Self::Http => false,
        }
    }

    /// Whether it is the server that shows an uploader how its exchange with a downloader of
    /// `other` ends, and so must not be wrong.
    pub(crate) fn is_shown_the_end(self, other: Self) -> bool {
        match self {
            Self::Native | Self::Http | Self::Transit => !self.hears(other),
            Self::Classic => false,
        }
    }
}

fn offer(arrival: Arrival, len: usize) -> Heard {
    Heard::Ask { ask: Ask::Offer(arrival), len }
}

/// A peer's own limit and the server's: the smaller counts.
pub(crate) fn shorter(wait: Wait, limit: Option<Duration>) -> Option<Duration> {
    match (wait, limit) {
        (Wait::Forever, limit) => limit,
        (Wait::AtMost(wait), None) => Some(wait),
        (Wait::AtMost(wait), Some(limit)) => Some(wait.min(limit)),
    }
}

/// A native greeting's parts, for the dialect that carries them.
impl From<Greeting> for Ask {
    fn from(greeting: Greeting) -> Self {
        use xchg_core::wire::Command;
        let token = greeting.token;
        match greeting.command {
            Command::Terminate => Self::Terminate { token },
            Command::Status => Self::Status { token },
            Command::Offer(offer) => Self::Offer(Arrival {
                wait: offer.wait,
                length: offer.length,
                buffer_bytes: offer.buffer_bytes,
                twin: offer.twin,
                token,
                ..Arrival::new(offer.realm, offer.key, offer.side)
            }),
        }
    }
}
