//! Request targets: from `/dir%2Fname?n=1` to a key and a number of receivers, and back.

use xchg_core::Key;

use super::fields::trim;
use super::status::{Refused, Status};

/// How many receivers one upload may have. Each byte is written as many times, at the pace of the
/// slowest: with more, it is better put where all can fetch it.
pub(crate) const MAX_RECEIVERS: u16 = 64;

/// A request target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The authority of an absolute-form target: it counts instead of the Host header.
    pub(super) authority: Option<&'a [u8]>,
    /// The percent-decoded path without its leading slash: the key. Empty for `/` and `*`.
    pub(super) key: Box<[u8]>,
    /// What stands behind the question mark.
    pub(super) query: &'a [u8],
}

/// Takes `target` apart. `*` is accepted only for OPTIONS, as `asterisk` says.
pub(super) fn parse(target: &[u8], asterisk: bool) -> Result<Target<'_>, Refused> {
    let bad = |text: &'static str| Refused::new(Status::BadRequest, text);
    if asterisk && target == b"*" {
        return Ok(Target { authority: None, key: Box::default(), query: b"" });
    }
    if target.contains(&b'#') {
        return Err(bad("the request target has a fragment; write '#' as %23 in a path"));
    }
    let (authority, rest) = authority(target);
    let (path, query) = split_at_byte(rest, b'?');
    let path = match (path, authority) {
        ([b'/', path @ ..], _) => path,
        ([], Some(_)) => path,
        _ => {
            return Err(bad(
                "the request target is no path; it begins with '/', such as '/mypath123'",
            ));
        }
    };
    let key = percent_decode(path).ok_or_else(|| {
        bad("the path has a '%' without two hexadecimal digits; write '%' itself as %25")
    })?;
    if key.len() > Key::MAX_LEN {
        let text = format!("the path is {} bytes long; use at most {}", key.len(), Key::MAX_LEN);
        return Err(Refused::new(Status::UriTooLong, text));
    }
    Ok(Target { authority, key: key.into(), query })
}

/// Splits `http://authority/rest` off; anything else is all rest.
fn authority(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    for scheme in [&b"http://"[..], b"https://"] {
        let Some((start, rest)) = target.split_at_checked(scheme.len()) else {
            continue;
        };
        if start.eq_ignore_ascii_case(scheme) {
            let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
            return (Some(&rest[..end]), &rest[end..]);
        }
    }
    (None, target)
}

fn split_at_byte(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == at) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, b""),
    }
}

/// Replaces each `%` and its two hexadecimal digits by the byte they name; `None` if they are
/// not there.
fn percent_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let [high, low, tail @ ..] = tail else {
                return None;
            };
            decoded.push(hex(*high)? << 4 | hex(*low)?);
            rest = tail;
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The path of `key`: a slash and the key with everything percent-encoded that could mean
/// something in a URL, a text, HTML or a shell.
#[must_use]
pub(crate) fn encode_path(key: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut path = String::with_capacity(key.len() + 1);
    path.push('/');
    for &byte in key {
        // A path that begins with two slashes would be taken for the name of another host.
        let plain = byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || (byte == b'/' && path.len() > 1);
        if plain {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push(char::from(DIGITS[usize::from(byte >> 4)]));
            path.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    path
}

/// The first value of `name` in a query such as `a=1&b=2`, decoded as forms encode it; `None`
/// also if its encoding is broken.
pub(super) fn query_value(query: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let (_, value) = query
        .split(|&byte| byte == b'&')
        .map(|pair| split_at_byte(pair, b'='))
        .find(|(key, _)| *key == name)?;
    let spaced: Vec<u8> =
        value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced)
}

/// How many receivers the query asks for; 1 if it does not say. `unreadable` is the refusal of what
/// is no number.
pub(super) fn receivers(query: &[u8], unreadable: &'static str) -> Result<u16, Refused> {
    let bad = |text: String| Refused::new(Status::BadRequest, text);
    let asked = query.split(|&byte| byte == b'&').any(|pair| split_at_byte(pair, b'=').0 == b"n");
    if !asked {
        return Ok(1);
    }
    let number = query_value(query, b"n")
        .and_then(|value| std::str::from_utf8(trim(&value)).ok()?.parse::<i64>().ok())
        .ok_or_else(|| bad(unreadable.to_owned()))?;
    match u16::try_from(number) {
        Ok(receivers @ 1..=MAX_RECEIVERS) => Ok(receivers),
        _ if number <= 0 => Err(bad(format!("n should > 0, but n = {number}."))),
        _ => Err(bad(format!(
            "n = {number} is too many: at most {MAX_RECEIVERS} receivers for one sender."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(target: &str) -> Result<Vec<u8>, Refused> {
        parse(target.as_bytes(), false).map(|target| target.key.into_vec())
    }

    #[test]
    fn the_key_is_the_decoded_path_without_query() {
        for (target, expected) in [
            ("/", &b""[..]),
            ("/a", b"a"),
            ("/a/b", b"a/b"),
            ("//a", b"/a"),
            ("/a/", b"a/"),
            ("/a%20b%2Fc", b"a b/c"),
            ("/%00%ff", b"\0\xFF"),
            ("/a+b", b"a+b"),
            ("/a?n=1", b"a"),
            ("/a?x=%zz", b"a"),
            ("/ü", "ü".as_bytes()),
            ("http://host/a?b", b"a"),
            ("HTTPS://host:1/a", b"a"),
            ("http://host", b""),
            ("http://host?n=1", b""),
            ("/http://host/a", b"http://host/a"),
        ] {
            assert_eq!(key(target).expect(target), expected, "{target}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for target in
            ["*", "a", "host:443", "ftp://host/a", "http:/a", "/a#b", "/%", "/%1", "/%g0", "/%+1"]
        {
            assert!(key(target).is_err(), "{target}");
        }
        assert!(parse(b"*", true).is_ok());
    }

    #[test]
    fn a_key_may_be_255_bytes_long_when_decoded() {
        assert_eq!(key(&format!("/{}", "%41".repeat(255))).map(|key| key.len()), Ok(255));
        assert!(key(&format!("/{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn from_1_to_64_receivers_can_be_asked_for() {
        for (query, accepted) in [
            ("", true),
            ("n=1", true),
            ("a=2&n=1&n=7", true),
            ("nn=2", true),
            ("n=%31", true),
            ("n=2", true),
            ("n=64", true),
            ("n=65", false),
            ("n=0", false),
            ("n=-1", false),
            ("n=", false),
            ("n", false),
            ("n=%3", false),
            ("n=1x", false),
            ("n=99999999999999999999", false),
        ] {
            assert_eq!(receivers(query.as_bytes(), "").is_ok(), accepted, "{query}");
        }
    }

    proptest! {
        #[test]
        fn the_path_of_a_key_leads_back_to_it(bytes in proptest::collection::vec(any::<u8>(), 1..=255)) {
            let path = encode_path(&bytes);
            prop_assert!(!path.starts_with("//"));
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)));
            prop_assert_eq!(key(&path), Ok(bytes));
        }

        #[test]
        fn any_target_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(target) = parse(&bytes, true) {
                prop_assert!(target.key.len() <= Key::MAX_LEN);
                prop_assert!(receivers(target.query, "").map_or(true, |n| (1..=MAX_RECEIVERS).contains(&n)));
            }
        }
    }
}
