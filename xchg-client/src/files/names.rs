//! Names that a peer sent, made safe for this disk.
//!
//! A name is one component of a path; it is judged alone, and the same on every platform: what is received
//! here may be copied to a stick and opened there. Which names could be one somewhere is judged by their [`fold`]; whether
//! they are one at the destination, its file system says.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::Error;
use super::manifest::{Entry, Kind, MAX_NAME_BYTES, Manifest};

/// Ends the names of partial files; see [`partial`](super::partial).
pub(super) const PARTIAL_SUFFIX: &str = ".xchg-part";

/// Entries whose names differ from another's in one directory only where some systems see no difference: each is tried at the
/// destination before anything is written. A Linux kernel has 13.
pub(super) const MAX_LOOKALIKES: usize = 1000;

/// What to do about a name that could do harm, or that some system cannot hold.
///
/// Names that only an attacker sends (`..`, separators, NUL) are refused in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers both to its person")]
pub enum NamePolicy {
    /// Refuse the whole offer, and say which name it was.
    #[default]
    Refuse,
    /// Replace what is wrong with `_`.
    Replace,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// It is empty.
    Empty,
    /// It is `.` or `..`.
    Dots,
    /// It has a `/` or `\`.
    Separator,
    /// It has a NUL character.
    Nul,
    /// It is longer than 255 bytes.
    TooLong,
    /// It has a control character or a line break.
    Control,
    /// It has a character that changes the direction of writing, which can make it look like another.
    Bidi,
    /// It has a `:`, which names a drive or an alternate stream on Windows.
    Colon,
    /// It has a character that Windows cannot store.
    Forbidden,
    /// It names a device on Windows, such as `CON` or `nul.txt`.
    Device,
    /// It ends in a dot or a space, which Windows drops.
    TrailingDot,
    /// It looks like a partial file of ours.
    Partial,
    /// It is a link whose target is absolute, leaves the directory that was sent, or steps back after going
    /// down.
    LinkLeaves,
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Dots => "it is `.` or `..`",
            Self::Separator => "it has a path separator in it",
            Self::Nul => "it has a NUL character in it",
            Self::TooLong => "it is longer than 255 bytes",
            Self::Control => "it has a control character in it",
            Self::Bidi => "it has a character that changes the direction of writing",
            Self::Colon => "it has a `:` in it",
            Self::Forbidden => "it has a character that this system cannot store",
            Self::Device => "Windows takes it for a device",
            Self::TrailingDot => "it ends in a dot or a space",
            Self::Partial => "it is the name of an unfinished transfer's file",
            Self::LinkLeaves => "it is a link that leads out of the directory that was sent",
        })
    }
}

/// The first thing that is wrong with `name`, if any.
pub fn problem(name: &str) -> Option<NameProblem> {
    attack(name).or_else(|| blemish(name))
}

/// A name that is safe to create: `name`, or what `policy` makes of it.
///
/// # Errors
/// What is wrong with it, if it is refused.
pub fn safe_name(name: &str, policy: NamePolicy) -> Result<Cow<'_, str>, NameProblem> {
    if let Some(problem) = attack(name) {
        return Err(problem);
    }
    match (blemish(name), policy) {
        (None, _) => Ok(Cow::Borrowed(name)),
        (Some(problem), NamePolicy::Refuse) => Err(problem),
        (Some(_), NamePolicy::Replace) => {
            let replaced = replace(name);
            match problem(&replaced) {
                None => Ok(Cow::Owned(replaced)),
                Some(problem) => Err(problem),
            }
        }
    }
}

/// The manifest with safe names and targets only.
///
/// # Errors
/// [`Error::Name`] for a name that is refused.
pub fn safe_manifest(manifest: Manifest, policy: NamePolicy) -> Result<Manifest, Error> {
    let mut safe = Manifest::new();
    for mut entry in manifest.into_entries() {
        make_safe(&mut entry, policy)
            .map_err(|problem| Error::Name { name: entry.name.to_string(), problem })?;
        safe.push(entry)?;
    }
    Ok(safe)
}

fn make_safe(entry: &mut Entry, policy: NamePolicy) -> Result<(), NameProblem> {
    if let Cow::Owned(safe) = safe_name(&entry.name, policy)? {
        entry.name = safe.into();
    }
    if let Kind::Symlink { target } = &mut entry.kind {
        *target = safe_target(entry.depth, target, policy)?.into();
    }
    Ok(())
}

/// Whether a link at `depth` that points to `target` stays inside the top-level directory, which is at depth
/// 0.
///
/// Steps upwards are allowed at the target's begin only: after a step down, which may lead through another
/// link, a step up could lead anywhere (`down/../..`).
pub fn link_stays_inside(depth: usize, target: &str) -> bool {
    let up = target.split('/').take_while(|&name| name == "..").count();
    let mut down = target.split('/').skip(up);
    // A link at depth 1 is in the top-level directory itself, from which no step upwards is left.
    up < depth && down.all(|name| !matches!(name, "" | "." | ".."))
}

/// A link's target with safe names, for a link at `depth`.
///
/// # Errors
/// [`NameProblem::LinkLeaves`] if it does not [stay inside](link_stays_inside), or what is wrong with a
/// component.
fn safe_target(depth: usize, target: &str, policy: NamePolicy) -> Result<String, NameProblem> {
    if !link_stays_inside(depth, target) {
        return Err(NameProblem::LinkLeaves);
    }
    let safe: Result<Vec<_>, _> = target
        .split('/')
        .map(|name| match name {
            ".." => Ok(Cow::Borrowed(name)),
            name => safe_name(name, policy),
        })
        .collect();
    Ok(safe?.join("/"))
}

/// What `name` becomes where neither case nor composition nor invisible characters count. Names that fold to
/// the same would be one file on some system.
pub fn fold(name: &str) -> String {
    // Upper case first: it maps more letters to one than lower case alone (the sharp s, the two sigmas).
    name.nfd()
        .filter(|&letter| !is_invisible(letter))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfd()
        .collect()
}

/// The groups of entries that have different names in one directory, but the same [`fold`]: on some systems they would be one
/// file.
///
/// # Errors
/// [`Error::Collision`] for two entries of one directory with the same name, [`Error::Manifest`] for more than
/// [`MAX_LOOKALIKES`] entries beside the first of each group.
pub(super) fn lookalikes(manifest: &Manifest) -> Result<Vec<Vec<usize>>, Error> {
    let entries = manifest.entries();
    // The folded names of each directory around the current entry, with the first entry that has it.
    let mut siblings: Vec<HashMap<String, usize>> = Vec::new();
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
pub(super) fn collision(manifest: &Manifest, first: usize, second: usize) -> Error {
    Error::Collision { first: manifest.path(first), second: manifest.path(second) }
}

/// What no honest uploader sends.
fn attack(name: &str) -> Option<NameProblem> {
    if name.is_empty() {
        Some(NameProblem::Empty)
    } else if matches!(name, "." | "..") {
        Some(NameProblem::Dots)
    } else if name.contains(['/', '\\']) {
        Some(NameProblem::Separator)
    } else if name.contains('\0') {
        Some(NameProblem::Nul)
    } else if name.len() > MAX_NAME_BYTES {
        Some(NameProblem::TooLong)
    } else {
        None
    }
}

/// What an honest uploader's system may allow.
fn blemish(name: &str) -> Option<NameProblem> {
    name.chars()
        .find_map(blemish_of)
        .or_else(|| is_device(name).then_some(NameProblem::Device))
        .or_else(|| name.ends_with(['.', ' ']).then_some(NameProblem::TrailingDot))
        .or_else(|| fold(name).ends_with(PARTIAL_SUFFIX).then_some(NameProblem::Partial))
}

fn blemish_of(letter: char) -> Option<NameProblem> {
    match letter {
        ':' => Some(NameProblem::Colon),
        '\u{2028}' | '\u{2029}' => Some(NameProblem::Control),
        _ if letter.is_control() => Some(NameProblem::Control),
        _ if is_bidi(letter) => Some(NameProblem::Bidi),
        '<' | '>' | '"' | '|' | '?' | '*' if cfg!(windows) => Some(NameProblem::Forbidden),
        _ => None,
    }
}

fn replace(name: &str) -> String {
    let mut safe: String =
        name.chars().map(|letter| blemish_of(letter).map_or(letter, |_| '_')).collect();
    if safe.ends_with(['.', ' ']) {
        safe.pop();
        safe.push('_');
    }
    if is_device(&safe) {
        safe.insert(0, '_');
    }
    if fold(&safe).ends_with(PARTIAL_SUFFIX) {
        safe.push('_');
    }
    safe
}

/// Every character of Unicode that has the property `Bidi_Control`.
fn is_bidi(letter: char) -> bool {
    matches!(
        letter,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Characters that show nothing, and that some file systems skip when they compare names.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether Windows takes the name for a device, with any extension
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
pub(crate) fn is_device(name: &str) -> bool {
    // Windows drops spaces behind the stem; who can say of each version what it takes for one?
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let stem = stem.to_uppercase();
    if matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut digits = number.chars();
        matches!(
            (digits.next(), digits.next()),
            (Some('0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'), None)
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::manifest::Modified;

    #[test]
    fn each_problem_is_named() {
        let cases = [
            ("", NameProblem::Empty),
            (".", NameProblem::Dots),
            ("..", NameProblem::Dots),
            ("/etc", NameProblem::Separator),
            ("..\\x", NameProblem::Separator),
            ("a\0", NameProblem::Nul),
            ("a\nb", NameProblem::Control),
            ("a\u{85}b", NameProblem::Control),
            ("a\u{2028}b", NameProblem::Control),
            ("a\u{202e}b", NameProblem::Bidi),
            ("\u{2066}a", NameProblem::Bidi),
            ("C:", NameProblem::Colon),
            ("a.txt:stream", NameProblem::Colon),
            ("CON", NameProblem::Device),
            ("nul.txt", NameProblem::Device),
            ("Com1.tar.gz", NameProblem::Device),
            ("lpt\u{b2}", NameProblem::Device),
            ("aux .c", NameProblem::Device),
            ("conout$\u{202f}", NameProblem::Device),
            ("a.", NameProblem::TrailingDot),
            ("a ", NameProblem::TrailingDot),
            ("...", NameProblem::TrailingDot),
            (".a.XCHG-part", NameProblem::Partial),
        ];
        for (name, expected) in cases {
            assert_eq!(problem(name), Some(expected), "{name:?}");
        }
        let long = "x".repeat(256);
        assert_eq!(problem(&long), Some(NameProblem::TooLong));
        for name in [
            "a",
            ".bashrc",
            "a b",
            "com",
            "com10",
            "console",
            "\u{e9}",
            "a..b",
            "-rf",
            "\u{1f469}\u{200d}\u{1f4bb}",
            "it's \"fine\"",
        ] {
            let windows_only = name.contains('"') && cfg!(windows);
            assert_eq!(problem(name).is_some(), windows_only, "{name:?}");
        }
    }

    #[test]
    fn names_that_are_one_on_some_system_fold_to_the_same() {
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

    #[test]
    fn links_stay_inside_the_top_level_directory() {
        for (depth, target, inside) in [
            (1, "a", true),
            (1, "a/b", true),
            (2, "../a", true),
            (2, "..", true),
            (1, "..", false),
            (1, "../a", false),
            (2, "../../a", false),
            (3, "a/..", false),
            (3, "../a/../b", false),
            (1, "/a", false),
            (1, "", false),
            (1, "a//b", false),
            (1, "./a", false),
            (0, "a", false),
        ] {
            assert_eq!(link_stays_inside(depth, target), inside, "{depth} {target}");
        }
    }

    proptest! {
        #[test]
        fn a_replaced_name_has_no_problem(name in "[a-cA-C:./ \\\\\u{0}\u{7}\u{202e}~$]{0,8}|(?i:con|nul|com1|aux)[. :]{0,2}[a-z]{0,2}") {
            match safe_name(&name, NamePolicy::Replace) {
                Ok(safe) => {
                    prop_assert_eq!(problem(&safe), None);
                    prop_assert_eq!(safe == name, problem(&name).is_none());
                }
                Err(problem) => prop_assert_eq!(attack(&name), Some(problem)),
            }
        }
    }
}
