//! What an uploader says of its payload, and how much of that a browser may act upon.
//!
//! A payload comes from a stranger and is served from this server's own origin. Three things keep
//! it from ever running there, each of them enough in current browsers:
//!
//! - [`POLICY`]: a document made from it is sandboxed, without scripts, forms or an origin;
//! - `nosniff` with a media type that is never an active one: what could be a document with
//!   scripts, or a script, is served as `text/plain`, its source to be read;
//! - `Content-Disposition: attachment`, unless the type is one of the few that browsers show
//!   without interpreting them: plain text, JSON, raster images, audio and video.
//!
//! The list of what may be shown is an allow list, because the list of what is active grows. PDF is
//! not on it: viewers run scripts of their own.

use super::fields::{self, FieldValue};
use super::status::{Refused, Status};

/// The longest of the values that are kept of an upload's head, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 1024;

/// How many bytes of an upload's head are kept while it waits: the key and the values, each with
/// [`VALUE_COST`].
///
/// Together with what is known of any upload that makes less than 2 KiB.
pub(super) const MAX_KEPT_BYTES: usize = 1280;

/// What a value costs beside its bytes: where it is, and what an allocator rounds up.
const VALUE_COST: usize = 32;

/// The content security policy of every transferred payload.
pub(crate) const POLICY: &str = "sandbox; default-src 'none'";

/// What an uploader said of its payload, to be passed on to the downloader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// The value of `Content-Type`.
    pub(crate) media_type: Option<FieldValue>,
    /// The value of `Content-Disposition`.
    pub(crate) disposition: Option<FieldValue>,
    /// The values of `X-Piping`, each of them, in order.
    pub(crate) x_piping: Box<[FieldValue]>,
}

impl Description {
    pub(super) fn is_empty(&self) -> bool {
        self.media_type.is_none() && self.disposition.is_none() && self.x_piping.is_empty()
    }

    /// Refuses a description that is too large to be kept while the upload waits, under a key of so
    /// many bytes.
    ///
    /// # Errors
    /// The header that makes it so is named.
    pub(super) fn check_size(&self, key_len: usize) -> Result<(), Refused> {
        let media_type = self.media_type.iter().map(|value| ("Content-Type", value));
        let disposition = self.disposition.iter().map(|value| ("Content-Disposition", value));
        let x_piping = self.x_piping.iter().map(|value| ("X-Piping", value));
        let mut kept = key_len;
        for (name, value) in media_type.chain(disposition).chain(x_piping) {
            let len = value.as_bytes().len();
            kept += len + VALUE_COST;
            let why = if len > MAX_VALUE_BYTES {
                format!("is {len} bytes long; use at most {MAX_VALUE_BYTES}")
            } else if kept > MAX_KEPT_BYTES {
                "is too much beside the path and the others; shorten them".to_owned()
            } else {
                continue;
            };
            return Err(Refused::new(Status::HeadTooLarge, format!("the header {name} {why}")));
        }
        Ok(())
    }
}

/// The fields that a payload is served with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) media_type: Option<FieldValue>,
    pub(super) disposition: Option<FieldValue>,
}

/// Decides what the downloader is told of a payload that was described as `description`.
pub(super) fn serve(description: Option<&Description>) -> Served {
    let media_type = description.and_then(|description| description.media_type.as_ref());
    let disposition = description.and_then(|description| description.disposition.as_ref());
    let (media_type, shown) = match media_type {
        // Without a type there is nothing to pass on; a browser must not guess one (`nosniff`)
        // and saves the payload.
        None => (None, false),
        Some(value) => {
            let (served, essence) = passive(value.as_bytes());
            (FieldValue::parse(&served), is_shown(&essence))
        }
    };
    let disposition = if shown { disposition.cloned() } else { Some(saved(disposition)) };
    Served { media_type, disposition }
}

/// The media type to serve instead of `value`, whole and as its lower-case `type/subtype`.
fn passive(value: &[u8]) -> (Vec<u8>, String) {
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    let (essence, parameters) = (fields::trim(&value[..end]), &value[end..]);
    let slash = essence.iter().position(|&byte| byte == b'/').unwrap_or(0);
    let well_formed = fields::is_token(&essence[..slash])
        && fields::is_token(essence.get(slash + 1..).unwrap_or_default());
    let essence = if well_formed {
        String::from_utf8_lossy(essence).to_ascii_lowercase()
    } else {
        "application/octet-stream".to_owned()
    };
    let essence = if is_active(&essence) { "text/plain".to_owned() } else { essence };
    let mut served = essence.clone().into_bytes();
    // Some parsers take the last of several types that commas separate, so a comma could bring
    // a second type in; quotes do not stop all of them.
    if well_formed && !parameters.contains(&b',') {
        served.extend_from_slice(parameters);
    }
    (served, essence)
}

/// Whether a browser may run scripts from a document of this type, or run it as a script.
fn is_active(essence: &str) -> bool {
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
    subtype.ends_with("xml")
        || subtype.contains("html")
        || subtype.contains("javascript")
        || subtype.contains("ecmascript")
        || matches!(subtype, "xsl" | "jscript" | "livescript" | "cache-manifest")
        // `multipart/x-mixed-replace` and mail archives hold documents of types of their own.
        || matches!(kind, "multipart" | "message")
}

/// Whether browsers show this type without interpreting anything in it.
fn is_shown(essence: &str) -> bool {
    matches!(
        essence,
        "text/plain"
            | "application/json"
            | "image/apng"
            | "image/avif"
            | "image/bmp"
            | "image/gif"
            | "image/jpeg"
            | "image/png"
            | "image/vnd.microsoft.icon"
            | "image/webp"
            | "image/x-icon"
    ) || essence.starts_with("audio/")
        || essence.starts_with("video/")
}

/// `disposition` changed as little as needed for a browser to save the payload.
///
/// `form-data`, as in a multipart form, stays: a disposition type that a browser does not know
/// counts as `attachment` (RFC 6266 section 4.2).
fn saved(disposition: Option<&FieldValue>) -> FieldValue {
    let value = disposition.map_or(&b""[..], FieldValue::as_bytes);
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    let (kind, parameters) = value.split_at(end);
    let kind = fields::trim(kind).to_ascii_lowercase();
    let rewritten: Vec<u8> = match kind.as_slice() {
        b"attachment" | b"form-data" => value.to_vec(),
        b"inline" => [b"attachment", parameters].concat(),
        _ => b"attachment".to_vec(),
    };
    FieldValue::parse(&rewritten).expect("a part of a checked value, with a word put before it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn served(media_type: &str, disposition: &str) -> (String, String) {
        let text = |value: Option<FieldValue>| {
            value.map_or_else(String::new, |value| {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            })
        };
        let served = serve(Some(&Description {
            media_type: FieldValue::parse(media_type.as_bytes()),
            disposition: FieldValue::parse(disposition.as_bytes()),
            x_piping: Box::default(),
        }));
        (text(served.media_type), text(served.disposition))
    }

    #[test]
    fn types_that_run_are_served_as_plain_text() {
        for active in [
            "text/html",
            "TEXT/HTML",
            "text/html ",
            "application/xhtml+xml",
            "image/svg+xml",
            "image/SVG+XML",
            "text/xml",
            "application/xml",
            "application/atom+xml",
            "text/xsl",
            "text/javascript",
            "application/x-javascript",
            "application/ecmascript",
            "multipart/x-mixed-replace",
            "multipart/related",
            "message/rfc822",
            "application/vnd.wap.xhtml+xml",
        ] {
            assert_eq!(served(active, "").0, "text/plain", "{active}");
        }
        assert_eq!(served("text/html; charset=utf-8", "").0, "text/plain; charset=utf-8");
    }

    #[test]
    fn what_is_not_shown_is_saved() {
        for (media_type, disposition, expected) in [
            ("text/plain; charset=utf-8", "", ""),
            ("text/plain", "inline; filename=a", "inline; filename=a"),
            ("text/plain", "attachment; filename=a", "attachment; filename=a"),
            ("image/png", "", ""),
            ("video/mp4", "", ""),
            ("application/json", "", ""),
            ("", "", "attachment"),
            ("application/pdf", "", "attachment"),
            (
                "application/octet-stream",
                "inline; filename=\"a;b\"",
                "attachment; filename=\"a;b\"",
            ),
            ("application/pdf", "INLINE", "attachment"),
            ("application/pdf", "attachment; filename=a", "attachment; filename=a"),
            ("application/pdf", "form-data; name=x; filename=a", "form-data; name=x; filename=a"),
            ("application/pdf", "filename=a", "attachment"),
            ("application/pdf", "inline, inline", "attachment"),
        ] {
            assert_eq!(served(media_type, disposition).1, expected, "{media_type} {disposition}");
        }
    }

    #[test]
    fn a_type_that_is_none_becomes_bytes() {
        for odd in ["html", "/html", "text/", "text/plain, text/html", "a b/c", "text/pl\u{e4}in"] {
            assert_eq!(
                served(odd, ""),
                ("application/octet-stream".to_owned(), "attachment".to_owned()),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_comma_cannot_bring_a_second_type_in() {
        assert_eq!(served("text/plain; a=b, text/html", "").0, "text/plain");
        assert_eq!(served("video/mp4; codecs=\"a, b\"", "").0, "video/mp4");
    }

    proptest! {
        #[test]
        fn no_media_type_is_served_as_an_active_one(
            value in "[ \t]{0,2}([tT][eE][xX][tT]|image|application)[ ]?/[ ]?(html|HTML|svg\\+xml|plain|javascript)?[ \t]{0,2}(;[ a-z=,/\"]{0,20})?"
        ) {
            let (media_type, _) = served(&value, "");
            let lower = media_type.to_ascii_lowercase();
            let essence = lower.split(';').next().unwrap_or_default();
            prop_assert!(!is_active(essence), "{} -> {}", value, media_type);
        }
    }
}
