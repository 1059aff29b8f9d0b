//! Regular files that are not quite: those that the system makes up as they are read, and those
//! with several names.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::io::{self, Read};
use std::path::Path;

use crate::files::Error;
use crate::sys;

/// The longest that a file may say it is, and still be made up: those in Linux's `/sys` mostly say
/// a page, of at most 64 KiB, those in `/proc` 0.
const MOST_SAID: u64 = 64 * 1024;

/// The most bytes of made-up content that are held in memory at once.
const MOST_HELD: u64 = 16 * 1024 * 1024;

/// Whether only reading the file tells how long it is: the system says that it takes no room on a
/// disk. (Some small files say so too; reading them does no harm.)
fn may_be_made_up(metadata: &Metadata) -> bool {
    metadata.is_file() && sys::takes_no_room(metadata) && metadata.len() <= MOST_SAID
}

/// Files whose content is not as long as they say.
#[derive(Default)]
pub(super) struct MadeUp {
    pub(super) contents: BTreeMap<usize, Vec<u8>>,
    held: u64,
}

impl MadeUp {
    /// How long the file at `path`, which becomes entry `index`, is.
    pub(super) fn size(
        &mut self,
        index: usize,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<u64, Error> {
        if !may_be_made_up(metadata) {
            return Ok(metadata.len());
        }
        let left = MOST_HELD - self.held;
        let content =
            read(path, left).map_err(|source| Error::Unreadable { path: path.into(), source })?;
        let size = content.len() as u64;
        if size > left {
            let why = "the system makes it up as it is read, and there is more than 16 MiB of that; send it alone, as a stream";
            return Err(Error::NotOffered { path: path.into(), why });
        }
        if size != metadata.len() {
            self.held += size;
            self.contents.insert(index, content);
        }
        Ok(size)
    }
}

/// The content of a file, or one byte more than `most` of it.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    sys::open(path)?.take(most + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// Files that have several names.
#[derive(Default)]
pub(super) struct HardLinks {
    /// How many were seen under another name before.
    pub(super) count: usize,
    seen: HashSet<(u64, u64)>,
}

impl HardLinks {
    pub(super) fn see(&mut self, metadata: &Metadata) {
        let shared = sys::shared_identity(metadata);
        self.count += usize::from(shared.is_some_and(|identity| !self.seen.insert(identity)));
    }
}
