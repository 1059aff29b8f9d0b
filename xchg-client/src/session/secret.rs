//! The secret that two people share.
//!
//! What a key and a secret look like on a command line is the caller's business.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// What both peers know and the server does not. It is wiped from memory when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// No secret: the session still encrypts, which defeats whoever only listens, but not the
    /// server.
    pub fn none() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// The secret that a person typed; an empty one is none.
    ///
    /// It is brought into Unicode's composed form (NFC) first: keyboards differ in how they spell
    /// an accented letter.
    pub fn new(text: &str) -> Self {
        // Reserved beforehand, so that growing leaves no copy behind in freed memory: no NFC text
        // is more than three times as long as its origin (Unicode Standard Annex 15, section 12).
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 3));
        let mut utf8 = [0; 4];
        for letter in text.nfc() {
            bytes.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
        }
        Self(bytes)
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_same_however_its_letters_are_composed() {
        assert_eq!(Secret::new("caf\u{e9}").as_bytes(), Secret::new("cafe\u{301}").as_bytes());
    }

    #[test]
    fn a_secret_never_shows() {
        assert_eq!(format!("{:?}", Secret::new("swordfish")), "Secret(..)");
    }
}
