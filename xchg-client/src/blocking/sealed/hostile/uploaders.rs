//! Uploaders that lie, and what an honest downloader makes of it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use super::super::testing::{Puppet, play, streams};
use super::{have, is_protocol, say_all};
use crate::files::{self, Destination, Entry, Kind, Manifest, PlaceOptions, Survey};
use crate::session::Error;
use crate::session::message::{Message, encode_entry, encode_proof};
use crate::{Cancel, Decision, Downloaded, Observer};

/// Says an offer that adds up.
fn offer(link: &mut Puppet, entries: &[Entry]) -> Result<(), Error> {
    let bytes = entries.iter().filter_map(|entry| entry.kind.size()).sum();
    offer_as(link, entries, entries.len(), bytes)
}

fn offer_as(link: &mut Puppet, entries: &[Entry], count: usize, bytes: u64) -> Result<(), Error> {
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
fn download_from(script: &Script<'_>, resume: bool, into: &Path) -> Error {
    receive_from(script, resume, into).expect_err("what a liar sends is not received")
}

fn receive_from(script: &Script<'_>, resume: bool, into: &Path) -> Result<Downloaded, Error> {
    let (upload, download) = streams();
    let cancel = Cancel::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| play(upload, script));
        let options = PlaceOptions { resume, ..PlaceOptions::default() };
        let destination = Destination::Directory(into.into());
        super::super::download(download, destination, options, &mut (), &cancel)
    })
}

fn expect(link: &mut Puppet, expected: Message<'_>) -> Result<(), Error> {
    assert_eq!(link.next()?, Some(expected));
    Ok(())
}

fn file(size: u64, name: &str) -> Entry {
    Entry::new(Kind::File { size }, 0, name)
}

fn link_to(target: &str) -> [Entry; 2] {
    let target = target.into();
    [Entry::new(Kind::Directory, 0, "d"), Entry::new(Kind::Symlink { target }, 1, "l")]
}

fn begin(entry: u32, offset: u64) -> Message<'static> {
    Message::Begin { entry, offset }
}

fn end(content: &[u8]) -> Message<'static> {
    Message::End { size: content.len() as u64, hash: blake3::hash(content).into() }
}

fn is_manifest(error: &Error) -> bool {
    matches!(error, Error::Files(files::Error::Manifest(_)))
}

fn is_name(error: &Error) -> bool {
    matches!(error, Error::Files(files::Error::Name { .. }))
}

type Script<'a> = dyn Fn(&mut Puppet) -> Result<(), Error> + Sync + 'a;

type Expected = fn(&Error) -> bool;

#[test]
fn offers_that_lie_are_refused() {
    let bounds = |entries, bytes, encoded_bytes| -> Box<Script<'_>> {
        Box::new(move |link| link.put(&Message::Offer { entries, bytes, encoded_bytes }))
    };
    let says =
        |entries: Vec<Entry>| -> Box<Script<'_>> { Box::new(move |link| offer(link, &entries)) };
    let two = || vec![file(1, "a"), file(2, "b")];
    let long = "n".repeat(255);
    let deep = |levels| -> Vec<Entry> {
        let directories = (0..levels).map(|depth| Entry::new(Kind::Directory, depth, &*long));
        directories.collect()
    };
    let cases: Vec<(&str, Box<Script<'_>>, Expected)> = vec![
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
        ("in no directory", says(vec![Entry::new(Kind::Directory, 1, "a")]), is_manifest),
        ("in a file", says(vec![file(0, "a"), Entry::new(Kind::Directory, 1, "b")]), is_manifest),
        ("too long a path", says(deep(17)), is_manifest),
        ("an empty name", says(vec![file(0, "")]), is_manifest),
        (
            "a text with company",
            says(vec![Entry::new(Kind::Text { size: 1 }, 0, "t"), file(0, "a")]),
            is_manifest,
        ),
        (
            "a text that is too long",
            says(vec![Entry::new(Kind::Text { size: 1 << 21 }, 0, "t")]),
            is_manifest,
        ),
        (
            "a link at the top",
            says(vec![Entry::new(Kind::Symlink { target: "x".into() }, 0, "l")]),
            is_manifest,
        ),
        ("a mode out of range", says(vec![Entry { mode: 0o10000, ..file(0, "a") }]), is_manifest),
        ("up", says(vec![file(0, "..")]), is_name),
        ("itself", says(vec![Entry::new(Kind::Directory, 0, ".")]), is_name),
        ("absolute", says(vec![file(0, "/etc/passwd")]), is_name),
        ("up and down", says(vec![file(0, "../x")]), is_name),
        ("a partial file's", says(vec![file(0, ".a.xchg-part")]), is_name),
        (
            "a mark's",
            says(vec![
                Entry::new(Kind::Directory, 0, "d"),
                Entry::new(Kind::Stream, 1, ".xchg-part"),
            ]),
            is_name,
        ),
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
    use Message::Data;
    let cases: [(&str, &[Message<'_>], Expected); 11] = [
        ("data before its begin", &[Data(b"x")], is_protocol),
        ("another entry", &[begin(1, 0)], is_protocol),
        ("no such entry", &[begin(u32::MAX, 0)], is_protocol),
        ("an offset unasked", &[begin(0, 3)], is_protocol),
        ("more than offered", &[begin(0, 0), Data(b"hello!")], is_protocol),
        ("less than offered", &[begin(0, 0), Data(b"hell"), end(b"hell")], is_protocol),
        ("another size in the end", &[begin(0, 0), Data(b"hello"), end(b"hello!")], is_protocol),
        ("another hash", &[begin(0, 0), Data(b"hello"), end(b"jello")], wrong),
        ("the end within a file", &[begin(0, 0), Data(b"hel")], is_protocol),
        ("a file again", &[begin(0, 0), begin(0, 0)], is_protocol),
        ("the end before any file", &[], is_protocol),
    ];
    for (case, said, expected) in cases {
        let into = tempdir().unwrap();
        let whole = |link: &mut Puppet| {
            offer(link, &[file(5, "a"), file(5, "b")])?;
            expect(link, Message::Accept)?;
            say_all(link, said)
        };
        let error = download_from(&whole, false, into.path());
        assert!(expected(&error), "{case}: {error}");
        for name in ["a", "b"] {
            assert!(!into.path().join(name).exists(), "{case}");
        }
    }
}

#[test]
fn what_is_said_after_all_that_was_offered_is_of_no_interest() {
    let into = tempdir().unwrap();
    let error = Message::Error { cancelled: false, text: "no" };
    let more = [Message::Data(b"and more"), begin(1, 0), error];
    for (number, more) in more.into_iter().enumerate() {
        let name = number.to_string();
        let script = |link: &mut Puppet| {
            offer(link, &[file(5, &name)])?;
            expect(link, Message::Accept)?;
            say_all(link, &[begin(0, 0), Message::Data(b"hello"), end(b"hello"), more])
        };
        let received = receive_from(&script, false, into.path());
        assert_eq!(received.unwrap().bytes, 5);
        assert_eq!(fs::read(into.path().join(name)).unwrap(), b"hello");
    }
}

#[test]
fn an_uploader_that_says_how_far_it_is_is_not_believed() {
    struct Deaf;
    impl Observer for Deaf {
        fn confirmed(&mut self, _: u64) {
            panic!("only a downloader confirms");
        }
    }
    let into = tempdir().unwrap();
    let (upload, download) = streams();
    let cancel = Cancel::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            play(upload, |link| {
                offer(link, &[file(5, "a")])?;
                let content = [begin(0, 0), Message::Data(b"hello"), end(b"hello")];
                link.put(&Message::Progress { bytes: 7 })?;
                say_all(link, &content)
            });
        });
        let into = Destination::Directory(into.path().into());
        let options = PlaceOptions::default();
        super::super::download(download, into, options, &mut Deaf, &cancel).unwrap();
    });
}

fn proof(entry: u32, content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    encode_proof(entry, &blake3::hash(content), &mut encoded);
    encoded
}

/// Offers a file of five bytes where one lies, and says what it is asked to prove.
fn offer_what_is_there(link: &mut Puppet) -> Result<(), Error> {
    offer(link, &[file(5, "a")])?;
    expect(link, Message::Have(&have(&[(0, 5)])))?;
    expect(link, Message::Prove)
}

#[test]
fn a_stranger_learns_of_a_file_that_is_there_only_whether_its_guess_is_right() {
    let into = tempdir().unwrap();
    fs::write(into.path().join("a"), "hello").unwrap();
    // All that the downloader says must be the same, whatever is in the file.
    let script = |link: &mut Puppet| {
        offer_what_is_there(link)?;
        link.put(&Message::Proof(&proof(0, b"jello")))?;
        link.flush()?;
        assert!(matches!(link.next()?, Some(Message::Unable(_))));
        Ok(())
    };
    let error = download_from(&script, true, into.path());
    assert!(matches!(error, Error::Files(files::Error::Exists { .. })), "{error}");
    assert_eq!(fs::read(into.path().join("a")).unwrap(), b"hello");
}

#[test]
fn proofs_that_make_no_sense_are_refused() {
    let other = proof(1, b"hello");
    let cases: [(&str, &[Message<'_>]); 5] = [
        ("of another entry", &[Message::Proof(&other)]),
        ("half of one", &[Message::Proof(b"half")]),
        ("none", &[]),
        ("an answer that is none", &[Message::Accept]),
        ("without an end to what went with the offer", &[Message::Data(&[7; 1000]); 600]),
    ];
    for (case, said) in cases {
        let into = tempdir().unwrap();
        fs::write(into.path().join("a"), "hello").unwrap();
        let whole = |link: &mut Puppet| {
            offer_what_is_there(link)?;
            say_all(link, said)
        };
        let error = download_from(&whole, true, into.path());
        assert!(is_protocol(&error), "{case}: {error}");
        assert_eq!(fs::read(into.path().join("a")).unwrap(), b"hello");
    }
}

#[test]
fn a_file_that_is_there_is_not_changed_by_who_has_proved_to_have_the_same() {
    let into = tempdir().unwrap();
    fs::write(into.path().join("a"), "hello").unwrap();
    let claim = |said: &[Message<'_>]| {
        let script = |link: &mut Puppet| {
            offer_what_is_there(link)?;
            link.put(&Message::Proof(&proof(0, b"hello")))?;
            link.flush()?;
            expect(link, Message::Resume(&[0, 0, 0, 0]))?;
            expect(link, Message::Accept)?;
            say_all(link, said)
        };
        download_from(&script, true, into.path())
    };
    let error = claim(&[begin(0, 5), Message::Data(b"!"), end(b"hello!")]);
    assert!(is_protocol(&error), "{error}");
    let error = claim(&[begin(0, 5), end(b"jello")]);
    assert!(matches!(error, Error::Files(files::Error::WrongHash { .. })), "{error}");
    assert_eq!(fs::read(into.path().join("a")).unwrap(), b"hello");
}

/// Declines whatever it is offered.
struct Declines;

impl Observer for Declines {
    fn decide(&mut self, _: &Manifest, _: &Survey) -> Decision {
        Decision::Decline("no".into())
    }
}

#[test]
fn who_declines_is_not_held_by_a_peer_that_goes_on_byte_by_byte() {
    let (upload, download) = streams();
    let into = tempdir().unwrap();
    let cancel = Cancel::new().unwrap();
    let mut stream = upload.reader.try_clone().unwrap();
    thread::scope(|scope| {
        // A long record, whose end never comes. This ends when the downloader has cut the stream,
        // 10 seconds later.
        scope.spawn(move || {
            let mut link = Puppet::on(upload);
            offer(&mut link, &[file(1 << 20, "a")]).unwrap();
            let mut bytes = [0, 3, 0, 0].into_iter().chain(std::iter::repeat(7));
            while stream.write_all(&[bytes.next().expect("it repeats")]).is_ok() {
                thread::park_timeout(Duration::from_millis(10));
            }
            drop(link);
        });
        let destination = Destination::Directory(into.path().into());
        let ended = super::super::download(
            download,
            destination,
            PlaceOptions::default(),
            &mut Declines,
            &cancel,
        );
        assert!(matches!(ended, Err(Error::DeclinedHere)), "{ended:?}");
    });
}
