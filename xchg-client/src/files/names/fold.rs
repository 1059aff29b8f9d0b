//! Names that are one on some system.

use std::collections::{BTreeMap, HashMap};

use unicode_normalization::UnicodeNormalization;

use crate::files::manifest::Manifest;
use crate::files::{Error, Name};

/// Entries whose names differ from another's in one directory only where some systems see no
/// difference: each is tried at the destination before anything is written. A Linux kernel has 13.
pub(crate) const MAX_LOOKALIKES: usize = 1000;

/// What `name` becomes where neither case nor composition nor invisible characters count. Names
/// that fold to the same would be one file on some system.
pub(crate) fn fold(name: &Name) -> Name {
    let mut folded = Vec::with_capacity(name.as_bytes().len());
    for chunk in name.as_bytes().utf8_chunks() {
        folded.extend_from_slice(fold_text(chunk.valid()).as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded.into()
}

fn fold_text(text: &str) -> String {
    // Upper case first: it maps more letters to one than lower case alone (the sharp s, the two
    // sigmas).
    text.nfd()
        .filter(|&letter| !is_invisible(letter))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfd()
        .collect()
}

/// The groups of entries that have different names in one directory, but the same [`fold`]: on some
/// systems they would be one file.
///
/// # Errors
/// [`Error::Collision`] for two entries of one directory with the same name, [`Error::Manifest`]
/// for more than [`MAX_LOOKALIKES`] entries beside the first of each group.
pub(crate) fn lookalikes(manifest: &Manifest) -> Result<Vec<Vec<usize>>, Error> {
    let entries = manifest.entries();
    // The folded names of each directory around the current entry, with the first entry that has
    // it.
    let mut siblings: Vec<HashMap<Name, usize>> = Vec::new();
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut count = 0;
    for (index, entry) in entries.iter().enumerate() {
        siblings.truncate(entry.depth + 1);
        siblings.resize_with(entry.depth + 1, HashMap::new);
        let first = *siblings[entry.depth].entry(fold(&entry.name)).or_insert(index);
        if first == index {
            continue;
        }
        let group = groups.entry(first).or_insert_with(|| vec![first]);
        if let Some(&other) = group.iter().find(|&&other| entries[other].name == entry.name) {
            return Err(collision(manifest, other, index));
        }
        count += 1;
        if count > MAX_LOOKALIKES {
            return Err(Error::Manifest(
                "too many names differ from others in case or the like only",
            ));
        }
        group.push(index);
    }
    Ok(groups.into_values().collect())
}

/// What to say of two entries that are one file.
pub(crate) fn collision(manifest: &Manifest, first: usize, second: usize) -> Error {
    Error::Collision { first: manifest.path(first), second: manifest.path(second) }
}

/// Characters that show nothing, and that some file systems skip when they compare names.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::manifest::{Entry, Kind, Modified};

    #[test]
    fn names_that_are_one_on_some_system_fold_to_the_same() {
        let fold = |text: &str| fold(&text.into());
        for (one, other) in [
            ("README", "readme"),
            ("\u{e9}", "e\u{301}"),
            ("\u{c9}", "e\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c3}", "\u{3c2}"),
            (".git", ".g\u{200c}it"),
            ("\u{212a}", "k"),
        ] {
            assert_eq!(fold(one), fold(other), "{one:?} {other:?}");
        }
        assert_ne!(fold("a"), fold("b"));
        assert_ne!(fold("e"), fold("\u{e9}"));
    }

    #[test]
    fn what_is_no_text_is_kept_while_the_rest_is_folded() {
        let fold = |bytes: &[u8]| fold(&bytes.into());
        assert_eq!(fold(b"A\xffB").as_bytes(), b"a\xffb");
        assert_ne!(fold(b"\xff"), fold(b"\xfe"));
    }

    #[test]
    fn lookalikes_are_grouped_by_their_directory() {
        let manifest = |entries: &[(usize, &str)]| {
            let mut manifest = Manifest::new();
            for &(depth, name) in entries {
                let modified = Modified { seconds: 0, nanos: 0 };
                let kind = Kind::Directory;
                manifest.push(Entry { kind, depth, name: name.into(), mode: 0, modified }).unwrap();
            }
            manifest
        };
        let entries = [(0, "a"), (1, "x"), (1, "X"), (0, "B"), (1, "x"), (0, "b"), (0, "A")];
        let groups = lookalikes(&manifest(&entries)).unwrap();
        assert_eq!(groups, [vec![0, 6], vec![1, 2], vec![3, 5]]);
        let twice = lookalikes(&manifest(&[(0, "d"), (1, "x"), (1, "X"), (1, "x")]));
        assert!(
            matches!(twice, Err(Error::Collision { first, second }) if first == "d/x" && second == "d/x")
        );
        let spelt = |case: usize| -> String {
            (0..10).map(|bit| if case >> bit & 1 == 0 { 'x' } else { 'X' }).collect()
        };
        let names: Vec<String> = (0..MAX_LOOKALIKES + 2).map(spelt).collect();
        let many = |count: usize| {
            let entries: Vec<_> = names[..count].iter().map(|name| (0, &**name)).collect();
            lookalikes(&manifest(&entries)).map(|groups| groups[0].len())
        };
        assert_eq!(many(MAX_LOOKALIKES + 1).unwrap(), MAX_LOOKALIKES + 1);
        assert!(matches!(many(MAX_LOOKALIKES + 2), Err(Error::Manifest(_))));
    }
}
