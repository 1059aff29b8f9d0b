//! Links to plain transfers, as the server's page shows them and `curl` takes them.

use xchg_core::Key;

use crate::blocking::net::address::{Address, InvalidAddress};

/// The address and key that a link holds: `http://HOST:PORT/KEY`, or `http://HOST:PORT/#KEY`, which
/// the server's page gives out. The transfer is a plain one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Where the server is.
    pub address: Address,
    /// What the other side names too.
    pub key: Key,
}

impl Link {
    /// Whether `text` is meant as a link, right or wrong. Keys that look like this are better
    /// refused than taken for keys, because nobody would ever come.
    pub fn resembles(text: &str) -> bool {
        ["http://", "https://"].iter().any(|scheme| {
            text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        })
    }

    /// Takes a link apart.
    ///
    /// # Errors
    /// If it names no key, or is for other clients than this.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let wrong = |why| InvalidAddress { text: text.into(), why };
        let scheme_end = text.find("//").map_or(0, |at| at + 2);
        let rest = &text[scheme_end..];
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let address = &text[..scheme_end + authority_end];
        let address = address.parse().map_err(|InvalidAddress { why, .. }| wrong(why))?;
        let (path, fragment) = match rest[authority_end..].split_once('#') {
            Some((path, fragment)) => (path, fragment),
            None => (&rest[authority_end..], ""),
        };
        if path.contains('?') {
            return Err(wrong("what stands behind `?` is for browsers and curl; leave it out"));
        }
        let key = match path.strip_prefix('/').unwrap_or(path) {
            "" => fragment,
            path => path,
        };
        let key = percent_decode(key).ok_or_else(|| wrong("a `%` is followed by two digits"))?;
        match Key::parse(&key) {
            Ok(key) => Ok(Self { address, key }),
            Err(_) if key.is_empty() => Err(wrong("it names no key: http://HOST:PORT/KEY")),
            Err(_) => Err(wrong("its key is longer than 255 bytes")),
        }
    }
}

/// The bytes that `text` stands for in a URL (RFC 3986 section 2.1).
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = match first {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                let digits = digits.iter().map(|&digit| char::from(digit).to_digit(16));
                let value = digits.reduce(|high, low| Some(high? * 16 + low?))??;
                u8::try_from(value).ok()?
            }
            byte => *byte,
        };
        bytes.push(byte);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_server_and_a_key() {
        for (text, address, key) in [
            ("http://host:4980/notes", "host:4980", "notes"),
            ("HTTP://host/notes", "host:80", "notes"),
            ("http://[::1]:81/a/b.txt", "[::1]:81", "a/b.txt"),
            ("http://host:4980/#notes", "host:4980", "notes"),
            ("http://host:4980#notes", "host:4980", "notes"),
            ("http://host:4980/notes#top", "host:4980", "notes"),
            ("http://host:4980/#two%20words/%C3%A9", "host:4980", "two words/é"),
            ("http://host:4980/%2Fslash", "host:4980", "/slash"),
        ] {
            assert!(Link::resembles(text));
            let link = Link::parse(text).unwrap();
            assert_eq!(
                (&*link.address.to_string(), link.key.as_bytes()),
                (address, key.as_bytes())
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        let long = format!("http://host/{}", "k".repeat(256));
        for (text, why) in [
            ("http://host", "names no key"),
            ("http://host:4980/", "names no key"),
            ("http://host:4980/#", "names no key"),
            ("http:///key", "host is missing"),
            ("http://host:0/key", "1 to 65535"),
            ("http://me@host/key", "without a user"),
            ("https://host", "names no key"),
            ("http://host/key?n=3", "for browsers and curl"),
            ("http://host/%zz", "followed by two digits"),
            ("http://host/%4", "followed by two digits"),
            ("http://host/%+1", "followed by two digits"),
            (&long, "longer than 255 bytes"),
        ] {
            let error = Link::parse(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{text}: {error}");
        }
        for text in ["notes", "http", "http:/x", "xhttp://host/key", "htp://host/key", "é://"] {
            assert!(!Link::resembles(text), "{text}");
        }
    }
}
