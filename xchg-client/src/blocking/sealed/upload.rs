//! Runs an upload on a stream.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::link::{self, Link, Waited};
use super::stream::SealedStream;
use crate::files::{self, Manifest, Outgoing, Source, Stream, hash_prefix};
use crate::session::upload::{Effect, Event, Upload};
use crate::session::{ContentHash, Error, Point};
use crate::{Cancel, Observer, Uploaded};

/// Buffers between a stream's reader and the transfer.
const STREAM_BUFFERS: usize = 4;

/// Bytes of a stream that are read at once: what a pipe holds by default on Linux. A record holds
/// more.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// Offers `outgoing` and sends it if the downloader accepts. It returns only when the downloader
/// has everything safe on its disk, and said so.
///
/// A short offer is made at once, and so is little content: it costs nobody more than to be thrown
/// away, and the downloader may have it before it has accepted. A stream is not read before that.
///
/// # Errors
/// [`Error::WrongSecret`] if the secrets differ (the other peer gets the same), [`Error::Declined`]
/// if the downloader does not want it, [`Error::Unable`] if it cannot take it, [`Error::Files`] if
/// a file cannot be read, or changes while it is sent, and all the ways in which a session fails.
/// The other peer is told if it can be.
///
/// # Panics
/// If the stream is not of the upload side.
pub fn upload<R, W>(
    stream: SealedStream<R, W>,
    outgoing: &mut Outgoing,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Uploaded, Error>
where
    R: Read + Send,
    W: Write + Send,
{
    let sent = link::run(stream, cancel, Upload::new(), |link, role| {
        let mut driver = Driver { outgoing, observer, content: Content::None, cancel };
        while let Some(effect) = link.next(role)? {
            driver.run(effect, link, role)?;
        }
        Ok(Uploaded {
            entries: role.manifest().entries().len(),
            bytes: role.bytes(),
            moved: role.moved(),
            notes: driver.outgoing.notes(),
            ..Uploaded::default()
        })
    });
    let is_begun = outgoing.manifest().has_stream() && !outgoing.is_unread_stream();
    sent.map_err(|error| if is_begun { error.of_stream() } else { error })
}

struct Driver<'a> {
    outgoing: &'a mut Outgoing,
    observer: &'a mut dyn Observer,
    content: Content,
    cancel: &'a Cancel,
}

/// The content that is being read.
enum Content {
    None,
    File(File),
    Bytes(Cursor<Vec<u8>>),
    Stream { pieces: Receiver<Piece>, buffers: Sender<Vec<u8>> },
}

impl Driver<'_> {
    fn run(&mut self, effect: Effect, link: &mut Link<'_>, role: &mut Upload) -> Result<(), Error> {
        match effect {
            Effect::Collect => {
                // As it is now, not as it was when the wait began.
                self.outgoing.refresh()?;
                role.offer(self.outgoing.shared_manifest());
            }
            Effect::Hash(point) => role.hashed(self.hash(point)?)?,
            Effect::Open(point) => {
                self.content = self.open(point)?;
                role.opened();
            }
            Effect::Read { entry } => self.read(entry, link, role)?,
            Effect::Close { entry } => {
                if let Content::File(file) = &self.content {
                    // Once the end is sent, the downloader takes it for the file that was offered.
                    self.outgoing.check_unchanged(entry, file)?;
                }
                self.content = Content::None;
                role.closed();
            }
            Effect::Tell(event) => tell(self.observer, role.manifest(), event),
        }
        Ok(())
    }

    fn open(&mut self, Point { entry, bytes }: Point) -> Result<Content, Error> {
        Ok(match self.outgoing.open(entry)? {
            Source::File(mut file) => {
                let failed = |source| self.outgoing.failed(entry, source);
                file.seek(SeekFrom::Start(bytes)).map_err(failed)?;
                Content::File(file)
            }
            Source::Bytes(content) => {
                let mut content = Cursor::new(content);
                content.set_position(bytes);
                Content::Bytes(content)
            }
            Source::Stream(reader) => {
                let (pieces, buffers) = read_ahead(reader);
                Content::Stream { pieces, buffers }
            }
        })
    }

    fn read(&mut self, entry: usize, link: &mut Link<'_>, role: &mut Upload) -> Result<(), Error> {
        let read = match &mut self.content {
            Content::None => Ok(0),
            Content::File(file) => read_some(file, role.room()),
            Content::Bytes(bytes) => read_some(bytes, role.room()),
            Content::Stream { pieces, buffers } => match link.wait_for(role, pieces)? {
                // What it said is for the role to judge, which asks again.
                Waited::Heard => return Ok(()),
                Waited::For(None) => Ok(0),
                Waited::For(Some(Err(error))) => Err(error),
                Waited::For(Some(Ok((buffer, read)))) => {
                    role.room()[..read].copy_from_slice(&buffer[..read]);
                    // The reader takes none back once it is at the end.
                    drop(buffers.try_send(buffer));
                    Ok(read)
                }
            },
        };
        role.read(read.map_err(|source| self.outgoing.failed(entry, source))?)
    }

    /// Hashes our own content as far as `point`.
    fn hash(&mut self, Point { entry, bytes }: Point) -> Result<ContentHash, Error> {
        let stop = || self.cancel.is_cancelled();
        let (hashed, file) = match self.outgoing.open(entry)? {
            Source::File(mut file) => (hash_prefix(&mut file, bytes, &stop), Some(file)),
            Source::Bytes(content) => (hash_prefix(&mut &content[..], bytes, &stop), None),
            Source::Stream(_) => return Err(Error::Protocol("it has what is no file")),
        };
        match hashed.map_err(|source| self.outgoing.failed(entry, source))? {
            Some(hash) => {
                if let Some(file) = file {
                    self.outgoing.check_unchanged(entry, &file)?;
                }
                Ok(hash)
            }
            None if stop() => Err(Error::Cancelled),
            None => {
                Err(files::Error::Changed { path: self.outgoing.manifest().path(entry) }.into())
            }
        }
    }
}

/// Tells `observer` of what happens to the entries of `manifest`.
fn tell(observer: &mut dyn Observer, manifest: &Manifest, event: Event) {
    match event {
        Event::Offered => observer.manifest(manifest),
        Event::Accepted(bytes) => observer.accepted(bytes),
        Event::Begun { entry, offset } => observer.begin(entry, &manifest.entries()[entry], offset),
        Event::Moved(bytes) => observer.moved(bytes),
        Event::Confirmed(bytes) => observer.confirmed(bytes),
        Event::Ended(entry) => observer.entry_done(entry, &manifest.entries()[entry]),
        Event::Finishing => observer.finishing(),
    }
}

type Piece = io::Result<(Vec<u8>, usize)>;

/// Reads a stream on a thread of its own: its reads may block for ever, and the other peer may be
/// lost meanwhile.
fn read_ahead(mut reader: Stream) -> (Receiver<Piece>, Sender<Vec<u8>>) {
    let (tell, pieces) = bounded(STREAM_BUFFERS);
    let (buffers, empty) = bounded(STREAM_BUFFERS);
    for _ in 0..STREAM_BUFFERS {
        buffers
            .send(vec![0; STREAM_BUFFER_BYTES])
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
