//! Transfers: what an uploader and a downloader do with a session (PROTOCOL.md section S7).

mod download;
#[cfg(test)]
#[cfg(unix)]
mod hostile;
mod prove;
mod sink;
mod upload;

use super::Error;
use crate::files::{Entry, Existing, Kept, Manifest, Note, Survey};

pub use download::download;
pub use upload::upload;

/// Follows a transfer, on the thread that runs it. Every method does nothing unless it is written.
///
/// Names in a manifest are the other peer's words on the downloader's side: they are safe to create, but
/// [escape](crate::terminal::escape) them to show them.
pub trait Observer {
    /// What is offered: by us, or, with names made safe, to us. It comes once the other peer has proved that it knows the secret.
    fn manifest(&mut self, manifest: &Manifest) {
        let _ = manifest;
    }

    /// Downloader only: what to do with the names that are [taken](Survey::taken), of which there are some, if
    /// [`PlaceOptions::existing`](crate::files::PlaceOptions::existing) is to refuse. Comes before [`decide`](Self::decide), which
    /// hears of what is found then. `None` declines the offer. Refuses unless it is written: then the uploader keeps it for another
    /// attempt.
    fn existing(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Existing> {
        let _ = (manifest, survey);
        Some(Existing::Refuse)
    }

    /// Downloader only: whether to take what is offered. It may take its time, the other peer is kept
    /// informed.
    fn decide(&mut self, manifest: &Manifest, survey: &Survey) -> Decision {
        let _ = (manifest, survey);
        Decision::Accept
    }

    /// The downloader accepted, and says that it has `bytes` of the content already.
    fn accepted(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The content of entry `index` begins to move, after the first `offset` bytes of it.
    fn begin(&mut self, index: usize, entry: &Entry, offset: u64) {
        let _ = (index, entry, offset);
    }

    /// So many bytes of content more were given to the stream, or arrived.
    fn moved(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Uploader only: the downloader has so many `bytes` of all content by now, with those that it had before. Comes
    /// about four times a second while content moves, from downloaders that tell. Never more than they were offered is
    /// promised: the number is the other peer's word.
    fn confirmed(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// All content of entry `index` was sent; or arrived, and is what was sent. It may not be on the disk
    /// yet.
    fn entry_done(&mut self, index: usize, entry: &Entry) {
        let _ = (index, entry);
    }

    /// Downloader only: the transfer has failed like this, and leaves something to go on from. The other peer may not know of it yet.
    fn kept(&mut self, kept: &Kept, error: &Error) {
        let _ = (kept, error);
    }

    /// All content has moved: the downloader brings the rest to the disk, the uploader waits for its receipt.
    fn finishing(&mut self) {}
}

/// An observer of nothing, that accepts everything.
impl Observer for () {}

/// The downloader's answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth answer")]
pub enum Decision {
    /// Take it.
    Accept,
    /// Do not; the uploader is told the reason, of which 1024 bytes are kept.
    Decline(String),
    /// It cannot be taken as it was asked for here, which may be mended: the uploader is told the reason, and keeps its offer.
    Unable(String),
}

/// What an uploader got a receipt for.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Uploaded {
    /// Entries, of all kinds.
    pub entries: usize,
    /// Bytes of all content.
    pub bytes: u64,
    /// Bytes that were sent; fewer if the downloader had some already.
    pub moved: u64,
    /// What the person should know: files that grew, or that were one here.
    pub notes: Vec<Note>,
}

/// What a downloader has placed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Downloaded {
    /// What it was, with names made safe.
    pub manifest: Manifest,
    /// Bytes of all content.
    pub bytes: u64,
    /// Bytes that arrived; fewer if some were there already.
    pub moved: u64,
    /// The text, if it was one and the destination was a directory. [Escape](crate::terminal::escape) it to show
    /// it.
    pub text: Option<String>,
    /// What the person should know: other names than were offered, modes that could not be restored.
    pub notes: Vec<Note>,
}

/// The number of an entry on the wire.
fn wire_index(index: usize) -> u32 {
    u32::try_from(index).expect("a manifest has at most 1,000,000 entries")
}
