//! What the fuzz targets run, for any bytes; see `fuzz/`. The tests run the same over its seeds.

use crate::dialect::http::{
    Action, Body, BodyDecoder, Head, MAX_HEAD_BYTES, MultipartBody, Step, health, parse,
};
use crate::dialect::proxy::{self, Header};
use crate::dialect::{Detected, Dialect, Heard, MAX_GREETING_LEN, detect};
use crate::origin::Origin;

/// Takes `data` for what a peer of any dialect but http begins with.
pub fn greetings(data: &[u8]) {
    let heard = |part: &[u8]| detect(part, part.len().saturating_sub(1), &Dialect::ALL);
    let all = heard(data);
    for cut in 0..data.len().min(64) {
        let part = heard(&data[..cut]);
        assert!(
            part == all || matches!(part, Detected::Partial | Detected::InSilence(_)),
            "{part:?} of {cut} bytes, {all:?} of all"
        );
    }
    if let Detected::Dialect(dialect) = all {
        heard_in_pieces(dialect, data);
    }
}

/// Takes `data` for what a proxy says first, and what its peer says behind it.
pub fn proxy_headers(data: &[u8]) {
    let all = proxy::parse(data);
    for cut in 0..data.len().min(proxy::MAX_LEN + 1) {
        let part = proxy::parse(&data[..cut]);
        assert!(part == all || part == Header::Partial, "{part:?} of {cut} bytes, {all:?} of all");
    }
    match all {
        Header::Partial => assert!(data.len() < proxy::MAX_LEN),
        Header::Whole { len, peer } => {
            assert_eq!(proxy::parse(&data[..len]), all);
            assert_eq!(
                proxy::parse(&data[..len - 1]),
                Header::Partial,
                "it was whole before its end"
            );
            if let proxy::Peer::At(address) = peer {
                assert!(!Origin::behind_proxy(Some(address)).is_local());
            }
            greetings(&data[len..]);
        }
        Header::Bad => {}
    }
}

/// A greeting is partial until it is whole or wrong, which more bytes do not change. None is
/// partial beyond all bounds.
fn heard_in_pieces(dialect: Dialect, data: &[u8]) {
    let shown = |bytes| format!("{:?}", dialect.hear(bytes));
    let most = data.len().min(MAX_GREETING_LEN + 1);
    match dialect.hear(data) {
        Heard::Partial => assert!(data.len() < MAX_GREETING_LEN),
        Heard::Ask { len, .. } => assert!((1..=data.len()).contains(&len)),
        Heard::Malformed { text, .. } => assert!(!text.is_empty()),
        Heard::Requests => return,
    }
    // Only of a classic uploader more is expected, and a greeting that others go on after was none.
    let is_whole = |cut| dialect == Dialect::Classic && data[0] != b'P' && cut == 9;
    for cut in (0..most).filter(|&cut| !is_whole(cut)) {
        let part = &data[..cut];
        if !matches!(dialect.hear(part), Heard::Partial) {
            assert_eq!(shown(part), shown(data), "of {cut} bytes, and of all");
        }
    }
}

/// Takes `data` for the requests that a web client sends on one connection, with their bodies.
pub fn requests(mut data: &[u8]) {
    loop {
        let (len, request) = match parse(data) {
            Head::Partial => return assert!(data.len() < MAX_HEAD_BYTES),
            Head::Bad(words) => return assert!(words.starts_with(b"HTTP/1.1 ")),
            Head::Request { len, request } => (len, request),
        };
        match parse(&data[..len]) {
            Head::Request { len: alone, request: same } => {
                assert_eq!((alone, &same), (len, &request))
            }
            head => panic!("{head:?} of a whole head"),
        }
        assert!(
            matches!(parse(&data[..len - 1]), Head::Partial),
            "the head was whole before its end"
        );
        let rest = &data[len..];
        match request.action() {
            Action::Reply { bytes, keep_alive } => {
                assert!(bytes.starts_with(b"HTTP/1."));
                if !keep_alive {
                    return;
                }
                data = rest;
            }
            Action::Health(to) => {
                assert!(health(to, false).starts_with(b"HTTP/1."));
                if !to.keep_alive {
                    return;
                }
                data = rest;
            }
            Action::Download(_) => return,
            Action::Upload(mut upload) => {
                let at_once = read(upload.open().0, rest, rest.len());
                let Head::Request { request, .. } = parse(data) else { unreachable!("it was one") };
                let Action::Upload(mut upload) = request.action() else {
                    unreachable!("it was one")
                };
                let in_pieces = read(upload.open().0, rest, 1);
                assert_eq!(at_once, in_pieces);
                let Read::Whole { len, .. } = at_once else { return };
                data = &rest[len..];
            }
        }
    }
}

/// What comes of a body.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Whole { payload: Vec<u8>, len: usize },
    Partial { payload: Vec<u8> },
    Bad,
}

/// Reads the body that `input` begins with, so many bytes at a time.
fn read(body: Body, input: &[u8], piece: usize) -> Read {
    match body {
        Body::Framed(decoder) => read_framed(decoder, input, piece),
        Body::Form(form) => read_form(*form, input, piece),
    }
}

fn read_framed(mut decoder: BodyDecoder, input: &[u8], piece: usize) -> Read {
    let (mut payload, mut taken, mut there) = (Vec::new(), 0, piece.min(input.len()));
    loop {
        match decoder.next(&input[taken..there]) {
            Step::Skip(n) => {
                assert!(n > 0 && n <= there - taken);
                taken += n;
            }
            Step::Pass(n) if taken < there => {
                assert!(n > 0);
                let n = usize::try_from(n).unwrap_or(usize::MAX).min(there - taken);
                payload.extend_from_slice(&input[taken..taken + n]);
                decoder.passed(n as u64);
                taken += n;
            }
            Step::Pass(_) | Step::NeedMore if there < input.len() => {
                assert_eq!(taken, there);
                there = (there + piece).min(input.len());
            }
            Step::Pass(_) | Step::NeedMore => return Read::Partial { payload },
            Step::End => return Read::Whole { payload, len: taken },
            Step::Bad(_) => return Read::Bad,
        }
    }
}

fn read_form(mut form: MultipartBody, input: &[u8], piece: usize) -> Read {
    let (mut payload, mut taken) = (Vec::new(), 0);
    loop {
        let part = &input[taken..input.len().min(taken + piece)];
        match form.decode(part, &mut payload) {
            Ok(n) => taken += n,
            Err(_) => return Read::Bad,
        }
        if form.has_ended() {
            return Read::Whole { payload, len: taken };
        }
        if taken == input.len() {
            return Read::Partial { payload };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn replay(target: &str, body: fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut count = 0;
        for seed in fs::read_dir(seeds).unwrap() {
            body(&fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "no seeds of {target}");
    }

    #[test]
    fn greetings_of_the_seeds() {
        replay("greetings", greetings);
    }

    #[test]
    fn proxy_headers_of_the_seeds() {
        replay("proxy_headers", proxy_headers);
    }

    #[test]
    fn requests_of_the_seeds() {
        replay("requests", requests);
    }
}
