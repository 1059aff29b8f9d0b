//! The secret that two people share, and the key that the server may see.
//!
//! What a key and a secret look like on a command line is the caller's business.

use std::fmt;

use ring::digest;
use unicode_normalization::UnicodeNormalization;
use xchg_core::Key;
use zeroize::Zeroizing;

/// Separates the hash of a key from every other use of SHA-256 (PROTOCOL.md rule S2).
const MEETING_KEY_LABEL: &[u8] = b"xchg v1 server key\0";

/// What both peers know and the server does not. It is wiped from memory when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// No secret: the session still encrypts, which defeats whoever only listens, but not the server.
    pub fn none() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// The secret that a person typed; an empty one is none.
    ///
    /// It is brought into Unicode's composed form (NFC) first: keyboards differ in how they spell an accented
    /// letter.
    pub fn new(text: &str) -> Self {
        // Reserved beforehand, so that growing leaves no copy behind in freed memory: no NFC text is
        // more than three times as long as its origin (Unicode Standard Annex 15, section 12).
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

/// The key under which peers of the realm sealed meet at the server: a hash of `key`.
///
/// The secret does not enter it, so that two peers of whom one mistyped it, or gave none, still meet, and are told.
/// The hash hides the key from the server's logs; it is no protection for a key that can be guessed, and the
/// secret does not rest on it.
///
/// # Panics
/// Never: 32 bytes are a key.
pub fn meeting_key(key: &Key) -> Key {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(MEETING_KEY_LABEL);
    hash.update(key.as_bytes());
    Key::parse(hash.finish().as_ref()).expect("32 bytes are a key")
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

    #[test]
    fn peers_of_one_key_meet_under_one_hash() {
        let hash = |key: &[u8]| meeting_key(&Key::parse(key).unwrap());
        assert_eq!(hash(b"holiday").as_bytes().len(), 32);
        assert_eq!(hash(b"holiday"), hash(b"holiday"));
        assert_ne!(hash(b"holiday"), hash(b"holidaz"));
    }
}
