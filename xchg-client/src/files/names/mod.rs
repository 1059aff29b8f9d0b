//! Names that a peer sent, made fit for this disk.
//!
//! A name is one component of a path, and is judged alone. What could do harm on any system is
//! refused; what the receiving system, or the file system of the destination, cannot hold is
//! refused or replaced as a [`NamePolicy`] says; everything else arrives as it is. [`Rules`] are
//! what cannot be held; what the system alone does not say is found by trying (`disk/fit.rs`).
//!
//! **Names are judged where they arrive.** What is a device or a drive on one system is a good name
//! on another, and the uploader cannot know. What could do harm anywhere is refused by rule
//! (`names::check`). What this system cannot hold is a table (`Rules`); what one of its file
//! systems cannot hold, or takes for another name, only that file system knows: such names are
//! tried in a folder that is made at the destination and removed (`disk/trial.rs`), and those
//! alone which some file system is known to refuse or change.

pub(super) mod fold;
mod problem;
pub(super) mod rules;

pub use problem::NameProblem;
pub use rules::NamePolicy;
pub(super) use rules::PARTIAL_SUFFIX;
pub(crate) use rules::{Rules, check, link_stays_inside};
