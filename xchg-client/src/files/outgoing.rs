//! What is to be sent: a manifest, and where each entry's content comes from.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::manifest::{Entry, Kind, MAX_TEXT_BYTES, Manifest, Modified};
use super::{Error, WalkOptions, walk};

/// The mode of what has none of its own: readable to all, as a shell's `>` makes it.
const PLAIN_MODE: u16 = 0o644;

/// What is to be sent.
pub struct Outgoing {
    manifest: Manifest,
    content: Content,
}

/// Where the content comes from.
enum Content {
    /// Each top-level entry's path here; the entries in it have the same names as in the manifest.
    Paths(BTreeMap<usize, PathBuf>),
    Text(Vec<u8>),
    Stream(Box<dyn Read + Send>),
    /// A stream that has been taken.
    Taken,
}

/// The content of one entry.
pub(crate) enum Source {
    File(File),
    Text(Vec<u8>),
    Stream(Box<dyn Read + Send>),
}

impl Outgoing {
    /// Collects files, directories with everything in them, or several of these.
    ///
    /// # Errors
    /// If a path cannot be read, cannot be named at the other side, or is nothing that can be sent.
    pub fn collect<P: AsRef<Path>>(paths: &[P], options: WalkOptions) -> Result<Self, Error> {
        let (manifest, tops) = walk::collect(paths, options)?;
        Ok(Self { manifest, content: Content::Paths(tops) })
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
    /// They are read on a thread of their own, which is left behind in its read if the transfer ends early.
    ///
    /// # Errors
    /// [`Error::Manifest`] if the name is empty or too long.
    pub fn stream(name: &str, reader: impl Read + Send + 'static) -> Result<Self, Error> {
        Self::single(name, Kind::Stream, Content::Stream(Box::new(reader)))
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it is a stream of which nothing has been read.
    pub(crate) fn is_unread_stream(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }

    /// Opens the content of entry `index`; a stream can be opened once.
    pub(crate) fn open(&mut self, index: usize) -> Result<Source, Error> {
        match &mut self.content {
            Content::Paths(tops) => {
                let path = local_path(&self.manifest, tops, index);
                let file = open_file(&path).map_err(|source| self.failed(index, source))?;
                self.check_unchanged(index, &file)?;
                Ok(Source::File(file))
            }
            Content::Text(text) => Ok(Source::Text(mem::take(text))),
            content => match mem::replace(content, Content::Taken) {
                Content::Stream(reader) => Ok(Source::Stream(reader)),
                _ => Err(self.failed(index, io::ErrorKind::NotFound.into())),
            },
        }
    }

    /// Whether `file` is still what the manifest says of entry `index`.
    ///
    /// # Errors
    /// [`Error::Changed`] if it is not.
    pub(crate) fn check_unchanged(&self, index: usize, file: &File) -> Result<(), Error> {
        let entry = &self.manifest.entries()[index];
        let metadata = file.metadata().map_err(|source| self.failed(index, source))?;
        let same = metadata.is_file()
            && entry.kind == Kind::File { size: metadata.len() }
            && entry.modified == modified(&metadata);
        match same {
            true => Ok(()),
            false => Err(Error::Changed { path: self.manifest.path(index) }),
        }
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
        Ok(Self { manifest, content })
    }
}

/// The time that `metadata` says; systems without one have 1970.
pub(super) fn modified(metadata: &Metadata) -> Modified {
    Modified::from_system(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))
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

/// Opens a file; should a pipe have taken its place, that does not block.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options.open(path)
}
