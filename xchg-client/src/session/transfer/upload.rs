//! The uploader's part of a transfer.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::{mem, thread};

use blake3::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::super::link::{self, Link};
use super::super::message::{self, Message};
use super::super::record::MAX_PLAINTEXT;
use super::super::{Error, Session};
use super::prove::{Known, Prefix, await_accept};
use super::{Uploaded, wire_index};
use crate::files::{self, Kind, Manifest, Outgoing, Source};
use crate::{Cancel, Observer, Side};

/// Bytes of entries that one message holds, about.
const PIECE_BYTES: usize = 32 * 1024;

/// Buffers between a stream's reader and the transfer.
const STREAM_BUFFERS: usize = 4;

/// Bytes of a stream that are read at once: what a pipe holds by default on Linux.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// The longest offer that is made before the downloader has proved that it knows the secret.
const EARLY_OFFER_BYTES: usize = 64 * 1024;

/// The most content that goes with such an offer, before the downloader has accepted: about what a connection carries at once.
const EARLY_CONTENT_BYTES: u64 = 64 * 1024;

/// The most files of which that is.
const EARLY_FILES: usize = 64;

/// Offers `outgoing` and sends it if the downloader accepts. It returns only when the downloader has
/// everything safe on its disk, and said so.
///
/// A short offer is made at once, and so is little content: it costs nobody more than to be thrown away, and the downloader may
/// have it before it has accepted. A stream is not read before that.
///
/// # Errors
/// [`Error::WrongSecret`] if the secrets differ (the other peer gets the same), [`Error::Declined`] if the downloader does not
/// want it, [`Error::Unable`] if it cannot take it, [`Error::Files`] if a file cannot be read, or changes while it is sent, and all the ways in which a session fails. The other
/// peer is told if it can be.
///
/// # Panics
/// If the session is not of the upload side.
pub fn upload<R, W>(
    session: Session<R, W>,
    outgoing: &mut Outgoing,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Uploaded, Error>
where
    R: Read + Send,
    W: Write + Send,
{
    assert_eq!(session.side(), Side::Upload, "the uploader sends");
    let sent = link::run(session, observer, cancel, |link| {
        // As it is now, not as it was when the wait began.
        outgoing.refresh()?;
        let is_short = outgoing.manifest().encoded_bytes() <= EARLY_OFFER_BYTES;
        let is_early = is_short && fits_an_offer(outgoing.manifest());
        if !is_short {
            link.await_confirmation()?;
        }
        offer(link, outgoing.manifest())?;
        if is_early {
            Upload::new(link, outgoing, Tells::Nobody).send_contents(&mut Known::default())?;
        }
        link.flush()?;
        if is_short {
            link.await_confirmation()?;
        }
        link.observer().manifest(outgoing.manifest());
        let mut known = await_accept(link, outgoing, cancel)?;
        link.observer().accepted(known.bytes);
        let mut upload = Upload::new(link, outgoing, Tells::Observer);
        match is_early && !known.is_asked_for {
            true => upload.tell_sent(),
            false => upload.send_contents(&mut known)?,
        }
        upload.link.finish()?;
        upload.link.observer().finishing();
        let sent = upload.await_receipt()?;
        Ok(Uploaded { notes: outgoing.notes(), ..sent })
    });
    let is_begun = outgoing.manifest().has_stream() && !outgoing.is_unread_stream();
    sent.map_err(|error| if is_begun { error.of_stream() } else { error })
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
    match piece.is_empty() {
        true => Ok(()),
        false => link.put(&Message::Entries(&piece)),
    }
}

/// Whether all content may go with the offer.
fn fits_an_offer(manifest: &Manifest) -> bool {
    let files = manifest.entries().iter().filter(|entry| entry.kind.has_content());
    manifest.bytes() <= EARLY_CONTENT_BYTES
        && files.clone().count() <= EARLY_FILES
        && files.clone().all(|entry| entry.kind != Kind::Stream)
}

/// Who hears of what an [`Upload`] does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    Observer,
    /// It is not accepted yet.
    Nobody,
}

struct Upload<'a, 'link> {
    link: &'a mut Link<'link>,
    outgoing: &'a mut Outgoing,
    tells: Tells,
    sent: Uploaded,
}

impl<'a, 'link> Upload<'a, 'link> {
    fn new(link: &'a mut Link<'link>, outgoing: &'a mut Outgoing, tells: Tells) -> Self {
        let sent = Uploaded::default();
        Self { link, outgoing, tells, sent }
    }

    /// Tells the observer something, if it is to be told.
    fn tell(&mut self, what: impl FnOnce(&mut dyn Observer, &Manifest)) {
        if self.tells == Tells::Observer {
            what(self.link.observer(), self.outgoing.manifest());
        }
    }

    /// Sends all content but what is `known` to be there.
    fn send_contents(&mut self, known: &mut Known) -> Result<(), Error> {
        for index in 0..self.outgoing.manifest().entries().len() {
            if self.outgoing.manifest().entries()[index].kind.has_content() {
                self.send_entry(index, known.take(index))?;
                self.tell(|observer, manifest| {
                    observer.entry_done(index, &manifest.entries()[index]);
                });
            }
            self.sent.entries += 1;
        }
        Ok(())
    }

    /// Tells of content that went with the offer, now that it is accepted.
    fn tell_sent(&mut self) {
        self.tell(|observer, manifest| {
            for (index, entry) in manifest.entries().iter().enumerate() {
                if entry.kind.has_content() {
                    observer.begin(index, entry, 0);
                    observer.moved(entry.kind.size().unwrap_or_default());
                    observer.entry_done(index, entry);
                }
            }
        });
        let manifest = self.outgoing.manifest();
        let (entries, bytes) = (manifest.entries().len(), manifest.bytes());
        self.sent = Uploaded { entries, bytes, moved: bytes, notes: Vec::new() };
    }

    fn send_entry(&mut self, index: usize, known: Option<Prefix>) -> Result<(), Error> {
        let hasher = match known {
            Some(Prefix::Whole(hash)) => {
                let size = self.outgoing.manifest().entries()[index].kind.size();
                let size = size.unwrap_or_default();
                self.begin(index, size)?;
                return self.end(size, hash);
            }
            Some(Prefix::Part(hasher)) => hasher,
            None => Box::default(),
        };
        match self.outgoing.open(index)? {
            Source::File(mut file) => {
                let failed = |source| self.outgoing.failed(index, source);
                file.seek(SeekFrom::Start(hasher.count())).map_err(failed)?;
                self.begin(index, hasher.count())?;
                let hasher = self.send_known(index, &mut file, hasher)?;
                // Once the end is sent, the downloader takes it for the file that was offered.
                self.outgoing.check_unchanged(index, &file)?;
                self.end(hasher.count(), hasher.finalize())
            }
            Source::Bytes(bytes) => {
                self.begin(index, hasher.count())?;
                let mut rest = Cursor::new(bytes);
                rest.set_position(hasher.count());
                let hasher = self.send_known(index, &mut rest, hasher)?;
                self.end(hasher.count(), hasher.finalize())
            }
            Source::Stream(reader) => {
                self.begin(index, 0)?;
                self.link.flush()?;
                self.send_stream(index, reader)
            }
        }
    }

    fn begin(&mut self, index: usize, offset: u64) -> Result<(), Error> {
        self.tell(|observer, manifest| {
            observer.begin(index, &manifest.entries()[index], offset);
        });
        self.link.put(&Message::Begin { entry: wire_index(index), offset })
    }

    /// Sends the rest of a content whose size was offered, after what is hashed already. Returns the hash of all.
    fn send_known(
        &mut self,
        index: usize,
        reader: &mut impl Read,
        mut hasher: Box<Hasher>,
    ) -> Result<Box<Hasher>, Error> {
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
        Ok(hasher)
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
        self.end(hasher.count(), hasher.finalize())
    }

    fn moved(&mut self, bytes: u64) -> Result<(), Error> {
        self.sent.moved += bytes;
        self.tell(|observer, _| observer.moved(bytes));
        self.link.check()
    }

    fn end(&mut self, size: u64, hash: blake3::Hash) -> Result<(), Error> {
        self.sent.bytes += size;
        self.link.put(&Message::End { size, hash: hash.into() })
    }

    fn await_receipt(&mut self) -> Result<Uploaded, Error> {
        match self.link.next()? {
            Some(Message::Receipt { entries, bytes })
                if entries as usize == self.sent.entries && bytes == self.sent.bytes => {}
            Some(Message::Receipt { .. }) => {
                return Err(Error::Protocol("its receipt is for something else"));
            }
            _ => return Err(Error::Protocol("no receipt")),
        }
        match self.link.next()? {
            None => Ok(mem::take(&mut self.sent)),
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
