//! Keys, as people name them.

use unicode_normalization::UnicodeNormalization;
use xchg_core::Key;

use crate::files::names::Rules;
use crate::terminal::is_deceptive;

/// `key` in Unicode's composed form (NFC, PROTOCOL.md rule S1): keyboards and file systems differ
/// in how they spell an accented letter. What is not UTF-8, or would become too long, stays as it
/// is.
///
/// Every call of a [`Client`](crate::Client) does this with its key.
pub fn normalised(key: &Key) -> Key {
    let composed = str::from_utf8(key.as_bytes()).map(|text| text.nfc().collect::<String>());
    composed.ok().and_then(|text| Key::parse(text.as_bytes()).ok()).unwrap_or_else(|| key.clone())
}

/// The name under which a plain download of `key` is kept if nobody names another: the key's last
/// component, as in a path. `None` if that is not safe to show and to create.
pub fn file_name(key: &Key) -> Option<String> {
    let name = str::from_utf8(key.as_bytes()).ok()?.rsplit(['/', '\\']).next()?;
    let problem = Rules::of_this_system().problem(&name.into());
    (problem.is_none() && !name.contains(is_deceptive)).then(|| name.to_owned())
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

    #[test]
    fn a_file_is_named_after_the_last_part_of_its_key() {
        for (key, name) in [
            (&b"stocks.txt"[..], Some("stocks.txt")),
            (b"a/b/stocks.txt", Some("stocks.txt")),
            (b"/etc/passwd", Some("passwd")),
            (b"..\\..\\boot.ini", Some("boot.ini")),
            (b"../x", Some("x")),
            (b".hidden", Some(".hidden")),
            (b"with space", Some("with space")),
            ("ünï 日本".as_bytes(), Some("ünï 日本")),
            (b".", None),
            (b"..", None),
            (b"a/", None),
            (b"a/..", None),
            (b"/", None),
            (b"nul\0byte", None),
            (b"new\nline", None),
            (b"\x1b[31m", None),
            ("\u{202e}txt.exe".as_bytes(), None),
            ("zero\u{200b}width".as_bytes(), None),
            (b"not utf-8 \xff", None),
        ] {
            let key = Key::parse(key).unwrap();
            assert_eq!(file_name(&key).as_deref(), name);
        }
    }
}
