//! Names as the systems that they come from have them.

use std::borrow::Cow;
use std::fmt;

/// The name of a file, or several that are joined by `/` to the target of a link: bytes, which
/// nearly always are UTF-8.
///
/// `Display` is for people: it shows � for what is not UTF-8. It may be another person's words, so
/// [escape](crate::terminal::escape) it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as a text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }

    /// The name as a text, with � for what is not UTF-8.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The name's first bytes, at most `most`; no letter is cut in two.
    pub(super) fn shortened(&self, most: usize) -> &[u8] {
        let is_inside = |&end: &usize| self.0.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
        let most = most.min(self.0.len());
        let end = (0..=most).rev().find(|end| !is_inside(end));
        &self.0[..end.unwrap_or(most)]
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Name {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text.as_bytes()
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, text: &&str) -> bool {
        self == *text
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_string_lossy().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => text.fmt(f),
            None => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shortened_between_letters() {
        let name = Name::from("a\u{e9}\u{1f3d6}");
        for (most, expected) in [(0, 0), (1, 1), (2, 1), (3, 3), (6, 3), (7, 7), (8, 7)] {
            assert_eq!(name.shortened(most).len(), expected, "{most}");
        }
        // What is no text is cut anywhere.
        assert_eq!(Name::from(&[0x80; 4][..]).shortened(2).len(), 2);
    }

    #[test]
    fn what_is_no_text_is_shown_and_told_apart_all_the_same() {
        let name = Name::from(&b"a\xff\n"[..]);
        assert_eq!(
            (name.to_string(), format!("{name:?}")),
            ("a\u{fffd}\n".into(), r#""a\xff\n""#.into())
        );
        assert_eq!((name.as_str(), Name::from("a").as_str()), (None, Some("a")));
        assert_ne!(name, "a\u{fffd}\n");
    }
}
