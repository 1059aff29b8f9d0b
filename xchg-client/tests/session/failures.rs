//! What goes wrong is told to both peers, and ends the transfer for both.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::tempdir;
use xchg_client::files::{
    Destination, Entry, Error as FilesError, Manifest, Note, Outgoing, PlaceOptions, Stream,
    Survey, WalkOptions,
};
use xchg_client::sealed::SealedStream;
use xchg_client::session::{Error, Secret};
use xchg_client::{Cancel, Side};
use xchg_client::{Decision, Observer};

use crate::support::{Exchange, noise, pair, snapshot};

/// Does something once, when so much content has moved, or when an entry begins.
struct Once<F> {
    at: u64,
    action: Option<F>,
}

impl<F: FnOnce()> Observer for Once<F> {
    fn moved(&mut self, bytes: u64) {
        self.at = self.at.saturating_sub(bytes);
        if self.at == 0
            && let Some(action) = self.action.take()
        {
            action();
        }
    }
}

fn after<F: FnOnce()>(at: u64, action: F) -> Box<Once<F>> {
    let action = Some(action);
    Box::new(Once { at, action })
}

#[test]
fn a_wrong_secret_is_told_to_both() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    for (ours, theirs) in [("swordfish", "swordfisch"), ("", "swordfish"), ("swordfish", "")] {
        let mut exchange = Exchange::of(from.path(), to.path());
        exchange.uploader.secret = Secret::new(ours);
        exchange.downloader.secret = Secret::new(theirs);
        let ended = exchange.run();
        assert!(matches!(ended.sent, Err(Error::WrongSecret)));
        assert!(matches!(ended.received, Err(Error::WrongSecret)));
    }
    assert!(snapshot(to.path()).is_empty());
}

#[test]
fn without_a_secret_two_peers_understand_each_other() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let mut exchange = Exchange::of(from.path(), to.path());
    exchange.uploader.secret = Secret::none();
    exchange.downloader.secret = Secret::new("");
    exchange.run().unwrap();
}

/// What a peer of `side` makes of `bytes` in place of its counterpart's.
fn answer_to(side: Side, bytes: &[u8]) -> Error {
    let (ours, mut theirs) = pair();
    let writer = ours.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            theirs.write_all(bytes).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            // What our peer says meanwhile is of no interest, nor how it ends.
            theirs.read_to_end(&mut Vec::new()).ok();
        });
        let abort = || panic!("it is not late");
        let established =
            SealedStream::establish(ours, writer, abort, side, b"key", &Secret::none());
        established.err().expect("nobody is there")
    })
}

#[test]
fn another_version_and_nonsense_are_told_apart() {
    let with_versions =
        |letter, point: [u8; 32], versions: &[u8]| [&[letter], &point[..], versions].concat();
    let hello = |body: Vec<u8>| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[2], &length[..], &body].concat()
    };
    let mut base = [0x66; 32];
    base[0] = 0x58;
    let ours = &[0, 1, 0, 1, 2][..];
    type Case = (&'static str, Vec<u8>, fn(&Error) -> bool);
    let cases: [Case; 12] = [
        ("later form", vec![3, 0, 1, 0], |error| matches!(error, Error::Version { theirs: 3 })),
        ("earlier form", vec![1, 0, 1, 0], |error| matches!(error, Error::Version { theirs: 1 })),
        ("later versions", hello(with_versions(b'B', base, &[0, 1, 0, 2, 4, 3])), |error| {
            matches!(error, Error::Version { theirs: 4 })
        }),
        ("no versions", hello(with_versions(b'B', base, &[])), is_protocol),
        ("half an extension", hello(with_versions(b'B', base, &ours[..4])), is_protocol),
        ("too short", vec![2, 0, 32], is_protocol),
        ("too long", vec![2, 4, 1], is_protocol),
        ("our own side", hello(with_versions(b'A', base, ours)), is_protocol),
        ("no point", hello(with_versions(b'B', [2; 32], ours)), is_protocol),
        ("a point of small order", hello(with_versions(b'B', [0; 32], ours)), is_protocol),
        ("cut in the hello", hello(with_versions(b'B', base, ours))[..20].to_vec(), is_lost),
        ("nothing", Vec::new(), is_lost),
    ];
    for (case, bytes, expected) in cases {
        let error = answer_to(Side::Upload, &bytes);
        assert!(expected(&error), "{case}: {error}");
    }
}

fn is_protocol(error: &Error) -> bool {
    matches!(error, Error::Protocol(_))
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Lost)
}

struct Declines;

impl Observer for Declines {
    fn decide(&mut self, _: &Manifest, _: &Survey) -> Decision {
        Decision::Decline("no\u{1b}[2J room".into())
    }
}

#[test]
fn declining_tells_the_reason_escaped() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let mut exchange = Exchange::of(from.path(), to.path());
    exchange.downloader.observer = Box::new(Declines);
    let ended = exchange.run();
    assert!(matches!(ended.received, Err(Error::DeclinedHere)));
    let told = ended.sent.unwrap_err().to_string();
    assert_eq!(told, "the other side declined: no\\u{1b}[2J room");
    assert!(snapshot(to.path()).is_empty());
}

#[test]
fn a_file_that_changes_is_an_error_on_both_sides() {
    let content = noise(1, 3_000_000);
    let shrink: fn(PathBuf) = |path| {
        File::options().write(true).open(path).unwrap().set_len(2_900_000).unwrap();
    };
    let touch: fn(PathBuf) = |path| {
        let time = std::time::SystemTime::UNIX_EPOCH;
        File::open(path).unwrap().set_modified(time).unwrap();
    };
    for change in [shrink, touch] {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        let path = from.path().join("a");
        fs::write(&path, &content).unwrap();
        let mut exchange = Exchange::of(&path, to.path());
        exchange.uploader.observer = after(1, move || change(path));
        let ended = exchange.run();
        assert!(matches!(ended.sent, Err(Error::Files(FilesError::Changed { .. }))));
        assert!(matches!(ended.received, Err(Error::Peer { .. })));
        assert!(!to.path().join("a").exists());
    }
}

/// Does something once the offer is accepted.
struct OnceAccepted<F>(Option<F>);

impl<F: FnOnce()> Observer for OnceAccepted<F> {
    fn accepted(&mut self, _: u64) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}

#[test]
fn a_file_that_has_grown_is_sent_as_it_was_offered_with_a_note() {
    let content = noise(1, 3_000_000);
    let grow = |path: &Path| {
        File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
    };
    for at_once in [true, false] {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        let path = from.path().join("a");
        fs::write(&path, &content).unwrap();
        let mut exchange = Exchange::of(&path, to.path());
        exchange.uploader.observer = if at_once {
            Box::new(OnceAccepted(Some(move || grow(&path))))
        } else {
            after(1, move || grow(&path))
        };
        let (sent, _) = exchange.run().unwrap();
        assert!(matches!(&sent.notes[..], [Note::Grew { path }] if path == "a"), "{sent:?}");
        assert_eq!(fs::read(to.path().join("a")).unwrap(), content);
    }
}

#[test]
fn a_file_that_is_edited_before_the_other_comes_is_sent_as_it_is_then() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    for name in ["edited", "removed"] {
        fs::write(top.join(name), name).unwrap();
    }
    let exchange = Exchange::of(&top, to.path());
    fs::write(top.join("edited"), "another length").unwrap();
    fs::remove_file(top.join("removed")).unwrap();
    fs::write(top.join("added"), "new").unwrap();
    exchange.run().unwrap();
    assert_eq!(snapshot(to.path()), snapshot(from.path()));
}

#[test]
fn a_file_that_vanishes_is_an_error_on_both_sides() {
    // What is found out only when the other peer is there tells it nothing of this machine.
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    fs::create_dir(from.path().join("top")).unwrap();
    let exchange = Exchange::of(&from.path().join("top"), to.path());
    std::os::unix::fs::symlink("/outside", from.path().join("top/link")).unwrap();
    let ended = exchange.run();
    assert!(matches!(ended.sent, Err(Error::Files(FilesError::LinkLeaves { .. }))));
    let told = ended.received.unwrap_err().to_string();
    assert_eq!(told, "the other side failed: what it sends has changed, and cannot be sent now");

    for after_the_offer in [true, false] {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        let path = from.path().join("a");
        fs::write(&path, noise(1, 100_000)).unwrap();
        let mut exchange = Exchange::of(&path, to.path());
        if after_the_offer {
            let remove = move || fs::remove_file(path).unwrap();
            exchange.uploader.observer = Box::new(OnceAccepted(Some(remove)));
        } else {
            fs::remove_file(path).unwrap()
        }
        let ended = exchange.run();
        assert!(matches!(ended.sent, Err(Error::Files(_))));
        let told = ended.received.unwrap_err().to_string();
        let part = if after_the_offer { "reading `a`" } else { "a file cannot be read" };
        assert!(told.contains(part), "{told}");
        assert!(!told.contains(from.path().to_str().unwrap()), "{told}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_the_kernel_makes_up_arrive_as_they_are_read() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let paths = ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/version"];
    let paths: Vec<&Path> = paths.iter().map(Path::new).filter(|path| path.exists()).collect();
    let sparse = from.path().join("sparse");
    File::create(&sparse).unwrap().set_len(5000).unwrap();
    let all: Vec<&Path> = paths.iter().copied().chain([sparse.as_path()]).collect();
    // The second time, all of it is there.
    for moved in [true, false] {
        let outgoing = Outgoing::collect(&all, WalkOptions::default()).unwrap();
        let options = PlaceOptions::default();
        let exchange = Exchange::new(outgoing, Destination::Directory(to.path().into()));
        let (sent, _) = exchange.options(options).run().unwrap();
        assert_eq!(sent.moved > 0, moved);
        for path in &all {
            let arrived = fs::read(to.path().join(path.file_name().unwrap())).unwrap();
            assert_eq!(arrived, fs::read(path).unwrap(), "{}", path.display());
        }
    }
}

#[test]
fn hard_links_arrive_as_files_of_their_own_and_that_is_said() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("a"), "one").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(top.join("a"), top.join(name)).unwrap();
    }
    // The other name of this one is not sent.
    fs::write(from.path().join("outside"), "two").unwrap();
    fs::hard_link(from.path().join("outside"), top.join("d")).unwrap();
    let (sent, _) = Exchange::of(&top, to.path()).run().unwrap();
    assert!(matches!(sent.notes[..], [Note::HardLinks { count: 2 }]), "{sent:?}");
    assert_eq!(snapshot(&to.path().join("top")), snapshot(&top));
}

#[test]
fn cancelling_on_either_side_is_told_to_the_other() {
    for uploader_cancels in [true, false] {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        fs::write(from.path().join("a"), noise(1, 8_000_000)).unwrap();
        let mut exchange = Exchange::of(&from.path().join("a"), to.path());
        let peer = if uploader_cancels { &mut exchange.uploader } else { &mut exchange.downloader };
        let token = peer.cancel.clone();
        peer.observer = after(1_000_000, move || token.cancel());
        let ended = exchange.run();
        let (here, there) = if uploader_cancels {
            (ended.sent.err(), ended.received.err())
        } else {
            (ended.received.err(), ended.sent.err())
        };
        assert!(matches!(here, Some(Error::Cancelled)), "{here:?}");
        assert!(matches!(there, Some(Error::PeerCancelled)), "{there:?}");
        assert!(!to.path().join("a").exists());
        assert!(fs::metadata(to.path().join(".a.xchg-part")).unwrap().len() > 0);
    }
}

/// Cancels the other peer's transfer when the offer is accepted.
struct OnAccept(Cancel);

impl Observer for OnAccept {
    fn begin(&mut self, _: usize, _: &Entry, _: u64) {
        self.0.cancel();
    }
}

#[test]
fn an_uploader_whose_input_hangs_still_hears_of_the_end() {
    let to = tempdir().unwrap();
    // The other end stays open and says nothing: reading blocks for ever.
    let (input, _silent) = std::io::pipe().unwrap();
    let outgoing = Outgoing::stream("stdin", Stream::new(input)).unwrap();
    let mut exchange = Exchange::new(outgoing, Destination::Directory(to.path().into()));
    exchange.downloader.observer = Box::new(OnAccept(exchange.downloader.cancel.clone()));
    let ended = exchange.run();
    assert!(matches!(ended.received, Err(Error::Cancelled)));
    let told = ended.sent.unwrap_err().to_string();
    assert_eq!(told, "the other side cancelled; a stream cannot be resumed, start both sides anew");
    assert!(snapshot(to.path()).is_empty(), "no empty partial is left");
}

#[test]
fn a_full_device_is_told_to_both_though_much_is_under_way() {
    let from = tempdir().unwrap();
    fs::write(from.path().join("a"), noise(1, 8_000_000)).unwrap();
    let mut full = File::options().write(true).open("/dev/full").unwrap();
    let outgoing = Outgoing::collect(&[from.path().join("a")], WalkOptions::default()).unwrap();
    let ended = Exchange::new(outgoing, Destination::Writer(&mut full)).run();
    assert!(matches!(ended.received, Err(Error::Files(FilesError::DiskFull { .. }))));
    assert!(matches!(ended.sent, Err(Error::Peer { .. })));
}

#[test]
fn a_destination_that_cannot_be_used_declines_without_naming_it() {
    let from = tempdir().unwrap();
    let ended = Exchange::of(from.path(), &PathBuf::from("/no/such/directory"))
        .options(PlaceOptions::default())
        .run();
    assert!(matches!(ended.received, Err(Error::Files(FilesError::Destination { .. }))));
    let told = ended.sent.unwrap_err().to_string();
    assert!(!told.contains("no/such"), "{told}");
}
