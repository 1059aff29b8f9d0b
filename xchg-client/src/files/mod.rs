//! The files of both sides: [collecting](Outgoing::collect) what is sent, and
//! [placing](Destination) what arrives.
//!
//! The receiving side owns its disk: nothing that the other peer says decides where a byte goes,
//! except through `names`. Nothing here knows of sessions or streams; the arrow runs the other
//! way. What needs a disk is in `disk`, and not there where a page brings the files, on wasm.

pub(crate) mod content;
#[cfg(not(target_family = "wasm"))]
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod manifest;
mod name;
pub(crate) mod names;

#[cfg(not(target_family = "wasm"))]
pub use disk::*;
pub use error::Error;
pub use manifest::{Entry, Kind, Manifest, Modified};
pub use name::Name;
pub use names::{NamePolicy, NameProblem};

pub(crate) use content::{ContentHash, Point, Start};
pub(crate) use manifest::{MAX_ENCODED_BYTES, MAX_ENTRIES};
