//! The greeting: what a native peer sends first.

use std::fmt;
use std::time::Duration;

use super::{Decoded, MAGIC, MAX_BODY_LEN, VERSION, extension};
use crate::{Error, Key, Realm, Side};

const HEAD_LEN: usize = 8;

/// What a native peer asks of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Greeting {
    /// What the peer wants done.
    pub command: Command,
    /// The access token, if the peer has one.
    pub token: Option<Token>,
}

/// An access token. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<[u8]>);

impl Token {
    /// The longest token, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Takes `bytes` as a token.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there are none, or more than [`MAX_LEN`](Token::MAX_LEN).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN {
            return Err(Error::Malformed { what: "a token has 1 to 255 bytes" });
        }
        Ok(Self(bytes.into()))
    }

    /// The token's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A native peer's command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a server answers each of them")]
pub enum Command {
    /// To be paired with a counterpart.
    Offer(Offer),
    /// To drain the server.
    Terminate,
    /// To be told how the server is.
    Status,
}

/// A native peer's arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// The realm in which the peer may be paired.
    pub realm: Realm,
    /// Which side the peer is.
    pub side: Side,
    /// The key that the peer shares with its counterpart.
    pub key: Key,
    /// How long the peer waits.
    pub wait: Wait,
    /// The payload's length in bytes, where an uploader knows it.
    pub length: Option<u64>,
    /// The size in bytes that the server should give the buffers of the peer's socket.
    pub buffer_bytes: Option<u32>,
    /// The key under which a counterpart would be in the other realm, so that the peer can be told
    /// of it: in [`Realm::Plain`] the key's [meeting key](Key::meeting_key), in [`Realm::Sealed`]
    /// the key whose meeting key this one is.
    pub twin: Option<Key>,
}

impl Offer {
    /// An offer that waits for ever and says nothing more.
    pub fn new(realm: Realm, side: Side, key: Key) -> Self {
        let (length, buffer_bytes, twin) = (None, None, None);
        Self { realm, side, key, wait: Wait::Forever, length, buffer_bytes, twin }
    }

    /// Whether its twin, if it has one, belongs to its key: nobody can ask who waits under other
    /// keys.
    fn has_own_twin(&self) -> bool {
        match (self.realm, &self.twin) {
            (Realm::Plain, Some(twin)) => *twin == self.key.meeting_key(),
            (Realm::Sealed, Some(twin)) => self.key == twin.meeting_key(),
            _ => true,
        }
    }
}

/// How long a peer waits for its counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "-1, or a number")]
pub enum Wait {
    /// As long as the peer is connected.
    Forever,
    /// At most so long; zero pairs with whoever waits already, or not at all.
    AtMost(Duration),
}

impl Wait {
    /// Milliseconds, or -1, as on the wire.
    fn to_millis(self) -> i64 {
        match self {
            Self::Forever => -1,
            Self::AtMost(timeout) => i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn from_millis(millis: i64) -> Result<Self, Error> {
        match u64::try_from(millis) {
            Ok(millis) => Ok(Self::AtMost(Duration::from_millis(millis))),
            Err(_) if millis == -1 => Ok(Self::Forever),
            Err(_) => Err(Error::Malformed { what: "wait is -1 or at least 0 milliseconds" }),
        }
    }
}

impl Greeting {
    /// A greeting without a token.
    pub fn new(command: Command) -> Self {
        Self { command, token: None }
    }

    /// The greeting's bytes on the wire.
    ///
    /// # Panics
    /// If it offers in [`Realm::Transit`], whose peers speak a dialect of their own.
    pub fn encode(&self) -> Vec<u8> {
        let (command, body) = match &self.command {
            Command::Offer(offer) => {
                (if offer.side == Side::Upload { 1 } else { 2 }, encode_offer(offer))
            }
            Command::Terminate => (3, Vec::new()),
            Command::Status => (4, Vec::new()),
        };
        let mut out = [&MAGIC[..], &[VERSION, command, 0, 0], &body].concat();
        if let Some(token) = &self.token {
            extension::push(&mut out, extension::TOKEN, token.as_bytes());
        }
        let len =
            u16::try_from(out.len() - HEAD_LEN).expect("key, token and extensions are bounded");
        out[6..HEAD_LEN].copy_from_slice(&len.to_be_bytes());
        out
    }

    /// Reads a greeting from the bytes received so far.
    ///
    /// # Errors
    /// As soon as the bytes cannot become a valid greeting: [`Error::NotNative`],
    /// [`Error::Version`], [`Error::Unsupported`], [`Error::KeyLength`] or [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, Error> {
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(Error::NotNative);
        }
        match bytes.get(MAGIC.len()) {
            Some(&version) if version != VERSION => return Err(Error::Version { theirs: version }),
            _ => {}
        }
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
            return Ok(Decoded::Partial);
        };
        let len = usize::from(u16::from_be_bytes([head[6], head[7]]));
        if len > MAX_BODY_LEN {
            return Err(Error::Malformed { what: "a greeting's body has at most 2048 bytes" });
        }
        let Some(body) = rest.get(..len) else {
            return Ok(Decoded::Partial);
        };
        Ok(Decoded::Whole { message: decode_body(head[5], body)?, len: HEAD_LEN + len })
    }
}

fn encode_offer(offer: &Offer) -> Vec<u8> {
    let key = offer.key.as_bytes();
    let mut out = vec![realm_to_wire(offer.realm)];
    out.extend_from_slice(&offer.wait.to_millis().to_be_bytes());
    out.push(u8::try_from(key.len()).expect("a key has at most 255 bytes"));
    out.extend_from_slice(key);
    if let Some(length) = offer.length {
        extension::push(&mut out, extension::LENGTH, &length.to_be_bytes());
    }
    if let Some(bytes) = offer.buffer_bytes {
        extension::push(&mut out, extension::BUFFER, &bytes.to_be_bytes());
    }
    if let Some(twin) = &offer.twin {
        extension::push(&mut out, extension::TWIN, twin.as_bytes());
    }
    out
}

fn decode_body(command: u8, body: &[u8]) -> Result<Greeting, Error> {
    let (mut command, extensions) = match command {
        1 => decode_offer(Side::Upload, body)?,
        2 => decode_offer(Side::Download, body)?,
        3 => (Command::Terminate, body),
        4 => (Command::Status, body),
        value => return Err(Error::Unsupported { what: "command", value }),
    };
    let mut token = None;
    extension::each(extensions, |kind, value| {
        match (kind, &mut command) {
            (extension::TOKEN, _) => token = Some(Token::parse(value)?),
            (extension::LENGTH, Command::Offer(offer)) => {
                offer.length = Some(u64::from_be_bytes(extension::array(value)?));
            }
            (extension::BUFFER, Command::Offer(offer)) => {
                offer.buffer_bytes = Some(u32::from_be_bytes(extension::array(value)?));
            }
            (extension::TWIN, Command::Offer(offer)) => offer.twin = Some(Key::parse(value)?),
            _ => {}
        }
        Ok(())
    })?;
    match &command {
        Command::Offer(offer) if !offer.has_own_twin() => {
            Err(Error::Malformed { what: "the twin is another key's (PROTOCOL.md rule S2)" })
        }
        _ => Ok(Greeting { command, token }),
    }
}

/// Reads the fixed part of an offer, and gives what follows it.
fn decode_offer(side: Side, body: &[u8]) -> Result<(Command, &[u8]), Error> {
    const CUT: Error = Error::Malformed { what: "an offer is cut short" };
    let (&realm, rest) = body.split_first().ok_or(CUT)?;
    let realm = realm_from_wire(realm)?;
    let (wait, rest) = rest.split_first_chunk::<8>().ok_or(CUT)?;
    let wait = Wait::from_millis(i64::from_be_bytes(*wait))?;
    let (&len, rest) = rest.split_first().ok_or(CUT)?;
    let (key, rest) = rest.split_at_checked(usize::from(len)).ok_or(CUT)?;
    let key = Key::parse(key)?;
    Ok((Command::Offer(Offer { wait, ..Offer::new(realm, side, key) }), rest))
}

pub(super) fn realm_to_wire(realm: Realm) -> u8 {
    match realm {
        Realm::Plain => 0,
        Realm::Sealed => 1,
        Realm::Transit => unreachable!("transit peers speak their own dialect"),
    }
}

pub(super) fn realm_from_wire(value: u8) -> Result<Realm, Error> {
    match value {
        0 => Ok(Realm::Plain),
        1 => Ok(Realm::Sealed),
        value => Err(Error::Unsupported { what: "realm", value }),
    }
}
