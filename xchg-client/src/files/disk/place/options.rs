//! What a caller decides about placing.

use crate::files::NamePolicy;

/// What to do if a name at the destination is taken. A directory is never replaced by what is not
/// one, nor the reverse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers all to its person")]
pub enum Existing {
    /// Refuse the whole offer. Directories are entered: what is in them decides.
    #[default]
    Refuse,
    /// Replace files and links. Directories are entered.
    Overwrite,
    /// Give what arrives another name, such as `a (1).txt`; to a top-level directory as a whole.
    Rename,
}

/// How to place what arrives. Unless told otherwise it overwrites nothing, changes no name, and
/// goes on from what an earlier run left.
///
/// ```
/// use xchg_client::files::{Existing, PlaceOptions};
///
/// let beside = PlaceOptions::default().existing(Existing::Rename);
/// let anew = PlaceOptions::default().existing(Existing::Overwrite).resume(false);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct PlaceOptions {
    pub(crate) existing: Existing,
    pub(crate) names: NamePolicy,
    pub(crate) resume: bool,
}

impl Default for PlaceOptions {
    fn default() -> Self {
        Self { existing: Existing::Refuse, names: NamePolicy::Refuse, resume: true }
    }
}

impl PlaceOptions {
    /// What to do if a name is taken. Default: refuse.
    pub fn existing(self, existing: Existing) -> Self {
        Self { existing, ..self }
    }

    /// What to do about names that the destination cannot hold, or not beside others. Default:
    /// refuse.
    pub fn names(self, names: NamePolicy) -> Self {
        Self { names, ..self }
    }

    /// Whether to go on from what an earlier run left: partial files are continued, files that are
    /// there already and the same are skipped, directories that it did not finish are entered
    /// whatever [`existing`](Self::existing) says. Default: yes; plain transfers never do.
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }
}
