//! What a person should see of an offer before accepting it.

use crate::files::manifest::{Kind, Manifest};
use crate::terminal::is_deceptive;

/// What a person who is asked about an offer should see first: which of its entries are hidden,
/// lead elsewhere, or meet something that is at the destination already. Made before anything is
/// written there.
///
/// Each list holds numbers of entries, in ascending order. [`Manifest::path`] is their path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Entries of whose path a component begins with a dot: most programs do not show them.
    pub hidden: Vec<usize>,
    /// Entries whose names hold characters that show as something else than themselves, such as
    /// control characters, or are not Unicode: they arrive as they are, and are
    /// [escaped](crate::terminal::escape) only where they are shown.
    pub deceptive: Vec<usize>,
    /// Symbolic links.
    pub links: Vec<usize>,
    /// Directories that are there already, and that what is offered would be added to.
    pub merged: Vec<usize>,
    /// New entries of [`merged`](Self::merged) directories.
    pub added: Vec<usize>,
    /// Directories that an earlier run of this transfer, or of another one to the same place, made
    /// and did not finish. They are not in [`merged`](Self::merged), nor are those in them.
    pub unfinished: Vec<usize>,
    /// A file or link has their name, which may be overwritten, refused, or make them take another
    /// name: [`Existing`](super::Existing) says which.
    pub taken: Vec<usize>,
    /// A file of the same size has their name: perhaps the same file, which would be kept.
    pub alike: Vec<usize>,
}

impl Survey {
    /// What can be said without a look at the destination.
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut survey = Self::default();
        // The depth of the outermost hidden directory around the entry.
        let mut hidden_below = usize::MAX;
        for (index, entry) in manifest.entries().iter().enumerate() {
            if entry.depth <= hidden_below {
                hidden_below =
                    if entry.name.as_bytes().starts_with(b".") { entry.depth } else { usize::MAX };
            }
            if hidden_below <= entry.depth {
                survey.hidden.push(index);
            }
            if entry.name.as_str().is_none_or(|name| name.contains(is_deceptive)) {
                survey.deceptive.push(index);
            }
            if matches!(entry.kind, Kind::Symlink { .. }) {
                survey.links.push(index);
            }
        }
        survey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::manifest::{Entry, Modified};

    #[test]
    fn whatever_is_below_a_dot_is_hidden() {
        let mut manifest = Manifest::new();
        for (depth, name, hidden) in [
            (0, "a", false),
            (1, ".b", true),
            (2, "c", true),
            (3, ".d", true),
            (3, "e", true),
            (1, "f", false),
            (0, ".g", true),
            (0, ".h", true),
            (1, "i", true),
            (0, "j", false),
        ] {
            let modified = Modified { seconds: 0, nanos: 0 };
            let kind = Kind::Directory;
            let entry = Entry { kind, depth, name: name.into(), mode: 0o755, modified };
            let index = manifest.push(entry).unwrap();
            assert_eq!(Survey::of(&manifest).hidden.contains(&index), hidden, "{name}");
        }
    }
}
