//! Names tried at the destination, in a directory that is made for that and removed: only a file
//! system itself knows which it can hold, and tell apart.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};

use crate::files::Name;
use crate::files::disk::dir::Dir;
use crate::files::manifest::Manifest;
use crate::files::names::rules::{Rules, is_device};

/// What some file systems cannot hold, though the system can.
const SUSPECTS: &str = r#"<>:"\|?*"#;

/// A name that nobody has, for what is made to see what comes of it, and removed at once.
pub(crate) fn trial_name() -> String {
    let nonce = RandomState::new().hash_one(());
    format!(".xchg-trial-{nonce:016x}")
}

/// Whichever of `rules` there are, and those of `dir`'s file system that concern the names in
/// `manifest`.
pub(super) fn rules_of(dir: &Dir, manifest: &Manifest, mut rules: Rules) -> io::Result<Rules> {
    let suspects = Rules::suspected(manifest, &rules);
    if suspects == Rules::default() {
        return Ok(rules);
    }
    in_trial(dir, |trial| {
        for letter in suspects.letters {
            if !holds(trial, &format!("x{letter}x").into())? {
                rules.letters.insert(letter);
            }
        }
        rules.ends |=
            suspects.ends && !(holds(trial, &"x.".into())? && holds(trial, &"x ".into())?);
        rules.devices |= suspects.devices && !holds(trial, &"aux".into())?;
        rules.bytes |= suspects.bytes && !holds(trial, &b"x\xff"[..].into())?;
        Ok(rules)
    })
}

impl Rules {
    /// The least that must not be forbidden if all names of `manifest` shall be held, beside what
    /// `known` forbids.
    fn suspected(manifest: &Manifest, known: &Self) -> Self {
        let mut suspects = Self::default();
        for entry in manifest.entries() {
            let name = entry.name.to_string_lossy();
            let letters = name.chars().filter(|&c| c.is_ascii_control() || SUSPECTS.contains(c));
            suspects.letters.extend(letters.filter(|letter| !known.letters.contains(letter)));
            suspects.ends |= !known.ends && name.ends_with(['.', ' ']);
            suspects.devices |= !known.devices && is_device(&name);
            suspects.bytes |= !known.bytes && entry.name.as_str().is_none();
        }
        suspects
    }
}

/// Whether something in the empty directory `trial` keeps the name that it is given.
fn holds(trial: &Dir, name: &Name) -> io::Result<bool> {
    if let Err(error) = trial.make_child(name) {
        use ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        return match error.kind() {
            PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull => Err(error),
            _ => Ok(false),
        };
    }
    let listed = trial.list();
    trial.remove_child(name)?;
    Ok(listed? == [name.clone()])
}

/// Which of `names`, by their places, `dir` takes for earlier ones.
pub(super) fn repeated(dir: &Dir, names: &[&Name]) -> io::Result<Vec<usize>> {
    in_trial(dir, |trial| {
        let mut made = Vec::new();
        let mut repeated = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match trial.make_child(name) {
                Ok(()) => made.push(name),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => repeated.push(place),
                Err(error) => {
                    // The trial can be removed only when it is empty.
                    made.iter().try_for_each(|name| trial.remove_child(name))?;
                    return Err(error);
                }
            }
        }
        made.iter().try_for_each(|name| trial.remove_child(name))?;
        Ok(repeated)
    })
}

fn in_trial<T>(dir: &Dir, work: impl FnOnce(&Dir) -> io::Result<T>) -> io::Result<T> {
    let trial = trial_name();
    dir.make_child(&trial)?;
    let tried = dir.child(&trial).and_then(|trial| work(&trial));
    let removed = dir.remove_child(&trial);
    tried.and_then(|tried| removed.map(|()| tried))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::manifest::{Entry, Kind, Modified};

    fn here() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        (temp, dir)
    }

    fn is_empty(temp: &tempfile::TempDir) -> bool {
        std::fs::read_dir(temp.path()).unwrap().count() == 0
    }

    fn manifest(names: &[Name]) -> Manifest {
        let mut manifest = Manifest::new();
        for name in names {
            let modified = Modified { seconds: 0, nanos: 0 };
            let kind = Kind::Directory;
            let entry = Entry { kind, depth: 0, name: name.clone(), mode: 0o755, modified };
            manifest.push(entry).unwrap();
        }
        manifest
    }

    #[test]
    fn what_is_suspected_is_what_some_file_system_cannot_hold() {
        let odd = ["10:30.png", "notes.", "aux.c", "a\tb"].map(Name::from);
        let odd = [&odd[..], &[b"\xff"[..].into()]].concat();
        let suspects = Rules::suspected(&manifest(&odd), &Rules::default());
        assert_eq!(suspects.letters, [':', '\t'].into());
        assert!(suspects.ends && suspects.devices && suspects.bytes);
        assert_eq!(Rules::suspected(&manifest(&odd), &Rules::windows()), Rules::default());
        let plain = ["a.png", ".bashrc", "a b", "\u{202e}"].map(Name::from);
        assert_eq!(Rules::suspected(&manifest(&plain), &Rules::default()), Rules::default());
    }

    #[test]
    fn a_name_is_held_if_it_is_listed_as_it_was_given() {
        let (temp, dir) = here();
        for name in ["x:x", "x.", "x ", "x\nx", "aux"] {
            assert!(
                holds(&dir, &name.into()).unwrap() || cfg!(not(target_os = "linux")),
                "{name:?}"
            );
        }
        // No system can hold this.
        assert!(!holds(&dir, &"b".repeat(300).into()).unwrap());
        assert!(is_empty(&temp));
    }

    #[test]
    fn names_that_are_one_file_are_found_by_trying() {
        let (temp, dir) = here();
        // The same name twice is what every file system takes for one.
        for (names, expected) in [
            (&["a", "b", "c"][..], &[][..]),
            (&["a", "b", "c", "b", "a"], &[3, 4]),
            (&["a", "a"], &[1]),
        ] {
            let names: Vec<Name> = names.iter().map(|&name| name.into()).collect();
            let names: Vec<&Name> = names.iter().collect();
            assert_eq!(repeated(&dir, &names).unwrap(), expected, "{names:?}");
            assert!(is_empty(&temp), "{names:?}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_tried_is_an_error_and_leaves_nothing() {
        let (temp, dir) = here();
        let error = repeated(&dir, &[&"a".into(), &"b".repeat(300).into()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFilename);
        assert!(is_empty(&temp));
    }
}
