//! The token in a request's `Authorization` field (RFC 9110 section 11.6.2).

use xchg_core::wire::Token;

use super::fields::trim;

/// A token, and how it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) token: Token,
    /// As the password of Basic, which browsers remember and send by themselves.
    pub(super) is_basic: bool,
}

impl Credentials {
    /// What a field's `value` says: `Bearer TOKEN` (RFC 6750), or `Basic`, of whose name and
    /// password the latter is the token (RFC 7617). `None` if there is no token in it.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        let space = value.iter().position(|&byte| byte == b' ')?;
        let (scheme, value) = (&value[..space], trim(&value[space..]));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = Token::parse(value).ok()?;
            return Some(Self { token, is_basic: false });
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = base64(value)?;
        let colon = pair.iter().position(|&byte| byte == b':')?;
        let token = Token::parse(&pair[colon + 1..]).ok()?;
        Some(Self { token, is_basic: true })
    }
}

/// What stands in base64 (RFC 4648 section 4), padded or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &text[..text.len() - padding];
    let is_padded = padding == 0 || (padding <= 2 && text.len().is_multiple_of(4));
    if !is_padded || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            bits = bits << 6 | sextet(digit)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(&whole[..group.len() - 1]);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(value: &str) -> Option<(String, bool)> {
        Credentials::of(value.as_bytes()).map(|Credentials { token, is_basic }| {
            (String::from_utf8(token.as_bytes().to_vec()).unwrap(), is_basic)
        })
    }

    #[test]
    fn a_token_is_the_bearers_or_a_password() {
        for (value, expected) in [
            ("Bearer sesame", Some(("sesame", false))),
            ("bearer  a:b=", Some(("a:b=", false))),
            // `:sesame`, `anna:sesame`, `anna:a:b`, with and without padding.
            ("Basic OnNlc2FtZQ==", Some(("sesame", true))),
            ("BASIC OnNlc2FtZQ", Some(("sesame", true))),
            ("Basic YW5uYTpzZXNhbWU=", Some(("sesame", true))),
            ("Basic YW5uYTphOmI=", Some(("a:b", true))),
            // `anna:`, `anna`, and none at all.
            ("Basic YW5uYTo=", None),
            ("Basic YW5uYQ==", None),
            ("Basic ", None),
            ("Basic", None),
            ("Basic OnNlc2FtZQ=", None),
            ("Basic OnNlc2FtZQ===", None),
            ("Basic On Nlc2FtZQ==", None),
            ("Basic OnNlc2Ft*Q==", None),
            ("Basic =", None),
            ("Bearer ", None),
            ("Digest username=\"x\"", None),
            ("", None),
        ] {
            let expected = expected.map(|(token, is_basic)| (token.to_owned(), is_basic));
            assert_eq!(token(value), expected, "{value}");
        }
        assert_eq!(token(&format!("Bearer {}", "x".repeat(256))), None);
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(value in proptest::collection::vec(any::<u8>(), 0..60), basic in any::<bool>()) {
            let scheme: &[u8] = if basic { b"Basic " } else { b"Bearer " };
            if let Some(Credentials { token, .. }) = Credentials::of(&[scheme, &value].concat()) {
                prop_assert!(!token.as_bytes().is_empty());
            }
        }
    }
}
