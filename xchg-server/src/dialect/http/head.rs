//! Request heads: from the first bytes of a request to a [`Request`], strictly.
//!
//! `httparse` knows the grammar. What it lets pass for the sake of old software, and what two
//! parsers on the way could understand differently, is refused here: line ends other than CR LF,
//! repeated fields, more than one length. A request that is refused closes its connection,
//! since nobody can tell where the next one would begin.

use httparse::Header;
use xchg_core::wire::Token;

use super::body::MAX_LENGTH;
use super::credentials::Credentials;
use super::fields::{self, FieldValue};
use super::forwarded::Forwarded;
use super::media::Description;
use super::respond::{ReplyTo, Version};
use super::status::{Refused, Status};
use super::{target, unasked};

/// The longest request head in bytes, from the method to the empty line. What the common servers
/// allow lies between 8 and 16 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The most header fields in one head, also in that of a multipart part. Browsers send about
/// twenty, each proxy adds a few.
pub(super) const MAX_FIELDS: usize = 100;

/// What the first bytes of a request are.
#[derive(Debug)]
pub(crate) enum Head {
    /// The beginning of a head. It is never more than [`MAX_HEAD_BYTES`] long.
    Partial,
    /// A whole head.
    Request {
        /// How long the head is in bytes; what follows belongs to the body.
        len: usize,
        /// What it says.
        request: Box<Request>,
    },
    /// Nothing that will be answered: the response to send before closing.
    Bad(Vec<u8>),
}

/// A request, as far as the dialect cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(super) method: Method,
    pub(super) reply_to: ReplyTo,
    pub(super) key: Box<[u8]>,
    pub(super) query: Box<[u8]>,
    /// The authority that the client used for this server, unchecked.
    pub(super) host: Box<[u8]>,
    pub(super) body: BodyLength,
    pub(super) description: Description,
    pub(super) expects_continue: bool,
    pub(super) has_content_range: bool,
    /// For whom it was passed on, as far as proxies say.
    pub(super) forwarded: Forwarded,
    /// `X-Forwarded-Proto: https`: a proxy in front of this server speaks TLS.
    pub(super) is_forwarded_https: bool,
    /// Whether it came to this server in TLS.
    pub(super) is_secured: bool,
    pub(super) is_service_worker: bool,
    /// A browser fetches ahead of its user, who might never come.
    pub(super) is_ahead: bool,
    /// A program fetches that fetches every link it sees.
    pub(super) is_by_a_robot: bool,
    /// Only a part of what is downloaded is asked for.
    pub(super) asks_for_part: bool,
    pub(super) asks_private_network: bool,
    /// The site whose page makes the request, as the browser names it.
    pub(super) origin: Option<Box<[u8]>>,
    /// The access token.
    pub(super) credentials: Option<Credentials>,
    /// Whether the listener wants one of whoever exchanges something; parsing does not say.
    pub(super) asks_token: bool,
    /// Whether the browser says that another origin's page makes it, or led to it.
    pub(super) is_cross_site: bool,
    pub(super) accepts_openmetrics: bool,
    /// What the client names this one request by, however often it sends it
    /// (draft-ietf-httpapi-idempotency-key-header): a hash of it, for names are compared and never
    /// shown.
    pub(super) idempotency_key: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Put,
    Post,
    Get,
    Head,
    Options,
    Other(Box<str>),
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// Nothing was said, which means none in HTTP/1.1.
    Unsaid,
    Known(u64),
    Chunked,
}

impl BodyLength {
    /// So many bytes, if that is known from the beginning.
    pub(super) fn known(self) -> Option<u64> {
        match self {
            Self::Unsaid => Some(0),
            Self::Known(length) => Some(length),
            Self::Chunked => None,
        }
    }

    pub(super) fn is_none(self) -> bool {
        matches!(self, Self::Unsaid | Self::Known(0))
    }
}

/// Parses the head at the start of `input`, which is all that was read and not yet dealt with.
///
/// The answer for a beginning of some input is [`Head::Partial`] or the answer for all of it.
#[must_use]
pub(crate) fn parse(input: &[u8]) -> Head {
    match delimit(input).and_then(|head| head.map(|head| request(input, head)).transpose()) {
        Ok(None) => Head::Partial,
        Ok(Some((len, request))) => Head::Request { len, request: Box::new(request) },
        Err(refused) => Head::Bad(refused.reply(ReplyTo::CLOSING)),
    }
}

/// Where the head lies in `input`, without the empty lines that may stand before it.
fn delimit(input: &[u8]) -> Result<Option<std::ops::Range<usize>>, Refused> {
    // Some clients end a body with a line break that is not part of it (RFC 9112 section 2.2).
    let mut start = 0;
    while input[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let within = &input[start..input.len().min(MAX_HEAD_BYTES).max(start)];
    let end = memchr::memmem::find(within, b"\r\n\r\n").map(|end| end + 4);
    if !has_clean_lines(&within[..end.unwrap_or(within.len())]) {
        return Err(Refused::new(
            Status::BadRequest,
            "a line of the request's head does not end with CR LF",
        ));
    }
    match end {
        Some(end) => Ok(Some(start..start + end)),
        None if input.len() < MAX_HEAD_BYTES => Ok(None),
        None => Err(Refused::new(
            Status::HeadTooLarge,
            format!("the request's head is longer than {MAX_HEAD_BYTES} bytes"),
        )),
    }
}

/// Whether CR and LF appear only together; the last byte may be a CR whose LF has yet to come.
pub(super) fn has_clean_lines(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', bytes).all(|at| match bytes[at] {
        b'\r' => bytes.get(at + 1).is_none_or(|&next| next == b'\n'),
        _ => at > 0 && bytes[at - 1] == b'\r',
    })
}

fn request(input: &[u8], head: std::ops::Range<usize>) -> Result<(usize, Request), Refused> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(&input[head.clone()]).map_err(malformed)?;
    let (Some(method), Some(path), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(malformed(httparse::Error::NewLine));
    };
    // The head ends where httparse sees its end, or the two understand it differently.
    if status != httparse::Status::Complete(head.len()) {
        return Err(malformed(httparse::Error::NewLine));
    }
    let version = match version {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let request = read(method, path, version, parsed.headers)?;
    Ok((head.end, request))
}

fn malformed(error: httparse::Error) -> Refused {
    match error {
        httparse::Error::TooManyHeaders => Refused::new(
            Status::HeadTooLarge,
            format!("the request has more than {MAX_FIELDS} header fields"),
        ),
        httparse::Error::Version => Refused::new(
            Status::VersionNotSupported,
            "use HTTP/1.1 or HTTP/1.0 without upgrading to it",
        ),
        error => Refused::new(Status::BadRequest, format!("the request is malformed: {error}")),
    }
}

fn read(
    method: &str,
    path: &str,
    version: Version,
    headers: &[Header<'_>],
) -> Result<Request, Refused> {
    let method = Method::of(method);
    let target = target::parse(path.as_bytes(), method == Method::Options).map_err(|refused| {
        // Other methods have other targets, too: that of CONNECT is no path.
        if let Method::Other(_) = method { method.unsupported() } else { refused }
    })?;
    let body = body_length(&method, version, headers)?;
    let closes = fields::lists(headers, "connection", "close");
    Ok(Request {
        reply_to: ReplyTo {
            version,
            keep_alive: version == Version::Http11 && !closes,
            head_only: method == Method::Head,
            hears_early: version == Version::Http11 && !closes && !is_forwarded(headers),
        },
        host: host(target.authority, version, headers)?.into(),
        key: target.key,
        query: target.query.into(),
        body,
        description: Description {
            media_type: fields::one(headers, "content-type")?.and_then(FieldValue::parse),
            disposition: fields::one(headers, "content-disposition")?.and_then(FieldValue::parse),
            x_piping: fields::all(headers, "x-piping").filter_map(FieldValue::parse).collect(),
        },
        expects_continue: expects_continue(version, headers)?,
        has_content_range: fields::all(headers, "content-range").next().is_some(),
        forwarded: Forwarded::of(headers),
        is_secured: false,
        is_forwarded_https: fields::lists(headers, "x-forwarded-proto", "https"),
        is_service_worker: fields::lists(headers, "service-worker", "script"),
        is_ahead: unasked::is_ahead(headers),
        is_by_a_robot: unasked::is_by_a_robot(headers),
        asks_for_part: fields::all(headers, "range").any(|range| !is_whole(range)),
        asks_private_network: fields::lists(
            headers,
            "access-control-request-private-network",
            "true",
        ),
        origin: fields::one(headers, "origin")?.map(Into::into),
        credentials: fields::one(headers, "authorization")?.and_then(Credentials::of),
        asks_token: false,
        is_cross_site: ["cross-site", "same-site"]
            .into_iter()
            .any(|site| fields::lists(headers, "sec-fetch-site", site)),
        accepts_openmetrics: fields::all(headers, "accept")
            .any(|types| memchr::memmem::find(types, b"application/openmetrics-text").is_some()),
        idempotency_key: fields::one(headers, "idempotency-key")?.map(fields::hash),
        method,
    })
}

impl Request {
    pub(crate) fn reply_to(&self) -> ReplyTo {
        self.reply_to
    }

    pub(crate) fn method_name(&self) -> &str {
        self.method.name()
    }

    /// The percent-decoded path without its leading slash.
    pub(crate) fn path(&self) -> &[u8] {
        &self.key
    }

    /// The token that it bears, which no browser sends by itself.
    pub(crate) fn bearer(&self) -> Option<&Token> {
        let credentials = self.credentials.as_ref().filter(|credentials| !credentials.is_basic);
        credentials.map(|credentials| &credentials.token)
    }

    /// Whether its client takes metrics in the OpenMetrics format.
    pub(crate) fn accepts_openmetrics(&self) -> bool {
        self.accepts_openmetrics
    }
}

/// Whether a proxy says that it has passed the request on. Many say nothing; but then nginx says
/// `Connection: close`, unless it is told not to.
fn is_forwarded(headers: &[Header<'_>]) -> bool {
    const PREFIX: &str = "x-forwarded-";
    headers.iter().any(|field| {
        let name = field.name;
        let start = name.get(..PREFIX.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(PREFIX)
            || ["via", "forwarded", "x-real-ip"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
    })
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.into()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Other(name) => name,
        }
    }

    pub(super) fn unsupported(&self) -> Refused {
        // Nobody needs a long name repeated.
        let name: String = self.name().chars().take(32).collect();
        Refused::new(Status::MethodNotAllowed, format!("Unsupported method: {name}."))
    }
}

/// RFC 9112 section 6.3, with every request refused of which two parsers could disagree.
fn body_length(
    method: &Method,
    version: Version,
    headers: &[Header<'_>],
) -> Result<BodyLength, Refused> {
    let bad = |text: &'static str| Refused::new(Status::BadRequest, text);
    let length = fields::one(headers, "content-length")?;
    let coding = fields::one(headers, "transfer-encoding")?;
    let body = match (length, coding) {
        (None, None) => BodyLength::Unsaid,
        (Some(_), Some(_)) => {
            return Err(bad(
                "the request has both Content-Length and Transfer-Encoding; send one of them",
            ));
        }
        (Some(length), None) => BodyLength::Known(
            content_length(length).ok_or_else(|| bad("Content-Length is no valid number"))?,
        ),
        (None, Some(_)) if version == Version::Http10 => {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding; send Content-Length"));
        }
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => BodyLength::Chunked,
        (None, Some(_)) => {
            return Err(bad("the only Transfer-Encoding understood here is 'chunked'"));
        }
    };
    match method {
        // An empty upload in place of the one whose length could not be said would be a loss
        // that nobody sees.
        Method::Put | Method::Post if version == Version::Http10 && body == BodyLength::Unsaid => {
            let text = "an upload in HTTP/1.0 needs Content-Length";
            Err(Refused::new(Status::LengthRequired, text))
        }
        Method::Get | Method::Head | Method::Options if !body.is_none() => {
            Err(bad("a request that sends nothing to anybody has no body here; use PUT or POST"))
        }
        _ => Ok(body),
    }
}

/// Digits only: no sign, no list, no white space, and no more than a file can have.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let length = is_number.then(|| digits.parse().ok())??;
    (length <= MAX_LENGTH).then_some(length)
}

/// Whether the value of `Range` (RFC 9110 section 14.2) asks for all that there is, from the first
/// byte to the last.
///
/// A server may ignore a range that it does not understand, and send the whole. But a client that
/// goes on with a file where a cut left it can then make one file out of two, so here whatever is
/// not certainly the whole is taken for a part.
fn is_whole(range: &[u8]) -> bool {
    let Some((unit, range)) = range.split_at_checked(b"bytes=".len()) else { return false };
    let Some(first) = range.strip_suffix(b"-") else { return false };
    unit.eq_ignore_ascii_case(b"bytes=")
        && !first.is_empty()
        && first.iter().all(|&digit| digit == b'0')
}

/// RFC 9112 section 3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0; the authority in
/// the target comes first.
fn host<'a>(
    authority: Option<&'a [u8]>,
    version: Version,
    headers: &'a [Header<'a>],
) -> Result<&'a [u8], Refused> {
    match (fields::one(headers, "host")?, version) {
        (None, Version::Http11) => {
            Err(Refused::new(Status::BadRequest, "an HTTP/1.1 request needs a Host header"))
        }
        (host, _) => Ok(authority.or(host).unwrap_or_default()),
    }
}

fn expects_continue(version: Version, headers: &[Header<'_>]) -> Result<bool, Refused> {
    match fields::one(headers, "expect")? {
        Some(_) if version == Version::Http10 => Ok(false),
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Refused::new(
            Status::ExpectationFailed,
            "the only expectation understood here is '100-continue'",
        )),
    }
}
