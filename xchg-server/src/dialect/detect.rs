//! First bytes to dialect. At most nine bytes decide, as many as a classic greeting has.

use xchg_core::wire::MAGIC;

use super::{Dialect, transit};

/// The longest greeting of any dialect but http, in bytes: a native head and body.
pub(crate) const MAX_GREETING_LEN: usize = 8 + xchg_core::wire::MAX_BODY_LEN;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detected {
    /// More must come.
    Partial,
    /// A dialect.
    Dialect(Dialect),
    /// Nothing that is spoken here.
    Unknown,
}

/// Tells which of the dialects `spoken` here a peer speaks that began with `bytes`.
pub(crate) fn detect(bytes: &[u8], spoken: &[Dialect]) -> Detected {
    // Http before classic: `PUT /` is a classic greeting too, for a key that nobody uses.
    let order = [Dialect::Native, Dialect::Transit, Dialect::Http, Dialect::Classic];
    for dialect in order.into_iter().filter(|dialect| spoken.contains(dialect)) {
        match agreement(dialect, bytes) {
            Agreement::Full => return Detected::Dialect(dialect),
            Agreement::SoFar => return Detected::Partial,
            Agreement::None => {}
        }
    }
    Detected::Unknown
}

/// How far bytes agree with what a dialect begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Agreement {
    None,
    SoFar,
    Full,
}

fn agreement(dialect: Dialect, bytes: &[u8]) -> Agreement {
    match (dialect, bytes) {
        (Dialect::Native, _) => agree(bytes, MAGIC.into_iter()),
        (Dialect::Transit, _) => agree(bytes, transit::FIRST_BYTES.iter().copied()),
        (Dialect::Http, [] | [b'A'..=b'Z', ..]) => http(bytes),
        (Dialect::Classic, []) => Agreement::SoFar,
        (Dialect::Classic, [b'P' | b'G' | b'F', ..]) => Agreement::Full,
        (Dialect::Http | Dialect::Classic, _) => Agreement::None,
    }
}

/// A method, a space and the beginning of a target, as far as nine bytes go. `PRI` begins HTTP/2, which is answered in HTTP/1.1 that
/// it is not spoken here, rather than taken for a classic upload.
fn http(bytes: &[u8]) -> Agreement {
    const METHODS: [&str; 9] =
        ["GET", "PUT", "POST", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI"];
    const TARGETS: [&str; 3] = [" /", " *", " http://"];
    METHODS
        .into_iter()
        .flat_map(|method| TARGETS.map(|target| method.bytes().chain(target.bytes()).take(9)))
        .map(|first| agree(bytes, first))
        .max()
        .unwrap_or(Agreement::None)
}

fn agree(bytes: &[u8], mut first: impl Iterator<Item = u8>) -> Agreement {
    for &byte in bytes {
        match first.next() {
            Some(expected) if expected == byte => {}
            Some(_) => return Agreement::None,
            None => return Agreement::Full,
        }
    }
    if first.next().is_none() { Agreement::Full } else { Agreement::SoFar }
}

/// To a peer that speaks none of the dialects `spoken` here. Text, for it is likely a person or a log that reads it.
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
    use super::*;

    #[test]
    fn first_bytes_decide() {
        use Detected::{Dialect as Speaks, Partial, Unknown};
        use Dialect::{Classic, Http, Native, Transit};
        for (bytes, expected) in [
            (&b""[..], Partial),
            (b"x", Partial),
            (b"xch", Partial),
            (b"xchg", Speaks(Native)),
            (b"xchm", Unknown),
            (b"please ", Partial),
            (b"please relay", Speaks(Transit)),
            (b"pleased", Unknown),
            (b"P", Partial),
            (b"PU", Partial),
            (b"PUT", Partial),
            (b"PUT ", Partial),
            (b"PUT /", Speaks(Http)),
            (b"PUT /a HTTP/1.1\r\n", Speaks(Http)),
            (b"PUT\0\0\0\0\0\0", Speaks(Classic)),
            (b"PUTs", Speaks(Classic)),
            (b"PUT a/", Speaks(Classic)),
            (b"PUT http", Partial),
            (b"PUT http:", Speaks(Http)),
            (b"PUT httpx", Speaks(Classic)),
            (b"POST /", Speaks(Http)),
            (b"POST htt", Partial),
            (b"POST http", Speaks(Http)),
            (b"POSTcard\0", Speaks(Classic)),
            (b"PATCH /", Speaks(Http)),
            (b"PRI * HTTP/2.0", Speaks(Http)),
            (b"PRICES\0\0\0", Speaks(Classic)),
            (b"GET", Partial),
            (b"GET *", Speaks(Http)),
            (b"GET /", Speaks(Http)),
            (b"GET\r\n", Speaks(Classic)),
            (b"GET http:", Speaks(Http)),
            (b"Gstocks\0\0", Speaks(Classic)),
            (b"F", Speaks(Classic)),
            (b"H", Partial),
            (b"HEAD /", Speaks(Http)),
            (b"OPTIONS *", Speaks(Http)),
            (b"OPTIONS /", Speaks(Http)),
            (b"DELETE /", Speaks(Http)),
            (b"OPTION /", Unknown),
            (b"HELO me", Unknown),
            (b"get /", Unknown),
            (b"hello", Unknown),
            (b"\0", Unknown),
            (b"\x16\x03", Unknown),
        ] {
            assert_eq!(detect(bytes, &Dialect::ALL), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nine_bytes_are_always_enough() {
        for first in
            [&b"GET http://host/"[..], b"POST http://host/", b"OPTIONS *", b"xchg", b"please relay"]
        {
            let nine = &first[..first.len().min(9)];
            assert_ne!(detect(nine, &Dialect::ALL), Detected::Partial, "{}", nine.escape_ascii());
        }
    }

    #[test]
    fn dialects_that_are_switched_off_are_not_detected() {
        for (bytes, without, expected) in [
            (&b"xchg"[..], Dialect::Native, Detected::Unknown),
            (b"please r", Dialect::Transit, Detected::Unknown),
            (b"GET /", Dialect::Http, Detected::Dialect(Dialect::Classic)),
            (b"HEAD /", Dialect::Http, Detected::Unknown),
            (b"PUTs", Dialect::Classic, Detected::Unknown),
            (b"GET /", Dialect::Classic, Detected::Dialect(Dialect::Http)),
        ] {
            let spoken: Vec<_> = Dialect::ALL.into_iter().filter(|&one| one != without).collect();
            assert_eq!(detect(bytes, &spoken), expected, "{}", bytes.escape_ascii());
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
        let few = text(&[Dialect::Classic]);
        assert!(few.contains("It speaks: classic.\n") && !few.contains("curl"), "{few}");
    }
}
