//! Every response that the dialect gives, as bytes.
//!
//! A head is written by [`ResponseHead`], which takes literals, numbers and
//! [`FieldValue`]s, so nothing a peer sent can start a line of its own. Texts are
//! plain text that a browser must not interpret; the wordings are those that users of
//! piping-server know.

use xchg_core::Key;

use crate::access::Denied;

use super::fields::FieldValue;
use super::media::{self, Description};
use super::status::{Refused, Status};
use super::target::encode_path;

/// Sent to a client that asks with `Expect: 100-continue` before it sends its body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Sent to a downloader that waits, so that proxies on the way keep the connection.
///
/// Only for those who [hear it](ReplyTo::hears_early).
pub(crate) const PROCESSING: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// When a peer that was refused for want of room is told to try again: limits are reached by
/// waiting peers, who come and go slowly.
const RETRY_WHEN_FULL_SECS: u64 = 30;

/// When a peer that a drain turns away is told to try again: what takes the server's place is there
/// in a moment.
const RETRY_WHEN_DRAINING_SECS: u64 = 1;

/// The methods that the dialect knows, as `Allow` and the preflight name them.
const METHODS: &str = "GET, HEAD, POST, PUT, OPTIONS";

/// The version that the client speaks, and so the one that it is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.0: no chunked bodies, no interim responses, one request a connection.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What a reply has to know of the request that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    /// The client's version.
    pub(crate) version: Version,
    /// Whether another request may follow on the connection.
    pub(crate) keep_alive: bool,
    /// Whether it was a HEAD: then the reply has no body, whatever its length says.
    pub(crate) head_only: bool,
    /// Whether it can be told anything before its request has been dealt with: HTTP/1.0 cannot, and
    /// nobody behind a proxy.
    pub(crate) hears_early: bool,
}

impl ReplyTo {
    /// A reply after which the connection closes: the request could not be understood, or its
    /// body will not be read.
    pub(crate) const CLOSING: Self =
        Self { version: Version::Http11, keep_alive: false, head_only: false, hears_early: true };

    /// The same, but with no request to follow.
    #[must_use]
    pub(crate) fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }
}

impl Refused {
    pub(super) fn reply(&self, to: ReplyTo) -> Vec<u8> {
        let body = format!("[ERROR] {}\n", self.text);
        let head = ResponseHead::text(to.version, self.status);
        let head = match self.status {
            Status::MethodNotAllowed => head.field("Allow", METHODS),
            _ => head,
        };
        head.body(to, body.as_bytes())
    }
}

/// Why an offer was not taken, or what ended it before the final response had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An uploader waits under the key already.
    SecondUpload,
    /// A downloader waits under the key already.
    SecondDownload,
    /// Those who wait under the key name another number of receivers.
    Receivers {
        /// The number that they name.
        expected: u16,
        /// The number that this peer names.
        asked: u16,
    },
    /// An exchange is running under the key.
    Running,
    /// This very upload has failed already: its client sends it again without having been asked to.
    Failed,
    /// A limit of the whole server is reached.
    Busy,
    /// A limit of this key or this peer is reached.
    TooMany,
    /// It would upload more than an exchange may move.
    TooLong {
        /// How many bytes it may.
        most: u64,
    },
    /// This peer makes offers too often.
    TooOften {
        /// When it may make the next.
        seconds: u64,
    },
    /// No counterpart came within the wait.
    TimedOut,
    /// The server is shutting down.
    Draining,
    /// The uploader left, or sent a body that cannot be read, before its first byte was due.
    UploaderLost,
}

impl Refusal {
    /// The whole response to a peer that offered under `key`.
    #[must_use]
    pub(crate) fn reply(self, to: ReplyTo, key: &Key) -> Vec<u8> {
        let path = encode_path(key.as_bytes());
        let (status, text) = match self {
            Self::SecondUpload => {
                (Status::BadRequest, format!("Another sender has been connected on '{path}'."))
            }
            Self::SecondDownload => {
                (Status::BadRequest, "The number of receivers has reached limits.".to_owned())
            }
            Self::Receivers { expected, asked } => (
                Status::BadRequest,
                format!("The number of receivers should be {expected} but {asked}."),
            ),
            Self::Running => (
                Status::BadRequest,
                format!("Connection on '{path}' has been established already."),
            ),
            Self::Failed => (
                Status::Conflict,
                "The receiver or a connection was lost, or nobody came in time; send it anew."
                    .to_owned(),
            ),
            Self::Busy => (
                Status::Unavailable,
                "The server holds as many peers as it can; try again later.".to_owned(),
            ),
            Self::TooMany => (
                Status::TooManyRequests,
                "Too many peers wait on this path or come from your address; try again later."
                    .to_owned(),
            ),
            Self::TooLong { most } => (
                Status::ContentTooLarge,
                format!("This server passes on {most} bytes at most; send less, or in parts."),
            ),
            Self::TooOften { seconds } => (
                Status::TooManyRequests,
                format!("Too many requests come from your address; try again in {seconds} s."),
            ),
            Self::TimedOut => (
                Status::GatewayTimeout,
                format!("Nobody came to '{path}' in time; ask the other side and try again."),
            ),
            Self::Draining => {
                (Status::Unavailable, "The server is shutting down; try again later.".to_owned())
            }
            Self::UploaderLost => (
                Status::BadGateway,
                "The sender was lost before it sent anything; ask for another try.".to_owned(),
            ),
        };
        let head = ResponseHead::text(to.version, status);
        let head = match self {
            Self::Busy | Self::TooMany => head.number("Retry-After", RETRY_WHEN_FULL_SECS),
            Self::TooOften { seconds } => head.number("Retry-After", seconds),
            Self::Draining => head.retry_when_drained(),
            _ => head,
        };
        head.body(to, format!("[ERROR] {text}\n").as_bytes())
    }
}

/// The response to one who may not exchange what it wants to.
pub(super) fn denied(to: ReplyTo, why: &Denied) -> Vec<u8> {
    let status = match why {
        Denied::Missing | Denied::Wrong => Status::Unauthorized,
        Denied::TooManyGuesses(_) => Status::TooManyRequests,
        Denied::Prefix(_) | Denied::Wordless | Denied::Borrowed => Status::Forbidden,
    };
    let head = ResponseHead::text(to.version, status);
    let (head, advice) = match why {
        // Browsers ask their person then, and curl tries what it was given.
        Denied::Missing | Denied::Wrong => (
            head.field(
                "WWW-Authenticate",
                "Basic realm=\"xchg: the password is the token\", charset=\"UTF-8\"",
            ),
            ": curl -u :TOKEN, or Authorization: Bearer TOKEN; a browser asks, and the token is the password, whatever the name",
        ),
        Denied::TooManyGuesses(wait) => (head.number("Retry-After", wait.as_secs() + 1), ""),
        _ => (head, ""),
    };
    head.body(to, format!("[ERROR] {why}{advice}.\n").as_bytes())
}

/// How the end of a response's body is told to the downloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes, which may go through untouched.
    Length(u64),
    /// By the last chunk: the payload goes through a [`ChunkedEncoder`](super::ChunkedEncoder).
    Chunked,
    /// By the end of the connection; only a reset tells a failure (HTTP/1.0).
    Close,
}

/// The head of the downloader's 200, and how its body has to be framed.
///
/// `length` is the payload's in bytes, if it is known; `description` is what an HTTP uploader
/// said of it. The connection is kept if the client can, and the framing tells the end without it.
#[must_use]
pub(crate) fn download_head(
    to: ReplyTo,
    length: Option<u64>,
    description: Option<&Description>,
) -> (Vec<u8>, Framing) {
    let framing = match (length, to.version) {
        (Some(length), _) => Framing::Length(length),
        (None, Version::Http11) => Framing::Chunked,
        (None, Version::Http10) => Framing::Close,
    };
    let mut head = ResponseHead::new(to.version, Status::Ok);
    head = match framing {
        Framing::Length(length) => head.number("Content-Length", length),
        Framing::Chunked => head.field("Transfer-Encoding", "chunked"),
        Framing::Close => head,
    };
    let served = media::serve(description);
    if let Some(media_type) = &served.media_type {
        head = head.value("Content-Type", media_type);
    }
    if let Some(disposition) = &served.disposition {
        head = head.value("Content-Disposition", disposition);
    }
    let x_piping = description.map_or(&[][..], |description| &description.x_piping);
    for value in x_piping {
        head = head.value("X-Piping", value);
    }
    head = head.field("Access-Control-Allow-Origin", "*");
    if !x_piping.is_empty() {
        head = head.field("Access-Control-Expose-Headers", "X-Piping");
    }
    let head = head
        // What is sent is kept nowhere: a client that goes on where a cut left it finds nothing.
        .field("Accept-Ranges", "none")
        .field("X-Robots-Tag", "none")
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Security-Policy", media::POLICY)
        .field("Cache-Control", "no-store")
        .connection(to.keep_alive && framing != Framing::Close);
    (head.end(), framing)
}

/// The answer to a CORS preflight, including that of private network access.
pub(super) fn preflight(to: ReplyTo, private_network: bool, token: bool) -> Vec<u8> {
    let mut head = ResponseHead::new(to.version, Status::Ok)
        .field("Access-Control-Allow-Origin", "*")
        .field("Access-Control-Allow-Methods", METHODS)
        .field(
            "Access-Control-Allow-Headers",
            if token {
                "Content-Type, Content-Disposition, X-Piping, Authorization"
            } else {
                "Content-Type, Content-Disposition, X-Piping"
            },
        )
        // Lets a page find out whether X-Piping is supported, as piping-server does.
        .field("Access-Control-Expose-Headers", "Access-Control-Allow-Headers")
        .field("Access-Control-Max-Age", "86400");
    if private_network {
        head = head.field("Access-Control-Allow-Private-Network", "true");
    }
    head.body(to, b"")
}

/// A text of the server's own, such as `/version`.
pub(super) fn text(to: ReplyTo, body: &str) -> Vec<u8> {
    ResponseHead::text(to.version, Status::Ok).body(to, body.as_bytes())
}

/// A response head being written. Only literals, numbers and checked values go in.
pub(crate) struct ResponseHead(Vec<u8>);

impl ResponseHead {
    pub(crate) fn new(version: Version, status: Status) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(match version {
            Version::Http10 => b"HTTP/1.0 ",
            Version::Http11 => b"HTTP/1.1 ",
        });
        bytes.extend_from_slice(status.line().as_bytes());
        bytes.extend_from_slice(b"\r\n");
        Self(bytes)
    }

    /// The head of a text that the server itself says.
    pub(crate) fn text(version: Version, status: Status) -> Self {
        Self::new(version, status)
            .field("Content-Type", "text/plain")
            .field("Access-Control-Allow-Origin", "*")
            .field("X-Content-Type-Options", "nosniff")
            .field("Cache-Control", "no-store")
    }

    pub(crate) fn field(self, name: &'static str, value: &'static str) -> Self {
        self.line(name, value.as_bytes())
    }

    pub(crate) fn number(self, name: &'static str, value: u64) -> Self {
        self.line(name, value.to_string().as_bytes())
    }

    /// Says when a server that is shutting down is worth another try.
    pub(crate) fn retry_when_drained(self) -> Self {
        self.number("Retry-After", RETRY_WHEN_DRAINING_SECS)
    }

    fn value(self, name: &'static str, value: &FieldValue) -> Self {
        self.line(name, value.as_bytes())
    }

    fn line(mut self, name: &'static str, value: &[u8]) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the head of a response whose body is framed by the caller.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }

    /// Ends the response with a body that is there.
    pub(crate) fn body(self, to: ReplyTo, body: &[u8]) -> Vec<u8> {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let mut bytes = self.number("Content-Length", length).connection(to.keep_alive).end();
        if !to.head_only {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// Says so if no further request is read from the connection.
    pub(crate) fn connection(self, keep_alive: bool) -> Self {
        if keep_alive { self } else { self.field("Connection", "close") }
    }
}

/// The status of a response that says no, for the log. That a page does not exist is no refusal.
pub(crate) fn refusal(response: &[u8]) -> Option<&str> {
    let line = response.split(|&byte| byte == b'\r').next()?;
    let status = str::from_utf8(line).ok()?.split_once(' ')?.1;
    (status >= "400" && !status.starts_with("404")).then_some(status)
}
