//! What is refused in a name on every system, and what one system or file system cannot hold.

use std::collections::BTreeSet;

use super::fold::fold;
use super::problem::NameProblem;
use crate::files::manifest::{Kind, MAX_NAME_BYTES, Manifest};
use crate::files::{Error, Name};

/// Ends the names of partial files; see `partial`.
pub(in crate::files) const PARTIAL_SUFFIX: &str = ".xchg-part";

/// What to do about a name that this system or the destination's file system cannot hold, or not
/// beside another.
///
/// Names that only an attacker sends (`..`, `/`, NUL) are refused in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller offers both to its person")]
pub enum NamePolicy {
    /// Refuse the whole offer, and say which name it was.
    #[default]
    Refuse,
    /// Replace what is wrong with `_`, and add a number to what would not be the only one of its
    /// name.
    Replace,
}

/// What cannot be held in a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Characters that cannot be held anywhere in a name.
    pub(crate) letters: BTreeSet<char>,
    /// A dot or a space at its end.
    pub(crate) ends: bool,
    /// The names of devices on Windows, with any extension.
    pub(crate) devices: bool,
    /// What is not Unicode.
    pub(crate) bytes: bool,
}

impl Rules {
    /// Windows cannot hold these
    /// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
    pub(crate) fn windows() -> Self {
        let letters = ('\u{1}'..' ').chain(r#"<>:"\|?*"#.chars()).collect();
        Self { letters, ends: true, devices: true, bytes: true }
    }

    /// The system that this runs on cannot hold these. Its file systems may have rules of their
    /// own.
    pub(crate) fn of_this_system() -> Self {
        if cfg!(windows) {
            Self::windows()
        } else {
            Self { bytes: cfg!(target_vendor = "apple"), ..Self::default() }
        }
    }

    /// The first thing that is wrong with `name`, if any.
    pub(crate) fn problem(&self, name: &Name) -> Option<NameProblem> {
        attack(name).or_else(|| self.blemish(name))
    }

    /// A name that is fit to create: `name`, with `_` for what is wrong with it.
    ///
    /// # Errors
    /// What is wrong with `name`, if it is nothing that can be replaced.
    pub(crate) fn replaced(&self, name: &Name) -> Result<Name, NameProblem> {
        if let Some(problem) = attack(name) {
            return Err(problem);
        }
        let replaced = self.replace(name);
        match self.problem(&replaced) {
            None => Ok(replaced),
            Some(problem) => Err(problem),
        }
    }

    fn blemish(&self, name: &Name) -> Option<NameProblem> {
        let is_forbidden = |letter: &char| self.letters.contains(letter);
        let text = name.to_string_lossy();
        let letter = if self.letters.is_empty() {
            None
        } else {
            text.chars().find(is_forbidden).map(NameProblem::Letter)
        };
        letter
            .or_else(|| (self.bytes && name.as_str().is_none()).then_some(NameProblem::NotUnicode))
            .or_else(|| (self.devices && is_device(&text)).then_some(NameProblem::Device))
            .or_else(|| (self.ends && text.ends_with(['.', ' '])).then_some(NameProblem::End))
            .or_else(|| is_partial(name).then_some(NameProblem::Partial))
    }

    fn replace(&self, name: &Name) -> Name {
        let mut fit = Vec::with_capacity(name.as_bytes().len() + 1);
        for chunk in name.as_bytes().utf8_chunks() {
            let letters = chunk.valid().chars();
            let letters = letters.map(|c| if self.letters.contains(&c) { '_' } else { c });
            fit.extend_from_slice(letters.collect::<String>().as_bytes());
            match (chunk.invalid(), self.bytes) {
                ([], _) => {}
                (_, true) => fit.push(b'_'),
                (bytes, false) => fit.extend_from_slice(bytes),
            }
        }
        if self.ends && matches!(fit.last(), Some(b'.' | b' ')) {
            fit.pop();
            fit.push(b'_');
        }
        if self.devices && is_device(&String::from_utf8_lossy(&fit)) {
            fit.insert(0, b'_');
        }
        let mut fit = Name::from(fit);
        if is_partial(&fit) {
            fit = [fit.as_bytes(), b"_"].concat().into();
        }
        match fit.as_bytes().len() {
            0..=MAX_NAME_BYTES => fit,
            _ => [fit.shortened(MAX_NAME_BYTES - 1), b"_"].concat().into(),
        }
    }
}

/// Refuses what could do harm on any system.
///
/// # Errors
/// [`Error::Name`] for the first such name or target.
pub(crate) fn check(manifest: &Manifest) -> Result<(), Error> {
    for (index, entry) in manifest.entries().iter().enumerate() {
        let leaves = match &entry.kind {
            Kind::Symlink { target } => !link_stays_inside(entry.depth, target),
            _ => false,
        };
        let problem = attack(&entry.name).or(leaves.then_some(NameProblem::LinkLeaves));
        if let Some(problem) = problem {
            return Err(Error::Name { path: manifest.path(index), problem });
        }
    }
    Ok(())
}

/// Whether a link at `depth` that points to `target` stays inside the top-level directory, which is
/// at depth 0.
///
/// A target of `.` is the directory that the link is in. Steps upwards are allowed at the target's
/// begin only: after a step down, which may lead through another link, a step up could lead
/// anywhere (`down/../..`).
pub(crate) fn link_stays_inside(depth: usize, target: &Name) -> bool {
    if *target == "." {
        return depth > 0;
    }
    let components = || target.as_bytes().split(|&byte| byte == b'/');
    let up = components().take_while(|&name| name == b"..").count();
    // A link at depth 1 is in the top-level directory itself, from which no step upwards is left.
    up < depth && components().skip(up).all(|name| attack(&name.into()).is_none())
}

/// What no honest uploader sends.
fn attack(name: &Name) -> Option<NameProblem> {
    match name.as_bytes() {
        b"" => Some(NameProblem::Empty),
        b"." | b".." => Some(NameProblem::Dots),
        bytes if bytes.contains(&b'/') => Some(NameProblem::Separator),
        bytes if bytes.contains(&0) => Some(NameProblem::Nul),
        bytes if bytes.len() > MAX_NAME_BYTES => Some(NameProblem::TooLong),
        _ => None,
    }
}

fn is_partial(name: &Name) -> bool {
    // Folding takes long, and hardly any name comes near.
    let bytes = name.as_bytes();
    !bytes.is_ascii() && fold(name).as_bytes().ends_with(PARTIAL_SUFFIX.as_bytes())
        || bytes.to_ascii_lowercase().ends_with(PARTIAL_SUFFIX.as_bytes())
}

/// Whether Windows takes the name for a device, with any extension
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
pub(in crate::files) fn is_device(name: &str) -> bool {
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

    #[test]
    fn what_could_do_harm_is_refused_everywhere() {
        let long = "x".repeat(256);
        for (name, expected) in [
            ("", NameProblem::Empty),
            (".", NameProblem::Dots),
            ("..", NameProblem::Dots),
            ("/etc", NameProblem::Separator),
            ("../x", NameProblem::Separator),
            ("a\0", NameProblem::Nul),
            (&long, NameProblem::TooLong),
        ] {
            for rules in [Rules::default(), Rules::windows()] {
                let name = name.into();
                assert_eq!(rules.problem(&name), Some(expected), "{name:?}");
                assert_eq!(rules.replaced(&name), Err(expected), "{name:?}");
                assert!(!expected.is_replaceable());
            }
        }
    }

    #[test]
    fn a_name_is_judged_by_the_system_that_receives_it() {
        for (name, expected, replaced) in [
            ("10:30:00.png", NameProblem::Letter(':'), "10_30_00.png"),
            ("Foo::Bar.3pm", NameProblem::Letter(':'), "Foo__Bar.3pm"),
            ("a.txt:stream", NameProblem::Letter(':'), "a.txt_stream"),
            ("..\\x", NameProblem::Letter('\\'), ".._x"),
            ("a\nb", NameProblem::Letter('\n'), "a_b"),
            ("what?", NameProblem::Letter('?'), "what_"),
            ("aux.c", NameProblem::Device, "_aux.c"),
            ("CON", NameProblem::Device, "_CON"),
            ("Com1.tar.gz", NameProblem::Device, "_Com1.tar.gz"),
            ("lpt\u{b2}", NameProblem::Device, "_lpt\u{b2}"),
            ("aux .c", NameProblem::Device, "_aux .c"),
            ("conout$\u{202f}", NameProblem::Device, "_conout$\u{202f}"),
            ("notes.", NameProblem::End, "notes_"),
            ("a ", NameProblem::End, "a_"),
            ("...", NameProblem::End, ".._"),
        ] {
            let name = name.into();
            assert_eq!(Rules::windows().problem(&name), Some(expected), "{name:?}");
            assert_eq!(Rules::windows().replaced(&name).unwrap(), replaced);
            assert!(expected.is_replaceable());
            assert_eq!(Rules::default().problem(&name), None, "{name:?}");
            assert_eq!(Rules::default().replaced(&name).unwrap(), name);
        }
        let name = Name::from(&b"caf\xe9\xe8.txt"[..]);
        assert_eq!(Rules::windows().problem(&name), Some(NameProblem::NotUnicode));
        assert_eq!(Rules::windows().replaced(&name).unwrap(), "caf__.txt");
        assert_eq!(Rules::default().problem(&name), None);
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
            "\u{202e}txt.exe",
            "\u{1f469}\u{200d}\u{1f4bb}",
        ] {
            assert_eq!(Rules::windows().problem(&name.into()), None, "{name:?}");
        }
    }

    #[test]
    fn the_names_of_partial_files_are_ours_everywhere() {
        for name in [".a.xchg-part", "A.XCHG-part", "e\u{301}.xchg\u{200b}-part", ".xchg-part"] {
            let name = name.into();
            let rules = Rules::default();
            assert_eq!(rules.problem(&name), Some(NameProblem::Partial), "{name:?}");
            let expected = format!("{name}_");
            assert_eq!(rules.replaced(&name).unwrap(), &*expected);
        }
        let longest = Name::from("x".repeat(245) + PARTIAL_SUFFIX);
        assert_eq!(Rules::default().replaced(&longest).unwrap().as_bytes().len(), 255);
    }

    #[test]
    fn links_stay_inside_the_top_level_directory() {
        for (depth, target, inside) in [
            (1, "a", true),
            (1, "a/b", true),
            (1, "..\\a", true),
            (2, "../a", true),
            (2, "..", true),
            (1, "..", false),
            (1, "../a", false),
            (2, "../../a", false),
            (3, "a/..", false),
            (3, "../a/../b", false),
            (1, "/a", false),
            (1, ".", true),
            (0, ".", false),
            (2, "../.", false),
            (1, "", false),
            (1, "a//b", false),
            (1, "./a", false),
            (1, "a\0b", false),
            (0, "a", false),
        ] {
            assert_eq!(link_stays_inside(depth, &target.into()), inside, "{depth} {target}");
        }
    }

    proptest! {
        #[test]
        fn a_replaced_name_has_no_problem(
            name in prop_oneof![
                "[a-cA-C:./ \\\\\u{0}\u{7}\u{202e}~$]{0,8}|(?i:con|nul|com1|aux)[. :]{0,2}[a-z]{0,2}".prop_map(Name::from),
                prop::collection::vec(any::<u8>(), 0..12).prop_map(Name::from),
            ],
            windows: bool,
        ) {
            let rules = if windows { Rules::windows() } else { Rules::default() };
            match rules.replaced(&name) {
                Ok(fit) => {
                    prop_assert_eq!(rules.problem(&fit), None);
                    prop_assert_eq!(fit == name, rules.problem(&name).is_none());
                }
                Err(problem) => prop_assert_eq!(attack(&name), Some(problem)),
            }
        }
    }
}
