//! What is to be sent: a manifest, and where each entry's content comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::walk::Collected;
use super::{Note, Stream, WalkOptions, walk};
use crate::files::Error;
use crate::files::manifest::{Entry, Kind, MAX_TEXT_BYTES, Manifest, Modified};
use crate::sys;

/// The mode of what has none of its own: readable to all, as a shell's `>` makes it.
const PLAIN_MODE: u16 = 0o644;

/// What is to be sent.
pub struct Outgoing {
    manifest: Arc<Manifest>,
    content: Content,
}

/// Where the content comes from.
enum Content {
    Paths(Paths),
    Text(Vec<u8>),
    Stream(Stream),
    /// A stream that has been taken.
    Taken,
}

struct Paths {
    named: Vec<PathBuf>,
    options: WalkOptions,
    /// Each top-level entry's path here; the entries in it have the same names as in the manifest.
    tops: BTreeMap<usize, PathBuf>,
    /// The content of files that is not what the file system says of it.
    made_up: BTreeMap<usize, Vec<u8>>,
    hard_links: usize,
    /// When the files that have been opened were modified last.
    opened: BTreeMap<usize, Modified>,
    /// Files that had become longer when they were opened or had been read.
    grown: BTreeSet<usize>,
}

/// The content of one entry.
pub(crate) enum Source {
    File(File),
    Bytes(Vec<u8>),
    Stream(Stream),
}

impl Outgoing {
    /// Collects files, directories with everything in them, or several of these.
    ///
    /// # Errors
    /// If a path cannot be read, cannot be named at the other side, or is nothing that can be sent.
    pub fn collect<P: AsRef<Path>>(paths: &[P], options: WalkOptions) -> Result<Self, Error> {
        let named = paths.iter().map(|path| path.as_ref().into()).collect();
        Self::of_paths(named, options)
    }

    fn of_paths(named: Vec<PathBuf>, options: WalkOptions) -> Result<Self, Error> {
        let Collected { manifest, tops, made_up, hard_links } = walk::collect(&named, options)?;
        let (opened, grown) = (BTreeMap::new(), BTreeSet::new());
        let paths = Paths { named, options, tops, made_up, hard_links, opened, grown };
        Ok(Self { manifest: Arc::new(manifest), content: Content::Paths(paths) })
    }

    /// Collects everything again: what was there when a wait began is not what is there now.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        if let Content::Paths(paths) = &mut self.content {
            *self = Self::of_paths(paths.named.clone(), paths.options)?;
        }
        Ok(())
    }

    /// What the person should know so far, though it is no failure.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let Content::Paths(paths) = &self.content else { return Vec::new() };
        let grew = |&index: &usize| Note::Grew { path: self.manifest.path(index) };
        let mut notes: Vec<Note> = paths.grown.iter().map(grew).collect();
        if paths.hard_links > 0 {
            notes.push(Note::HardLinks { count: paths.hard_links });
        }
        notes
    }

    /// A few words for the other person; `name` is the file's if it is kept as one.
    ///
    /// # Errors
    /// [`Error::Manifest`] if it is longer than 1 MiB.
    pub fn text(name: &str, text: &str) -> Result<Self, Error> {
        if text.len() as u64 > MAX_TEXT_BYTES {
            return Err(Error::Manifest("a text is longer than 1 MiB"));
        }
        let size = text.len() as u64;
        Self::single(name, Kind::Text { size }, Content::Text(text.into()))
    }

    /// Bytes whose number is not known, such as those of standard input.
    ///
    /// The bytes are read on a thread of their own, which is left behind in its read if the
    /// transfer ends early.
    ///
    /// # Errors
    /// [`Error::Manifest`] if the name is empty or too long.
    pub fn stream(name: &str, stream: Stream) -> Result<Self, Error> {
        Self::single(name, Kind::Stream, Content::Stream(stream))
    }

    /// What is sent, without its content.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest, to be kept.
    pub(crate) fn shared_manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest)
    }

    /// Whether this is a stream of which nothing has been read.
    pub(crate) fn is_unread_stream(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }

    /// Opens the content of entry `index`; a stream can be opened once.
    pub(crate) fn open(&mut self, index: usize) -> Result<Source, Error> {
        match &mut self.content {
            Content::Paths(paths) => {
                if let Some(content) = paths.made_up.get(&index) {
                    return Ok(Source::Bytes(content.clone()));
                }
                let path = local_path(&self.manifest, &paths.tops, index);
                let file = sys::open(&path).map_err(|source| self.failed(index, source))?;
                self.check_unchanged(index, &file)?;
                Ok(Source::File(file))
            }
            Content::Text(text) => Ok(Source::Bytes(text.clone())),
            content => match mem::replace(content, Content::Taken) {
                Content::Stream(stream) => Ok(Source::Stream(stream)),
                _ => Err(self.failed(index, io::ErrorKind::NotFound.into())),
            },
        }
    }

    /// Whether `file` holds what may be sent as entry `index`: as many bytes as were offered, at
    /// least, and the same all the time since it was first opened. One that has grown since is sent
    /// as far as it was offered, with a note.
    ///
    /// # Errors
    /// [`Error::Changed`] if it does not.
    pub(crate) fn check_unchanged(&mut self, index: usize, file: &File) -> Result<(), Error> {
        let metadata = file.metadata().map_err(|source| self.failed(index, source))?;
        let offered = self.manifest.entries()[index].kind.size().unwrap_or_default();
        let Content::Paths(paths) = &mut self.content else { return Ok(()) };
        let now = Modified::of(&metadata);
        let is_good = if metadata.len() > offered {
            paths.grown.insert(index);
            true
        } else {
            let is_same = *paths.opened.entry(index).or_insert(now) == now;
            metadata.len() == offered && metadata.is_file() && is_same
        };
        if is_good { Ok(()) } else { Err(self.changed(index)) }
    }

    /// Whether the file that is entry `index` has another size by now than was offered.
    pub(crate) fn has_other_size(&self, index: usize) -> bool {
        let Content::Paths(paths) = &self.content else { return false };
        let path = local_path(&self.manifest, &paths.tops, index);
        let offered = self.manifest.entries()[index].kind.size();
        !paths.made_up.contains_key(&index)
            && fs::metadata(path).is_ok_and(|now| now.is_file() && Some(now.len()) != offered)
    }

    /// What to say of entry `index` if it is not what was offered.
    pub(crate) fn changed(&self, index: usize) -> Error {
        Error::Changed { path: self.manifest.path(index) }
    }

    /// What to say if reading entry `index` fails.
    pub(crate) fn failed(&self, index: usize, source: io::Error) -> Error {
        Error::io("reading", self.manifest.path(index), source)
    }

    fn single(name: &str, kind: Kind, content: Content) -> Result<Self, Error> {
        let mut manifest = Manifest::new();
        manifest.push(Entry {
            kind,
            depth: 0,
            name: name.into(),
            mode: PLAIN_MODE,
            modified: Modified::from_system(SystemTime::now()),
        })?;
        Ok(Self { manifest: Arc::new(manifest), content })
    }
}

fn local_path(manifest: &Manifest, tops: &BTreeMap<usize, PathBuf>, index: usize) -> PathBuf {
    match manifest.parent(index) {
        Some(parent) => {
            let name = Path::new(&manifest.entries()[index].name);
            local_path(manifest, tops, parent).join(name)
        }
        None => tops.get(&index).cloned().unwrap_or_default(),
    }
}
