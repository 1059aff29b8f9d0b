//! The files of both sides: what is sent, and where what arrives goes.
//!
//! The receiving side owns its disk: nothing that the other peer says decides where a byte goes, except
//! through [`names`].

mod error;
mod manifest;
pub mod names;

pub use error::Error;
pub use manifest::{
    Entry, Kind, MAX_DEPTH, MAX_ENCODED_BYTES, MAX_ENTRIES, MAX_NAME_BYTES, MAX_PATH_BYTES,
    MAX_TEXT_BYTES, Manifest, Modified,
};
pub use names::{NamePolicy, NameProblem};
