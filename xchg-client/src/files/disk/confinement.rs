//! Whatever names a manifest has, and whatever is there before: nothing outside the destination is
//! touched, and what arrives is named as it was offered, or as it was asked for.
//!
//! The [model](super::fuzzing) resolves names as this system does, written apart from
//! [`names`](super::names).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::tempdir;

use super::fit::fit;
use super::place::{Existing, PlaceOptions, Placement};
use crate::files::content::Start;
use crate::files::fuzzing::resolved_by_unix;
use crate::files::manifest::{Entry, Kind, Manifest, Modified};
use crate::files::names::{NamePolicy, check};
use crate::files::{Error, Name};

const CONTENT: &[u8] = b"arrived";

/// Pieces that, put together, are all kinds of trouble.
fn names() -> impl Strategy<Value = Name> {
    let pieces = prop::sample::select(vec![
        "..",
        ".",
        "/",
        "\\",
        ":",
        "C:",
        "\0",
        "\n",
        "\u{202e}",
        "con",
        "NUL",
        "Com1",
        "lpt\u{b9}",
        "aux",
        "a",
        "A",
        "b",
        "\u{e9}",
        "e\u{301}",
        "\u{200b}",
        ".txt",
        " ",
        "link",
        "file",
        ".a.xchg-part",
        "~1",
        "$DATA",
        "//?/",
        "\\\\.\\",
        "etc",
        "-",
        "x",
    ]);
    let texts = prop_oneof![
        2 => pieces.clone().prop_map(str::to_owned),
        4 => prop::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
        2 => "[a-d]",
    ];
    prop_oneof![
        9 => texts.prop_map(Name::from),
        1 => prop::collection::vec(prop::sample::select(b"a.\xff\xc3\0/".to_vec()), 0..4).prop_map(Name::from),
    ]
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let kinds = prop_oneof![
        3 => Just(Kind::File { size: CONTENT.len() as u64 }),
        2 => Just(Kind::Directory),
        1 => names().prop_map(|target| Kind::Symlink { target }),
    ];
    prop::collection::vec((kinds, 0..3_usize, names()), 1..8).prop_map(|entries| {
        let mut manifest = Manifest::new();
        for (kind, depth, name) in entries {
            let modified = Modified { seconds: 1, nanos: 0 };
            let entry = Entry { kind, depth, name, mode: 0o777, modified };
            // What breaks the rules of manifests themselves is refused before names matter.
            drop(manifest.push(entry));
        }
        manifest
    })
}

fn options() -> impl Strategy<Value = PlaceOptions> {
    let existing =
        prop::sample::select(vec![Existing::Refuse, Existing::Overwrite, Existing::Rename]);
    let names = prop::sample::select(vec![NamePolicy::Refuse, NamePolicy::Replace]);
    (existing, names, any::<bool>()).prop_map(|(existing, names, resume)| PlaceOptions {
        existing,
        names,
        resume,
    })
}

/// Places the manifest as a downloader does. Returns whether it went.
fn place(manifest: Manifest, into: &Path, options: PlaceOptions) -> bool {
    let fitted = check(&manifest).and_then(|()| fit(manifest, options.names, into));
    let Ok(manifest) = fitted else {
        return false;
    };
    let manifest = Arc::new(manifest);
    let go = || -> Result<(), Error> {
        let mut placement = Placement::survey(into, Arc::clone(&manifest), options)?;
        placement.settle(options.existing)?;
        let mut same = Vec::new();
        for point in placement.candidates() {
            if placement.hash(point, &|| false)? == Some(blake3::hash(CONTENT).into()) {
                same.push(point.entry)
            } else {
                placement.differs(point.entry)
            }
        }
        placement.settle_late(options.existing)?;
        placement.make_directories()?;
        for (index, entry) in manifest.entries().iter().enumerate() {
            if !entry.kind.has_content() {
                continue;
            }
            if let Start::At(hash) = placement.begin(index, same.contains(&index))? {
                placement.write(&CONTENT[usize::try_from(hash.bytes()).unwrap()..])?;
            }
            placement.end(index)?;
        }
        placement.finish().map(drop)
    };
    go().is_ok()
}

/// Every file that is in `directory` now, with the names on the way to it; links are not followed.
fn files(directory: &Path) -> Vec<(Vec<Name>, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = vec![Name::of_os(path.file_name().unwrap()).unwrap()];
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(below, content)| ([&name[..], &below].concat(), content)));
        } else if kind.is_file() {
            found.push((name, fs::read(&path).unwrap()));
        } else {
            found.push((name, Vec::new()));
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_leaves_the_destination(manifest in manifests(), options in options(), traps in any::<bool>()) {
        prop_assume!(!manifest.entries().is_empty());
        let world = tempdir().unwrap();
        let outside = world.path().join("outside");
        let into = world.path().join("into");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(&into).unwrap();
        fs::write(outside.join("file"), "kept").unwrap();
        if traps {
            symlink(&outside, into.join("a")).unwrap();
            symlink(outside.join("file"), into.join("b")).unwrap();
            fs::write(into.join("c"), "mine").unwrap();
            symlink(outside.join("file"), into.join(".d.xchg-part")).unwrap();
        }
        let before = files(&into);
        let went = place(manifest.clone(), &into, options);

        prop_assert_eq!(files(&outside), [(vec!["file".into()], b"kept".to_vec())]);
        prop_assert_eq!(fs::read_dir(world.path()).unwrap().count(), 2);
        let after = files(&into);
        for (path, _) in &after {
            for name in path {
                prop_assert_eq!(resolved_by_unix(name), Some(name.clone()));
            }
        }
        if options.existing != Existing::Overwrite {
            for old in &before {
                prop_assert!(after.contains(old), "{:?} was overwritten", old);
            }
        }
        if went {
            let sent = manifest.entries().iter().filter(|entry| entry.kind.has_content()).count();
            let arrived = after.iter().filter(|(_, content)| content == CONTENT).count();
            prop_assert_eq!(arrived, sent, "two entries became one file");
            let mut new = after.iter().filter(|file| !before.contains(file));
            prop_assert!(!new.any(|(path, _)| path.last().unwrap().as_bytes().ends_with(b".xchg-part")));
            if options.names == NamePolicy::Refuse && options.existing == Existing::Overwrite {
                let arrived: Vec<_> = after.iter().filter_map(|(path, _)| path.last()).collect();
                let mut names = manifest.entries().iter().filter(|entry| entry.kind.has_content());
                prop_assert!(names.all(|entry| arrived.contains(&&entry.name)), "one has another name");
            }
        }
    }
}
