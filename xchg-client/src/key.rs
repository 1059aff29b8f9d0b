//! Keys, as people name them.

use unicode_normalization::UnicodeNormalization;
use xchg_core::Key;

/// `key` in Unicode's composed form (NFC, PROTOCOL.md rule S1): keyboards and file systems differ in how they spell an accented letter.
/// What is not UTF-8, or would become too long, stays as it is.
///
/// Every call of a [`Client`](crate::Client) does this with its key.
pub fn normalised(key: &Key) -> Key {
    let composed = str::from_utf8(key.as_bytes()).map(|text| text.nfc().collect::<String>());
    composed.ok().and_then(|text| Key::parse(text.as_bytes()).ok()).unwrap_or_else(|| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_however_its_letters_are_composed() {
        // Each of the musical symbols becomes three characters of four bytes.
        let long = "\u{1d160}".repeat(60);
        for (key, expected) in [
            ("e\u{301}te\u{301}".as_bytes(), "\u{e9}t\u{e9}".as_bytes()),
            (b"plain", b"plain"),
            (b"e\xcc", b"e\xcc"),
            (long.as_bytes(), long.as_bytes()),
        ] {
            assert_eq!(normalised(&Key::parse(key).unwrap()).as_bytes(), expected);
        }
    }
}
