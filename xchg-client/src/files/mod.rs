//! The files of both sides: [collecting](Outgoing::collect) what is sent, and
//! [placing](Destination) what arrives.
//!
//! The receiving side owns its disk: nothing that the other peer says decides where a byte goes,
//! except through `names`. Nothing here knows of sessions or streams; the arrow runs the other
//! way.

#[cfg(test)]
#[cfg(unix)]
mod confinement;
pub(crate) mod content;
mod destination;
mod dir;
mod error;
mod finish;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod manifest;
mod name;
pub(crate) mod names;
mod outgoing;
mod partial;
mod peculiar;
mod place;
mod sink;
mod sparse;
mod stream;
mod survey;
mod tree;
mod walk;

pub use destination::Destination;
pub use error::Error;
pub use finish::Note;
pub use manifest::{Entry, Kind, Manifest, Modified};
pub use name::Name;
pub use names::{NamePolicy, NameProblem};
pub use outgoing::Outgoing;
pub use place::{Existing, Kept, PlaceOptions};
pub use stream::{Stream, open_output, stdout};
pub use survey::Survey;
pub use walk::{OutsideLinks, SpecialFiles, WalkOptions};

pub(crate) use content::{ContentHash, Point, Start};
pub(crate) use manifest::{MAX_ENCODED_BYTES, MAX_ENTRIES};
pub(crate) use outgoing::Source;
pub(crate) use partial::hash_prefix;
pub(crate) use sink::Sink;
