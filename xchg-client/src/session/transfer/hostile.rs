//! Peers that know the secret and lie.
//!
//! Whatever they say, the honest one ends with an error, places nothing under its final name and nothing
//! outside its destination.

use std::fs;
use std::path::Path;
use std::thread;

use tempfile::tempdir;

use super::super::link::{self, Link};
use super::super::message::{Message, encode_entry, encode_point};
use super::super::testing::sessions;
use super::{receive, send};
use crate::Cancel;
use crate::files::{self, Destination, Entry, Kind, Modified, Outgoing, PlaceOptions, WalkOptions};
use crate::session::Error;

type Script = dyn Fn(&mut Link<'_>) -> Result<(), Error> + Sync;

fn entry(kind: Kind, depth: usize, name: &str) -> Entry {
    Entry {
        kind,
        depth,
        name: name.into(),
        mode: 0o644,
        modified: Modified { seconds: 0, nanos: 0 },
    }
}

fn file(size: u64, name: &str) -> Entry {
    entry(Kind::File { size }, 0, name)
}

fn link_to(target: &str) -> [Entry; 2] {
    let target = target.into();
    [entry(Kind::Directory, 0, "d"), entry(Kind::Symlink { target }, 1, "l")]
}

/// Says an offer that adds up.
fn offer(link: &mut Link<'_>, entries: &[Entry]) -> Result<(), Error> {
    let bytes = entries.iter().filter_map(|entry| entry.kind.size()).sum();
    offer_as(link, entries, entries.len(), bytes)
}

fn offer_as(link: &mut Link<'_>, entries: &[Entry], count: usize, bytes: u64) -> Result<(), Error> {
    let mut encoded = Vec::new();
    for entry in entries {
        encode_entry(entry, &mut encoded);
    }
    link.put(&Message::Offer {
        entries: u32::try_from(count).unwrap(),
        bytes,
        encoded_bytes: u32::try_from(encoded.len()).unwrap(),
    })?;
    link.put(&Message::Entries(&encoded))?;
    link.flush()
}

/// Runs an honest downloader against what `script` says. Returns why it ended.
fn download_from(
    script: &(impl Fn(&mut Link<'_>) -> Result<(), Error> + Sync + ?Sized),
    resume: bool,
    into: &Path,
) -> Error {
    let (upload, download) = sessions();
    let cancel = Cancel::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            link::run(upload, &mut (), &cancel, |link| {
                script(link)?;
                link.flush()?;
                while link.next()?.is_some() {}
                Ok(())
            })
        });
        let options = PlaceOptions { resume, ..PlaceOptions::default() };
        let destination = Destination::Directory(into.into());
        receive(download, destination, options, &mut (), &cancel)
            .expect_err("what a liar sends is not received")
    })
}

fn expect(link: &mut Link<'_>, expected: Message<'_>) -> Result<(), Error> {
    assert_eq!(link.next()?, Some(expected));
    Ok(())
}

fn begin(link: &mut Link<'_>, entry: u32, offset: u64) -> Result<(), Error> {
    link.put(&Message::Begin { entry, offset })
}

fn end(link: &mut Link<'_>, content: &[u8]) -> Result<(), Error> {
    link.put(&Message::End { size: content.len() as u64, hash: blake3::hash(content).into() })
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}

fn is_manifest(error: &Error) -> bool {
    matches!(error, Error::Files(files::Error::Manifest(_)))
}

fn is_name(error: &Error) -> bool {
    matches!(error, Error::Files(files::Error::Name { .. }))
}

type Expected = fn(&Error) -> bool;

#[test]
fn offers_that_lie_are_refused() {
    let bounds = |entries, bytes, encoded_bytes| -> Box<Script> {
        Box::new(move |link| link.put(&Message::Offer { entries, bytes, encoded_bytes }))
    };
    let says = |entries: Vec<Entry>| -> Box<Script> { Box::new(move |link| offer(link, &entries)) };
    let two = || vec![file(1, "a"), file(2, "b")];
    let long = "n".repeat(255);
    let deep = |levels| -> Vec<Entry> {
        let directories = (0..levels).map(|depth| entry(Kind::Directory, depth, &long));
        directories.collect()
    };
    let cases: Vec<(&str, Box<Script>, Expected)> = vec![
        ("no entries", bounds(0, 0, 0), is_manifest),
        ("too many", bounds(1_000_001, 0, 100), is_manifest),
        ("too long", bounds(1, 0, (64 << 20) + 1), is_manifest),
        ("data first", Box::new(|link| link.put(&Message::Data(b"x"))), is_protocol),
        ("the end at once", Box::new(|link| link.finish()), is_protocol),
        (
            "fewer than said",
            Box::new(move |link| {
                offer_as(link, &two(), 3, 3)?;
                link.put(&Message::Accept)
            }),
            is_protocol,
        ),
        ("more than said", Box::new(move |link| offer_as(link, &two(), 1, 3)), is_protocol),
        ("another sum", Box::new(move |link| offer_as(link, &two(), 2, 4)), is_protocol),
        ("a sum that overflows", says(vec![file(u64::MAX, "a")]), is_manifest),
        ("in no directory", says(vec![entry(Kind::Directory, 1, "a")]), is_manifest),
        ("in a file", says(vec![file(0, "a"), entry(Kind::Directory, 1, "b")]), is_manifest),
        ("too long a path", says(deep(17)), is_manifest),
        ("an empty name", says(vec![file(0, "")]), is_manifest),
        (
            "a text with company",
            says(vec![entry(Kind::Text { size: 1 }, 0, "t"), file(0, "a")]),
            is_manifest,
        ),
        (
            "a text that is too long",
            says(vec![entry(Kind::Text { size: 1 << 21 }, 0, "t")]),
            is_manifest,
        ),
        (
            "a link at the top",
            says(vec![entry(Kind::Symlink { target: "x".into() }, 0, "l")]),
            is_manifest,
        ),
        ("a mode out of range", says(vec![Entry { mode: 0o10000, ..file(0, "a") }]), is_manifest),
        ("up", says(vec![file(0, "..")]), is_name),
        ("itself", says(vec![entry(Kind::Directory, 0, ".")]), is_name),
        ("absolute", says(vec![file(0, "/etc/passwd")]), is_name),
        ("backslash", says(vec![file(0, "..\\x")]), is_name),
        ("NUL", says(vec![file(0, "a\0b")]), is_name),
        ("an absolute link", says(link_to("/etc/passwd").into()), is_name),
        ("a link upwards", says(link_to("../x").into()), is_name),
        ("a link down and up", says(link_to("x/../../y").into()), is_name),
        ("one name twice", says(vec![file(0, "a"), file(0, "A"), file(0, "a")]), |error| {
            matches!(error, Error::Files(files::Error::Collision { .. }))
        }),
        ("more than any disk holds", says(vec![file(i64::MAX as u64, "a")]), |error| {
            matches!(error, Error::Files(files::Error::NoSpace { .. }))
        }),
    ];
    for (case, script, expected) in cases {
        let into = tempdir().unwrap();
        let error = download_from(&*script, false, into.path());
        assert!(expected(&error), "{case}: {error}");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0, "{case}");
    }
}

#[test]
fn contents_that_lie_are_refused() {
    let wrong: Expected = |error| matches!(error, Error::Files(files::Error::WrongHash { .. }));
    let cases: Vec<(&str, Box<Script>, Expected)> = vec![
        ("data before its begin", Box::new(|link| link.put(&Message::Data(b"x"))), is_protocol),
        ("another entry", Box::new(|link| begin(link, 1, 0)), is_protocol),
        ("no such entry", Box::new(|link| begin(link, u32::MAX, 0)), is_protocol),
        ("an offset unasked", Box::new(|link| begin(link, 0, 3)), is_protocol),
        (
            "more than offered",
            Box::new(|link| {
                begin(link, 0, 0)?;
                link.put(&Message::Data(b"hello!"))
            }),
            is_protocol,
        ),
        (
            "less than offered",
            Box::new(|link| {
                begin(link, 0, 0)?;
                link.put(&Message::Data(b"hell"))?;
                end(link, b"hell")
            }),
            is_protocol,
        ),
        (
            "another size in the end",
            Box::new(|link| {
                begin(link, 0, 0)?;
                link.put(&Message::Data(b"hello"))?;
                end(link, b"hello!")
            }),
            is_protocol,
        ),
        (
            "another hash",
            Box::new(|link| {
                begin(link, 0, 0)?;
                link.put(&Message::Data(b"hello"))?;
                end(link, b"jello")
            }),
            wrong,
        ),
        (
            "the end within a file",
            Box::new(|link| {
                begin(link, 0, 0)?;
                link.put(&Message::Data(b"hel"))?;
                link.finish()
            }),
            is_protocol,
        ),
        (
            "a file again",
            Box::new(|link| {
                begin(link, 0, 0)?;
                begin(link, 0, 0)
            }),
            is_protocol,
        ),
        ("the end before any file", Box::new(|link| link.finish()), is_protocol),
    ];
    for (case, script, expected) in cases {
        let into = tempdir().unwrap();
        let whole = |link: &mut Link<'_>| {
            offer(link, &[file(5, "a"), file(5, "b")])?;
            expect(link, Message::Accept)?;
            script(link)
        };
        let error = download_from(&whole, false, into.path());
        assert!(expected(&error), "{case}: {error}");
        for name in ["a", "b"] {
            assert!(!into.path().join(name).exists(), "{case}");
        }
    }
}

#[test]
fn content_after_the_last_entry_is_refused() {
    let into = tempdir().unwrap();
    let script = |link: &mut Link<'_>| {
        offer(link, &[file(5, "a")])?;
        expect(link, Message::Accept)?;
        begin(link, 0, 0)?;
        link.put(&Message::Data(b"hello"))?;
        end(link, b"hello")?;
        link.put(&Message::Data(b"and more"))
    };
    assert!(is_protocol(&download_from(&script, false, into.path())));
}

#[test]
fn a_file_that_is_there_is_not_changed_by_who_claims_to_have_the_same() {
    let into = tempdir().unwrap();
    fs::write(into.path().join("a"), "hello").unwrap();
    let claims = |more: &'static [u8], content: &'static [u8]| -> Box<Script> {
        Box::new(move |link| {
            offer(link, &[file(5, "a")])?;
            assert!(matches!(link.next()?, Some(Message::Resume(_))));
            expect(link, Message::Accept)?;
            begin(link, 0, 5)?;
            if !more.is_empty() {
                link.put(&Message::Data(more))?;
            }
            end(link, content)
        })
    };
    let error = download_from(&*claims(b"!", b"hello!"), true, into.path());
    assert!(is_protocol(&error), "{error}");
    let error = download_from(&*claims(b"", b"jello"), true, into.path());
    assert!(matches!(error, Error::Files(files::Error::WrongHash { .. })), "{error}");
    assert_eq!(fs::read(into.path().join("a")).unwrap(), b"hello");
}

/// Runs an honest uploader of a directory with a file of five bytes against what `script` says.
fn upload_to(script: &Script) -> Error {
    let from = tempdir().unwrap();
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/a"), "hello").unwrap();
    let outgoing = Outgoing::collect(&[from.path().join("d")], WalkOptions::default()).unwrap();
    let (upload, download) = sessions();
    let cancel = Cancel::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            link::run(download, &mut (), &cancel, |link| {
                assert!(matches!(link.next()?, Some(Message::Offer { .. })));
                assert!(matches!(link.next()?, Some(Message::Entries(_))));
                script(link)?;
                link.flush()?;
                while link.next()?.is_some() {}
                Ok(())
            })
        });
        send(upload, outgoing, &mut (), &cancel).expect_err("a liar's receipt is worth nothing")
    })
}

fn resume(link: &mut Link<'_>, points: &[(u32, u64)]) -> Result<(), Error> {
    let mut encoded = Vec::new();
    for &(entry, offset) in points {
        encode_point(entry, offset, &blake3::hash(b""), &mut encoded);
    }
    link.put(&Message::Resume(&encoded))?;
    link.put(&Message::Accept)
}

#[test]
fn answers_that_lie_are_refused() {
    let receipt = |entries, bytes| Message::Receipt { entries, bytes };
    let after_content: fn(&mut Link<'_>) -> Result<(), Error> = |link| {
        link.put(&Message::Accept)?;
        link.flush()?;
        while link.next()?.is_some() {}
        Ok(())
    };
    let cases: Vec<(&str, Box<Script>)> = vec![
        ("resuming a directory", Box::new(|link| resume(link, &[(0, 0)]))),
        ("resuming nothing", Box::new(|link| resume(link, &[(2, 0)]))),
        ("beyond the size", Box::new(|link| resume(link, &[(1, 6)]))),
        ("twice", Box::new(|link| resume(link, &[(1, 1), (1, 2)]))),
        ("half a point", Box::new(|link| link.put(&Message::Resume(b"half")))),
        ("a receipt for the offer", Box::new(move |link| link.put(&receipt(2, 5)))),
        ("no answer", Box::new(|link| link.finish())),
        (
            "no receipt",
            Box::new(move |link| {
                after_content(link)?;
                link.finish()
            }),
        ),
        (
            "a receipt for fewer",
            Box::new(move |link| {
                after_content(link)?;
                link.put(&receipt(1, 5))?;
                link.finish()
            }),
        ),
        (
            "a receipt for less",
            Box::new(move |link| {
                after_content(link)?;
                link.put(&receipt(2, 4))?;
                link.finish()
            }),
        ),
        (
            "two receipts",
            Box::new(move |link| {
                after_content(link)?;
                link.put(&receipt(2, 5))?;
                link.put(&receipt(2, 5))?;
                link.finish()
            }),
        ),
        (
            "data",
            Box::new(move |link| {
                link.put(&Message::Accept)?;
                link.put(&Message::Data(b"back at you"))
            }),
        ),
    ];
    for (case, script) in cases {
        let error = upload_to(&*script);
        assert!(is_protocol(&error), "{case}: {error}");
    }
}
