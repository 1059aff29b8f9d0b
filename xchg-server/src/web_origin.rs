//! Which web pages may use a server on this machine.

use std::str::FromStr;

/// A site whose pages may use listeners that are this machine's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(Box<str>);

impl WebOrigin {
    const ANY: &str = "*";

    /// Whether that is every site.
    pub(crate) fn is_any(&self) -> bool {
        &*self.0 == Self::ANY
    }

    /// Whether it is the site that a browser names as `origin`.
    pub(crate) fn is(&self, origin: &[u8]) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(origin)
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }
}

impl FromStr for WebOrigin {
    type Err = String;

    /// `*`, or an origin as browsers name it (RFC 6454 section 6.2): scheme, host, and the port
    /// unless it is the scheme's own.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.chars().all(|byte| byte.is_ascii_alphanumeric() || "+-.".contains(byte))
        };
        let is_authority = |authority: &str| {
            let is_plain = |byte: char| byte.is_ascii_graphic() && !"/?#@\\*,".contains(byte);
            !authority.is_empty() && authority.chars().all(is_plain)
        };
        let is_origin = text
            .split_once("://")
            .is_some_and(|(scheme, authority)| is_scheme(scheme) && is_authority(authority));
        if text == Self::ANY || is_origin {
            return Ok(Self(text.to_ascii_lowercase().into()));
        }
        Err(format!(
            "`{text}` is no origin; write such as https://example.org, http://localhost:3000 or *"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for text in [
            "*",
            "https://example.org",
            "http://localhost:3000",
            "http://[::1]:8080",
            "moz-extension://0a-b",
        ] {
            assert!(text.parse::<WebOrigin>().is_ok(), "{text}");
        }
        for text in [
            "",
            "example.org",
            "https://",
            "https://example.org/",
            "https://*.example.org",
            "://x",
            "1://x",
            "null",
            "https://a b",
            "http://a,http://b",
        ] {
            assert!(text.parse::<WebOrigin>().is_err(), "{text}");
        }
        let origin: WebOrigin = "HTTPS://Example.org:444".parse().unwrap();
        assert!(origin.is(b"https://example.org:444") && !origin.is(b"https://example.org"));
        assert_eq!((origin.authority(), origin.is_any()), ("example.org:444", false));
    }
}
