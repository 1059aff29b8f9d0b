//! What an upload consists of: its entries, in order, with everything but their content.
//!
//! A [`Manifest`] holds the rules that need no file system: counts, lengths, depths and order. Both
//! peers build theirs through [`Manifest::push`], so that the uploader learns early what the
//! downloader would refuse. Whether names are safe is for [`names`](super::names) to say, on the
//! downloader's side.

use std::fs::Metadata;
use std::iter;
use std::time::{Duration, SystemTime};

use super::{Error, Name};

/// Entries of one manifest at most: a tree of a million files.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;

/// Bytes of one manifest's encoding at most; with [`MAX_ENTRIES`] this leaves 67 for each entry.
pub(crate) const MAX_ENCODED_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a path at most, separators included: Linux's `PATH_MAX`.
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// Bytes of a name at most: Linux's `NAME_MAX`.
pub(super) const MAX_NAME_BYTES: usize = 255;

/// Directories above an entry at most. Each may be an open descriptor, of which a process has 1024
/// by default.
pub(super) const MAX_DEPTH: usize = 128;

/// Bytes of a text at most: it is held in memory.
pub(super) const MAX_TEXT_BYTES: u64 = 1024 * 1024;

/// The 12 bits that `chmod` knows.
const MODE_MASK: u16 = 0o7777;

/// Seconds from 1970 that a time of modification lies off at most (about 2,177 years): every file
/// system's range, and no overflow anywhere.
const MAX_SECONDS: i64 = 1 << 36;

/// What an upload consists of.
///
/// The order is depth first: a directory's entries follow it at once. Entry numbers count from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
    /// The directory that each entry is in.
    parents: Vec<Option<usize>>,
    /// The directories around the entry that was pushed last, itself included if it is one.
    open: Vec<OpenDirectory>,
    bytes: u64,
    encoded_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct OpenDirectory {
    entry: usize,
    path_bytes: usize,
}

/// One entry of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Entry {
    /// Whether the entry is a file, a directory or something else.
    pub kind: Kind,
    /// How many directories of the manifest are around it.
    pub depth: usize,
    /// The last component of its path.
    pub name: Name,
    /// Permission bits, as `chmod` knows them; `0o7002` of them are sent but never restored.
    pub mode: u16,
    /// When its content was last modified.
    pub modified: Modified,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "another kind is another version of the protocol")]
pub enum Kind {
    /// A regular file of `size` bytes.
    File {
        /// In bytes.
        size: u64,
    },
    /// A directory, perhaps empty.
    Directory,
    /// A symbolic link to somewhere in the same top-level directory.
    Symlink {
        /// Relative to the directory that the link is in, separated by `/`.
        target: Name,
    },
    /// A few words for the other person, in UTF-8; always the only entry.
    Text {
        /// In bytes, at most 1 MiB.
        size: u64,
    },
    /// Bytes whose number is not known beforehand.
    Stream,
}

impl Kind {
    /// The number of content bytes, unless it is known only in the end.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::File { size } | Self::Text { size } => Some(*size),
            Self::Directory | Self::Symlink { .. } => Some(0),
            Self::Stream => None,
        }
    }

    /// Whether the uploader sends content for it.
    pub fn has_content(&self) -> bool {
        match self {
            Self::File { .. } | Self::Text { .. } | Self::Stream => true,
            Self::Directory | Self::Symlink { .. } => false,
        }
    }
}

/// A time of modification: seconds since 1970 and nanoseconds after that second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers build it")]
pub struct Modified {
    /// At most about 2,177 years from 1970.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanos: u32,
}

impl Modified {
    /// The time that `metadata` says; systems without one have 1970.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self::from_system(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// The nearest time that a manifest can hold.
    pub(crate) fn from_system(time: SystemTime) -> Self {
        let (seconds, nanos) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()).ok(), after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                // Nanoseconds count forwards from a second, also before 1970.
                let whole = before.as_secs() + u64::from(before.subsec_nanos() > 0);
                let seconds = i64::try_from(whole).ok().map(|seconds| -seconds);
                (seconds, (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000)
            }
        };
        Self { seconds: seconds.unwrap_or(MAX_SECONDS).clamp(-MAX_SECONDS, MAX_SECONDS), nanos }
    }

    /// This time, for the standard library.
    pub(crate) fn to_system(self) -> SystemTime {
        let seconds = Duration::from_secs(self.seconds.unsigned_abs());
        let second = if self.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(seconds)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(seconds)
        };
        second
            .and_then(|second| second.checked_add(Duration::from_nanos(self.nanos.into())))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn is_valid(self) -> bool {
        (-MAX_SECONDS..=MAX_SECONDS).contains(&self.seconds) && self.nanos < 1_000_000_000
    }
}

impl Entry {
    /// What may be read by all and written by its owner (mode 0o644), last changed at the begin of
    /// 1970.
    pub fn new(kind: Kind, depth: usize, name: impl Into<Name>) -> Self {
        let modified = Modified { seconds: 0, nanos: 0 };
        Self { kind, depth, name: name.into(), mode: 0o644, modified }
    }

    /// Bytes of its encoding (PROTOCOL.md section S6).
    pub(crate) fn encoded_bytes(&self) -> usize {
        let fixed = 17 + self.name.as_bytes().len();
        match &self.kind {
            Kind::File { .. } | Kind::Text { .. } => fixed + 8,
            Kind::Symlink { target } => fixed + 2 + target.as_bytes().len(),
            Kind::Directory | Kind::Stream => fixed,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(1..=MAX_NAME_BYTES).contains(&self.name.as_bytes().len()) {
            return Err("a name is empty or longer than 255 bytes");
        }
        if self.mode & !MODE_MASK != 0 || !self.modified.is_valid() {
            return Err("a mode or time is out of range");
        }
        match &self.kind {
            Kind::Symlink { .. } if self.depth == 0 => Err("a symbolic link is in no directory"),
            Kind::Symlink { target }
                if !(1..=MAX_PATH_BYTES).contains(&target.as_bytes().len()) =>
            {
                Err("a symbolic link's target is empty or longer than 4096 bytes")
            }
            Kind::Text { size } if *size > MAX_TEXT_BYTES => Err("a text is longer than 1 MiB"),
            _ => Ok(()),
        }
    }
}

impl Manifest {
    /// A manifest without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry and returns its number.
    ///
    /// # Errors
    /// [`Error::Manifest`] if the entry breaks a rule of manifests; the manifest is then as it was.
    pub fn push(&mut self, entry: Entry) -> Result<usize, Error> {
        self.try_push(entry).map_err(Error::Manifest)
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries in order, without the rest.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The sum of all sizes that are known beforehand, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether an entry has content that cannot be gone on with after a break.
    pub fn has_stream(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == Kind::Stream)
    }

    /// Bytes of all entries' encodings.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// The number of the directory that entry `index` is in; none at the top level.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.parents[index]
    }

    /// The path of entry `index`, components separated by `/`, to tell a person: � is in it for
    /// what is not Unicode. [Escape](crate::terminal::escape) it to show it.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn path(&self, index: usize) -> String {
        let chain = iter::successors(Some(index), |&index| self.parents[index]);
        let mut names: Vec<_> =
            chain.map(|index| self.entries[index].name.to_string_lossy()).collect();
        names.reverse();
        names.join("/")
    }

    fn try_push(&mut self, entry: Entry) -> Result<usize, &'static str> {
        entry.check()?;
        let index = self.entries.len();
        if index >= MAX_ENTRIES {
            return Err("there would be more than 1,000,000 entries");
        }
        let encoded_bytes = self.encoded_bytes + entry.encoded_bytes();
        if encoded_bytes > MAX_ENCODED_BYTES {
            return Err("names and links would take more than 64 MiB");
        }
        if entry.depth > MAX_DEPTH {
            return Err("it is in more than 128 directories");
        }
        if entry.depth > self.open.len() {
            return Err("an entry is in no directory");
        }
        let above = entry.depth.checked_sub(1).map(|above| &self.open[above]);
        let parent = above.map(|above| above.entry);
        let path_bytes =
            above.map_or(0, |above| above.path_bytes + 1) + entry.name.as_bytes().len();
        if path_bytes > MAX_PATH_BYTES {
            return Err("its path is longer than 4096 bytes");
        }
        let has_text = matches!(entry.kind, Kind::Text { .. })
            || matches!(self.entries.first(), Some(first) if matches!(first.kind, Kind::Text { .. }));
        if has_text && index > 0 {
            return Err("a text is not its only entry");
        }
        let bytes = self.bytes.checked_add(entry.kind.size().unwrap_or(0));
        self.bytes = bytes
            .filter(|&bytes| i64::try_from(bytes).is_ok())
            .ok_or("sizes add up to more than 2^63 - 1 bytes")?;
        self.encoded_bytes = encoded_bytes;
        self.open.truncate(entry.depth);
        if entry.kind == Kind::Directory {
            self.open.push(OpenDirectory { entry: index, path_bytes });
        }
        self.entries.push(entry);
        self.parents.push(parent);
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_follow_from_the_order() {
        let mut manifest = Manifest::new();
        let file = || Kind::File { size: 1 };
        for (kind, depth, name) in [
            (Kind::Directory, 0, "a"),
            (Kind::Directory, 1, "b"),
            (file(), 2, "c"),
            (file(), 1, "d"),
            (Kind::Directory, 1, "e"),
            (file(), 2, "f"),
            (file(), 0, "g"),
        ] {
            manifest.push(Entry::new(kind, depth, name)).unwrap();
        }
        let paths: Vec<String> = (0..7).map(|index| manifest.path(index)).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/d", "a/e", "a/e/f", "g"]);
        assert_eq!(manifest.parent(5), Some(4));
        assert_eq!(manifest.bytes(), 4);
        assert!(manifest.push(Entry::new(file(), 1, "in g")).is_err());
        assert_eq!(manifest.entries().len(), 7);
    }

    #[test]
    fn a_path_may_be_4096_bytes_long_and_128_directories_deep() {
        let longest = |name_bytes: usize| {
            let mut manifest = Manifest::new();
            let name = "n".repeat(255);
            for depth in 0..15 {
                manifest.push(Entry::new(Kind::Directory, depth, &*name)).unwrap();
            }
            // 15 names of 255 bytes and as many separators leave 256.
            manifest.push(Entry::new(Kind::Directory, 15, "d")).unwrap();
            manifest.push(Entry::new(Kind::Stream, 16, "n".repeat(name_bytes)))
        };
        assert!(longest(254).is_ok());
        assert!(longest(255).is_err());

        let mut manifest = Manifest::new();
        for depth in 0..MAX_DEPTH {
            manifest.push(Entry::new(Kind::Directory, depth, "d")).unwrap();
        }
        assert!(manifest.push(Entry::new(Kind::Stream, MAX_DEPTH, "f")).is_ok());
        manifest.push(Entry::new(Kind::Directory, MAX_DEPTH, "d")).unwrap();
        assert!(manifest.push(Entry::new(Kind::Stream, MAX_DEPTH + 1, "f")).is_err());
    }

    #[test]
    fn encodings_add_up_to_64_mib_at_most() {
        let mut manifest = Manifest::new();
        manifest.push(Entry::new(Kind::Directory, 0, "d")).unwrap();
        let target: Name = "t".repeat(MAX_PATH_BYTES).into();
        let link = || Kind::Symlink { target: target.clone() };
        while manifest.push(Entry::new(link(), 1, "l")).is_ok() {}
        let next = Entry::new(link(), 1, "l").encoded_bytes();
        assert!(manifest.encoded_bytes() <= MAX_ENCODED_BYTES);
        assert!(manifest.encoded_bytes() + next > MAX_ENCODED_BYTES);
    }

    #[test]
    fn a_manifest_has_a_million_entries_at_most() {
        let mut manifest = Manifest::new();
        for _ in 0..MAX_ENTRIES {
            manifest.push(Entry::new(Kind::Stream, 0, "s")).unwrap();
        }
        assert!(manifest.push(Entry::new(Kind::Stream, 0, "s")).is_err());
    }

    proptest! {
        #[test]
        fn times_survive_both_ways(seconds in -MAX_SECONDS..=MAX_SECONDS, nanos in 0..1_000_000_000_u32) {
            let time = Modified { seconds, nanos };
            prop_assert_eq!(Modified::from_system(time.to_system()), time);
        }
    }
}
