//! What the downloader has already: the uploader proves first that it has the same (PROTOCOL.md
//! rules S22 to S24 and S36).
//!
//! A downloader that told the hash of a file to whoever makes an offer would tell its content to
//! who can try all that it may be. So it tells how long the file is, the uploader says the hash,
//! and all that it learns is whether that is right.
//!
//! **Resuming needs no memory.** Neither peer remembers a transfer, and the key may be another one
//! the next time. The downloader says how much lies at the destination, whole or as a partial file
//! beside it; the uploader proves by a hash that it has the same so far (`session/prove.rs`), and
//! what differs is begun anew. So a kill at any moment needs no clean-up. The hash goes that way
//! and not the other, because whoever makes an offer could try all that a short file may hold; it
//! costs a round trip, which is paid only where something is there, and both peers hash at the same
//! time.

use std::collections::{BTreeMap, VecDeque};

use super::message::{self, Message, POINT_BYTES, PROOF_BYTES};
use super::talk::{Heard, Talk};
use super::{Error, wire_index};
use crate::files::{ContentHash, Kind, Manifest, Point};

/// Bytes of a list that one message holds at most.
const PIECE_BYTES: usize = 32 * 1024;

/// Bytes of an entry's number.
const NUMBER_BYTES: usize = 4;

/// The proof of so many bytes is not held back until others fill a record.
const FLUSHED_BYTES: u64 = 1 << 20;

/// How much of content that went with the offer is thrown away at most, begins and ends counted as
/// a byte each.
const MOST_EARLY: usize = 256 * 1024;

/// Partial files of which a downloader may go on at once: whoever does has each of them open, or
/// half-hashed in memory.
const MAX_PARTIALS: usize = 64;

/// What an uploader knows of what the downloader has.
#[derive(Default)]
pub(super) struct Known {
    points: Vec<Point>,
    /// Whether the downloader asked for proofs. Content that went with the offer is not what it
    /// takes, then.
    pub(super) is_asked_for: bool,
    proved: BTreeMap<usize, Prefix>,
    /// Of what was proved, what the downloader goes on from.
    resumed: BTreeMap<usize, Prefix>,
    partials: usize,
}

/// The begin of a file, or all of it, that the downloader has.
pub(super) enum Prefix {
    Whole { bytes: u64, hash: [u8; 32] },
    Part(ContentHash),
}

impl Prefix {
    fn bytes(&self) -> u64 {
        match self {
            Self::Whole { bytes, .. } => *bytes,
            Self::Part(hash) => hash.bytes(),
        }
    }
}

impl Known {
    /// The downloader says that it has these `points`, encoded one after another.
    pub(super) fn has(&mut self, points: &[u8], manifest: &Manifest) -> Result<(), Error> {
        for point in message::decode_points(points) {
            let (entry, bytes) = point?;
            let point = Point { entry: entry as usize, bytes };
            let Some(Kind::File { size }) =
                manifest.entries().get(point.entry).map(|entry| &entry.kind)
            else {
                return Err(Error::Protocol("it has what is no file"));
            };
            let is_next = self.points.last().is_none_or(|last| last.entry < point.entry);
            if !is_next || bytes > *size {
                return Err(Error::Protocol("what it says that it has makes no sense"));
            }
            self.points.push(point);
        }
        Ok(())
    }

    /// Whether the downloader has anything.
    pub(super) fn has_points(&self) -> bool {
        !self.points.is_empty()
    }

    /// The point of this number; none after the last.
    pub(super) fn point(&self, number: usize) -> Option<Point> {
        self.points.get(number).copied()
    }

    /// Says the proof of `point` of a file of `size` bytes, which `hash` is.
    pub(super) fn prove(
        &mut self,
        point: Point,
        size: Option<u64>,
        hash: ContentHash,
        talk: &mut Talk,
    ) -> Result<(), Error> {
        let mut proof = Vec::with_capacity(PROOF_BYTES);
        message::encode_proof(wire_index(point.entry), &hash.hash().into(), &mut proof);
        talk.say(&Message::Proof(&proof));
        let is_last = self.points.last() == Some(&point);
        if is_last || point.bytes >= FLUSHED_BYTES {
            // The downloader has been as busy with a big one as we have.
            talk.flush();
        }
        let prefix = if size == Some(point.bytes) {
            Prefix::Whole { bytes: point.bytes, hash: hash.hash() }
        } else {
            self.partials += 1;
            Prefix::Part(hash)
        };
        self.proved.insert(point.entry, prefix);
        if self.partials > MAX_PARTIALS {
            return Err(Error::Protocol("it has parts of too many files"));
        }
        Ok(())
    }

    /// The downloader goes on from these entries, encoded one after another.
    pub(super) fn resumes(&mut self, numbers: &[u8]) -> Result<(), Error> {
        for number in message::decode_numbers(numbers) {
            let entry = number? as usize;
            let Some(prefix) = self.proved.remove(&entry) else {
                return Err(Error::Protocol("it resumes what it did not name"));
            };
            self.resumed.insert(entry, prefix);
        }
        Ok(())
    }

    /// Bytes that need not be sent.
    pub(super) fn bytes(&self) -> u64 {
        self.resumed.values().map(Prefix::bytes).sum()
    }

    /// What is known of the content of `entry`.
    pub(super) fn take(&mut self, entry: usize) -> Option<Prefix> {
        self.resumed.remove(&entry)
    }
}

/// What a downloader has, and wants to go on from.
#[derive(Default)]
pub(super) struct Wanted {
    points: Vec<Point>,
    /// Of these, what the uploader has too.
    right: VecDeque<Point>,
    /// Proofs that came, for the next points.
    proofs: VecDeque<(u32, blake3::Hash)>,
    /// Bytes of content that went with the offer.
    early_bytes: usize,
}

impl Wanted {
    /// In the order of the entries.
    pub(super) fn new(points: Vec<Point>) -> Self {
        Self { points, ..Self::default() }
    }

    /// The point of this number; none after the last.
    pub(super) fn point(&self, number: usize) -> Option<Point> {
        self.points.get(number).copied()
    }

    /// Says some of the points from `next` on. Returns which is next then; none once all are said.
    pub(super) fn say(&self, next: usize, talk: &mut Talk) -> Option<usize> {
        let Some(points) = self.points[next..].chunks(PIECE_BYTES / POINT_BYTES).next() else {
            talk.say(&Message::Prove);
            talk.flush();
            return None;
        };
        let mut piece = Vec::with_capacity(points.len() * POINT_BYTES);
        for point in points {
            message::encode_point(wire_index(point.entry), point.bytes, &mut piece);
        }
        talk.say(&Message::Have(&piece));
        Some(next + points.len())
    }

    /// Whether the uploader has the same as we at `point`, of which the hash here is `ours`; none
    /// if its proof has yet to come.
    pub(super) fn compare(
        &mut self,
        point: Point,
        ours: Option<[u8; 32]>,
        talk: &mut Talk,
    ) -> Result<Option<bool>, Error> {
        loop {
            if let Some((entry, theirs)) = self.proofs.pop_front() {
                if entry as usize != point.entry {
                    return Err(Error::Protocol("a proof of something else"));
                }
                let is_right = ours.is_some_and(|ours| theirs == ours);
                if is_right {
                    self.right.push_back(point);
                }
                return Ok(Some(is_right));
            }
            match talk.next()? {
                Heard::Nothing => return Ok(None),
                Heard::Message(Message::Proof(bytes)) => {
                    for proof in message::decode_proofs(bytes) {
                        self.proofs.push_back(proof?);
                    }
                }
                // It comes again, if it is wanted.
                Heard::Message(Message::Begin { .. } | Message::End { .. }) => {
                    self.early_bytes += 1;
                }
                Heard::Message(Message::Data(bytes)) => self.early_bytes += bytes.len(),
                _ => return Err(Error::Protocol("no proof")),
            }
            if self.early_bytes > MOST_EARLY {
                return Err(Error::Protocol("more content than goes with an offer"));
            }
        }
    }

    /// Says which points are gone on from: some of the right ones, from number `next` on. Returns
    /// which is next then; none once all are said.
    pub(super) fn say_right(&mut self, next: usize, talk: &mut Talk) -> Option<usize> {
        let right = &self.right.make_contiguous()[next..];
        let points = right.chunks(PIECE_BYTES / NUMBER_BYTES).next()?;
        let numbers = points.iter().flat_map(|point| wire_index(point.entry).to_be_bytes());
        let piece: Vec<u8> = numbers.collect();
        talk.say(&Message::Resume(&piece));
        Some(next + points.len())
    }

    /// Bytes that need not be sent.
    pub(super) fn bytes(&self) -> u64 {
        self.right.iter().map(|point| point.bytes).sum()
    }

    /// Where the content of `entry` is gone on from, if it is. To be asked in their order.
    pub(super) fn take(&mut self, entry: usize) -> Option<Point> {
        self.right.pop_front_if(|point| point.entry == entry)
    }
}
