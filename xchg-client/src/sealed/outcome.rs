//! What becomes of a sealed transfer, and who is told meanwhile.

use crate::Observer;
use crate::files::{Manifest, Note};
use crate::session::Event;

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
    /// The text, if it was one and the destination was a directory.
    /// [Escape](crate::terminal::escape) it to show it.
    pub text: Option<String>,
    /// What the person should know: other names than were offered, modes that could not be
    /// restored.
    pub notes: Vec<Note>,
}

/// Tells `observer` of what happens to the entries of `manifest`.
pub(super) fn tell(observer: &mut dyn Observer, manifest: &Manifest, event: Event) {
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
