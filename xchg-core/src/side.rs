//! The two ends of an exchange.

use std::ops::{Index, IndexMut, Not};

/// Which end of an exchange a peer is. `!side` is its counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "an exchange has two sides, and callers handle both")]
pub enum Side {
    /// The uploader: has the bytes.
    Upload,
    /// The downloader: wants the bytes.
    Download,
}

impl Side {
    /// Both sides, upload first.
    pub const BOTH: [Self; 2] = [Self::Upload, Self::Download];

    /// The side's name in logs, metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

impl Not for Side {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Upload => Self::Download,
            Self::Download => Self::Upload,
        }
    }
}

/// One `T` for each side, indexed by [`Side`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a pair, by name")]
pub struct Sides<T> {
    /// The uploader's.
    pub upload: T,
    /// The downloader's.
    pub download: T,
}

impl<T> Sides<T> {
    /// Puts `this` at `side` and `that` at its counterpart.
    pub fn of(side: Side, this: T, that: T) -> Self {
        match side {
            Side::Upload => Self { upload: this, download: that },
            Side::Download => Self { upload: that, download: this },
        }
    }
}

impl<T> Index<Side> for Sides<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Upload => &self.upload,
            Side::Download => &self.download,
        }
    }
}

impl<T> IndexMut<Side> for Sides<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Upload => &mut self.upload,
            Side::Download => &mut self.download,
        }
    }
}
