//! Going on from what an earlier run left.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::tempdir;
use xchg_client::files::{Error as FilesError, Existing, PlaceOptions};
use xchg_client::session::Error;
use xchg_client::{Downloaded, Uploaded};

use crate::support::{Ended, Exchange, Line, noise, snapshot};

const PART: &str = ".a.xchg-part";

fn resuming(existing: Existing) -> PlaceOptions {
    PlaceOptions::default().existing(existing)
}

fn run(from: &Path, to: &Path, options: PlaceOptions) -> Ended {
    Exchange::of(from, to).options(options).run()
}

/// Sends `content` over a partial that holds `partial`.
fn resume(content: &[u8], partial: &[u8]) -> (Uploaded, Downloaded) {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(from.path().join("a"), content).unwrap();
    fs::write(to.path().join(PART), partial).unwrap();
    let options = resuming(Existing::Refuse);
    let ended = run(&from.path().join("a"), to.path(), options).unwrap();
    assert_eq!(fs::read(to.path().join("a")).unwrap(), content);
    assert_eq!(snapshot(to.path()).len(), 1, "the partial is gone");
    ended
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_partial_is_continued_if_it_is_right_and_dropped_if_not(
        size in 1_usize..700_000,
        had_permille in 0..1300_usize,
        corrupt in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let content = noise(1, size);
        let had = size * had_permille / 1000;
        let mut partial = content.iter().copied().chain(noise(2, had)).take(had).collect::<Vec<_>>();
        let useful = had.min(size);
        let corrupt = corrupt.filter(|_| useful > 0).map(|index| index.index(useful));
        if let Some(place) = corrupt {
            partial[place] ^= 1;
        }
        let (sent, received) = resume(&content, &partial);
        let kept = if corrupt.is_some() { 0 } else { useful };
        prop_assert_eq!(sent.moved, (size - kept) as u64);
        prop_assert_eq!((received.moved, received.bytes), (sent.moved, size as u64));
    }
}

#[test]
fn a_file_that_was_cut_in_a_hole_is_resumed_in_it() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let path = from.path().join("a");
    let content = [&noise(1, 100_000)[..], &vec![0; 3_000_000], b"end"].concat();
    fs::write(&path, &content).unwrap();
    let mut exchange = Exchange::of(&path, to.path());
    exchange.uploader.line = Line { cut_at: Some(1_500_000), ..Line::default() };
    assert!(exchange.run().received.is_err());
    let partial = fs::metadata(to.path().join(PART)).unwrap().len();
    assert!(partial > 500_000, "{partial} bytes were kept");
    let (sent, _) = run(&path, to.path(), resuming(Existing::Refuse)).unwrap();
    assert_eq!(sent.moved, content.len() as u64 - partial);
    assert!(fs::read(to.path().join("a")).unwrap() == content);
}

#[test]
fn a_lost_transfer_is_resumed_where_it_was_cut() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("a"), noise(1, 1_000)).unwrap();
    fs::write(top.join("b"), noise(2, 2_000_000)).unwrap();
    fs::write(top.join("c"), noise(3, 1_000)).unwrap();
    let mut exchange = Exchange::of(&top, to.path());
    exchange.uploader.line = Line { cut_at: Some(1_200_000), ..Line::default() };
    assert!(exchange.run().received.is_err());
    let partial = fs::metadata(to.path().join("top/.b.xchg-part")).unwrap().len();
    assert!(partial > 500_000, "{partial} bytes were kept");

    let (sent, received) = run(&top, to.path(), resuming(Existing::Refuse)).unwrap();
    assert_eq!(sent.moved, 2_000_000 - partial + 1_000);
    assert_eq!(received.bytes, 2_002_000);
    assert_eq!(snapshot(to.path()), snapshot(from.path()));

    // And once more: nothing is left to do.
    let (sent, _) = run(&top, to.path(), resuming(Existing::Refuse)).unwrap();
    assert_eq!((sent.moved, sent.bytes), (0, 2_002_000));
    assert_eq!(snapshot(to.path()), snapshot(from.path()));
}

#[test]
fn a_file_of_the_same_size_that_differs_is_not_taken_for_the_same() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(from.path().join("a"), "new").unwrap();
    let read = |name: &str| fs::read_to_string(to.path().join(name)).unwrap();
    let source = from.path().join("a");

    fs::write(to.path().join("a"), "old").unwrap();
    let ended = run(&source, to.path(), resuming(Existing::Refuse));
    assert!(matches!(ended.received, Err(Error::Files(FilesError::Exists { .. }))));
    assert!(matches!(ended.sent, Err(Error::Unable { .. })));
    assert_eq!(read("a"), "old");

    run(&source, to.path(), resuming(Existing::Rename)).unwrap();
    assert_eq!((read("a"), read("a (1)")), ("old".into(), "new".into()));

    run(&source, to.path(), resuming(Existing::Overwrite)).unwrap();
    assert_eq!(read("a"), "new");
}

#[test]
fn without_resume_a_partial_is_begun_afresh() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let content = noise(1, 1000);
    fs::write(from.path().join("a"), &content).unwrap();
    fs::write(to.path().join(PART), &content[..500]).unwrap();
    let source = from.path().join("a");
    let (sent, _) = run(&source, to.path(), PlaceOptions::default().resume(false)).unwrap();
    assert_eq!(sent.moved, 1000);
    assert_eq!(fs::read(to.path().join("a")).unwrap(), content);
}

#[test]
fn empty_files_are_the_same_when_resumed() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    for directory in [&from, &to] {
        fs::write(directory.path().join("a"), "").unwrap();
    }
    let source = from.path().join("a");
    run(&source, to.path(), resuming(Existing::Refuse)).unwrap();
    assert_eq!(snapshot(to.path()).len(), 1);
}
