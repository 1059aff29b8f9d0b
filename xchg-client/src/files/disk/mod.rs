//! Files on the disk: what is sent, as it is there, and what arrives, as it comes to be there.

#[cfg(test)]
#[cfg(unix)]
mod confinement;
mod destination;
mod dir;
mod finish;
mod fit;
mod name;
mod outgoing;
mod partial;
mod peculiar;
mod place;
mod sink;
mod sparse;
mod stream;
mod survey;
mod tree;
mod trial;
mod walk;

pub use destination::Destination;
pub use finish::Note;
pub use outgoing::Outgoing;
pub use place::{Existing, Kept, PlaceOptions};
pub use stream::{Stream, open_output, stdout};
pub use survey::Survey;
pub use walk::{OutsideLinks, SpecialFiles, WalkOptions};

pub(crate) use outgoing::Source;
pub(crate) use partial::hash_prefix;
#[cfg(any(test, fuzzing))]
pub(crate) use partial::partial_name;
pub(crate) use sink::Sink;
