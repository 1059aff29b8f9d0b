//! Content, as those speak of it who move it.

use std::fmt;

use blake3::Hasher;

/// The BLAKE3 hash of a content, from its very begin, as it is made piece by piece.
#[derive(Clone, Default)]
pub struct ContentHash(Box<Hasher>);

/// How much of an entry's content a downloader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "drivers build it")]
pub struct Point {
    /// The number of the entry.
    pub entry: usize,
    /// So many bytes from the begin of its content.
    pub bytes: u64,
}

/// What a downloader goes on from, when the content of an entry begins.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is all of it, or some, or nothing")]
pub enum Start {
    /// So many bytes are there as this has hashed; none, if it was just made.
    At(ContentHash),
    /// All is there, and this is its hash.
    Whole([u8; 32]),
}

impl ContentHash {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// How many bytes were hashed so far.
    pub fn bytes(&self) -> u64 {
        self.0.count()
    }

    /// The hash of them.
    pub fn hash(&self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContentHash").field(&self.bytes()).finish()
    }
}
