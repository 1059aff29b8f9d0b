//! A stream that is cut or altered anywhere never passes for a whole one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::{TempDir, tempdir};
use xchg_client::session::Error;

use crate::support::{
    Ended, Exchange, HANDSHAKE_BYTES, HELLO_BYTES, Line, boundaries, noise, snapshot,
};

const EMPTY_RECORD_BYTES: usize = 4 + 16;

fn source(big: usize) -> TempDir {
    let from = tempdir().unwrap();
    fs::create_dir(from.path().join("top")).unwrap();
    fs::write(from.path().join("top/a"), "first").unwrap();
    fs::write(from.path().join("top/b"), noise(1, big)).unwrap();
    fs::write(from.path().join("top/c"), "last").unwrap();
    from
}

/// One transfer to an empty directory, with these lines from uploader and downloader.
fn run(from: &Path, upload: Line, download: Line) -> (Ended, TempDir) {
    let to = tempdir().unwrap();
    let mut exchange = Exchange::of(&from.join("top"), to.path());
    exchange.uploader.line = upload;
    exchange.downloader.line = download;
    (exchange.run(), to)
}

/// What both peers write if nothing happens.
fn clean(from: &Path) -> (Vec<u8>, Vec<u8>) {
    let (upload, download) = (Line::default(), Line::default());
    let (ended, _to) = run(from, upload.clone(), download.clone());
    ended.unwrap();
    let take = |line: Line| Arc::into_inner(line.log).unwrap().into_inner().unwrap();
    (take(upload), take(download))
}

/// Each boundary with its neighbours, and some places in between.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![0, 1, 3, 20];
    for end in boundaries(bytes) {
        places.extend([end - 1, end, end + 1, end + 4, end + 100]);
    }
    const WORD: usize = size_of::<usize>();
    let total = bytes.len();
    let random = noise(5, 16 * WORD);
    places.extend(
        random.chunks(WORD).map(|number| usize::from_be_bytes(number.try_into().unwrap()) % total),
    );
    places.retain(|&place| place < total);
    places.sort_unstable();
    places.dedup();
    places
}

#[test]
fn a_cut_on_the_way_down_fails_on_both_sides() {
    let from = source(600_000);
    let (upload, _) = clean(from.path());
    for cut in places(&upload) {
        let line = Line { cut_at: Some(cut), ..Line::default() };
        let (ended, to) = run(from.path(), line, Line::default());
        assert!(ended.sent.is_err(), "cut at {cut}");
        assert!(ended.received.is_err(), "cut at {cut}");
        let placed = snapshot(to.path());
        let whole = |name: &str| placed.get(name) == snapshot(from.path()).get(name);
        for name in ["top/a", "top/b", "top/c"] {
            assert!(!placed.contains_key(name) || whole(name), "cut at {cut}: {name} is not whole");
        }
    }
}

#[test]
fn a_cut_on_the_way_up_never_passes_for_a_receipt() {
    let from = source(100_000);
    let (_, download) = clean(from.path());
    for cut in 0..download.len() {
        let line = Line { cut_at: Some(cut), ..Line::default() };
        let (ended, to) = run(from.path(), Line::default(), line);
        assert!(ended.sent.is_err(), "cut at {cut}");
        if ended.received.is_ok() {
            let placed: Vec<String> = snapshot(to.path()).into_keys().collect();
            assert_eq!(placed, ["top", "top/a", "top/b", "top/c"]);
        }
    }
}

/// Where the lengths of the hello and of each record are.
fn lengths(bytes: &[u8]) -> Vec<usize> {
    let headers = boundaries(bytes).into_iter().skip(1);
    let of_records = headers.flat_map(|at| [at + 1, at + 2, at + 3]);
    [1, 2].into_iter().chain(of_records).collect()
}

/// Whether a peer noticed by itself, or was told, rather than just finding the stream ended.
fn noticed(error: &Error) -> bool {
    match error {
        Error::Tampered | Error::WrongSecret | Error::Protocol(_) | Error::Version { .. } => true,
        Error::Peer { text } => text.contains("altered"),
        _ => false,
    }
}

#[test]
fn altering_any_byte_is_noticed() {
    let from = source(50);
    let (upload, download) = clean(from.path());
    for (bytes, downwards) in [(&upload, true), (&download, false)] {
        let lengths = lengths(bytes);
        // One peer then finds the secrets right, and the other waits a while for it to notice: a
        // few will do.
        let confirmation = HELLO_BYTES + 1..HANDSHAKE_BYTES - 1;
        for place in (0..bytes.len()).filter(|place| !confirmation.contains(place)) {
            let altered = Line {
                flip_at: Some(place),
                end_after_flip: lengths.contains(&place),
                ..Line::default()
            };
            let (upload, download) =
                if downwards { (altered, Line::default()) } else { (Line::default(), altered) };
            let (ended, _to) = run(from.path(), upload, download);
            if downwards && place >= bytes.len() - EMPTY_RECORD_BYTES {
                // The uploader's last record comes after all content, and says nothing.
                ended.received.expect("everything is in place");
                continue;
            }
            let sent = ended.sent.expect_err("no receipt for altered bytes");
            let fails = |error: &Error| lengths.contains(&place) || noticed(error);
            match ended.received {
                Err(received) => assert!(
                    fails(&sent) || fails(&received),
                    "altered at {place}, downwards {downwards}: {sent} / {received}"
                ),
                // The receipt was altered: everything is in place already.
                Ok(_) => assert!(!downwards && fails(&sent), "altered at {place}"),
            }
        }
    }
}

#[test]
fn an_altered_record_is_called_so() {
    let from = source(50);
    let (upload, download) = clean(from.path());
    let line = Line { flip_at: Some(upload.len() - EMPTY_RECORD_BYTES - 1), ..Line::default() };
    let (ended, _to) = run(from.path(), line, Line::default());
    assert!(matches!(ended.received, Err(Error::Tampered)));
    assert!(matches!(ended.sent, Err(Error::Peer { .. })));
    let line = Line { flip_at: Some(download.len() - 1), ..Line::default() };
    let (ended, _to) = run(from.path(), Line::default(), line);
    assert!(matches!(ended.sent, Err(Error::Tampered)));
}
