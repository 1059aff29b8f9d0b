//! Messages: what the plaintext of records says (PROTOCOL.md sections S5 and S6).
//!
//! Encoding and decoding are pure. A message borrows the bytes it came from, and nothing is
//! allocated on a peer's word alone: every length is held against the bytes that are there.

use super::Error;
use crate::files::{Entry, Kind, Modified};

/// Bytes before a message's body: its type and the body's length.
pub(crate) const HEADER_BYTES: usize = 4;

/// Bytes of a text for the other person at most.
pub(crate) const MAX_TEXT: usize = 1024;

/// Bytes of a hash.
const HASH_BYTES: usize = blake3::OUT_LEN;

/// Bytes of what `Have` says of an entry.
pub(crate) const POINT_BYTES: usize = 4 + 8;

/// Bytes of what `Proof` says of an entry.
pub(crate) const PROOF_BYTES: usize = 4 + HASH_BYTES;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// What follows in `Entries`: how many entries, the sum of their known sizes, the bytes of
    /// their encodings.
    Offer {
        entries: u32,
        bytes: u64,
        encoded_bytes: u32,
    },
    /// Some of the entries, encoded one after another.
    Entries(&'a [u8]),
    /// The content of an entry follows, from `offset` on.
    Begin {
        entry: u32,
        offset: u64,
    },
    /// A piece of content.
    Data(&'a [u8]),
    /// The content is all there: its size and hash, both from its very begin.
    End {
        size: u64,
        hash: [u8; HASH_BYTES],
    },
    /// Hashes of what the downloader says that it has, encoded one after another.
    Proof(&'a [u8]),
    /// What the downloader has already, as points that are encoded one after another.
    Have(&'a [u8]),
    /// The downloader has said all that it has.
    Prove,
    /// Numbers of the entries whose proof was right, encoded one after another.
    Resume(&'a [u8]),
    Accept,
    Decline(&'a str),
    /// The downloader cannot take it, though nobody has said no: it may come again.
    Unable(&'a str),
    /// Everything is on the disk: how many entries, and the bytes of their content.
    Receipt {
        entries: u32,
        bytes: u64,
    },
    /// So many bytes of all content the downloader has by now, with what it had before.
    Progress {
        bytes: u64,
    },
    /// The sender is alive, and has nothing to say yet.
    Alive,
    /// The sender gives up.
    Error {
        cancelled: bool,
        text: &'a str,
    },
}

mod kind {
    pub(super) const OFFER: u8 = 0x01;
    pub(super) const ENTRIES: u8 = 0x02;
    pub(super) const BEGIN: u8 = 0x03;
    pub(super) const DATA: u8 = 0x04;
    pub(super) const END: u8 = 0x05;
    pub(super) const PROOF: u8 = 0x06;
    pub(super) const HAVE: u8 = 0x11;
    pub(super) const ACCEPT: u8 = 0x12;
    pub(super) const DECLINE: u8 = 0x13;
    pub(super) const UNABLE: u8 = 0x18;
    pub(super) const RECEIPT: u8 = 0x14;
    pub(super) const PROGRESS: u8 = 0x15;
    pub(super) const PROVE: u8 = 0x16;
    pub(super) const RESUME: u8 = 0x17;
    pub(super) const ALIVE: u8 = 0x21;
    pub(super) const ERROR: u8 = 0x22;

    pub(super) const FILE: u8 = 0x00;
    pub(super) const DIRECTORY: u8 = 0x01;
    pub(super) const SYMLINK: u8 = 0x02;
    pub(super) const TEXT: u8 = 0x03;
    pub(super) const STREAM: u8 = 0x04;
}

impl<'a> Message<'a> {
    /// Appends the message's encoding to `out`. Texts are cut to what is allowed.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        self.encode_body(out);
        let body_bytes = out.len() - start - HEADER_BYTES;
        out[start..start + HEADER_BYTES].copy_from_slice(&header(self.kind(), body_bytes));
    }

    /// The message's encoding alone.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        self.encode(&mut encoded);
        encoded
    }

    /// Decodes the first message of `bytes`; returns it and the bytes that it takes.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is not whole, of no known type, or has another form than its type.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<(Self, usize), Error> {
        let mut fields = Fields(bytes);
        let kind = fields.u8()?;
        let body_bytes = usize::from(fields.u8()?) << 16 | usize::from(fields.u16()?);
        let mut body = Fields(fields.take(body_bytes)?);
        let message = Self::decode_body(kind, &mut body)?;
        body.finish()?;
        Ok((message, HEADER_BYTES + body_bytes))
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Offer { .. } => kind::OFFER,
            Self::Entries(_) => kind::ENTRIES,
            Self::Begin { .. } => kind::BEGIN,
            Self::Data(_) => kind::DATA,
            Self::End { .. } => kind::END,
            Self::Proof(_) => kind::PROOF,
            Self::Have(_) => kind::HAVE,
            Self::Prove => kind::PROVE,
            Self::Resume(_) => kind::RESUME,
            Self::Accept => kind::ACCEPT,
            Self::Decline(_) => kind::DECLINE,
            Self::Unable(_) => kind::UNABLE,
            Self::Receipt { .. } => kind::RECEIPT,
            Self::Progress { .. } => kind::PROGRESS,
            Self::Alive => kind::ALIVE,
            Self::Error { .. } => kind::ERROR,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Offer { entries, bytes, encoded_bytes } => {
                out.extend_from_slice(&entries.to_be_bytes());
                out.extend_from_slice(&bytes.to_be_bytes());
                out.extend_from_slice(&encoded_bytes.to_be_bytes());
            }
            Self::Begin { entry: number, offset: bytes }
            | Self::Receipt { entries: number, bytes } => {
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&bytes.to_be_bytes());
            }
            Self::Progress { bytes } => out.extend_from_slice(&bytes.to_be_bytes()),
            Self::Entries(bytes)
            | Self::Data(bytes)
            | Self::Proof(bytes)
            | Self::Have(bytes)
            | Self::Resume(bytes) => out.extend_from_slice(bytes),
            Self::End { size, hash } => {
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(&hash);
            }
            Self::Decline(text) | Self::Unable(text) => {
                out.extend_from_slice(shortened(text).as_bytes())
            }
            Self::Error { cancelled, text } => {
                out.push(u8::from(cancelled));
                out.extend_from_slice(shortened(text).as_bytes());
            }
            Self::Prove | Self::Accept | Self::Alive => {}
        }
    }

    fn decode_body(kind: u8, body: &mut Fields<'a>) -> Result<Self, Error> {
        Ok(match kind {
            kind::OFFER => {
                Self::Offer { entries: body.u32()?, bytes: body.u64()?, encoded_bytes: body.u32()? }
            }
            kind::ENTRIES => Self::Entries(body.rest()?),
            kind::BEGIN => Self::Begin { entry: body.u32()?, offset: body.u64()? },
            kind::DATA => Self::Data(body.rest()?),
            kind::END => Self::End { size: body.u64()?, hash: body.array()? },
            kind::PROOF => Self::Proof(body.rest()?),
            kind::HAVE => Self::Have(body.rest()?),
            kind::PROVE => Self::Prove,
            kind::RESUME => Self::Resume(body.rest()?),
            kind::ACCEPT => Self::Accept,
            kind::DECLINE => Self::Decline(body.text()?),
            kind::UNABLE => Self::Unable(body.text()?),
            kind::RECEIPT => Self::Receipt { entries: body.u32()?, bytes: body.u64()? },
            kind::PROGRESS => Self::Progress { bytes: body.u64()? },
            kind::ALIVE => Self::Alive,
            kind::ERROR => Self::Error {
                cancelled: match body.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Error::Protocol("an error of an unknown kind")),
                },
                text: body.text()?,
            },
            _ => return Err(Error::Protocol("a message of an unknown type")),
        })
    }
}

/// The first bytes of a `Data` message with a body of this length, for who writes the body in
/// place.
pub(crate) fn data_header(body_bytes: usize) -> [u8; HEADER_BYTES] {
    header(kind::DATA, body_bytes)
}

/// Appends the encoding of an entry to `out`.
pub(crate) fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let (number, size, target) = match &entry.kind {
        Kind::File { size } => (kind::FILE, Some(size), None),
        Kind::Directory => (kind::DIRECTORY, None, None),
        Kind::Symlink { target } => (kind::SYMLINK, None, Some(target)),
        Kind::Text { size } => (kind::TEXT, Some(size), None),
        Kind::Stream => (kind::STREAM, None, None),
    };
    let short = |value: usize| u8::try_from(value).expect("a manifest bounds depths and names");
    out.extend_from_slice(&[number, short(entry.depth)]);
    out.extend_from_slice(&entry.mode.to_be_bytes());
    out.extend_from_slice(&entry.modified.seconds.to_be_bytes());
    out.extend_from_slice(&entry.modified.nanos.to_be_bytes());
    out.push(short(entry.name.as_bytes().len()));
    out.extend_from_slice(entry.name.as_bytes());
    if let Some(size) = size {
        out.extend_from_slice(&size.to_be_bytes());
    }
    if let Some(target) = target {
        let length = u16::try_from(target.as_bytes().len()).expect("a manifest bounds targets");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(target.as_bytes());
    }
}

/// Decodes the entries of one `Entries` message, of which each is whole.
pub(crate) fn decode_entries(bytes: &[u8]) -> impl Iterator<Item = Result<Entry, Error>> {
    decode_all(bytes, decode_entry)
}

fn decode_entry(fields: &mut Fields<'_>) -> Result<Entry, Error> {
    let number = fields.u8()?;
    let depth = usize::from(fields.u8()?);
    let mode = fields.u16()?;
    let modified = Modified { seconds: fields.u64()?.cast_signed(), nanos: fields.u32()? };
    let name_bytes = fields.u8()?;
    let name = fields.take(name_bytes.into())?.into();
    let kind = match number {
        kind::FILE => Kind::File { size: fields.u64()? },
        kind::DIRECTORY => Kind::Directory,
        kind::SYMLINK => {
            let length = fields.u16()?;
            Kind::Symlink { target: fields.take(length.into())?.into() }
        }
        kind::TEXT => Kind::Text { size: fields.u64()? },
        kind::STREAM => Kind::Stream,
        _ => return Err(Error::Protocol("an entry of an unknown kind")),
    };
    Ok(Entry { kind, depth, name, mode, modified })
}

/// Appends to `out` that the first `bytes` of the content of `entry` are there.
pub(crate) fn encode_point(entry: u32, bytes: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.to_be_bytes());
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Decodes the points of one `Have` message, of which each is whole: entry, bytes.
pub(crate) fn decode_points(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, u64), Error>> {
    decode_all(bytes, |fields| Ok((fields.u32()?, fields.u64()?)))
}

/// Appends to `out` the hash of what the downloader says that it has of `entry`.
pub(crate) fn encode_proof(entry: u32, hash: &blake3::Hash, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.to_be_bytes());
    out.extend_from_slice(hash.as_bytes());
}

/// Decodes the hashes of one `Proof` message, of which each is whole: entry, hash.
pub(crate) fn decode_proofs(
    bytes: &[u8],
) -> impl Iterator<Item = Result<(u32, blake3::Hash), Error>> {
    decode_all(bytes, |fields| Ok((fields.u32()?, blake3::Hash::from_bytes(fields.array()?))))
}

/// Decodes the numbers of one `Resume` message, of which each is whole.
pub(crate) fn decode_numbers(bytes: &[u8]) -> impl Iterator<Item = Result<u32, Error>> {
    decode_all(bytes, Fields::u32)
}

fn decode_all<'a, T>(
    bytes: &'a [u8],
    decode: impl Fn(&mut Fields<'a>) -> Result<T, Error>,
) -> impl Iterator<Item = Result<T, Error>> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(move || (!fields.is_empty()).then(|| decode(&mut fields)))
}

fn header(kind: u8, body_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(body_bytes).expect("a message is not longer than a record");
    let mut header = length.to_be_bytes();
    header[0] = kind;
    header
}

/// As much of `text` as may be sent.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// The fields that are left of a body.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let (field, rest) =
            self.0.split_at_checked(bytes).ok_or(Error::Protocol("a message that is cut short"))?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Error> {
        let mut array = [0; BYTES];
        array.copy_from_slice(self.take(BYTES)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    fn str(&mut self, bytes: usize) -> Result<&'a str, Error> {
        str::from_utf8(self.take(bytes)?).map_err(|_| Error::Protocol("a text that is not UTF-8"))
    }

    /// What is left, which is not nothing: a message that says nothing could be repeated for ever.
    fn rest(&mut self) -> Result<&'a [u8], Error> {
        match self.0.len() {
            0 => Err(Error::Protocol("an empty message")),
            left => self.take(left),
        }
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        match self.0.len() {
            left if left <= MAX_TEXT => self.str(left),
            _ => Err(Error::Protocol("a text that is too long")),
        }
    }

    fn finish(&self) -> Result<(), Error> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Error::Protocol("a message that is too long for its type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((message, length)) = Message::decode(&bytes) {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(&message.encoded()[..], &bytes[..length]);
            }
        }

        #[test]
        fn bodies_of_any_bytes_are_decoded_or_refused(
            kind in prop_oneof![1_u8..7, 0x11_u8..0x18, 0x21_u8..0x23],
            body in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [&header(kind, body.len())[..], &body].concat();
            if let Ok((message, length)) = Message::decode(&bytes) {
                prop_assert_eq!(length, bytes.len());
                prop_assert_eq!(message.encoded(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_entries_or_refused(bytes in proptest::collection::vec(any::<u8>(), 1..120)) {
            let decoded: Result<Vec<Entry>, Error> = decode_entries(&bytes).collect();
            if let Ok(entries) = decoded {
                let mut encoded = Vec::new();
                entries.iter().for_each(|entry| encode_entry(entry, &mut encoded));
                prop_assert_eq!(encoded, bytes);
            }
        }
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        let text = format!("x{}", "\u{e9}".repeat(600));
        let bytes = Message::Decline(&text).encoded();
        let (message, _) = Message::decode(&bytes).unwrap();
        assert_eq!(message, Message::Decline(&text[..1023]));
    }
}
