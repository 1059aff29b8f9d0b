//! An upload's body: where its payload lies between the framing.
//!
//! A request's body ends after `Content-Length` bytes or with its last chunk, never with the
//! connection (RFC 9112 section 6.3), so a body that was cut is always seen as such.
//!
//! [`BodyDecoder`] never holds payload. It tells the engine how many bytes of framing to drop
//! and how many bytes of payload to move next, which may be far more than are there: those
//! can go from socket to socket without being looked at.

/// The longest chunk extension in bytes. RFC 9112 section 7.1.1 asks for a limit; nobody
/// uses extensions, and some proxies' are a few dozen bytes long.
const MAX_EXTENSION_BYTES: u16 = 256;

/// The most bytes of trailer fields, which are read and dropped: half of what a head may have.
const MAX_TRAILER_BYTES: u16 = 8 * 1024;

/// The longest body and the longest chunk in bytes: what a file offset can count.
pub(super) const MAX_LENGTH: u64 = i64::MAX as u64;

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BodyError {
    /// A chunk's length is missing, no hexadecimal number, or over 2^63 - 1.
    #[error("a chunk begins with no valid length in hexadecimal digits")]
    ChunkLength,
    /// A chunk's extension is over 256 bytes.
    #[error("a chunk's extension is over {MAX_EXTENSION_BYTES} bytes long")]
    ChunkExtension,
    /// A line of the framing does not end with CR LF.
    #[error("a line of the chunked framing does not end with CR LF")]
    LineBreak,
    /// The trailer is over 8 KiB.
    #[error("the trailer is over {MAX_TRAILER_BYTES} bytes long")]
    Trailer,
    /// What follows a boundary is neither a line break nor the closing `--`.
    #[error("a multipart boundary is followed by neither a line break nor '--'")]
    Boundary,
    /// A part's header is malformed or over 8 KiB.
    #[error("a part of the multipart form has a malformed header, or one over 8 KiB")]
    PartHead,
    /// The form ended, or its body did, without a whole part to pass on.
    #[error("the multipart form has no whole file in it; check that it ends with its boundary")]
    NoFile,
}

/// What the engine does next with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first so many bytes of the input were framing: drop them. Never zero.
    Skip(usize),
    /// The next so many bytes are payload: move any number of them, then say so with
    /// [`BodyDecoder::passed`]. Never zero, and it may be more than the input has.
    Pass(u64),
    /// The input is used up, and the body goes on.
    NeedMore,
    /// The body is over; what is left of the input belongs to the next request.
    End,
    /// The body cannot be read. The exchange has failed and the connection has to be closed.
    Bad(BodyError),
}

/// Takes the framing off a body that has a length or is chunked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BodyDecoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `left` is never zero.
    Payload {
        left: u64,
        chunked: bool,
    },
    Framing(Framing),
    Ended,
    Bad(BodyError),
}

/// Places in the framing of a chunked body, each naming what the next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length { value: u64, digits: u8 },
    Extension { value: u64, left: u16 },
    LengthLf { value: u64 },
    ChunkCr,
    ChunkLf,
    TrailerStart { left: u16 },
    TrailerLine { left: u16 },
    TrailerLf { left: u16 },
    LastLf,
}

impl BodyDecoder {
    /// A body of `length` bytes.
    #[must_use]
    pub(crate) fn with_length(length: u64) -> Self {
        Self { state: State::payload(length, false) }
    }

    /// A body in the chunked transfer coding.
    #[must_use]
    pub(crate) fn chunked() -> Self {
        Self { state: State::Framing(Framing::START) }
    }

    /// How many bytes are left, if the body has a length.
    #[must_use]
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Payload { left, chunked: false } => Some(left),
            _ => None,
        }
    }

    /// Says what to do with `input`, the bytes of the body that have been read and not yet dealt
    /// with. It may be empty, and nothing of it needs to be kept for the decoder's sake.
    #[must_use]
    pub(crate) fn next(&mut self, input: &[u8]) -> Step {
        let mut skipped = 0;
        while let State::Framing(at) = self.state {
            let Some(&byte) = input.get(skipped) else {
                break;
            };
            skipped += 1;
            self.state = at.take(byte).unwrap_or_else(State::Bad);
        }
        match self.state {
            _ if skipped > 0 => Step::Skip(skipped),
            State::Payload { left, .. } => Step::Pass(left),
            State::Framing(_) => Step::NeedMore,
            State::Ended => Step::End,
            State::Bad(error) => Step::Bad(error),
        }
    }

    /// Counts `n` bytes of payload that were moved, at most as many as [`Step::Pass`] said.
    ///
    /// # Panics
    /// In debug builds, if it is more.
    pub(crate) fn passed(&mut self, n: u64) {
        if let State::Payload { left, chunked } = self.state {
            debug_assert!(n <= left, "moved {n} bytes of {left}");
            self.state = State::payload(left.saturating_sub(n), chunked);
        } else {
            debug_assert!(n == 0, "moved {n} bytes where no payload was");
        }
    }
}

impl State {
    fn payload(left: u64, chunked: bool) -> Self {
        match (left, chunked) {
            (0, true) => Self::Framing(Framing::ChunkCr),
            (0, false) => Self::Ended,
            _ => Self::Payload { left, chunked },
        }
    }
}

impl Framing {
    const START: Self = Self::Length { value: 0, digits: 0 };

    /// Where `byte` leads to.
    fn take(self, byte: u8) -> Result<State, BodyError> {
        Ok(State::Framing(match (self, byte) {
            (Self::Length { value, digits }, _) if byte.is_ascii_hexdigit() => {
                Self::digit(value, digits, byte)?
            }
            (Self::Length { digits: 0, .. }, _) => return Err(BodyError::ChunkLength),
            (Self::Length { value, .. }, b'\r') => Self::LengthLf { value },
            (Self::Length { value, .. }, b';') => {
                Self::Extension { value, left: MAX_EXTENSION_BYTES }
            }
            (Self::Length { .. }, _) => return Err(BodyError::ChunkLength),

            (Self::Extension { value, .. }, b'\r') => Self::LengthLf { value },
            (Self::Extension { .. }, b'\n' | 0) => return Err(BodyError::LineBreak),
            (Self::Extension { left: 0, .. }, _) => return Err(BodyError::ChunkExtension),
            (Self::Extension { value, left }, _) => Self::Extension { value, left: left - 1 },

            (Self::LengthLf { value: 0 }, b'\n') => Self::TrailerStart { left: MAX_TRAILER_BYTES },
            (Self::LengthLf { value }, b'\n') => return Ok(State::payload(value, true)),
            (Self::ChunkCr, b'\r') => Self::ChunkLf,
            (Self::ChunkLf, b'\n') => Self::START,

            (Self::TrailerStart { .. }, b'\r') => Self::LastLf,
            (Self::TrailerLine { left }, b'\r') => Self::TrailerLf { left },
            (Self::TrailerStart { .. } | Self::TrailerLine { .. }, b'\n' | 0) => {
                return Err(BodyError::LineBreak);
            }
            (Self::TrailerStart { left: 0 } | Self::TrailerLine { left: 0 }, _) => {
                return Err(BodyError::Trailer);
            }
            (Self::TrailerStart { left } | Self::TrailerLine { left }, _) => {
                Self::TrailerLine { left: left - 1 }
            }
            (Self::TrailerLf { left }, b'\n') => Self::TrailerStart { left },
            (Self::LastLf, b'\n') => return Ok(State::Ended),
            _ => return Err(BodyError::LineBreak),
        }))
    }

    /// 16 digits hold any length; more would only be leading zeros.
    fn digit(value: u64, digits: u8, byte: u8) -> Result<Self, BodyError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        if digits == 16 || value > MAX_LENGTH >> 4 {
            return Err(BodyError::ChunkLength);
        }
        Ok(Self::Length { value: value << 4 | u64::from(digit), digits: digits + 1 })
    }
}
