//! `multipart/form-data` bodies (RFC 7578): the first file of a form is the payload.
//!
//! This is the copy path. Where a part ends is known only by looking at each byte of it, so
//! nothing here can be spliced; browsers without scripts and `curl -F` send forms, large files
//! have better ways.
//!
//! The payload is the first part with a file name. Parts before it are dropped, parts after
//! it too, up to the end of the body. A form without any file, such as one with just a text
//! area, has its first field as payload; since a file might still follow, that one is held in
//! memory until the form ends, within 64 KiB.

use memchr::memmem::{self, Finder};

use super::body::{BodyDecoder, BodyError, Step};
use super::fields::{self, FieldValue};
use super::head::{MAX_FIELDS, has_clean_lines};
use super::media::Description;
use super::status::{Refused, Status};

/// The longest boundary in bytes (RFC 2046 section 5.1.1).
pub(crate) const MAX_BOUNDARY_BYTES: usize = 70;

/// The longest header of a part in bytes: half of what a request's head may have.
const MAX_PART_HEAD_BYTES: usize = 8 * 1024;

/// The longest text field that is held back in bytes, while a file may still follow.
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// A boundary that can stand in a form: 1 to 70 of RFC 2046's `bchars`, no space at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary<'a>(&'a [u8]);

impl<'a> Boundary<'a> {
    /// Takes the boundary from a `multipart/form-data` content type; `None` if there is not
    /// exactly one, or it is none.
    fn of(content_type: &'a [u8]) -> Option<Self> {
        let mut boundaries = fields::parameters(content_type)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
        let (_, boundary) = boundaries.next()?;
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        let valid = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len())
            && boundary.iter().all(allowed)
            && !boundary.ends_with(b" ")
            && boundaries.next().is_none();
        valid.then_some(Self(boundary))
    }

    /// The boundary of the form that a request with such a description has as its body; `None` if
    /// its body is none.
    ///
    /// # Errors
    /// If it is a form, and says no boundary.
    pub(super) fn of_form(request: &'a Description) -> Result<Option<Self>, Refused> {
        let content_type = request.media_type.as_ref().map_or(&b""[..], FieldValue::as_bytes);
        let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        if !fields::trim(essence).eq_ignore_ascii_case(b"multipart/form-data") {
            return Ok(None);
        }
        let text = "the form's boundary is missing or not as RFC 2046 has it";
        Self::of(content_type).map(Some).ok_or_else(|| Refused::new(Status::BadRequest, text))
    }
}

/// A form's body, from the bytes of the connection to the bytes of its payload.
#[derive(Debug)]
pub(crate) struct MultipartBody {
    framing: BodyDecoder,
    form: Form,
    ended: bool,
}

impl MultipartBody {
    /// The body of a form in a request that was described as `request`. The part describes itself;
    /// only `X-Piping` is the request's.
    pub(super) fn new(framing: BodyDecoder, boundary: Boundary<'_>, request: &Description) -> Self {
        let described =
            Description { x_piping: request.x_piping.clone(), ..Description::default() };
        Self { framing, form: Form::new(boundary, described), ended: false }
    }

    /// Takes from `input` what it can, appends the payload in it to `output`, and says how many
    /// bytes of `input` are done with.
    ///
    /// All of `input` is taken unless the body [`has_ended`](Self::has_ended) within it. The
    /// output grows by less than the input's length and 65 KiB.
    ///
    /// # Errors
    /// The body is no form, or ends too early. The exchange has failed and the connection has
    /// to be closed.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<usize, BodyError> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            match self.framing.next(rest) {
                Step::Skip(n) => taken += n,
                Step::Pass(_) if rest.is_empty() => return Ok(taken),
                Step::Pass(n) => {
                    let n = usize::try_from(n).unwrap_or(usize::MAX).min(rest.len());
                    self.form.push(&rest[..n], output)?;
                    self.framing.passed(n as u64);
                    taken += n;
                }
                Step::NeedMore => return Ok(taken),
                Step::End => {
                    self.form.finish()?;
                    self.ended = true;
                    return Ok(taken);
                }
                Step::Bad(error) => return Err(error),
            }
        }
    }

    /// What is known of the payload, once its part has begun; nothing of it was put out before.
    #[must_use]
    pub(crate) fn description(&self) -> Option<&Description> {
        self.form.found.then_some(&self.form.described)
    }

    /// Whether the whole body has been read.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}

/// The form inside the body's framing.
#[derive(Debug)]
struct Form {
    /// Finds CR LF, two dashes and the boundary.
    delimiter: Finder<'static>,
    /// What has come and cannot be told yet: at most a delimiter or a part's header, and what
    /// was pushed last.
    pending: Vec<u8>,
    place: Place,
    described: Description,
    /// Whether the payload's part has begun, so that `described` is complete.
    found: bool,
    /// The first field that is no file, in case no file follows.
    field: Option<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a part, or before the first one, up to the next delimiter.
    Part(Sink),
    /// Right behind a delimiter.
    Delimiter,
    /// In a part's header, with the line break of the delimiter's line before it.
    Head,
    /// Behind the payload.
    Epilogue,
}

/// Where the bytes of a part go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Drop,
    Field,
    Payload,
}

#[derive(Debug)]
struct Field {
    described: Description,
    content: Vec<u8>,
    too_long: bool,
}

impl Form {
    fn new(boundary: Boundary<'_>, described: Description) -> Self {
        let delimiter = [b"\r\n--", boundary.0].concat();
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            // A form may begin with a delimiter, whose line break then is the head's.
            pending: b"\r\n".to_vec(),
            place: Place::Part(Sink::Drop),
            described,
            found: false,
            field: None,
        }
    }

    fn push(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), BodyError> {
        if self.place == Place::Epilogue {
            return Ok(());
        }
        self.pending.extend_from_slice(input);
        let mut done = 0;
        loop {
            let before = (self.place, done);
            done += match self.place {
                Place::Part(sink) => self.part(sink, done, output),
                Place::Delimiter => self.delimiter(done, output)?,
                Place::Head => self.head(done)?,
                Place::Epilogue => self.pending.len() - done,
            };
            if (self.place, done) == before {
                break;
            }
        }
        self.pending.drain(..done);
        Ok(())
    }

    /// The end of the body.
    fn finish(&self) -> Result<(), BodyError> {
        match self.place {
            Place::Epilogue => Ok(()),
            _ => Err(BodyError::NoFile),
        }
    }

    /// Each of the three below takes what it can from `pending[from..]` and says how much.
    fn part(&mut self, sink: Sink, from: usize, output: &mut Vec<u8>) -> usize {
        let rest = &self.pending[from..];
        let delimiter = self.delimiter.needle().len();
        let (content, taken, next) = match self.delimiter.find(rest) {
            Some(end) if sink == Sink::Payload => (end, end + delimiter, Place::Epilogue),
            Some(end) => (end, end + delimiter, Place::Delimiter),
            // The last bytes may be the beginning of a delimiter.
            None => {
                let content = rest.len().saturating_sub(delimiter - 1);
                (content, content, self.place)
            }
        };
        match sink {
            Sink::Drop => {}
            Sink::Payload => output.extend_from_slice(&rest[..content]),
            Sink::Field => {
                if let Some(field) = &mut self.field {
                    field.hold(&rest[..content]);
                }
            }
        }
        self.place = next;
        taken
    }

    fn delimiter(&mut self, from: usize, output: &mut Vec<u8>) -> Result<usize, BodyError> {
        match self.pending[from..] {
            [b'-', b'-', ..] => {
                let field = self.field.take().filter(|field| !field.too_long);
                let field = field.ok_or(BodyError::NoFile)?;
                output.extend_from_slice(&field.content);
                self.begin_payload(field.described);
                self.place = Place::Epilogue;
                Ok(2)
            }
            // Padding that old mail gateways add (RFC 2046 section 5.1.1).
            [b' ' | b'\t', ..] => Ok(1),
            [b'\r', b'\n', ..] => {
                self.place = Place::Head;
                Ok(0)
            }
            [] | [b'-' | b'\r'] => Ok(0),
            _ => Err(BodyError::Boundary),
        }
    }

    fn head(&mut self, from: usize) -> Result<usize, BodyError> {
        let rest = &self.pending[from..];
        let within = &rest[..rest.len().min(MAX_PART_HEAD_BYTES)];
        let Some(end) = memmem::find(within, b"\r\n\r\n") else {
            return if within.len() == rest.len() { Ok(0) } else { Err(BodyError::PartHead) };
        };
        let part = PartHead::parse(&rest[2..end + 4]).ok_or(BodyError::PartHead)?;
        let sink = if part.is_file {
            self.field = None;
            self.begin_payload(part.described);
            Sink::Payload
        } else if self.field.is_none() {
            self.field =
                Some(Field { described: part.described, content: Vec::new(), too_long: false });
            Sink::Field
        } else {
            Sink::Drop
        };
        self.place = Place::Part(sink);
        Ok(end + 4)
    }

    fn begin_payload(&mut self, part: Description) {
        self.described.media_type = part.media_type;
        self.described.disposition = part.disposition;
        self.found = true;
    }
}

impl Field {
    fn hold(&mut self, content: &[u8]) {
        if self.content.len() + content.len() > MAX_FIELD_BYTES {
            self.too_long = true;
            self.content = Vec::new();
        } else if !self.too_long {
            self.content.extend_from_slice(content);
        }
    }
}

/// A part's header.
struct PartHead {
    described: Description,
    is_file: bool,
}

impl PartHead {
    /// Takes a header up to and with its empty line; `None` if it is malformed.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let (_, headers) = match httparse::parse_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(parsed)) if has_clean_lines(bytes) => parsed,
            _ => return None,
        };
        let disposition = fields::one(headers, "content-disposition").ok()?;
        let media_type = fields::one(headers, "content-type").ok()?;
        let is_file = disposition.is_some_and(|value| {
            fields::parameters(value).any(|(name, _)| {
                name.eq_ignore_ascii_case(b"filename") || name.eq_ignore_ascii_case(b"filename*")
            })
        });
        Some(Self {
            described: Description {
                media_type: media_type.and_then(FieldValue::parse),
                disposition: disposition.and_then(FieldValue::parse),
                x_piping: Box::default(),
            },
            is_file,
        })
    }
}
