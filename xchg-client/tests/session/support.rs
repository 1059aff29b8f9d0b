//! Two peers in this process, and streams between them that can be cut or altered.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use xchg_client::files::{Destination, Outgoing, PlaceOptions, WalkOptions};
use xchg_client::sealed::{SealedStream, download, upload};
use xchg_client::session::{Error, Secret};
use xchg_client::{Cancel, Downloaded, Observer, Side, Uploaded};

/// Everything about one exchange; the defaults are those of two peers that agree.
pub(crate) struct Exchange<'a> {
    pub(crate) outgoing: Outgoing,
    pub(crate) destination: Destination<'a>,
    pub(crate) options: PlaceOptions,
    pub(crate) uploader: Peer<'a>,
    pub(crate) downloader: Peer<'a>,
}

/// One peer's circumstances.
pub(crate) struct Peer<'a> {
    pub(crate) secret: Secret,
    pub(crate) observer: Box<dyn Observer + Send + 'a>,
    pub(crate) cancel: Cancel,
    /// What becomes of the bytes that it sends.
    pub(crate) line: Line,
}

impl Default for Peer<'_> {
    fn default() -> Self {
        Self {
            secret: Secret::new("swordfish"),
            observer: Box::new(()),
            cancel: Cancel::new().unwrap(),
            line: Line::default(),
        }
    }
}

/// What became of it.
pub(crate) struct Ended {
    pub(crate) sent: Result<Uploaded, Error>,
    pub(crate) received: Result<Downloaded, Error>,
}

impl Ended {
    pub(crate) fn unwrap(self) -> (Uploaded, Downloaded) {
        (
            self.sent.expect("the uploader gets its receipt"),
            self.received.expect("the downloader gets everything"),
        )
    }
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(outgoing: Outgoing, destination: Destination<'a>) -> Self {
        Self {
            outgoing,
            destination,
            options: PlaceOptions::default().resume(false),
            uploader: Peer::default(),
            downloader: Peer::default(),
        }
    }

    /// From one path to a directory.
    pub(crate) fn of(from: &Path, to: &Path) -> Self {
        Self::new(collect(from), Destination::Directory(to.into()))
    }

    pub(crate) fn options(mut self, options: PlaceOptions) -> Self {
        self.options = options;
        self
    }

    pub(crate) fn run(self) -> Ended {
        let (ours, theirs) = pair();
        let (mut uploader, mut downloader) = (self.uploader, self.downloader);
        let mut outgoing = self.outgoing;
        thread::scope(|scope| {
            let sent = scope.spawn(move || {
                let session = establish(ours, Side::Upload, &uploader)?;
                upload(session, &mut outgoing, &mut *uploader.observer, &uploader.cancel)
            });
            let received = establish(theirs, Side::Download, &downloader).and_then(|session| {
                download(
                    session,
                    self.destination,
                    self.options,
                    &mut *downloader.observer,
                    &downloader.cancel,
                )
            });
            let sent = sent.join().expect("the uploader does not panic");
            Ended { sent, received }
        })
    }
}

pub(crate) fn collect(path: &Path) -> Outgoing {
    Outgoing::collect(&[path], WalkOptions::default()).unwrap()
}

/// A stream's two ends, with a timeout that no test should run into.
pub(crate) fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    for stream in [&one, &other] {
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).unwrap();
        stream.set_write_timeout(timeout).unwrap();
    }
    (one, other)
}

fn establish(
    stream: UnixStream,
    side: Side,
    peer: &Peer<'_>,
) -> Result<SealedStream<UnixStream, LineWriter>, Error> {
    let writer =
        LineWriter { stream: stream.try_clone().unwrap(), line: peer.line.clone(), written: 0 };
    let ends = stream.try_clone().unwrap();
    // It may have been shut down already.
    let abort = move || drop(ends.shutdown(Shutdown::Both));
    SealedStream::establish(stream, writer, abort, side, b"holiday", &peer.secret)
}

/// What becomes of the bytes in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// After so many bytes the whole stream is lost.
    pub(crate) cut_at: Option<usize>,
    /// The byte at this place is altered.
    pub(crate) flip_at: Option<usize>,
    /// The direction ends with the write that was altered: an altered length makes the reader wait
    /// for more, until the other peer, which waits too, becomes impatient.
    pub(crate) end_after_flip: bool,
    /// Everything that was written.
    pub(crate) log: Arc<Mutex<Vec<u8>>>,
}

pub(crate) struct LineWriter {
    stream: UnixStream,
    line: Line,
    written: usize,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = |at: Option<usize>| at.map_or(usize::MAX, |at| at - self.written.min(at));
        let passed = bytes.len().min(left(self.line.cut_at));
        let mut bytes = bytes[..passed].to_vec();
        self.line.log.lock().unwrap().extend_from_slice(&bytes);
        let flip_at = self
            .line
            .flip_at
            .and_then(|at| at.checked_sub(self.written))
            .filter(|&at| at < bytes.len());
        if let Some(at) = flip_at {
            bytes[at] ^= 0x40;
        }
        self.stream.write_all(&bytes)?;
        self.written += passed;
        if self.line.cut_at == Some(self.written) {
            self.stream.shutdown(Shutdown::Both)?;
            return Err(ErrorKind::BrokenPipe.into());
        }
        if flip_at.is_some() && self.line.end_after_flip {
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(passed)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory's content, comparable: for each path its kind, content, mode and time.
pub(crate) fn snapshot(directory: &Path) -> BTreeMap<String, Item> {
    let mut items = BTreeMap::new();
    add_items(directory, "", &mut items);
    items
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    File(Vec<u8>, u32, (i64, i64)),
    Directory(u32, (i64, i64)),
    Symlink(String, (i64, i64)),
}

fn add_items(directory: &Path, prefix: &str, items: &mut BTreeMap<String, Item>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let item = if metadata.is_symlink() {
            Item::Symlink(fs::read_link(&path).unwrap().to_str().unwrap().into(), time)
        } else if metadata.is_dir() {
            add_items(&path, &format!("{name}/"), items);
            Item::Directory(mode, time)
        } else {
            Item::File(fs::read(&path).unwrap(), mode, time)
        };
        items.insert(name, item);
    }
}

/// Bytes that do not repeat, the same for the same seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.finalize_xof().fill(&mut noise);
    noise
}

/// Bytes of a hello and a confirmation.
pub(crate) const HANDSHAKE_BYTES: usize = HELLO_BYTES + 32;

pub(crate) const HELLO_BYTES: usize = 41;

/// Where the parts of a direction end: the hello, the confirmation, each record.
pub(crate) fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![HELLO_BYTES, HANDSHAKE_BYTES];
    let mut at = HANDSHAKE_BYTES;
    while at < bytes.len() {
        let length = [0, bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        at += 4 + u32::from_be_bytes(length) as usize + 16;
        ends.push(at);
    }
    assert_eq!(at, bytes.len(), "the last record ends the direction");
    ends
}
