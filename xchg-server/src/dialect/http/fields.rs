//! Header fields: values that are safe to send on, and the few grammars of RFC 9110 that the
//! dialect reads inside them.
//!
//! Whatever a peer sends and another peer shall see goes through [`FieldValue::parse`]; the
//! response writer takes nothing else. That makes header injection impossible by type.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use super::status::{Refused, Status};

/// A header field's value that is safe to send on: RFC 9110 section 5.5 `field-content`, that is
/// visible ASCII, bytes from 0x80, and spaces or tabs between them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FieldValue(Box<[u8]>);

impl FieldValue {
    /// Takes `bytes`, without the white space around them, if they are a safe value.
    ///
    /// CR, LF, NUL and every other control character make it `None`; so does an empty value,
    /// which says nothing worth passing on.
    #[must_use]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let trimmed = trim(bytes);
        let safe = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7F);
        (!trimmed.is_empty() && trimmed.iter().all(safe)).then(|| Self(trimmed.into()))
    }

    /// The value, free of control characters but tabs.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Without the optional white space (RFC 9110 `OWS`) at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether `bytes` is a `token` (RFC 9110 section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The values of every field called `name`, in order.
pub(super) fn all<'a>(
    fields: &'a [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| trim(field.value))
}

/// The value of the only field called `name`, if there is one.
///
/// # Errors
/// More than one: the fields that are read here mean one thing, and two parties that pick
/// different ones would see different requests.
pub(super) fn one<'a>(
    fields: &'a [httparse::Header<'a>],
    name: &'static str,
) -> Result<Option<&'a [u8]>, Refused> {
    let mut values = all(fields, name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Refused::new(
            Status::BadRequest,
            format!("the header {name} appears more than once; send it once"),
        )),
    }
}

/// What tells `value` from others. Who guesses a value with the same hash could as well guess the
/// value.
pub(super) fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// Whether the comma-separated list in the fields called `name` has `member`, in any case.
pub(super) fn lists(
    fields: &[httparse::Header<'_>],
    name: &'static str,
    member: &'static str,
) -> bool {
    all(fields, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|item| trim(item).eq_ignore_ascii_case(member.as_bytes()))
}

/// The parameters of a value such as `form-data; name="a;b"; filename=c`: what follows the first
/// semicolon, as pairs of name and unquoted value.
///
/// A backslash in a quoted value escapes the character behind it for the purpose of finding the
/// value's end, and is kept: nobody here needs the value of such a parameter, only its extent.
pub(super) fn parameters(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    Items { rest: value }.skip(1).filter_map(pair)
}

/// The pairs of a value that has nothing in front of them, such as `for=192.0.2.7;proto=https`; as
/// [`parameters`] are.
pub(super) fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    Items { rest: value }.filter_map(pair)
}

fn pair(item: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = item.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (trim(&item[..equals]), trim(&item[equals + 1..]));
    match value {
        [b'"', quoted @ .., b'"'] => Some((name, quoted)),
        _ => Some((name, value)),
    }
}

/// A value cut at the semicolons that are outside quotes.
struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.iter().position(|&byte| {
            if escaped {
                escaped = false;
            } else if byte == b'"' {
                quoted = !quoted;
            } else if byte == b'\\' {
                escaped = quoted;
            } else if byte == b';' {
                return !quoted;
            }
            false
        });
        let end = end.unwrap_or(self.rest.len());
        let item = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_clean_values_are_passed_on() {
        let parse = |bytes: &[u8]| FieldValue::parse(bytes).map(|value| value.0.into_vec());
        assert_eq!(parse(b" text/plain \t"), Some(b"text/plain".to_vec()));
        assert_eq!(parse(b"a\tb c"), Some(b"a\tb c".to_vec()));
        assert_eq!(parse("ü".as_bytes()), Some("ü".as_bytes().to_vec()));
        for bad in [&b""[..], b" ", b"a\r\nb", b"a\nb", b"a\rb", b"a\0", b"\x7F", b"\x1B[1m"] {
            assert_eq!(parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn parameters_are_cut_outside_quotes_only() {
        let pairs = |value: &'static str| parameters(value.as_bytes()).collect::<Vec<_>>();
        let pair = |name: &'static str, value: &'static str| (name.as_bytes(), value.as_bytes());
        assert_eq!(
            pairs("form-data; name=\"a;b\" ;filename=c"),
            [pair("name", "a;b"), pair("filename", "c")]
        );
        assert_eq!(pairs("x; a=\"1\\\";2\"; b=3"), [pair("a", "1\\\";2"), pair("b", "3")]);
        assert_eq!(pairs("x;;; junk ; a="), [pair("a", "")]);
        assert_eq!(pairs("x; a=\"open; b=1"), [pair("a", "\"open; b=1")]);
        assert_eq!(pairs(""), []);
    }

    proptest! {
        #[test]
        fn no_value_carries_a_line_break(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(value) = FieldValue::parse(&bytes) {
                prop_assert!(!value.as_bytes().iter().any(|&byte| byte < b' ' && byte != b'\t'));
            }
        }

        #[test]
        fn parameters_of_anything_end(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(parameters(&bytes).count() <= bytes.len());
        }
    }
}
