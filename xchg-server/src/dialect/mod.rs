//! What peers speak. A dialect turns a peer's first bytes into an [`Ask`] and the server's words
//! into bytes; it does no I/O.
//!
//! To add one: a file here, and its lines in [`Dialect`] and [`detect`].

mod classic;
mod detect;
pub(crate) mod http;
mod native;
pub(crate) mod proxy;
mod transit;

use std::time::Duration;

use xchg_core::wire::{Greeting, RefusalCode, StatusReport, Token, Wait};
use xchg_core::{Key, Realm, Role, Side};

pub(crate) use detect::{Agreement, Detected, MAX_GREETING_LEN, SILENCE, detect, what_we_speak};

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
    pub(crate) fn new(realm: Realm, key: Key, side: Side) -> Arrival {
        let role = Role::Side(side);
        let (length, buffer_bytes, twin, token) = (None, None, None, None);
        let wait = Wait::Forever;
        Arrival { realm, key, role, wait, length, buffer_bytes, receivers: 1, twin, token }
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
}

// An http peer's words depend on its request: they are its [`http::Peer`]'s, and nothing here.
impl Dialect {
    /// All that there are.
    pub const ALL: [Dialect; 4] =
        [Dialect::Native, Dialect::Classic, Dialect::Http, Dialect::Transit];

    /// The dialect's name in settings, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::Classic => "classic",
            Dialect::Http => "http",
            Dialect::Transit => "transit",
        }
    }

    /// Reads a greeting of any dialect but http, whose peers may say more than one thing.
    pub(crate) fn hear(self, bytes: &[u8]) -> Heard {
        match self {
            Dialect::Native => native::hear(bytes),
            Dialect::Classic => classic::hear(bytes),
            Dialect::Transit => transit::hear(bytes),
            Dialect::Http => unreachable!("requests are heard elsewhere"),
        }
    }

    /// To a peer that must wait.
    pub(crate) fn waiting(self, elsewhere: Option<Realm>) -> Vec<u8> {
        match self {
            Dialect::Native => native::waiting(elsewhere),
            _ => Vec::new(),
        }
    }

    /// To a peer that still waits, every so often; `elsewhere` is another realm, where a possible
    /// counterpart waits.
    pub(crate) fn heartbeat(self, elsewhere: Option<Realm>) -> Vec<u8> {
        match (self, elsewhere) {
            (Dialect::Native, None) => native::heartbeat(),
            (Dialect::Native, elsewhere) => native::waiting(elsewhere),
            _ => Vec::new(),
        }
    }

    /// To a peer whose counterpart is here and speaks `other`.
    pub(crate) fn matched(self, other: Dialect, length: Option<u64>) -> Vec<u8> {
        match self {
            Dialect::Native => native::matched(other, length),
            Dialect::Transit => transit::MATCHED.to_vec(),
            Dialect::Classic | Dialect::Http => Vec::new(),
        }
    }

    /// To a peer that is not served; `None` if the dialect has no word for it. A reset then shows
    /// it, since a mere end of the stream looks like the end of an empty payload.
    pub(crate) fn refused(self, code: RefusalCode, text: &str) -> Option<Vec<u8>> {
        match self {
            Dialect::Native => Some(native::refused(code, text)),
            Dialect::Transit if code == RefusalCode::Malformed => {
                Some(transit::BAD_HANDSHAKE.to_vec())
            }
            Dialect::Classic | Dialect::Http | Dialect::Transit => None,
        }
    }

    /// To a peer that asked how the server is, or terminated it.
    pub(crate) fn status(self, report: StatusReport) -> Vec<u8> {
        match self {
            Dialect::Native => native::status(report),
            _ => Vec::new(),
        }
    }

    /// Whether a peer that ends its stream while it waits as `role` has left. A classic uploader
    /// has not: it sends all and closes, and its bytes and its end are held in the socket.
    pub(crate) fn leaves_by_ending(self, role: &Role) -> bool {
        !(self == Dialect::Classic && *role == Role::Side(Side::Upload))
    }

    /// Whether an uploader of this dialect is sent what a downloader of `other` says. Where not, it
    /// is read and dropped.
    pub(crate) fn hears(self, other: Dialect) -> bool {
        self == other && matches!(self, Dialect::Native | Dialect::Transit)
    }

    /// What a peer is told, and closed, if it sends anything while it waits; `None` if it may.
    pub(crate) fn impatient(self) -> Option<&'static [u8]> {
        (self == Dialect::Transit).then_some(transit::IMPATIENT)
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
    fn from(greeting: Greeting) -> Ask {
        use xchg_core::wire::Command;
        let token = greeting.token;
        match greeting.command {
            Command::Terminate => Ask::Terminate { token },
            Command::Status => Ask::Status { token },
            Command::Offer(offer) => Ask::Offer(Arrival {
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
