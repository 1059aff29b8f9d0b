//! What is said of files where there is no disk to have them on, as on wasm: a part of `mod.rs`.

pub(crate) mod content;
mod error;
mod manifest;
mod name;
pub(crate) mod names;

pub use error::Error;
pub use manifest::{Entry, Kind, Manifest, Modified};
pub use name::Name;
pub use names::{NamePolicy, NameProblem};

pub(crate) use content::{ContentHash, Point, Start};
pub(crate) use manifest::{MAX_ENCODED_BYTES, MAX_ENTRIES};
