//! Records: sealed pieces of the stream (PROTOCOL.md section S4).
//!
//! A [`Record`] is the one buffer in which a piece is filled, sealed, sent, received and opened, in
//! place; it is allocated once and reused. [`Sealer`] and [`Opener`] are one direction each, so
//! that each can have a thread. Neither reads nor writes anything.

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::keys::TrafficSecret;
use super::{Error, Intake};

/// Bytes of plaintext that one record holds at most.
///
/// `benches/session.rs` chose it: a transfer takes about 12 % less processor time than with 64 KiB,
/// 6 % less than with 128 KiB; more than this gains nothing that could be measured, and costs
/// memory.
pub(crate) const MAX_PLAINTEXT: usize = 256 * 1024;

/// Records that one key seals, before it is replaced.
///
/// With full records that is 2^16 * 2^14 = 2^30 AES blocks. The advantage of an attacker against
/// the confidentiality of AES-GCM with a counter nonce is at most (blocks)^2 / 2^129
/// (draft-irtf-cfrg-aead-limits, section 5.1), hence 2^-69 here; RFC 8446 section 5.5 rekeys at
/// 2^-57, which would be 2^36 blocks.
pub(super) const RECORDS_PER_KEY: u64 = 1 << 16;

const HEADER_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const FLAG_LAST: u8 = 0x01;

/// The buffer of one record.
pub struct Record {
    /// Header, plaintext or ciphertext, tag: as on the wire.
    bytes: Box<[u8]>,
    /// Bytes of plaintext in use.
    len: usize,
    /// Bytes that were received, the header's among them.
    received: usize,
    last: bool,
}

impl Record {
    /// A buffer for records of any size.
    pub(crate) fn new() -> Self {
        Self::with_capacity(MAX_PLAINTEXT)
    }

    /// A buffer for records of up to `capacity` bytes of plaintext; not to receive with.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES + capacity + TAG_BYTES].into_boxed_slice(),
            len: 0,
            received: 0,
            last: false,
        }
    }

    /// A record of just this plaintext.
    pub(super) fn of(body: &[u8], last: bool) -> Self {
        let mut record = Self::with_capacity(body.len());
        record.put(body);
        record.last = last;
        record
    }

    /// The plaintext so far.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..][..self.len]
    }

    /// Room that is left for plaintext.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - TAG_BYTES;
        &mut self.bytes[HEADER_BYTES + self.len..end]
    }

    /// Takes the first `count` bytes of [`spare`](Self::spare) into the plaintext.
    pub(crate) fn advance(&mut self, count: usize) {
        assert!(count <= self.room(), "more was written than there was room");
        self.len += count;
    }

    /// Bytes of plaintext that still fit.
    pub(crate) fn room(&self) -> usize {
        self.bytes.len() - HEADER_BYTES - self.len - TAG_BYTES
    }

    /// Appends `bytes`, which the caller knows to fit.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.spare()[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Whether the record is the last of its direction.
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.received = 0;
        self.last = false;
    }

    fn set_header(&mut self, last: bool) -> [u8; HEADER_BYTES] {
        let len = u32::try_from(self.len).expect("a record holds at most MAX_PLAINTEXT bytes");
        let mut header = len.to_be_bytes();
        header[0] = if last { FLAG_LAST } else { 0 };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header);
        header
    }
}

/// The wire's bytes are received in place: first those of the header, then what it says.
impl Intake for Record {
    fn unfilled(&mut self) -> Result<&mut [u8], Error> {
        let end = match self.bytes[..self.received].first_chunk() {
            Some(&header) => HEADER_BYTES + parse_header(header)?.0 + TAG_BYTES,
            None => HEADER_BYTES,
        };
        Ok(&mut self.bytes[self.received..end])
    }

    fn fill(&mut self, bytes: usize) {
        self.received += bytes;
    }
}

/// Seals the records of one direction.
pub(crate) struct Sealer {
    keys: Chain,
    ended: bool,
}

impl Sealer {
    pub(crate) fn new(secret: TrafficSecret) -> Self {
        Self { keys: Chain::new(secret), ended: false }
    }

    /// Whether the last record was sealed.
    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Seals `record` in place, and returns it as it is on the wire; its plaintext is gone
    /// afterwards.
    ///
    /// # Panics
    /// If a last record was sealed before, or an empty one is that is not the last.
    pub(crate) fn seal<'r>(&mut self, record: &'r mut Record, last: bool) -> &'r [u8] {
        assert!(!self.ended, "nothing follows the last record");
        assert!(last || record.len > 0, "only the last record may be empty");
        let header = record.set_header(last);
        let (key, nonce) = self.keys.step();
        let sealed = HEADER_BYTES + record.len;
        let plaintext = &mut record.bytes[HEADER_BYTES..sealed];
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(header), plaintext)
            .expect("a record is far below the 64 GiB that AES-GCM seals at once");
        record.bytes[sealed..sealed + TAG_BYTES].copy_from_slice(tag.as_ref());
        self.ended = last;
        &record.bytes[..sealed + TAG_BYTES]
    }
}

/// Opens the records of one direction.
pub(crate) struct Opener {
    keys: Chain,
}

impl Opener {
    pub(crate) fn new(secret: TrafficSecret) -> Self {
        Self { keys: Chain::new(secret) }
    }

    /// Opens `record` in place, all of which was received. Nothing follows one that
    /// [is last](Record::is_last).
    ///
    /// # Errors
    /// [`Error::Tampered`] if it is not sealed as the next record of this direction.
    pub(crate) fn open(&mut self, record: &mut Record) -> Result<(), Error> {
        let header = *record.bytes.first_chunk().expect("a buffer has room for a header");
        let (len, last) = parse_header(header)?;
        let sealed = &mut record.bytes[HEADER_BYTES..HEADER_BYTES + len + TAG_BYTES];
        let (key, nonce) = self.keys.step();
        key.open_in_place(nonce, Aad::from(header), sealed).map_err(|_| Error::Tampered)?;
        record.len = len;
        record.last = last;
        Ok(())
    }
}

/// The header is not yet authenticated: what it says only bounds what is read before the seal is
/// checked.
fn parse_header(header: [u8; HEADER_BYTES]) -> Result<(usize, bool), Error> {
    let [flags, length @ ..] = header;
    let len = usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
    let last = match flags {
        0 => false,
        FLAG_LAST => true,
        _ => return Err(Error::Tampered),
    };
    if len > MAX_PLAINTEXT || (len == 0 && !last) {
        return Err(Error::Tampered);
    }
    Ok((len, last))
}

/// One direction's keys and the count of records, which is the nonce.
struct Chain {
    secret: TrafficSecret,
    key: LessSafeKey,
    /// Number of the next record; 2^64 records of a byte would take centuries at any speed.
    next: u64,
}

impl Chain {
    fn new(secret: TrafficSecret) -> Self {
        Self { key: secret.key(), secret, next: 0 }
    }

    /// The key and nonce of the next record.
    fn step(&mut self) -> (&LessSafeKey, Nonce) {
        if self.next > 0 && self.next.is_multiple_of(RECORDS_PER_KEY) {
            self.secret = self.secret.next();
            self.key = self.secret.key();
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        (&self.key, Nonce::assume_unique_for_key(nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Schedule;
    use super::*;
    use crate::Side;

    fn secret() -> TrafficSecret {
        Schedule::derive(b"shared", b"upload", b"download").traffic(Side::Upload)
    }

    /// The wire form of records with these bodies, the last of which is the last.
    fn sealed(bodies: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new(secret());
        let numbered = bodies.iter().enumerate();
        let seal = |(number, body): (usize, &&[u8])| {
            let mut record = Record::new();
            record.put(body);
            sealer.seal(&mut record, number + 1 == bodies.len()).to_vec()
        };
        numbered.map(seal).collect()
    }

    fn open(mut wire: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut opener = Opener::new(secret());
        let mut record = Record::new();
        let mut bodies = Vec::new();
        loop {
            record.clear();
            if !record.take(&mut wire)? {
                return Err(Error::Lost);
            }
            opener.open(&mut record)?;
            bodies.push(record.body().to_vec());
            if record.is_last() {
                return Ok(bodies);
            }
        }
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let big = vec![7; MAX_PLAINTEXT];
        let records = sealed(&[b"one", &big, b""]);
        assert_eq!(open(&records.concat()).unwrap(), [&b"one"[..], &big, b""]);
    }

    #[test]
    fn records_in_another_order_are_not_opened() {
        let records = sealed(&[b"one", b"two", b"three"]);
        for order in [&[1, 0, 2][..], &[0, 0, 1, 2], &[0, 2], &[2], &[1, 2]] {
            let wire: Vec<u8> = order.iter().flat_map(|&i| records[i].clone()).collect();
            assert!(matches!(open(&wire), Err(Error::Tampered)), "{order:?}");
        }
    }

    #[test]
    fn a_stream_without_its_last_record_was_cut() {
        let records = sealed(&[b"one", b"two"]);
        let wire = records.concat();
        for cut in 0..wire.len() {
            assert!(matches!(open(&wire[..cut]), Err(Error::Lost)), "{cut}");
        }
    }

    #[test]
    fn headers_that_nobody_writes_are_refused_before_anything_is_read() {
        for header in [[2, 0, 0, 1], [0, 4, 0, 1], [1, 0xff, 0xff, 0xff], [0, 0, 0, 0]] {
            assert!(matches!(open(&header), Err(Error::Tampered)), "{header:?}");
        }
    }
}
