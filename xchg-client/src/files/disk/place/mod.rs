//! Putting what arrives where it shall be.
//!
//! A [`Placement`] goes through these steps, in this order: [`survey`](Placement::survey) looks
//! what is there and refuses what cannot go well; [`settle`](Placement::settle) decides about names
//! that are taken; [`candidates`](Placement::candidates) are hashed that an earlier run left;
//! [`make_directories`](Placement::make_directories); for each entry with content
//! [`begin`](Placement::begin), [`write`](Placement::write), [`end`](Placement::end); and
//! [`finish`](Placement::finish), after which everything is on the disk under its name.
//!
//! **A mark in what is not finished.** Modes and times are for what a transfer makes, never for
//! what was there. But a folder that is there may be this transfer's own, from a run that was
//! interrupted. So the outermost folders that it makes hold an empty file `.xchg-part` until
//! everything is in place. No offer can have that name.

mod complete;
pub(super) mod options;
mod survey;

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::destination::folder_of;
use super::dir::Dir;
use super::finish::{Finisher, Job, Note, numbered};
use super::partial::{OpenError, Partial};
use super::survey::Survey;
use super::tree::Tree;
use super::trial::trial_name;
use crate::files::content::{ContentHash, Start};
use crate::files::manifest::{Entry, Kind, Manifest};
use crate::files::names::PARTIAL_SUFFIX;
use crate::files::{Error, Name};
use crate::sys::Pipe;

pub use options::{Existing, PlaceOptions};

/// A file with this name is in the outermost directories that a transfer has made and not finished.
/// No offer has the name.
const MARKER: &str = PARTIAL_SUFFIX;

/// Transfers to one name that go on at once, if each may give its file another.
const MAX_BESIDE: u32 = 100;

/// What an unfinished download leaves at the destination: the same download goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// Files that are whole.
    pub files: usize,
    /// Bytes of content that need not be sent again.
    pub bytes: u64,
    /// The path, within the destination, of the partial file of the one that was being written, if
    /// there is any.
    pub partial: Option<String>,
}

/// The placing of one manifest's entries in a directory.
pub(crate) struct Placement {
    manifest: Arc<Manifest>,
    options: PlaceOptions,
    tree: Tree,
    /// What was found before anything was written.
    survey: Survey,
    /// What is there of an entry from an earlier run.
    earlier: HashMap<usize, Earlier>,
    /// The directories that this transfer made, in this run or in an earlier one that was
    /// interrupted. Only these get modes and times.
    ours: HashSet<usize>,
    /// Directories of [`ours`](Self::ours) that hold a [`MARKER`]: the outermost.
    marked: HashSet<usize>,
    /// The permission bits that what is made may have, once they are known.
    allowed: Option<u16>,
    current: Option<Current>,
    /// Entries whose content is all there, and the sum of their sizes.
    whole: usize,
    whole_bytes: u64,
    finisher: Finisher,
    notes: Vec<Note>,
}

enum Earlier {
    /// A file of the same size has the name.
    Candidate,
    /// A partial has this many bytes that can be of use.
    Partial(u64),
    /// The file that has the name, hashed.
    Whole([u8; 32]),
    /// The partial, hashed so far.
    Opened(Partial, ContentHash),
}

struct Current {
    index: usize,
    dir: Arc<Dir>,
    partial: Partial,
    mode: u16,
}

impl Placement {
    /// Makes the directories that are not there yet. The outermost of them are marked until
    /// everything is in place.
    pub(crate) fn make_directories(&mut self) -> Result<(), Error> {
        for index in 0..self.manifest.entries().len() {
            if self.entry(index).kind != Kind::Directory {
                continue;
            }
            let dir = self.around(index)?;
            match dir.make_child(self.tree.name(&self.manifest, index)) {
                Ok(()) => self.made(index)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(self.failed("making the directory", index, source)),
            }
        }
        Ok(())
    }

    fn made(&mut self, index: usize) -> Result<(), Error> {
        self.ours.insert(index);
        if self.manifest.parent(index).is_some_and(|around| self.ours.contains(&around)) {
            return Ok(());
        }
        self.marked.insert(index);
        let marked = self.tree.directory(&self.manifest, index).and_then(|dir| {
            drop(dir.read_write(MARKER)?);
            Ok(())
        });
        marked.map_err(|source| self.failed("marking the directory", index, source))
    }

    /// Begins with the content of entry `index`: from its resume point if `resume`, else from
    /// nothing.
    pub(crate) fn begin(&mut self, index: usize, resume: bool) -> Result<Start, Error> {
        self.notes.extend(self.finisher.reports()?);
        let (mut partial, hash) = match (self.earlier.remove(&index), resume) {
            (Some(Earlier::Whole(hash)), true) => return Ok(Start::Whole(hash)),
            (Some(Earlier::Opened(partial, hash)), true) => (partial, hash),
            (Some(Earlier::Opened(partial, _)), false) => (partial, ContentHash::new()),
            // It has the right size, but is another file after all.
            (Some(Earlier::Whole(_)), false) if self.options.existing == Existing::Refuse => {
                return Err(self.exists(index));
            }
            _ => (self.open_partial(index)?, ContentHash::new()),
        };
        partial.start_at(hash.bytes()).map_err(|source| self.failed("opening", index, source))?;
        let dir = self.around(index)?;
        let mode = self.mode(index, &dir)?;
        self.current = Some(Current { index, dir, partial, mode });
        Ok(Start::At(hash))
    }

    /// Appends to the content of the current entry.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let index = current.index;
        current.partial.write(bytes).map_err(|source| self.failed("writing", index, source))
    }

    /// Appends up to `count` bytes, which are in `pipe`, to the content of the current entry. How
    /// many; 0 if they have to be copied.
    pub(crate) fn write_from(&mut self, pipe: &Pipe, count: usize) -> Result<usize, Error> {
        let Some(current) = &mut self.current else {
            return Ok(0);
        };
        let index = current.index;
        match current.partial.write_from(pipe, count) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(0),
            moved => moved.map_err(|source| self.failed("writing", index, source)),
        }
    }

    /// The current entry's content is all there and right.
    pub(crate) fn end(&mut self, index: usize) -> Result<(), Error> {
        self.whole += 1;
        self.whole_bytes += self.entry(index).kind.size().unwrap_or_default();
        let Some(Current { index, dir, mut partial, mode }) = self.current.take() else {
            return Ok(());
        };
        partial.end().map_err(|source| self.failed("writing", index, source))?;
        let entry = self.entry(index);
        self.finisher.submit(Job {
            dir,
            partial,
            name: entry.name.clone(),
            path: self.tree.path(&self.manifest, index),
            existing: self.options.existing,
            mode,
            modified: entry.modified,
            can_be_resumed: matches!(entry.kind, Kind::File { .. }),
        });
        Ok(())
    }

    /// What is left if the transfer goes no further; a part that cannot be resumed is not.
    pub(crate) fn abandon(&mut self) -> Kept {
        let mut kept = Kept { files: self.whole, bytes: self.whole_bytes, partial: None };
        if let Some(Current { index, dir, partial, .. }) = self.current.take() {
            let is_file = matches!(self.entry(index).kind, Kind::File { .. });
            let name = partial.name().clone();
            // The transfer has failed already, and has its error.
            let bytes = partial.leave(&dir, !is_file).unwrap_or_default();
            if bytes > 0 {
                kept.bytes += bytes;
                kept.partial = Some(self.tree.beside(&self.manifest, index, &name));
            }
        }
        kept
    }

    fn open_partial(&mut self, index: usize) -> Result<Partial, Error> {
        let dir = self.around(index)?;
        let mut target = self.entry(index).name.clone();
        let mut number = 0;
        loop {
            match Partial::open(&dir, &target) {
                // Another transfer to the same name gets its own, if it may have another at all.
                Err(OpenError::Busy)
                    if self.options.existing == Existing::Rename && number < MAX_BESIDE =>
                {
                    number += 1;
                    target = numbered(&self.entry(index).name, number);
                }
                Err(OpenError::Busy) => {
                    return Err(Error::Busy { path: self.tree.path(&self.manifest, index) });
                }
                Err(OpenError::Io(source)) => {
                    return Err(self.failed("opening the partial file of", index, source));
                }
                Ok(partial) => return Ok(partial),
            }
        }
    }

    /// The mode that entry `index` gets: the offered one, as far as what is made in `dir` may have
    /// it.
    fn mode(&mut self, index: usize, dir: &Dir) -> Result<u16, Error> {
        let allowed = match self.allowed {
            Some(allowed) => allowed,
            None => dir
                .allowed_mode(trial_name())
                .map_err(|source| self.failed("trying the mode of", index, source))?,
        };
        self.allowed = Some(allowed);
        Ok(self.entry(index).mode & allowed)
    }

    fn entry(&self, index: usize) -> &Entry {
        &self.manifest.entries()[index]
    }

    fn around(&mut self, index: usize) -> Result<Arc<Dir>, Error> {
        self.tree
            .around(&self.manifest, index)
            .map_err(|source| self.failed("opening the directory of", index, source))
    }

    fn exists(&self, index: usize) -> Error {
        Error::Exists { path: self.tree.path(&self.manifest, index), more: 0 }
    }

    fn in_the_way(&self, index: usize, offered: &'static str) -> Error {
        Error::InTheWay { path: self.tree.path(&self.manifest, index), offered }
    }

    fn failed(&self, doing: &'static str, index: usize, source: io::Error) -> Error {
        Error::io(doing, self.tree.path(&self.manifest, index), source)
    }
}

impl Drop for Placement {
    /// What was written of an unfinished file stays, to be resumed; what cannot be resumed would
    /// only be in the way.
    fn drop(&mut self) {
        self.abandon();
    }
}

/// The directory and the manifest for a destination that is one exact file: the only entry gets the
/// file's name.
pub(crate) fn at_exact_path(
    path: &Path,
    manifest: &Manifest,
) -> Result<(PathBuf, Manifest), Error> {
    let [entry] = manifest.entries() else {
        return Err(Error::NotOneFile);
    };
    if !entry.kind.has_content() {
        return Err(Error::NotOneFile);
    }
    let unusable = |kind: ErrorKind| Error::Destination { path: path.into(), source: kind.into() };
    let name = path.file_name().ok_or(unusable(ErrorKind::IsADirectory))?;
    let name = Name::of_os(name).ok_or(unusable(ErrorKind::InvalidFilename))?;
    let mut renamed = Manifest::new();
    renamed.push(Entry { name, ..entry.clone() })?;
    Ok((folder_of(path).into(), renamed))
}
