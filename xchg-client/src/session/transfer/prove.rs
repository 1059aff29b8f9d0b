//! What the downloader has already: the uploader proves first that it has the same (PROTOCOL.md rules S22 to S24).
//!
//! A downloader that told the hash of a file to whoever makes an offer would tell its content to who can try all that it may be. So
//! it tells how long the file is, the uploader says the hash, and all that it learns is whether that is right.

use std::collections::{BTreeMap, VecDeque};

use blake3::Hasher;

use super::super::Error;
use super::super::link::Link;
use super::super::message::{self, Message, POINT_BYTES, PROOF_BYTES};
use super::wire_index;
use crate::Cancel;
use crate::files::{self, Kind, Manifest, Outgoing, ResumePoint, Sink, Source, hash_prefix};

/// Bytes of a list that one message holds at most.
const PIECE_BYTES: usize = 32 * 1024;

/// Bytes of an entry's number.
const NUMBER_BYTES: usize = 4;

/// The proof of so many bytes is not held back until others fill a record.
const FLUSHED_BYTES: u64 = 1 << 20;

/// How much of content that went with the offer is thrown away at most, begins and ends counted as a byte each.
const MOST_EARLY: usize = 256 * 1024;

/// Partial files of which a downloader may go on at once: whoever does has each of them open, or half-hashed in memory.
const MAX_PARTIALS: usize = 64;

/// What the uploader knows of what the downloader has.
#[derive(Default)]
pub(super) struct Known {
    prefixes: BTreeMap<usize, Prefix>,
    /// Whether the downloader asked for proofs. Content that went with the offer is not what it takes, then.
    pub(super) is_asked_for: bool,
    /// Bytes that need not be sent.
    pub(super) bytes: u64,
}

/// The begin of a file, or all of it, that the downloader has.
pub(super) enum Prefix {
    Whole(blake3::Hash),
    /// Hashed so far.
    Part(Box<Hasher>),
}

impl Known {
    pub(super) fn take(&mut self, entry: usize) -> Option<Prefix> {
        self.prefixes.remove(&entry)
    }
}

/// Waits until the downloader accepts; proves on the way that we have what it has.
pub(super) fn await_accept(
    link: &mut Link<'_>,
    outgoing: &mut Outgoing,
    cancel: &Cancel,
) -> Result<Known, Error> {
    let mut points = Vec::new();
    let mut proved = BTreeMap::new();
    let mut known = Known::default();
    loop {
        match link.next()? {
            Some(Message::Have(bytes)) if !known.is_asked_for => {
                for point in message::decode_points(bytes) {
                    let (entry, offset) = point?;
                    let point = ResumePoint { entry: entry as usize, offset };
                    check(outgoing.manifest(), points.last(), &point)?;
                    points.push(point);
                }
            }
            Some(Message::Prove) if !known.is_asked_for && !points.is_empty() => {
                known.is_asked_for = true;
                proved = prove(link, outgoing, &points, cancel)?;
            }
            Some(Message::Resume(bytes)) => {
                for number in message::decode_numbers(bytes) {
                    let entry = number? as usize;
                    let Some((bytes, prefix)) = proved.remove(&entry) else {
                        return Err(Error::Protocol("it resumes what it did not name"));
                    };
                    known.bytes += bytes;
                    known.prefixes.insert(entry, prefix);
                }
            }
            Some(Message::Accept) if points.is_empty() || known.is_asked_for => return Ok(known),
            Some(Message::Decline(reason)) => {
                let reason = reason.into();
                return Err(Error::Declined { reason });
            }
            Some(Message::Unable(reason)) => {
                let reason = reason.into();
                return Err(Error::Unable { reason });
            }
            _ => return Err(Error::Protocol("no answer to the offer")),
        }
    }
}

/// Whether the downloader may say that it has `point`, after it has said so of `last`.
fn check(
    manifest: &Manifest,
    last: Option<&ResumePoint>,
    point: &ResumePoint,
) -> Result<(), Error> {
    let entry = manifest.entries().get(point.entry);
    let Some(&Kind::File { size }) = entry.map(|entry| &entry.kind) else {
        return Err(Error::Protocol("it has what is no file"));
    };
    match last.is_none_or(|last| last.entry < point.entry) && point.offset <= size {
        true => Ok(()),
        false => Err(Error::Protocol("what it says that it has makes no sense")),
    }
}

/// Says the hash of each of `points`, in their order.
fn prove(
    link: &mut Link<'_>,
    outgoing: &mut Outgoing,
    points: &[ResumePoint],
    cancel: &Cancel,
) -> Result<BTreeMap<usize, (u64, Prefix)>, Error> {
    let mut proved = BTreeMap::new();
    let mut partials = 0;
    for point in points {
        let hasher = hash(outgoing, point, cancel)?;
        let hash = hasher.finalize();
        let mut piece = Vec::with_capacity(PROOF_BYTES);
        message::encode_proof(wire_index(point.entry), &hash, &mut piece);
        link.put(&Message::Proof(&piece))?;
        link.check()?;
        if point.offset >= FLUSHED_BYTES {
            // The downloader has been as busy with it as we have.
            link.flush()?;
        }
        let size = outgoing.manifest().entries()[point.entry].kind.size();
        let prefix = match size == Some(point.offset) {
            true => Prefix::Whole(hash),
            false => {
                partials += 1;
                Prefix::Part(hasher)
            }
        };
        if partials > MAX_PARTIALS {
            return Err(Error::Protocol("it has parts of too many files"));
        }
        proved.insert(point.entry, (point.offset, prefix));
    }
    link.flush()?;
    Ok(proved)
}

/// Hashes our own file as far as `point`.
fn hash(
    outgoing: &mut Outgoing,
    point: &ResumePoint,
    cancel: &Cancel,
) -> Result<Box<Hasher>, Error> {
    let index = point.entry;
    let stop = || cancel.is_cancelled();
    let (hashed, file) = match outgoing.open(index)? {
        Source::File(mut file) => (hash_prefix(&mut file, point.offset, &stop), Some(file)),
        Source::Bytes(bytes) => (hash_prefix(&mut &bytes[..], point.offset, &stop), None),
        Source::Stream(_) => return Err(Error::Protocol("it has what is no file")),
    };
    match hashed.map_err(|source| outgoing.failed(index, source))? {
        files::Prefix::Hashed(hasher) => {
            if let Some(file) = file {
                outgoing.check_unchanged(index, &file)?;
            }
            Ok(hasher)
        }
        files::Prefix::Short => {
            Err(files::Error::Changed { path: outgoing.manifest().path(index) }.into())
        }
        files::Prefix::Stopped => Err(Error::Cancelled),
    }
}

/// Downloader: finds out what of the offer is here already, and is what the uploader has. Returns the points to go on from. The names of
/// what is here and something else are taken, then.
pub(super) fn ask_for_proofs(
    link: &mut Link<'_>,
    sink: &mut Sink<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<ResumePoint>, Error> {
    let points = sink.candidates();
    if points.is_empty() {
        return Ok(points);
    }
    say_all(
        link,
        &points,
        POINT_BYTES,
        |piece| Message::Have(piece),
        |point, piece| {
            message::encode_point(wire_index(point.entry), point.offset, piece);
        },
    )?;
    link.put(&Message::Prove)?;
    link.flush()?;
    let mut proofs = Proofs { early_bytes: 0, waiting: VecDeque::new() };
    let mut right = Vec::new();
    for point in points {
        // Both peers are at the same file at the same time.
        let ours = match sink.hash(&point, stop) {
            Err(files::Error::Stopped) => return Err(Error::Cancelled),
            ours => ours?,
        };
        let (entry, theirs) = proofs.next(link)?;
        if entry as usize != point.entry {
            return Err(Error::Protocol("a proof of something else"));
        }
        match ours == Some(theirs) {
            true => right.push(point),
            false => sink.differs(point.entry),
        }
    }
    say_all(
        link,
        &right,
        NUMBER_BYTES,
        |piece| Message::Resume(piece),
        |point, piece| {
            piece.extend_from_slice(&wire_index(point.entry).to_be_bytes());
        },
    )?;
    Ok(right)
}

/// Says something about each of `points`, in messages that hold as many as they may.
fn say_all(
    link: &mut Link<'_>,
    points: &[ResumePoint],
    point_bytes: usize,
    message: impl Fn(&[u8]) -> Message<'_>,
    encode: impl Fn(&ResumePoint, &mut Vec<u8>),
) -> Result<(), Error> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for points in points.chunks(PIECE_BYTES / point_bytes) {
        piece.clear();
        points.iter().for_each(|point| encode(point, &mut piece));
        link.put(&message(&piece))?;
    }
    Ok(())
}

/// The uploader's proofs as they come.
struct Proofs {
    /// Bytes of content that went with the offer.
    early_bytes: usize,
    waiting: VecDeque<(u32, blake3::Hash)>,
}

impl Proofs {
    fn next(&mut self, link: &mut Link<'_>) -> Result<(u32, blake3::Hash), Error> {
        loop {
            if let Some(proof) = self.waiting.pop_front() {
                return Ok(proof);
            }
            match link.next()? {
                Some(Message::Proof(bytes)) => {
                    for proof in message::decode_proofs(bytes) {
                        self.waiting.push_back(proof?);
                    }
                }
                // It comes again, if it is wanted.
                Some(Message::Begin { .. } | Message::End { .. }) => self.early_bytes += 1,
                Some(Message::Data(bytes)) => self.early_bytes += bytes.len(),
                _ => return Err(Error::Protocol("no proof")),
            }
            if self.early_bytes > MOST_EARLY {
                return Err(Error::Protocol("more content than goes with an offer"));
            }
        }
    }
}
