//! First bytes to dialect, by their shape: which of the dialects they may be the beginning of, and
//! which they cannot.
//!
//! **Shapes, not first bytes.** A proxy sends on whatever method a stranger makes up, and hands
//! what comes back to the next visitor as the answer: so nothing that has the shape of a request
//! line may be another dialect's (`dialect/detect.rs`, PROTOCOL.md section 3). Nine letters of a
//! classic greeting could be the beginning of one, and only silence tells them apart
//! (`State::Undecided`): those wait 200 ms. A download under eight letters that comes in one piece
//! does not: no sender of requests sends nine bytes of its line, and then the others, and each such
//! download would take 200 ms instead of a tenth of one.

use std::time::Duration;

use xchg_core::wire::MAGIC;

use super::{Dialect, classic, http, proxy, transit};

/// The longest greeting of any dialect but http, in bytes: a native head and body.
pub(crate) const MAX_GREETING_LEN: usize = 8 + xchg_core::wire::MAX_BODY_LEN;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detected {
    /// More must come.
    Partial,
    /// A dialect.
    Dialect(Dialect),
    /// A dialect if nothing follows for [`SILENCE`], or the stream has ended; with more bytes the
    /// question is open again.
    InSilence(Dialect),
    /// Nothing that is spoken here.
    Unknown,
    /// What a proxy says first, where nobody expects one.
    Proxy,
}

/// How long a peer says nothing to have said all. What a proxy or a browser sends of a request's
/// first line leaves in one piece, or within milliseconds.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// Tells which of the dialects `spoken` here a peer speaks that began with `bytes`, of which
/// `earlier` had been heard before the rest came.
///
/// What has the shape of a request line is http or nothing: a proxy may have sent it on for a
/// stranger, and takes what it gets for the answer. More bytes change what is said only after
/// [`Detected::Partial`] and [`Detected::InSilence`].
pub(crate) fn detect(bytes: &[u8], earlier: usize, spoken: &[Dialect]) -> Detected {
    let is_spoken = |dialect: &Dialect| spoken.contains(dialect);
    let line = http::request_line(bytes);
    if line == Agreement::Full {
        let http = Detected::Dialect(Dialect::Http);
        return if is_spoken(&Dialect::Http) { http } else { Detected::Unknown };
    }
    let proxy = proxy::begins(bytes);
    if proxy == Agreement::Full && line == Agreement::None {
        return Detected::Proxy;
    }
    let others = [Dialect::Native, Dialect::Transit, Dialect::Classic].into_iter();
    let best = others.filter(is_spoken).max_by_key(|&other| agreement(other, bytes));
    match best.map(|other| (other, agreement(other, bytes))) {
        // `PROXY TCP` is an upload's greeting, too.
        Some((Dialect::Classic, Agreement::Full)) if proxy != Agreement::None => {
            Detected::InSilence(Dialect::Classic)
        }
        Some((Dialect::Classic, Agreement::Full)) => classic(bytes, earlier, line),
        Some((other, Agreement::Full)) if line == Agreement::None => Detected::Dialect(other),
        Some((_, Agreement::Full | Agreement::SoFar)) => Detected::Partial,
        _ if line == Agreement::SoFar && is_spoken(&Dialect::Http) => Detected::Partial,
        _ if proxy == Agreement::SoFar => Detected::Partial,
        _ => Detected::Unknown,
    }
}

/// What nine bytes or more say that begin with a classic command, and are a request line as far as
/// `line` says.
fn classic(bytes: &[u8], earlier: usize, line: Agreement) -> Detected {
    let is_greeting_only = bytes.len() == classic::GREETING_LEN;
    match (bytes[0], line) {
        // It cannot be taken back.
        (b'F', _) if is_greeting_only => Detected::InSilence(Dialect::Classic),
        (_, Agreement::None) => Detected::Dialect(Dialect::Classic),
        (b'P', _) => Detected::InSilence(Dialect::Classic),
        // Downloads under keys of eight letters are not worth a delay: nobody sends nine letters of
        // a method, and then the others.
        (b'G', _) if is_greeting_only && earlier == 0 && !bytes.contains(&b' ') => {
            Detected::Dialect(Dialect::Classic)
        }
        (b'G', _) if is_greeting_only => Detected::InSilence(Dialect::Classic),
        // Only an uploader has more to say.
        _ => Detected::Partial,
    }
}

/// How far bytes agree with what something begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreement {
    None,
    SoFar,
    Full,
}

impl Agreement {
    /// How far `bytes` agree with `first`.
    pub(crate) fn of(bytes: &[u8], first: &[u8]) -> Self {
        if bytes.starts_with(first) {
            Self::Full
        } else if first.starts_with(bytes) {
            Self::SoFar
        } else {
            Self::None
        }
    }
}

fn agreement(dialect: Dialect, bytes: &[u8]) -> Agreement {
    match (dialect, bytes) {
        (Dialect::Native, _) => Agreement::of(bytes, &MAGIC),
        (Dialect::Transit, _) => Agreement::of(bytes, transit::FIRST_BYTES),
        (Dialect::Http, _) => http::request_line(bytes),
        (Dialect::Classic, [] | [b'P' | b'G' | b'F', ..]) => {
            let is_whole = bytes.len() >= classic::GREETING_LEN;
            if is_whole { Agreement::Full } else { Agreement::SoFar }
        }
        (Dialect::Classic, _) => Agreement::None,
    }
}

/// To a peer that speaks none of the dialects `spoken` here. Text, for it is likely a person or a
/// log that reads it.
pub(crate) fn what_we_speak(spoken: &[Dialect]) -> Vec<u8> {
    let names: Vec<&str> = spoken.iter().map(|dialect| dialect.as_str()).collect();
    let mut text = format!("This is an xchg server. It speaks: {}.\n", names.join(", "));
    if spoken.contains(&Dialect::Native) {
        text += "Upload and download with xchg-client.\n";
    }
    if spoken.contains(&Dialect::Http) {
        text += "Upload:   curl -T FILE http://HOST:PORT/KEY\n\
                 Download: curl -o FILE http://HOST:PORT/KEY\n";
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Detected::{Dialect as Speaks, InSilence, Partial, Proxy, Unknown};
    use super::Dialect::{Classic, Http, Native, Transit};
    use super::*;
    use crate::dialect::http::MAX_HEAD_BYTES;

    /// What a peer of any dialect is taken for whose last byte came alone.
    fn heard(bytes: &[u8]) -> Detected {
        detect(bytes, bytes.len().saturating_sub(1), &Dialect::ALL)
    }

    #[test]
    fn first_bytes_decide() {
        for (bytes, expected) in [
            (&b""[..], Partial),
            (b"x", Partial),
            (b"xchg", Partial),
            (b"xchg\x01", Speaks(Native)),
            (b"xchg\x7f", Speaks(Native)),
            (b"xchg /", Speaks(Http)),
            (b"xchgx", Partial),
            (b"xchgx /", Speaks(Http)),
            (b"xchg:", Speaks(Native)),
            (b"xchm\x01", Unknown),
            (b"please ", Partial),
            (b"please relay", Partial),
            (b"please relay 0", Speaks(Transit)),
            (b"please relay H", Partial),
            (b"please relay HT0", Speaks(Transit)),
            (b"please relay HTTP/", Speaks(Http)),
            (b"please receive\n", Speaks(Transit)),
            (b"please r\n", Speaks(Transit)),
            (b"please /", Speaks(Http)),
            (b"pleased\n", Unknown),
            (b"PUT ", Partial),
            (b"PUT /", Speaks(Http)),
            (b"PUT  /", Speaks(Http)),
            (b"PUT *", Speaks(Http)),
            (b"PUT /a HTTP/1.1\r\n", Speaks(Http)),
            (b"PUT\0\0\0\0\0", Partial),
            (b"PUT\0\0\0\0\0\0", Speaks(Classic)),
            (b"PUTs", Partial),
            (b"PUT http", Speaks(Http)),
            (b"PUT HttPs:", Speaks(Http)),
            (b"PUT htt", Partial),
            (b"PUT htx", Partial),
            (b"PUT htx\r\n\0\0", Speaks(Classic)),
            (b"PROPFIND /", Speaks(Http)),
            (b"PROPPATCH", InSilence(Classic)),
            (b"PROPPATCH ", InSilence(Classic)),
            (b"PROPPATCH /", Speaks(Http)),
            (b"Pabcdefghhello", InSilence(Classic)),
            (b"Pabcdefghhello world", InSilence(Classic)),
            (b"Pabcdefghhello world ", InSilence(Classic)),
            (b"Pabcdefghhello world again", Speaks(Classic)),
            (b"Pabcdefghhello world HTTP", InSilence(Classic)),
            (b"Pabcdefghhello world HTTP/", Speaks(Http)),
            (b"Pabcdefghhello world\n", Speaks(Classic)),
            (b"Pabcdefgh{", Speaks(Classic)),
            (b"Pa\0\0\0\0\0\0\0", Speaks(Classic)),
            (b"PATCH /", Speaks(Http)),
            (b"PRI * HTTP/2.0", Speaks(Http)),
            (b"PROXY TCP", InSilence(Classic)),
            (b"PROXY TCP4", InSilence(Classic)),
            (b"PROXY TCP4 ", InSilence(Classic)),
            (b"PROXY TCP4 192.0.2.7 ", Proxy),
            (b"PROXY TCP6 2001:db8::7", Proxy),
            (b"PROXY TCP4 HTTP/1.1", Speaks(Http)),
            (b"PROXY TCP5 x y\r\n", Speaks(Classic)),
            (b"PROXY UNK", InSilence(Classic)),
            (b"PROXY UNKNOWN\r\n", Proxy),
            (b"\r\n\r\n\0\r\nQUIT", Partial),
            (b"\r\n\r\n\0\r\nQUIT\n", Proxy),
            (b"\r\n\r\n\0\r\nQUIX", Unknown),
            (b"POST", Partial),
            (b"GET", Partial),
            (b"GET *", Speaks(Http)),
            (b"GET\r\n", Partial),
            (b"GET\r\n\0\0\0\0", Speaks(Classic)),
            (b"Gstocks\0", Partial),
            (b"Gstocks\0\0", Speaks(Classic)),
            (b"Gstocks\0\0 ", Speaks(Classic)),
            (b"GABCDEFG ", InSilence(Classic)),
            (b"GABCDEFG /", Speaks(Http)),
            (b"GABCDEFGH", InSilence(Classic)),
            (b"GABCDEFGHI", Partial),
            (b"GABCDEFGHI /", Speaks(Http)),
            (b"GABCDEFGHI\n", Speaks(Classic)),
            (b"F", Partial),
            (b"FOO /", Speaks(Http)),
            (b"F\0\0\0\0\0\0\0", Partial),
            (b"F\0\0\0\0\0\0\0\0", InSilence(Classic)),
            (b"F\0\0\0\0\0\0\0\0\0", Speaks(Classic)),
            (b"FABCDEFGH", InSilence(Classic)),
            (b"FABCDEFGHI", Partial),
            (b"H", Partial),
            (b"hello", Partial),
            (b"hello\r\n", Unknown),
            (b"HELO me", Partial),
            (b"HELO me\r\n", Unknown),
            (b"get /", Speaks(Http)),
            (b"CONNECT host:443 HTTP/1.1", Speaks(Http)),
            (b"\0", Unknown),
            (b" /", Unknown),
            (b"\x16\x03", Unknown),
        ] {
            assert_eq!(heard(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_download_in_one_piece_is_classic_at_once_if_no_request_comes_like_it() {
        for (bytes, expected) in [
            (&b"Gabcdefgh"[..], Speaks(Classic)),
            (b"Gabcdefg ", InSilence(Classic)),
            (b"Gabc defg", InSilence(Classic)),
            (b"Gabcdefghi", Partial),
            (b"Fabcdefgh", InSilence(Classic)),
            (b"Pabcdefgh", InSilence(Classic)),
        ] {
            assert_eq!(detect(bytes, 0, &Dialect::ALL), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_method_longer_than_any_request_is_none() {
        for (first, rest) in [(b'P', Speaks(Classic)), (b'G', Speaks(Classic)), (b'X', Unknown)] {
            let mut bytes = vec![b'A'; MAX_HEAD_BYTES - 1];
            bytes[0] = first;
            let undecided = if first == b'P' { InSilence(Classic) } else { Partial };
            assert_eq!(heard(&bytes), undecided);
            for _ in 0..2 {
                bytes.push(b'A');
                assert_eq!(heard(&bytes), rest, "{}", char::from(first));
            }
        }
    }

    #[test]
    fn dialects_that_are_switched_off_are_not_detected() {
        for (bytes, without, expected) in [
            (&b"xchg\x01"[..], Native, Unknown),
            (b"please relay 0", Transit, Unknown),
            (b"GET /", Http, Unknown),
            (b"GABCDEFG /", Http, Unknown),
            (b"HEAD", Http, Unknown),
            (b"Gabc\0\0\0\0\0", Http, Speaks(Classic)),
            (b"PUTs\0\0\0\0\0", Classic, Unknown),
            (b"F\0\0\0\0\0\0\0\0", Classic, Unknown),
            (b"GET /", Classic, Speaks(Http)),
        ] {
            let spoken: Vec<_> = Dialect::ALL.into_iter().filter(|&one| one != without).collect();
            assert_eq!(detect(bytes, 0, &spoken), expected, "{}", bytes.escape_ascii());
        }
    }

    /// Bytes that look like requests and greetings more often than random ones do.
    fn first_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[PGFpxA-Za-z0-9!~-]{1,12}".prop_map(String::into_bytes),
            Just(b"xchg".to_vec()),
            Just(b"please relay ".to_vec()),
            Just(b" ".to_vec()),
            Just(b" /".to_vec()),
            Just(b" HTTP/1.1\r\n".to_vec()),
            Just(b"\0\0\0".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    fn spoken() -> impl Strategy<Value = Vec<Dialect>> {
        proptest::sample::subsequence(Dialect::ALL.to_vec(), 1..=4)
    }

    proptest! {
        #[test]
        fn what_the_first_bytes_say_the_next_do_not_change(bytes in first_bytes(), spoken in spoken()) {
            let heard = |len: usize| detect(&bytes[..len], len.saturating_sub(1), &spoken);
            let mut before = Partial;
            for len in 0..=bytes.len() {
                let now = heard(len);
                if !matches!(before, Partial | InSilence(_)) {
                    prop_assert_eq!(before, now, "{} bytes of {}", len, bytes.escape_ascii());
                }
                before = now;
            }
        }

        #[test]
        fn a_request_line_is_http_or_nothing(
            method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}",
            spaces in " {1,3}",
            target in prop_oneof!["/[!-~]{0,20}", Just("*".to_owned()), "(http|HTTP)s?://[a-z]{1,9}/"],
            spoken in spoken(),
        ) {
            let line = format!("{method}{spaces}{target} HTTP/1.1\r\n");
            let is_spoken = spoken.contains(&Http);
            for len in 0..=line.len() {
                match detect(&line.as_bytes()[..len], len.saturating_sub(1), &spoken) {
                    Partial | Unknown => {}
                    Speaks(Http) => prop_assert!(is_spoken),
                    // Nine bytes that came slowly, and then no more.
                    InSilence(Classic) => prop_assert!(len >= 9),
                    detected => prop_assert!(false, "{detected:?} of {}", &line[..len]),
                }
            }
            let whole = detect(line.as_bytes(), 0, &spoken);
            prop_assert_eq!(whole, if is_spoken { Speaks(Http) } else { Unknown });
        }

        #[test]
        fn only_nine_bytes_ask_for_a_download_or_the_end(command in "[GF]", rest in first_bytes()) {
            let bytes = [command.as_bytes(), &rest].concat();
            for earlier in [0, bytes.len() - 1] {
                if let InSilence(dialect) = detect(&bytes, earlier, &Dialect::ALL) {
                    prop_assert_eq!((dialect, bytes.len()), (Classic, 9));
                }
            }
        }
    }

    #[test]
    fn strangers_are_told_what_is_spoken() {
        let text = |spoken: &[Dialect]| String::from_utf8(what_we_speak(spoken)).unwrap();
        let all = text(&Dialect::ALL);
        assert!(
            all.contains("native, classic, http, transit") && all.contains("curl -T "),
            "{all}"
        );
        let few = text(&[Classic]);
        assert!(few.contains("It speaks: classic.\n") && !few.contains("curl"), "{few}");
    }
}
