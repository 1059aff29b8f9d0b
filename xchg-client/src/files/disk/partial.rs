//! Partial files: what a file is until it is whole.
//!
//! A partial is beside its target, under a name that follows from the target's, so that a later run
//! finds it. It is locked while it is written: two transfers to one place never mix their bytes.

use std::fs::TryLockError;
use std::io::{self, Read, Seek};

use super::dir::{self, Dir};
use super::sparse::SparseFile;
use crate::files::Name;
use crate::files::content::ContentHash;
use crate::files::manifest::{MAX_NAME_BYTES, Modified};
use crate::files::names::PARTIAL_SUFFIX;
use crate::sys::Pipe;

/// Bytes read at once while hashing: enough for BLAKE3 to use the widest instructions, little
/// enough for the cache.
const HASH_BUFFER_BYTES: usize = 256 * 1024;

/// A partial file that is open and locked.
#[derive(Debug)]
pub(super) struct Partial {
    name: Name,
    file: SparseFile,
}

/// Why there is no partial.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Another transfer holds it.
    Busy,
    /// The file cannot be opened, or is not ours.
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Partial {
    /// Opens the partial of `target`, which is made if there is none, and locks it.
    pub(super) fn open(dir: &Dir, target: &Name) -> Result<Self, OpenError> {
        let name = partial_name(target);
        // Whoever held the lock before may have finished: then the file that was opened has another
        // name by now.
        for _ in 0..8 {
            let file = dir.read_write(&name)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(OpenError::Busy),
                // Some file systems have no locks; better to go on without than not at all.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            if dir.names(&name, &file)? {
                return Ok(Self { name, file: SparseFile::new(file) });
            }
        }
        Err(OpenError::Busy)
    }

    /// [Hashes](hash_prefix) the first `bytes` of the file.
    pub(super) fn hash(
        &mut self,
        bytes: u64,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<ContentHash>> {
        let mut file = self.file.as_file();
        file.rewind()?;
        hash_prefix(&mut file, bytes, stop)
    }

    /// Drops what follows `offset`, and goes on writing there.
    pub(super) fn start_at(&mut self, offset: u64) -> io::Result<()> {
        self.file.start_at(offset)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(bytes)
    }

    pub(super) fn write_from(&mut self, pipe: &Pipe, count: usize) -> io::Result<usize> {
        self.file.write_from(pipe, count)
    }

    /// Gives it the length of what has been written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.file.end()
    }

    /// Restores mode and time. A file system that cannot hold them is no reason to lose the
    /// content.
    pub(super) fn set_metadata(&self, mode: u16, modified: Modified) -> io::Result<()> {
        dir::set_metadata(self.file.as_file(), mode, modified)
    }

    /// Writes everything to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// The partial's own name, to rename it.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Leaves it for a later run, and returns how many bytes it holds; or removes it, if it holds
    /// nothing or `cannot_be_resumed`.
    pub(super) fn leave(mut self, dir: &Dir, cannot_be_resumed: bool) -> io::Result<u64> {
        // What is at its end may be a hole that it does not reach yet.
        let ended = self.file.end();
        let bytes = self.file.as_file().metadata()?.len();
        if bytes == 0 || cannot_be_resumed {
            dir.remove_file(&self.name)?;
            return Ok(0);
        }
        ended.map(|()| bytes)
    }
}

/// Hashes the first `bytes` of `file`, from where it is; asks `stop` before each piece. None if it
/// said so, or the file is shorter.
pub(crate) fn hash_prefix(
    file: &mut impl Read,
    bytes: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<Option<ContentHash>> {
    let mut hash = ContentHash::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut left = bytes;
    while left > 0 {
        if stop() {
            return Ok(None);
        }
        let piece = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        match file.read(&mut buffer[..piece]) {
            Ok(0) => return Ok(None),
            Ok(read) => {
                hash.update(&buffer[..read]);
                left -= read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(hash))
}

/// The name of the partial of `target`: `.target.xchg-part`, with a hash in place of the end of a
/// name that is too long.
pub(crate) fn partial_name(target: &Name) -> Name {
    let suffix = PARTIAL_SUFFIX.as_bytes();
    let name = [b".", target.as_bytes(), suffix].concat();
    if name.len() <= MAX_NAME_BYTES {
        return name.into();
    }
    let hash = blake3::hash(target.as_bytes()).to_hex();
    let kept = target.shortened(MAX_NAME_BYTES / 2);
    [b".", kept, b".", &hash.as_bytes()[..32], suffix].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_from_the_target_and_fits() {
        assert_eq!(partial_name(&"a.txt".into()), ".a.txt.xchg-part");
        let long = "\u{e9}".repeat(127);
        let name = partial_name(&(&*long).into());
        let name = name.as_str().unwrap();
        assert!(name.len() <= MAX_NAME_BYTES && name.ends_with(PARTIAL_SUFFIX));
        assert_ne!(partial_name(&format!("{long}a").into()), *name);
    }

    #[test]
    fn a_partial_is_held_by_one_transfer_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let held = Partial::open(&dir, &"a".into()).unwrap();
        assert!(matches!(Partial::open(&dir, &"a".into()), Err(OpenError::Busy)));
        drop(held);
        assert!(Partial::open(&dir, &"a".into()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_partial_that_has_a_second_name_is_not_written() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("precious"), "kept").unwrap();
        std::fs::hard_link(temp.path().join("precious"), temp.path().join(".a.xchg-part")).unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        assert!(matches!(Partial::open(&dir, &"a".into()), Err(OpenError::Io(_))));
    }

    #[test]
    fn a_prefix_is_hashed_short_or_stopped() {
        let data = vec![7; 300_000];
        let hash = |bytes, stop: &dyn Fn() -> bool| hash_prefix(&mut &data[..], bytes, stop);
        let hashed = hash(299_999, &|| false).unwrap().expect("it is long enough");
        assert_eq!(blake3::hash(&data[..299_999]), hashed.hash());
        assert!(hash(300_001, &|| false).unwrap().is_none());
        assert!(hash(1, &|| true).unwrap().is_none());
    }
}
