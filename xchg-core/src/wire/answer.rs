//! What the server says to a native peer.

use super::{Decoded, MAX_BODY_LEN, extension, greeting};
use crate::{Error, Realm};

const HEAD_LEN: usize = 3;
const REPORT_LEN: usize = 41;

/// One answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a client must tell all of them apart; new types are skipped as `None`"
)]
pub enum Answer {
    /// No counterpart is there yet: the peer waits.
    Waiting(Waiting),
    /// The peer still waits, and its place is kept.
    Heartbeat,
    /// The counterpart is here: what follows is the exchange.
    Matched(Matched),
    /// The server refuses, and closes the connection.
    Refused {
        /// Why the server refuses, for programs.
        code: RefusalCode,
        /// Why the server refuses, for the person: at most [`Answer::MAX_TEXT_LEN`] bytes. Hostile
        /// until escaped.
        text: String,
    },
    /// How the server is, for who has asked.
    Status(StatusReport),
}

/// What a peer is told that waits: the content of [`Answer::Waiting`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Another realm in which a possible counterpart waits under the same key.
    pub elsewhere: Option<Realm>,
}

/// What a peer is told of its counterpart: the content of [`Answer::Matched`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matched {
    /// The dialect that the counterpart speaks.
    pub dialect: CounterpartDialect,
    /// The payload's length in bytes, where the uploader's greeting said it.
    pub length: Option<u64>,
}

impl Matched {
    /// A match with a counterpart of this dialect.
    pub fn new(dialect: CounterpartDialect, length: Option<u64>) -> Self {
        Self { dialect, length }
    }
}

/// What the counterpart speaks: it decides how a plain transfer is framed (PROTOCOL.md section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CounterpartDialect {
    /// This protocol: the plain transfer is framed and has a receipt.
    Native,
    /// Nine bytes and the payload.
    Classic,
    /// A web client.
    Http,
    /// One that a newer server knows: the stream is the bare payload.
    Other(u8),
}

/// Why the server refuses, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The greeting breaks a rule.
    Malformed,
    /// The server does not speak the greeting's version.
    Version,
    /// A limit is reached.
    Busy,
    /// No counterpart came within the wait.
    TimedOut,
    /// The server is shutting down.
    Draining,
    /// The peer lacks the right.
    Forbidden,
    /// Unknown or switched off here.
    Unsupported,
    /// A code that a newer server knows.
    Other(u16),
}

/// How the server is: counts since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the wire fixes its fields")]
pub struct StatusReport {
    /// Peers that wait now.
    pub waiting: u64,
    /// Exchanges that run now.
    pub exchanging: u64,
    /// Exchanges that ended whole.
    pub completed: u64,
    /// Exchanges that ended otherwise.
    pub failed: u64,
    /// Milliseconds since the server started.
    pub uptime_millis: u64,
    /// Whether it refuses new offers.
    pub draining: bool,
}

impl Answer {
    /// The longest text of a refusal, in bytes; a longer one is cut.
    pub const MAX_TEXT_LEN: usize = 1024;

    /// The answer's bytes on the wire.
    ///
    /// # Panics
    /// If it points to [`Realm::Transit`], whose peers speak a dialect of their own.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let kind = match self {
            Self::Waiting(waiting) => {
                if let Some(realm) = waiting.elsewhere {
                    extension::push(
                        &mut body,
                        extension::ELSEWHERE,
                        &[greeting::realm_to_wire(realm)],
                    );
                }
                1
            }
            Self::Heartbeat => 2,
            Self::Matched(matched) => {
                extension::push(&mut body, extension::DIALECT, &[matched.dialect.to_wire()]);
                if let Some(length) = matched.length {
                    extension::push(&mut body, extension::LENGTH, &length.to_be_bytes());
                }
                3
            }
            Self::Refused { code, text } => {
                body.extend_from_slice(&code.to_wire().to_be_bytes());
                body.extend_from_slice(
                    &text.as_bytes()[..text.floor_char_boundary(Self::MAX_TEXT_LEN)],
                );
                4
            }
            Self::Status(report) => {
                report.encode(&mut body);
                5
            }
        };
        let len = u16::try_from(body.len()).expect("every answer's body is bounded");
        let [high, low] = len.to_be_bytes();
        [&[kind, high, low], &body[..]].concat()
    }

    /// Reads an answer from the bytes received so far; `None` is one of a type that this build does
    /// not know (rule 8).
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::Unsupported`], as soon as the bytes cannot become a valid
    /// answer.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Option<Self>>, Error> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
            return Ok(Decoded::Partial);
        };
        let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
        if len > MAX_BODY_LEN {
            return Err(Error::Malformed { what: "an answer's body has at most 2048 bytes" });
        }
        let Some(body) = rest.get(..len) else {
            return Ok(Decoded::Partial);
        };
        let message = match head[0] {
            1 => Some(Self::Waiting(decode_waiting(body)?)),
            2 => Some(Self::Heartbeat),
            3 => Some(Self::Matched(decode_matched(body)?)),
            4 => Some(decode_refused(body)?),
            5 => Some(Self::Status(StatusReport::decode(body)?)),
            _ => None,
        };
        Ok(Decoded::Whole { message, len: HEAD_LEN + len })
    }
}

fn decode_waiting(body: &[u8]) -> Result<Waiting, Error> {
    let mut waiting = Waiting::default();
    extension::each(body, |kind, value| {
        if kind == extension::ELSEWHERE {
            let [realm] = extension::array(value)?;
            waiting.elsewhere = greeting::realm_from_wire(realm).ok();
        }
        Ok(())
    })?;
    Ok(waiting)
}

fn decode_matched(body: &[u8]) -> Result<Matched, Error> {
    let mut dialect = None;
    let mut length = None;
    extension::each(body, |kind, value| {
        match kind {
            extension::DIALECT => {
                let [value] = extension::array(value)?;
                dialect = Some(CounterpartDialect::from_wire(value));
            }
            extension::LENGTH => length = Some(u64::from_be_bytes(extension::array(value)?)),
            _ => {}
        }
        Ok(())
    })?;
    let dialect =
        dialect.ok_or(Error::Malformed { what: "Matched lacks the counterpart's dialect" })?;
    Ok(Matched { dialect, length })
}

fn decode_refused(body: &[u8]) -> Result<Answer, Error> {
    let (code, text) =
        body.split_first_chunk().ok_or(Error::Malformed { what: "Refused lacks its code" })?;
    // A byte that is no text becomes three of a mark that says so.
    let mut text = String::from_utf8_lossy(text).into_owned();
    text.truncate(text.floor_char_boundary(Answer::MAX_TEXT_LEN));
    Ok(Answer::Refused { code: RefusalCode::from_wire(u16::from_be_bytes(*code)), text })
}

impl StatusReport {
    fn encode(&self, out: &mut Vec<u8>) {
        for n in [self.waiting, self.exchanging, self.completed, self.failed, self.uptime_millis] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.push(self.draining.into());
    }

    fn decode(body: &[u8]) -> Result<Self, Error> {
        let body: &[u8; REPORT_LEN] =
            body.try_into().map_err(|_| Error::Malformed { what: "a Status body has 41 bytes" })?;
        let number = |i: usize| {
            body[8 * i..8 * (i + 1)]
                .iter()
                .fold(0u64, |number, &byte| number << 8 | u64::from(byte))
        };
        Ok(Self {
            waiting: number(0),
            exchanging: number(1),
            completed: number(2),
            failed: number(3),
            uptime_millis: number(4),
            draining: body[REPORT_LEN - 1] != 0,
        })
    }
}

impl CounterpartDialect {
    fn to_wire(self) -> u8 {
        match self {
            Self::Native => 1,
            Self::Classic => 2,
            Self::Http => 3,
            Self::Other(value) => value,
        }
    }

    fn from_wire(value: u8) -> Self {
        match value {
            1 => Self::Native,
            2 => Self::Classic,
            3 => Self::Http,
            value => Self::Other(value),
        }
    }
}

impl RefusalCode {
    fn to_wire(self) -> u16 {
        match self {
            Self::Malformed => 1,
            Self::Version => 2,
            Self::Busy => 3,
            Self::TimedOut => 4,
            Self::Draining => 5,
            Self::Forbidden => 6,
            Self::Unsupported => 7,
            Self::Other(code) => code,
        }
    }

    fn from_wire(code: u16) -> Self {
        match code {
            1 => Self::Malformed,
            2 => Self::Version,
            3 => Self::Busy,
            4 => Self::TimedOut,
            5 => Self::Draining,
            6 => Self::Forbidden,
            7 => Self::Unsupported,
            code => Self::Other(code),
        }
    }

    /// The code's name in messages, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Busy => "busy",
            Self::TimedOut => "timed-out",
            Self::Draining => "draining",
            Self::Forbidden => "forbidden",
            Self::Unsupported => "unsupported",
            Self::Other(_) => "other",
        }
    }
}
