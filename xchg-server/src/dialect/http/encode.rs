//! The chunked transfer coding (RFC 9112 section 7.1) for a payload whose length is not known.

use std::num::NonZeroU64;

/// Frames a payload for the downloader: a head before each chunk, and the last chunk at the end.
///
/// The payload itself stays where it is: the engine writes [`head`](Self::head), moves so many
/// bytes, and so on. The line break behind a chunk is part of what follows it, so that one chunk
/// costs one small write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChunkedEncoder {
    begun: bool,
}

/// The bytes before a chunk, on the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkHead {
    bytes: [u8; Self::MAX_BYTES],
    start: usize,
}

impl ChunkHead {
    /// A line break, 16 hexadecimal digits and a line break.
    pub(crate) const MAX_BYTES: usize = 20;
}

impl AsRef<[u8]> for ChunkHead {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl ChunkedEncoder {
    /// An encoder at the start of a body.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What goes before the next `len` bytes of payload, all of which must follow.
    ///
    /// There is no chunk of length zero: that is the end.
    pub(crate) fn head(&mut self, len: NonZeroU64) -> ChunkHead {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; ChunkHead::MAX_BYTES];
        let mut start = bytes.len() - 2;
        bytes[start..].copy_from_slice(b"\r\n");
        let mut rest = len.get();
        while rest > 0 {
            start -= 1;
            let [.., lowest] = rest.to_be_bytes();
            bytes[start] = DIGITS[usize::from(lowest & 15)];
            rest >>= 4;
        }
        if self.begun {
            start -= 2;
            bytes[start..start + 2].copy_from_slice(b"\r\n");
        }
        self.begun = true;
        ChunkHead { bytes, start }
    }

    /// What ends the body. Without it, the downloader sees that the payload was cut.
    #[must_use]
    pub(crate) fn last(self) -> &'static [u8] {
        if self.begun { b"\r\n0\r\n\r\n" } else { b"0\r\n\r\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_ends_where_the_next_begins() {
        let mut encoder = ChunkedEncoder::new();
        assert_eq!(encoder.last(), b"0\r\n\r\n");
        let head = |encoder: &mut ChunkedEncoder, len| {
            let len = NonZeroU64::new(len).expect("not zero");
            encoder.head(len).as_ref().to_vec()
        };
        assert_eq!(head(&mut encoder, 1), b"1\r\n");
        assert_eq!(head(&mut encoder, 0x1_0000), b"\r\n10000\r\n");
        assert_eq!(head(&mut encoder, u64::MAX), b"\r\nffffffffffffffff\r\n");
        assert_eq!(encoder.last(), b"\r\n0\r\n\r\n");
    }
}
