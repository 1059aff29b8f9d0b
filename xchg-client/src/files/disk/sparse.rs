//! Writing files without the zeros that need not be there.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use crate::sys::Pipe;

/// What a file system keeps or leaves out as a whole: the size of a page, which is a block on
/// nearly all of them.
const BLOCK_BYTES: usize = 4096;

/// A file in which blocks that are all zero become holes: they take no room, where the file system
/// has such, and read the same.
#[derive(Debug)]
pub(crate) struct SparseFile {
    file: File,
    /// Where the next byte belongs.
    at: u64,
    /// Whether the file's own position is there too; if not, a hole is before it.
    is_there: bool,
}

impl SparseFile {
    /// Writes to `file` from where it is, which is its begin.
    pub(crate) fn new(file: File) -> Self {
        Self { file, at: 0, is_there: true }
    }

    /// The file, whose position must be set by [`start_at`](Self::start_at) before the next write
    /// if it was moved.
    pub(crate) fn as_file(&self) -> &File {
        &self.file
    }

    /// Drops what follows `offset`, and goes on there.
    pub(crate) fn start_at(&mut self, offset: u64) -> io::Result<()> {
        self.file.set_len(offset)?;
        self.file.seek(SeekFrom::Start(offset))?;
        (self.at, self.is_there) = (offset, true);
        Ok(())
    }

    /// Writes `bytes`, but for the blocks, and parts of blocks at either end, that are all zero.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What has been looked at and is to be written at once.
        let mut data = 0..0;
        while data.end < bytes.len() {
            let block = block_at(&bytes[data.end..], self.at + data.len() as u64);
            if !is_zero(block) {
                data.end += block.len();
                continue;
            }
            self.write_data(&bytes[data.clone()])?;
            self.is_there = false;
            self.at += block.len() as u64;
            data = data.end + block.len()..data.end + block.len();
        }
        self.write_data(&bytes[data])
    }

    /// Moves what is in `pipe`, up to `count` bytes, to the file's end, without holes.
    ///
    /// # Errors
    /// `Unsupported` if the file system cannot.
    pub(crate) fn write_from(&mut self, pipe: &Pipe, count: usize) -> io::Result<usize> {
        self.go_there()?;
        let moved = pipe.drain_into(&self.file, count)?;
        self.at += moved as u64;
        Ok(moved)
    }

    /// Makes the file as long as what has been written, should a hole be at its end.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if self.is_there { Ok(()) } else { self.file.set_len(self.at) }
    }

    /// Sets the file's own position to where the next byte belongs.
    fn go_there(&mut self) -> io::Result<()> {
        if !self.is_there {
            self.file.seek(SeekFrom::Start(self.at))?;
            self.is_there = true;
        }
        Ok(())
    }

    fn write_data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.go_there()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.at += written as u64;
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The begin of `bytes`, which belong at `at`, that is in one block.
fn block_at(bytes: &[u8], at: u64) -> &[u8] {
    let block = BLOCK_BYTES as u64;
    let left = usize::try_from(block - at % block).expect("it is a block at most");
    &bytes[..left.min(bytes.len())]
}

/// Nearly every block that is not is found out by its first word.
fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs of zeros and of others, of lengths about those of blocks.
    fn contents() -> impl Strategy<Value = Vec<u8>> {
        let run = (prop::sample::select(vec![0, 7]), 0..4_usize, 0..BLOCK_BYTES);
        prop::collection::vec(run, 0..6).prop_map(|runs| {
            let bytes = |(byte, blocks, more)| vec![byte; blocks * BLOCK_BYTES + more];
            runs.into_iter().flat_map(bytes).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            content in contents(),
            pieces in prop::collection::vec(1..20_000_usize, 1..8),
            before in 0..10_000_usize,
        ) {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("f");
            std::fs::write(&path, vec![1; before + 5]).unwrap();
            let mut file = SparseFile::new(File::options().write(true).open(&path).unwrap());
            file.start_at(before as u64).unwrap();
            let mut rest = &content[..];
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*piece));
                file.write(now).unwrap();
                rest = later;
            }
            file.end().unwrap();
            let expected = [&vec![1; before][..], &content].concat();
            prop_assert_eq!(std::fs::read(&path).unwrap(), expected);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn zeros_take_no_room() {
        use std::os::unix::fs::MetadataExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        let mut file = SparseFile::new(File::create(&path).unwrap());
        for _ in 0..64 {
            file.write(&[0; 100_000]).unwrap();
        }
        file.write(b"data").unwrap();
        file.write(&[0; 100_000]).unwrap();
        file.end().unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 6_500_004);
        assert!(metadata.blocks() * 512 < 100_000, "{} blocks", metadata.blocks());
    }
}
