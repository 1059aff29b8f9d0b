//! Whether bytes have the shape of a request's first line, of whatever method.
//!
//! Proxies send on whatever method a stranger made up. So every line that one of them could have
//! sent must be known for what it is, also where no method that is served here begins like it.

use super::fields::is_token_byte;
use super::head::MAX_HEAD_BYTES;
use crate::dialect::Agreement;

/// How far `bytes` agree with a request line: a method, which is any token, and a target that
/// begins with `/`, `*` or `http`, or is anything else with the version behind it (RFC 9112 section
/// 3).
///
/// What is undecided after [`MAX_HEAD_BYTES`] is none: no request is that long.
pub(crate) fn request_line(bytes: &[u8]) -> Agreement {
    let line = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    let so_far = if line.len() < MAX_HEAD_BYTES { Agreement::SoFar } else { Agreement::None };
    let (method, rest) = split_where(line, |byte| !is_token_byte(byte));
    let (spaces, rest) = split_where(rest, |byte| byte != b' ');
    let (target, rest) = split_where(rest, |byte| !byte.is_ascii_graphic());
    match (method, spaces, target) {
        ([], ..) if !line.is_empty() => Agreement::None,
        (_, [], [_, ..]) => Agreement::None,
        (_, _, []) if rest.is_empty() => so_far,
        (_, _, []) => Agreement::None,
        (_, _, [b'/' | b'*', ..]) => Agreement::Full,
        (_, _, target) if starts_with_http(target) => Agreement::Full,
        _ if rest.is_empty() => so_far,
        _ => match version(rest) {
            Agreement::SoFar => so_far,
            decided => decided,
        },
    }
}

fn starts_with_http(target: &[u8]) -> bool {
    target.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http"))
}

/// How far what stands behind a target agrees with a space and a version.
fn version(bytes: &[u8]) -> Agreement {
    match split_where(bytes, |byte| byte != b' ') {
        ([], _) => Agreement::None,
        (_, version) => Agreement::of(version, b"HTTP/"),
    }
}

/// Splits in front of the first byte that `ends`.
fn split_where(bytes: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|&byte| ends(byte)).unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_method_and_target_make_a_request_line() {
        use Agreement::{Full, None, SoFar};
        for (line, expected) in [
            ("", SoFar),
            ("GET", SoFar),
            ("g~!#$%&'*+-.^_`|9", SoFar),
            ("GET ", SoFar),
            ("GET   ", SoFar),
            ("GET /", Full),
            ("GET   /", Full),
            ("OPTIONS *", Full),
            ("PUT htt", SoFar),
            ("PUT HTTp", Full),
            ("PUT htxp", SoFar),
            ("CONNECT host:443", SoFar),
            ("CONNECT host:443 ", SoFar),
            ("CONNECT host:443 HTTP", SoFar),
            ("CONNECT host:443 HTTP/", Full),
            ("CONNECT host:443 http/", None),
            ("CONNECT host:443\r", None),
            ("a word and another", None),
            (" /", None),
            ("G:", None),
            ("G\t/", None),
            ("GET\r\n", None),
            ("GET \0", None),
            ("GET \u{fc}", None),
        ] {
            assert_eq!(request_line(line.as_bytes()), expected, "{line:?}");
        }
    }
}
