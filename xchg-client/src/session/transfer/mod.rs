//! Transfers: what an uploader and a downloader do with a session (PROTOCOL.md section S7).

mod download;
#[cfg(test)]
#[cfg(unix)]
mod hostile;
mod prove;
mod upload;

use crate::files::{Manifest, Note};

pub use download::download;
pub use upload::upload;

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
