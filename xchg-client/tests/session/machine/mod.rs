//! Two sessions that know no I/O, run against each other in memory: byte by byte and in any pieces,
//! with a line that is lost anywhere, and a clock that nobody waits for.

mod peers;

use std::time::Duration;

use proptest::prelude::*;
use xchg_client::files::{Error as FilesError, Kind};
use xchg_client::session::Error;
use xchg_client::session::download::Refusal;

use crate::support::{boundaries, noise};
use peers::{Disk, Downloader, Line, Uploader, downloader, file, uploader};

const SECRET: &str = "swordfish";

type Contents = Vec<(Kind, Vec<u8>)>;

fn files(sizes: &[usize]) -> Contents {
    let numbered = (1..).zip(sizes);
    numbered.map(|(seed, &size)| (file(size), noise(seed, size))).collect()
}

/// Runs both, with pieces of any size.
fn run(uploader: &mut Uploader, downloader: &mut Downloader) -> Line {
    run_on(Line::default(), uploader, downloader)
}

fn run_on(mut line: Line, uploader: &mut Uploader, downloader: &mut Downloader) -> Line {
    line.run(uploader, downloader, &mut || usize::MAX);
    line
}

fn assert_whole(contents: &Contents, uploader: &Uploader, downloader: &Downloader) {
    assert!(matches!(uploader.ended, Some(Ok(()))), "{:?}", uploader.ended);
    assert!(matches!(downloader.ended, Some(Ok(()))), "{:?}", downloader.ended);
    assert!(downloader.files.is_placed);
    let sent: Vec<&Vec<u8>> = contents.iter().map(|(_, content)| content).collect();
    let arrived: Vec<&Vec<u8>> = downloader.files.contents.iter().collect();
    assert!(sent == arrived, "what arrives is what was sent");
}

/// Little that goes with the offer, more than that, a stream, a text, nothing at all.
fn any_contents() -> impl Strategy<Value = Contents> {
    let sized = proptest::collection::vec(prop_oneof![0..100_usize, 0..400_000_usize], 1..6);
    let sizes = sized.prop_map(|sizes| files(&sizes));
    let stream = (0..400_000_usize).prop_map(|size| vec![(Kind::Stream, noise(9, size))]);
    let text =
        (0..5000_usize).prop_map(|size| vec![(Kind::Text { size: size as u64 }, vec![b'x'; size])]);
    prop_oneof![4 => sizes, 1 => stream, 1 => text]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn all_arrives_whatever_pieces_the_line_makes_of_it(
        contents in any_contents(),
        piece in 1..100_000_usize,
        pieces in proptest::collection::vec(prop_oneof![1..60_usize, 1..300_000_usize], 1..20),
    ) {
        let mut uploader = uploader(contents.clone(), SECRET);
        uploader.files.piece = piece;
        let mut downloader = downloader(Disk::default(), SECRET);
        // Some pieces are big, lest a big file takes for ever.
        let mut pieces = pieces.into_iter().chain([300_000]).collect::<Vec<_>>().into_iter().cycle();
        let mut chop = || pieces.next().expect("it repeats");
        Line::default().run(&mut uploader, &mut downloader, &mut chop);
        assert_whole(&contents, &uploader, &downloader);
    }

    #[test]
    fn what_was_lost_anywhere_is_gone_on_with(
        contents in any_contents(),
        place in any::<prop::sample::Index>(),
        side in 0..2_usize,
    ) {
        let (mut up, mut down) = (uploader(contents.clone(), SECRET), downloader(Disk::default(), SECRET));
        let clean = run(&mut up, &mut down);
        let cut = place.index(clean.log[side].len());
        let (down, _) = cut_at(&contents, Disk::default(), side, cut);
        resume(&contents, down, side, cut);
    }
}

#[test]
fn all_arrives_byte_by_byte() {
    for contents in [files(&[5, 0, 700]), files(&[70_000]), vec![(Kind::Stream, noise(1, 900))]] {
        let mut uploader = uploader(contents.clone(), SECRET);
        let mut downloader = downloader(Disk::default(), SECRET);
        Line::default().run(&mut uploader, &mut downloader, &mut || 1);
        assert_whole(&contents, &uploader, &downloader);
    }
}

/// Runs a transfer whose line is lost when `side` has sent `cut` bytes.
fn cut_at(contents: &Contents, disk: Disk, side: usize, cut: usize) -> (Downloader, Uploader) {
    let mut uploader = uploader(contents.clone(), SECRET);
    let mut downloader = downloader(disk, SECRET);
    run_on(Line { cut: Some((side, cut)), ..Line::default() }, &mut uploader, &mut downloader);
    let sent = uploader.ended.as_ref().expect("the line was lost");
    match sent {
        Ok(()) => assert!(downloader.files.is_placed, "a receipt is for what is in place"),
        Err(error) => assert!(
            matches!(error, Error::Lost | Error::Unconfirmed { .. }),
            "lost at {cut} of {side}: {error:?}"
        ),
    }
    for (number, content) in downloader.files.contents.iter().enumerate() {
        assert!(contents[number].1.starts_with(content), "nothing wrong is kept");
    }
    (downloader, uploader)
}

/// Goes on after a loss; only the rest is sent.
fn resume(contents: &Contents, lost: Downloader, side: usize, cut: usize) {
    let sizes = contents.iter().zip(&lost.files.contents);
    let files = sizes.filter(|((kind, _), _)| matches!(kind, Kind::File { .. }));
    let kept: usize = files.map(|(_, here)| here.len()).sum();
    let disk = Disk { contents: lost.files.contents, ..Disk::default() };
    let (mut uploader, mut downloader) =
        (uploader(contents.clone(), SECRET), downloader(disk, SECRET));
    run(&mut uploader, &mut downloader);
    assert_whole(contents, &uploader, &downloader);
    let all: usize = contents.iter().map(|(_, content)| content.len()).sum();
    let moved = downloader.session.role().moved();
    assert_eq!(moved, (all - kept) as u64, "after a loss at {cut} of {side}");
    assert_eq!(uploader.session.role().moved(), moved);
}

#[test]
fn a_line_that_is_lost_at_any_message_loses_nothing_that_arrived() {
    // What is there already makes for proofs; what is big for several records.
    let contents = files(&[100, 600_000, 3, 70_000]);
    let some = || Disk { contents: vec![noise(1, 60), noise(2, 300_000)], ..Disk::default() };
    let (mut up, mut down) = (uploader(contents.clone(), SECRET), downloader(some(), SECRET));
    let clean = run(&mut up, &mut down);
    assert_whole(&contents, &up, &down);
    assert_eq!(up.session.role().moved(), 670_103 - 300_060);
    for (side, log) in clean.log.iter().enumerate() {
        let ends = boundaries(log);
        assert!(ends.len() > 4, "there are several records");
        for end in [0].into_iter().chain(ends) {
            for cut in [end.saturating_sub(1), end, end + 1, end + 500] {
                if cut < log.len() {
                    let (down, _) = cut_at(&contents, some(), side, cut);
                    resume(&contents, down, side, cut);
                }
            }
        }
    }
}

#[test]
fn a_byte_that_was_altered_anywhere_never_passes() {
    let contents = files(&[50, 5]);
    let (mut up, mut down) =
        (uploader(contents.clone(), SECRET), downloader(Disk::default(), SECRET));
    let clean = run(&mut up, &mut down);
    for side in 0..2 {
        for place in 0..clean.log[side].len() {
            let mut uploader = uploader(contents.clone(), SECRET);
            let mut downloader = downloader(Disk::default(), SECRET);
            let line = Line { flip: Some((side, place)), ..Line::default() };
            run_on(line, &mut uploader, &mut downloader);
            let is_last_record = side == 0 && place >= clean.log[0].len() - 20;
            if is_last_record {
                // The uploader's last record comes after all content, and says nothing.
                assert!(downloader.files.is_placed);
            } else {
                let sent = uploader.ended.as_ref();
                assert!(matches!(sent, Some(Err(_))), "altered at {place} of {side}: {sent:?}");
            }
        }
    }
}

#[test]
fn other_secrets_are_told_to_both_and_are_a_guess() {
    let mut uploader = uploader(files(&[5]), SECRET);
    let mut downloader = downloader(Disk::default(), "herring");
    run(&mut uploader, &mut downloader);
    for ended in [uploader.ended, downloader.ended] {
        assert!(matches!(ended, Some(Err(Error::WrongSecret))), "{ended:?}");
    }
    assert!(downloader.files.contents.is_empty());
}

#[test]
fn a_refusal_reaches_the_uploader_in_its_words() {
    let unable = Refusal::Unable("no room".into());
    for refusal in [Refusal::Decline("no, thanks".into()), unable] {
        let mut uploader = uploader(files(&[5_000_000]), SECRET);
        let disk = Disk { refusal: Some(refusal.clone()), ..Disk::default() };
        let mut downloader = downloader(disk, SECRET);
        run(&mut uploader, &mut downloader);
        assert!(matches!(downloader.ended, Some(Err(Error::DeclinedHere))));
        let told = match uploader.ended {
            Some(Err(Error::Declined { reason })) => Refusal::Decline(reason),
            Some(Err(Error::Unable { reason })) => Refusal::Unable(reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(told, refusal);
    }
}

#[test]
fn what_fails_or_is_cancelled_here_is_told_there() {
    let contents = files(&[3_000_000]);
    let cancels = |line: &Line| line.log[0].len() > 1_000_000;
    for (cancelling, error) in [
        (0, Error::Cancelled),
        (1, Error::Cancelled),
        (0, FilesError::Changed { path: "a".into() }.into()),
        (1, FilesError::Changed { path: "a".into() }.into()),
    ] {
        let is_cancelled = matches!(error, Error::Cancelled);
        let mut error = Some(error);
        let (mut up, mut down) =
            (uploader(contents.clone(), SECRET), downloader(Disk::default(), SECRET));
        let mut line = Line::default();
        line.run_while(&mut up, &mut down, &mut || 100_000, &|line| !cancels(line));
        let error = error.take().expect("it is used once");
        let (here, there) = match cancelling {
            0 => {
                up.ended = Some(Err(up.session.fail(error)));
                line.run(&mut up, &mut down, &mut || usize::MAX);
                (up.ended, down.ended)
            }
            _ => {
                down.ended = Some(Err(down.session.fail(error)));
                line.run(&mut up, &mut down, &mut || usize::MAX);
                (down.ended, up.ended)
            }
        };
        assert!(here.is_some_and(|ended| ended.is_err()));
        match there {
            Some(Err(Error::PeerCancelled)) => assert!(is_cancelled),
            Some(Err(Error::Peer { .. })) => assert!(!is_cancelled),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_peer_that_thinks_is_alive_and_one_that_says_nothing_is_lost() {
    let contents = files(&[500_000]);
    let hour = Duration::from_secs(3600);
    let mut up = uploader(contents.clone(), SECRET);
    let mut down = downloader(Disk { thinks: hour, ..Disk::default() }, SECRET);
    let line = run(&mut up, &mut down);
    assert_whole(&contents, &up, &down);
    assert!(line.now >= hour);
    let records = boundaries(&line.log[1]).len();
    assert!((360..400).contains(&records), "a sign of life every 10 seconds: {records}");

    // Each is lost to the other after 30 seconds of silence.
    let (mut up, mut down) =
        (uploader(contents.clone(), SECRET), downloader(Disk::default(), SECRET));
    let mut line = Line { is_silent: true, ..Line::default() };
    line.run(&mut up, &mut down, &mut || usize::MAX);
    for ended in [up.ended, down.ended] {
        assert!(matches!(ended, Some(Err(Error::Silent))), "no guess: {ended:?}");
    }
    assert!(line.now <= Duration::from_secs(45), "{:?}", line.now);
}

#[test]
fn who_closes_before_the_secrets_are_compared_may_have_guessed() {
    let (mut up, mut down) = (uploader(files(&[5]), SECRET), downloader(Disk::default(), SECRET));
    // The downloader's hello, and a byte of its confirmation.
    run_on(Line { cut: Some((1, 42)), ..Line::default() }, &mut up, &mut down);
    let ended = up.ended.expect("the line was lost").expect_err("nothing was said");
    assert!(ended.is_guess(), "{ended:?}");
    // Nobody could guess at anything that has no secret, nor before our confirmation was sent.
    for (secret, cut) in [("", 42), (SECRET, 40)] {
        let (mut up, mut down) =
            (uploader(files(&[5]), secret), downloader(Disk::default(), secret));
        run_on(Line { cut: Some((1, cut)), ..Line::default() }, &mut up, &mut down);
        let ended = up.ended.expect("the line was lost").expect_err("nothing was said");
        assert!(matches!(ended, Error::Lost), "{ended:?}");
    }
}
