//! The uploader's part of a transfer.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::thread;

use blake3::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::super::link::{self, Link};
use super::super::message::{self, Message};
use super::super::record::MAX_PLAINTEXT;
use super::super::{Error, Session};
use super::{Observer, Sent, wire_index};
use crate::files::{self, Kind, Manifest, Outgoing, Prefix, Source, hash_prefix};
use crate::{Cancel, Side};

/// Bytes of entries that one message holds, about.
const PIECE_BYTES: usize = 32 * 1024;

/// Buffers between a stream's reader and the transfer.
const STREAM_BUFFERS: usize = 4;

/// Bytes of a stream that are read at once: what a pipe holds by default on Linux.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// A resume point that the downloader named.
struct Point {
    entry: usize,
    offset: u64,
    hash: blake3::Hash,
}

/// Offers `outgoing` and sends it if the downloader accepts. It returns only when the downloader has
/// everything safe on its disk, and said so.
///
/// # Errors
/// [`Error::Declined`] if the downloader does not want it, [`Error::Files`] if a file cannot be read or
/// changes meanwhile, and all the ways in which a session fails. The other peer is told if it can be.
///
/// # Panics
/// If the session is not of the upload side.
pub fn send<R, W>(
    session: Session<R, W>,
    outgoing: Outgoing,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Sent, Error>
where
    R: Read + Send,
    W: Write + Send,
{
    assert_eq!(session.side(), Side::Upload, "the uploader sends");
    link::run(session, observer, cancel, |link| {
        link.observer().manifest(outgoing.manifest());
        offer(link, outgoing.manifest())?;
        let points = await_accept(link, outgoing.manifest())?;
        link.observer().accepted(points.iter().map(|point| point.offset).sum());
        let sent = Sent { entries: 0, bytes: 0, moved: 0 };
        let mut upload = Upload { link, outgoing, cancel, sent };
        upload.send_contents(&points)?;
        upload.link.finish()?;
        upload.link.observer().finishing();
        upload.await_receipt()
    })
}

fn offer(link: &mut Link<'_>, manifest: &Manifest) -> Result<(), Error> {
    let encoded_bytes = manifest.encoded_bytes();
    link.put(&Message::Offer {
        entries: wire_index(manifest.entries().len()),
        bytes: manifest.bytes(),
        encoded_bytes: u32::try_from(encoded_bytes).expect("a manifest is at most 64 MiB long"),
    })?;
    let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
    for entry in manifest.entries() {
        message::encode_entry(entry, &mut piece);
        if piece.len() >= PIECE_BYTES {
            link.put(&Message::Entries(&piece))?;
            piece.clear();
        }
    }
    if !piece.is_empty() {
        link.put(&Message::Entries(&piece))?;
    }
    link.flush()
}

/// The resume points of the downloader, which are in the order of the entries.
fn await_accept(link: &mut Link<'_>, manifest: &Manifest) -> Result<Vec<Point>, Error> {
    let mut points: Vec<Point> = Vec::new();
    loop {
        match link.next()? {
            Some(Message::Resume(bytes)) => {
                for point in message::decode_points(bytes) {
                    let (entry, offset, hash) = point?;
                    let entry = entry as usize;
                    let ascending = points.last().is_none_or(|last| last.entry < entry);
                    let size = match manifest.entries().get(entry).map(|entry| &entry.kind) {
                        Some(Kind::File { size }) => *size,
                        _ => return Err(Error::Protocol("it resumes what is no file")),
                    };
                    if !ascending || offset > size {
                        return Err(Error::Protocol("its resume points make no sense"));
                    }
                    points.push(Point { entry, offset, hash });
                }
            }
            Some(Message::Accept) => return Ok(points),
            Some(Message::Decline(reason)) => {
                let reason = reason.into();
                return Err(Error::Declined { reason });
            }
            _ => return Err(Error::Protocol("no answer to the offer")),
        }
    }
}

struct Upload<'a, 'link> {
    link: &'a mut Link<'link>,
    outgoing: Outgoing,
    cancel: &'a Cancel,
    sent: Sent,
}

impl Upload<'_, '_> {
    fn send_contents(&mut self, points: &[Point]) -> Result<(), Error> {
        let mut points = points.iter().peekable();
        for index in 0..self.outgoing.manifest().entries().len() {
            let point = points.next_if(|point| point.entry == index);
            if self.outgoing.manifest().entries()[index].kind.has_content() {
                self.send_entry(index, point)?;
                let entry = &self.outgoing.manifest().entries()[index];
                self.link.observer().entry_done(index, entry);
            }
            self.sent.entries += 1;
        }
        Ok(())
    }

    fn send_entry(&mut self, index: usize, point: Option<&Point>) -> Result<(), Error> {
        match self.outgoing.open(index)? {
            Source::File(mut file) => {
                let hasher = self.resume(index, &mut file, point)?;
                self.begin(index, hasher.count())?;
                self.send_known(index, &mut file, hasher)?;
                Ok(self.outgoing.check_unchanged(index, &file)?)
            }
            Source::Text(text) => {
                self.begin(index, 0)?;
                self.send_known(index, &mut Cursor::new(text), Box::default())
            }
            Source::Stream(reader) => {
                self.begin(index, 0)?;
                self.link.flush()?;
                self.send_stream(index, reader)
            }
        }
    }

    /// Verifies what the downloader has of a file. It goes on after that, or else from the begin.
    fn resume(
        &self,
        index: usize,
        file: &mut File,
        point: Option<&Point>,
    ) -> Result<Box<Hasher>, Error> {
        let Some(point) = point else {
            return Ok(Box::default());
        };
        let failed = |source| self.outgoing.failed(index, source);
        let stop = || self.cancel.is_cancelled();
        match hash_prefix(file, point.offset, &stop).map_err(failed)? {
            Prefix::Hashed(hasher) if hasher.finalize() == point.hash => Ok(hasher),
            Prefix::Hashed(_) | Prefix::Short => {
                file.rewind().map_err(failed)?;
                Ok(Box::default())
            }
            Prefix::Stopped => Err(Error::Cancelled),
        }
    }

    fn begin(&mut self, index: usize, offset: u64) -> Result<(), Error> {
        let entry = &self.outgoing.manifest().entries()[index];
        self.link.observer().begin(index, entry, offset);
        self.link.put(&Message::Begin { entry: wire_index(index), offset })
    }

    /// Sends the rest of a content whose size was offered, after what is hashed already.
    fn send_known(
        &mut self,
        index: usize,
        reader: &mut impl Read,
        mut hasher: Box<Hasher>,
    ) -> Result<(), Error> {
        let size = self.outgoing.manifest().entries()[index].kind.size();
        let size = size.unwrap_or_default();
        while hasher.count() < size {
            let left = size - hasher.count();
            let read = self.link.put_data(left, |spare| read_some(reader, spare))?;
            let bytes = match read {
                Ok([]) => {
                    let path = self.outgoing.manifest().path(index);
                    return Err(files::Error::Changed { path }.into());
                }
                Ok(bytes) => bytes,
                Err(source) => return Err(self.outgoing.failed(index, source).into()),
            };
            hasher.update(bytes);
            let moved = bytes.len() as u64;
            self.moved(moved)?;
        }
        self.end(&hasher)
    }

    /// Sends a content whose size shows when it ends; what was read is not held back.
    fn send_stream(&mut self, index: usize, reader: Box<dyn Read + Send>) -> Result<(), Error> {
        let (pieces, buffers) = read_ahead(reader);
        let mut hasher = Hasher::new();
        while let Some(piece) = self.link.wait_for(&pieces)? {
            let (buffer, read) =
                piece.map_err(|source| Error::from(self.outgoing.failed(index, source)))?;
            let bytes = &buffer[..read];
            hasher.update(bytes);
            self.link.put(&Message::Data(bytes))?;
            self.link.flush()?;
            self.moved(read as u64)?;
            // The reader takes none back once it is at the end.
            drop(buffers.try_send(buffer));
        }
        self.end(&hasher)
    }

    fn moved(&mut self, bytes: u64) -> Result<(), Error> {
        self.sent.moved += bytes;
        self.link.observer().moved(bytes);
        self.link.check()
    }

    fn end(&mut self, hasher: &Hasher) -> Result<(), Error> {
        self.sent.bytes += hasher.count();
        self.link.put(&Message::End { size: hasher.count(), hash: hasher.finalize().into() })
    }

    fn await_receipt(&mut self) -> Result<Sent, Error> {
        match self.link.next()? {
            Some(Message::Receipt { entries, bytes })
                if entries as usize == self.sent.entries && bytes == self.sent.bytes => {}
            Some(Message::Receipt { .. }) => {
                return Err(Error::Protocol("its receipt is for something else"));
            }
            _ => return Err(Error::Protocol("no receipt")),
        }
        match self.link.next()? {
            None => Ok(self.sent),
            Some(_) => Err(Error::Protocol("something after the receipt")),
        }
    }
}

type Piece = io::Result<(Vec<u8>, usize)>;

/// Reads a stream on a thread of its own: its reads may block for ever, and the other peer may be lost
/// meanwhile.
fn read_ahead(mut reader: Box<dyn Read + Send>) -> (Receiver<Piece>, Sender<Vec<u8>>) {
    let (tell, pieces) = bounded(STREAM_BUFFERS);
    let (buffers, empty) = bounded(STREAM_BUFFERS);
    for _ in 0..STREAM_BUFFERS {
        buffers
            .send(vec![0; STREAM_BUFFER_BYTES.min(MAX_PLAINTEXT)])
            .expect("the receiver is alive, in this function");
    }
    thread::spawn(move || {
        for mut buffer in empty {
            let piece = match read_some(&mut reader, &mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok((buffer, read)),
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if tell.send(piece).is_err() || failed {
                return;
            }
        }
    });
    (pieces, buffers)
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
