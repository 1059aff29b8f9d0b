//! What two peers say to each other after the match in realm plain (PROTOCOL.md section 2), over
//! any reader or writer.

use std::io::{self, Read};

use xchg_core::Side;
use xchg_core::wire::CounterpartDialect;

use crate::Error;
use crate::blocking::error::in_plain_words;

/// How the payload is told from the rest of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Chunks, an end mark and a receipt: the counterpart is native.
    Chunks,
    /// The stream is the payload, and its end the half-close.
    Raw,
}

impl Framing {
    /// The one that a counterpart of this dialect understands.
    pub(crate) fn with(dialect: CounterpartDialect) -> Self {
        match dialect {
            CounterpartDialect::Native => Self::Chunks,
            _ => Self::Raw,
        }
    }
}

/// The length of a chunk's head in bytes.
pub(crate) const HEAD_LEN: usize = 8;

/// The chunk that ends the payload.
pub(crate) const END_MARK: [u8; HEAD_LEN] = [0; HEAD_LEN];

/// The longest chunk, in bytes (rule 11).
const MAX_CHUNK_LEN: u64 = i64::MAX.unsigned_abs();

/// What comes before a chunk of `len` bytes. Length 0 would be the end mark.
pub(crate) fn chunk_head(len: u64) -> [u8; HEAD_LEN] {
    debug_assert!((1..=MAX_CHUNK_LEN).contains(&len));
    len.to_be_bytes()
}

/// The downloader's last word (rule 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Whether the payload is where it shall be.
    pub(crate) received: bool,
    /// The payload bytes that arrived.
    pub(crate) bytes: u64,
}

impl Receipt {
    /// A receipt's length on the wire.
    pub(crate) const LEN: usize = 9;

    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = (!self.received).into();
        out[1..].copy_from_slice(&self.bytes.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: [u8; Self::LEN]) -> Result<Self, Error> {
        let [status, count @ ..] = bytes;
        let received = match status {
            0 => true,
            1 => false,
            _ => {
                return Err(Error::Malformed {
                    counterpart: Side::Download,
                    what: "its receipt has an unknown status",
                });
            }
        };
        Ok(Self { received, bytes: u64::from_be_bytes(count) })
    }
}

/// Reads a payload out of a stream, and tells a whole one from any other.
#[derive(Debug)]
pub(crate) struct Payload<R> {
    stream: R,
    framing: Framing,
    /// The announced length.
    length: Option<u64>,
    /// Bytes given out so far.
    bytes: u64,
    /// Bytes of the current chunk that are still to come.
    chunk: u64,
    ended: bool,
}

impl<R: Read> Payload<R> {
    /// A payload of `length` bytes, if it was announced.
    pub(crate) fn new(stream: R, framing: Framing, length: Option<u64>) -> Self {
        Self { stream, framing, length, bytes: 0, chunk: 0, ended: false }
    }

    /// Reads up to `buffer.len()` bytes, which is not 0; gives 0 only when the payload is whole,
    /// and then for ever.
    ///
    /// # Errors
    /// [`Error::CounterpartLost`] if the stream ends or fails before; [`Error::WrongLength`] and
    /// [`Error::Malformed`] as soon as the payload cannot be what was announced.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.ended {
            return Ok(0);
        }
        if self.framing == Framing::Chunks && self.chunk == 0 {
            self.chunk = self.next_chunk()?;
            self.ended = self.chunk == 0;
            if self.ended {
                return self.check_length(self.bytes).map(|()| 0);
            }
        }
        let most = buffer.len().min(self.next_len());
        let taken = read_some(&mut self.stream, &mut buffer[..most]);
        self.took(taken)
    }

    /// The stream, and how many of its next bytes are payload at most, if any are for sure. Whoever
    /// takes some past [`read`](Self::read) says so by [`took`](Self::took).
    pub(crate) fn bare(&mut self) -> Option<(&mut R, usize)> {
        let is_bare = !self.ended && (self.framing == Framing::Raw || self.chunk > 0);
        let most = self.next_len();
        is_bare.then_some((&mut self.stream, most))
    }

    fn next_len(&self) -> usize {
        match self.framing {
            Framing::Chunks => usize::try_from(self.chunk).unwrap_or(usize::MAX),
            Framing::Raw => usize::MAX,
        }
    }

    /// What taking payload from the stream has come to, as bytes; 0 is the stream's end. Gives what
    /// [`read`](Self::read) would.
    pub(crate) fn took(&mut self, taken: io::Result<usize>) -> Result<usize, Error> {
        let count = taken.map_err(|error| self.lost(error))?;
        if count == 0 {
            return self.stream_ended().map(|()| 0);
        }
        self.bytes += count as u64;
        match self.framing {
            Framing::Chunks => self.chunk -= count as u64,
            Framing::Raw if self.length.is_some_and(|length| self.bytes > length) => {
                self.check_length(self.bytes)?;
            }
            Framing::Raw => {}
        }
        Ok(count)
    }

    /// Gives back the stream, behind the end mark if the payload was read to its end.
    pub(crate) fn into_stream(self) -> R {
        self.stream
    }

    fn next_chunk(&mut self) -> Result<u64, Error> {
        let mut head = [0; HEAD_LEN];
        self.stream.read_exact(&mut head).map_err(|error| self.lost(error))?;
        let chunk = u64::from_be_bytes(head);
        if chunk > MAX_CHUNK_LEN {
            return Err(Error::Malformed {
                counterpart: Side::Upload,
                what: "a chunk is longer than 2^63 - 1 bytes",
            });
        }
        let total = self.bytes.saturating_add(chunk);
        if self.length.is_some_and(|length| total > length) {
            self.check_length(total)?;
        }
        Ok(chunk)
    }

    /// The stream's own end is the payload's in raw framing only.
    fn stream_ended(&mut self) -> Result<(), Error> {
        match self.framing {
            Framing::Chunks => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Framing::Raw => {
                self.ended = true;
                self.check_length(self.bytes)
            }
        }
    }

    fn check_length(&self, sent: u64) -> Result<(), Error> {
        match self.length {
            Some(announced) if announced != sent => Err(Error::WrongLength { announced, sent }),
            _ => Ok(()),
        }
    }

    fn lost(&self, source: io::Error) -> Error {
        let source = in_plain_words(source);
        Error::CounterpartLost { counterpart: Side::Upload, bytes: self.bytes, source }
    }
}

/// Reads once, however often a signal interrupts it.
pub(crate) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives out `bytes` in pieces of the given lengths, over and over.
    struct Pieces<'a> {
        bytes: &'a [u8],
        lengths: Vec<usize>,
        next: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.lengths[self.next % self.lengths.len()].min(buffer.len());
            self.next += 1;
            self.bytes.read(&mut buffer[..most])
        }
    }

    fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for chunk in chunks {
            stream.extend(chunk_head(chunk.len() as u64));
            stream.extend(chunk);
        }
        stream.extend(END_MARK);
        stream
    }

    fn read_all<R: Read>(payload: &mut Payload<R>, buffer_len: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let mut buffer = vec![0; buffer_len];
        loop {
            match payload.read(&mut buffer)? {
                0 => return Ok(out),
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)
    }

    proptest! {
        #[test]
        fn a_payload_survives_any_chunks_and_any_pieces(
            chunks in chunks(),
            lengths in prop::collection::vec(1usize..30, 1..10),
            buffer_len in 1usize..50,
            announced: bool,
        ) {
            let stream = [encode(&chunks), b"next".to_vec()].concat();
            let whole = chunks.concat();
            let length = announced.then_some(whole.len() as u64);
            let pieces = Pieces { bytes: &stream, lengths, next: 0 };
            let mut payload = Payload::new(pieces, Framing::Chunks, length);
            prop_assert_eq!(read_all(&mut payload, buffer_len).unwrap(), whole);
            prop_assert_eq!(payload.read(&mut [0; 9]).unwrap(), 0, "the end stays the end");
            prop_assert_eq!(payload.into_stream().bytes, b"next", "nothing behind it is touched");
        }

        #[test]
        fn a_stream_cut_at_any_byte_is_never_a_success(chunks in chunks(), buffer_len in 1usize..50) {
            let stream = encode(&chunks);
            for cut in 0..stream.len() {
                let mut payload = Payload::new(&stream[..cut], Framing::Chunks, None);
                let error = read_all(&mut payload, buffer_len).unwrap_err();
                prop_assert!(matches!(error, Error::CounterpartLost { .. }), "{:?}", error);
            }
        }

        #[test]
        fn a_payload_of_another_length_is_never_a_success(
            chunks in chunks(),
            announced in 0u64..400,
            framing in prop::sample::select(vec![Framing::Chunks, Framing::Raw]),
        ) {
            let whole = chunks.concat();
            prop_assume!(announced != whole.len() as u64);
            let stream = if framing == Framing::Chunks { encode(&chunks) } else { whole };
            let mut payload = Payload::new(&stream[..], framing, Some(announced));
            let error = read_all(&mut payload, 16).unwrap_err();
            prop_assert!(matches!(error, Error::WrongLength { .. }), "{:?}", error);
        }

        #[test]
        fn a_raw_payload_ends_with_its_stream(whole: Vec<u8>, announced: bool) {
            let length = announced.then_some(whole.len() as u64);
            let mut payload = Payload::new(&whole[..], Framing::Raw, length);
            prop_assert_eq!(read_all(&mut payload, 16).unwrap(), whole);
        }

        #[test]
        fn a_receipt_survives_the_wire(received: bool, bytes: u64) {
            let receipt = Receipt { received, bytes };
            prop_assert_eq!(Receipt::decode(receipt.encode()).unwrap(), receipt);
        }
    }

    #[test]
    fn a_chunk_longer_than_the_rule_allows_is_malformed() {
        let head = (MAX_CHUNK_LEN + 1).to_be_bytes();
        let mut payload = Payload::new(&head[..], Framing::Chunks, None);
        assert!(matches!(payload.read(&mut [0; 8]), Err(Error::Malformed { .. })));
    }

    #[test]
    fn a_receipt_of_unknown_status_is_malformed() {
        let error = Receipt::decode([2, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err();
        assert!(matches!(error, Error::Malformed { counterpart: Side::Download, .. }));
    }

    #[test]
    fn only_native_counterparts_understand_chunks() {
        for (dialect, framing) in [
            (CounterpartDialect::Native, Framing::Chunks),
            (CounterpartDialect::Classic, Framing::Raw),
            (CounterpartDialect::Http, Framing::Raw),
            (CounterpartDialect::Other(9), Framing::Raw),
        ] {
            assert_eq!(Framing::with(dialect), framing, "{dialect:?}");
        }
    }
}
