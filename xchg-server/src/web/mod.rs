//! The web page: send and receive from a browser, without a build step or a request to elsewhere.
//!
//! The pages are served with a content security policy that allows exactly the script and the
//! style that are in them, by their hashes. The hashes are literals here, and a test says what
//! they must be when a page has changed.
//!
//! **Hashes in the page's policy, not nonces.** The page is the same for everybody, so its policy
//! can say exactly which script and which style may run. A nonce would allow whatever is written
//! into the page beside it, and would need a random number for each request.

use crate::dialect::http::{ReplyTo, ResponseHead, Status, encode_path};

const INDEX: &str = include_str!("index.html");
const NOSCRIPT: &str = include_str!("noscript.html");

/// What the page may do: run its own script, wear its own style, talk to this server.
const INDEX_POLICY: &str = "default-src 'none'; \
    script-src 'sha256-Jh2ISx+PQfR8G8uBLSD7ijU3eLfN/uEMOjY8vdEAoTg='; \
    style-src 'sha256-73PQObGHa6XIaGNpt7bUEeF670dyJI8IwOrGaDzJ70M='; \
    connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; \
    frame-ancestors 'none'";

/// What the page without scripts may do: wear its own style, send its forms to this server.
const NOSCRIPT_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-jjlPqvyXeWl37/4F+GxBuRDfp3X2qj8OxcQ9w4wIbfA='; \
    img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The page at `/`.
pub(crate) fn index(to: ReplyTo) -> Vec<u8> {
    page(to, INDEX_POLICY, INDEX)
}

/// The page at `/noscript`: asks for a key, or sends to `key` if there is one.
pub(crate) fn noscript(to: ReplyTo, key: &[u8]) -> Vec<u8> {
    let (path, chosen) =
        if key.is_empty() { (String::new(), "disabled") } else { (encode_path(key), "") };
    // Relative, so that it leads to this server also where a proxy puts it under a path of its own.
    let path = path.trim_start_matches('/');
    // A path is letters, digits and `-._~/%`, nothing that HTML could act upon. The key itself
    // comes last, so that what looks like a placeholder in it stays as it is.
    let html = NOSCRIPT
        .replace("{{path}}", path)
        .replace("{{disabled}}", chosen)
        .replace("{{key}}", &escape_html(&String::from_utf8_lossy(key)));
    page(to, NOSCRIPT_POLICY, &html)
}

fn page(to: ReplyTo, policy: &'static str, html: &str) -> Vec<u8> {
    ResponseHead::new(to.version, Status::Ok)
        .field("Content-Type", "text/html; charset=utf-8")
        .field("Content-Security-Policy", policy)
        .field("X-Content-Type-Options", "nosniff")
        // Keys are in addresses, and nobody else's business.
        .field("Referrer-Policy", "no-referrer")
        .field("Cross-Origin-Opener-Policy", "same-origin")
        .field("Cache-Control", "no-store")
        .body(to, html.as_bytes())
}

/// `text` as it can stand in an attribute's value or between tags.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::dialect::http::{ReplyTo, Version};

    /// What stands between `<tag>` and `</tag>`, of which there is exactly one.
    fn inline<'a>(html: &'a str, tag: &str) -> &'a str {
        let parts: Vec<&str> = html.split(&format!("<{tag}>")).collect();
        assert_eq!(parts.len(), 2, "one <{tag}> without attributes");
        let (content, rest) = parts[1].split_once(&format!("</{tag}>")).expect("it is closed");
        assert!(!rest.contains(&format!("<{tag}")), "no second <{tag}");
        content
    }

    /// `'sha256-...'` of an inline element's content (CSP level 3 section 8.4).
    fn source(content: &str) -> String {
        format!("'sha256-{}'", base64(&Sha256::digest(content)))
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let mut word = [0; 4];
            word[1..=group.len()].copy_from_slice(group);
            let word = u32::from_be_bytes(word);
            for place in 0..4 {
                let letter = LETTERS[(word >> (18 - 6 * place)) as usize & 63];
                let padded = place > group.len();
                text.push(if padded { '=' } else { char::from(letter) });
            }
        }
        text
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_policies_allow_exactly_what_is_in_the_pages() {
        for (html, policy, tag) in [
            (INDEX, INDEX_POLICY, "script"),
            (INDEX, INDEX_POLICY, "style"),
            (NOSCRIPT, NOSCRIPT_POLICY, "style"),
        ] {
            let directive = format!("{tag}-src {};", source(inline(html, tag)));
            assert!(policy.contains(&directive), "the policy has to say {directive}");
        }
        assert!(!NOSCRIPT.contains("<script"));
        for policy in [INDEX_POLICY, NOSCRIPT_POLICY] {
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        }
    }

    #[test]
    fn the_pages_have_nothing_that_their_policies_would_stop() {
        for html in [INDEX, NOSCRIPT] {
            assert!(!html.contains(" style="), "a style attribute");
            let handler = html.match_indices(" on").any(|(at, _)| {
                let name: &str = &html[at + 1..];
                let end = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(0);
                name[end..].starts_with("=\"") && end > 2
            });
            assert!(!handler, "an inline event handler");
        }
    }

    #[test]
    fn the_pages_refer_to_nothing_elsewhere() {
        // Names of XML vocabularies are never fetched.
        const NAMES: [&str; 1] = ["//www.w3.org/2000/svg"];
        for html in [INDEX, NOSCRIPT] {
            for (at, _) in html.match_indices("//") {
                let address = NAMES.iter().any(|name| html[at..].starts_with(name));
                let comment = html[..at].ends_with([' ', '\n']) && html[at + 2..].starts_with(' ');
                assert!(address || comment, "{}", &html[at..html.len().min(at + 40)]);
            }
            for element in ["<iframe", "<object", "<embed", "<img", "<base", "@import", "url("] {
                assert!(!html.contains(element), "{element}");
            }
            for attribute in ["src=", "href=\"", "action=\""] {
                for (at, _) in html.match_indices(attribute) {
                    let value = html[at + attribute.len()..].split('"').next().unwrap_or_default();
                    let own = ["./", "help", "noscript", "{{path}}"].contains(&value);
                    assert!(own || value.starts_with("data:image/svg+xml,"), "{attribute}{value}");
                }
            }
        }
    }

    #[test]
    fn no_key_breaks_out_of_the_form() {
        let to = ReplyTo { version: Version::Http11, ..ReplyTo::CLOSING };
        let tags = |html: &[u8]| html.iter().filter(|&&byte| byte == b'<').count();
        let plain = tags(&noscript(to, b"key"));
        for key in ["\"><script>", "'><b>", "<!--", "&lt;", "{{key}}<", "{{path}}\" autofocus=\""] {
            let html = noscript(to, key.as_bytes());
            assert_eq!(tags(&html), plain, "{key}");
            assert!(!String::from_utf8_lossy(&html).contains("\" autofocus"), "{key}");
        }
    }
}
