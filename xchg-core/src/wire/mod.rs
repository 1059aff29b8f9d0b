//! The native handshake of PROTOCOL.md section 1, as pure functions: bytes in, values out, and
//! back.
//!
//! Both binaries use it. Nothing here reads a socket: a decoder is given all the bytes there are so
//! far, and says either what they mean and how many it took, or that it needs more.

mod answer;
mod extension;
mod greeting;

pub use answer::{Answer, CounterpartDialect, Matched, RefusalCode, StatusReport, Waiting};
pub use greeting::{Command, Greeting, Offer, Token, Wait};

/// What a native peer sends first (PROTOCOL.md section 1.1).
pub const MAGIC: [u8; 4] = *b"xchg";

/// The protocol version that this build speaks.
pub const VERSION: u8 = 1;

/// The most bytes that the body of a greeting or an answer may have: a key, a token and the known
/// extensions fit four times over.
pub const MAX_BODY_LEN: usize = 2048;

/// What a decoder made of the bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third possibility")]
pub enum Decoded<T> {
    /// They are the beginning of a message; the rest is still to come.
    Partial,
    /// A whole message, which took `len` bytes; what follows is the next message's, or the
    /// exchange's.
    Whole {
        /// The message.
        message: T,
        /// How many bytes the message took.
        len: usize,
    },
}
