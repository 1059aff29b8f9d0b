//! What an exchange reads from and writes to: a peer's socket, with the framing of its dialect
//! taken off or put on.
//!
//! The relay knows nothing of it: an [`Endpoint`] is a source and a sink like the bare socket.
//! Payload that needs no framing is still spliced.

mod response;
mod source;

use std::io;

use xchg_core::relay::{self, Pipe, Sink};

use crate::dialect::http::{Body, BodyError, Description, ReplyTo};
use crate::engine::net::Transport;
use crate::engine::stream::Stream;

use response::Response;
use source::Source;

/// How one peer's bytes are framed.
#[derive(Debug)]
pub(crate) enum Framing {
    /// Not at all: the stream is the payload.
    Bare,
    /// An uploader's payload has a known end in its stream.
    Source(Box<Source>),
    /// A downloader's payload is the body of a response.
    Response(Box<Response>),
}

impl Framing {
    /// The body of an http upload, of which `early` has been read already.
    pub(crate) fn body(body: Body, early: Vec<u8>) -> Self {
        Self::Source(Box::new(Source::request(body, early)))
    }

    /// A stream that was said to be `length` bytes long, of which `early` has been read already.
    pub(crate) fn measured(length: u64, early: Vec<u8>) -> Self {
        Self::Source(Box::new(Source::stream(length, early)))
    }

    /// The response to the request that `to` describes, with a payload that `upload` reads; `early`
    /// has been read behind that request.
    pub(crate) fn response(
        to: ReplyTo,
        length: Option<u64>,
        description: Option<&Description>,
        upload: &Self,
        early: Vec<u8>,
    ) -> Self {
        let mut response = if upload.is_form() {
            Response::undescribed(to)
        } else {
            Response::new(to, length, description)
        };
        response.heard(&early);
        Self::Response(Box::new(response))
    }

    /// Why the payload cannot be read, if that is so.
    pub(crate) fn error(&self) -> Option<BodyError> {
        match self {
            Self::Source(source) => source.error(),
            _ => None,
        }
    }

    /// What was read of the stream and follows the payload, or the request that a response answers.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        match self {
            Self::Source(source) => source.rest(),
            Self::Response(response) => response.rest(),
            Self::Bare => Vec::new(),
        }
    }

    /// Whether a response has ended and its connection carries another.
    pub(crate) fn keeps_alive(&self) -> bool {
        matches!(self, Self::Response(response) if response.keeps_alive())
    }

    /// Whether nothing of a response has been written, so that another one may be.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(self, Self::Response(response) if response.is_untouched())
    }

    /// Whether payload goes out as it is.
    pub(crate) fn splices(&self) -> bool {
        !matches!(self, Self::Response(response) if response.is_chunked())
    }

    fn is_form(&self) -> bool {
        matches!(self, Self::Source(source) if source.is_form())
    }

    /// Whether it is a response whose head awaits what describes its payload.
    pub(crate) fn awaits_description(&self) -> bool {
        matches!(self, Self::Response(response) if response.awaits_description())
    }

    /// Tells a response what is known of its payload by now, which `upload` reads.
    pub(crate) fn hear_of(&mut self, upload: &Self) {
        if let (Self::Response(response), Self::Source(source)) = (self, upload) {
            if source.has_begun() {
                response.describe(source.description());
            }
            if source.is_exhausted() {
                response.on_exhausted();
            }
        }
    }
}

/// A stream that was cut is as good as one that has ended where nothing can be missing: no more is
/// awaited.
fn cut_or_ended(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

/// One peer's end of an exchange.
#[derive(Debug)]
pub(crate) struct Endpoint<'a, T> {
    pub(crate) stream: &'a mut Stream<T>,
    pub(crate) framing: &'a mut Framing,
    /// Whether what the peer says is passed on as it is.
    pub(crate) is_heard: bool,
}

impl<T: Transport> Endpoint<'_, T> {
    /// Reads of a form's payload until it has begun, so that what describes it is known.
    pub(crate) fn begin(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        match self.framing {
            Framing::Source(source) => source.begin(self.stream, scratch),
            _ => Ok(()),
        }
    }

    /// Sends as much of a response's head as is known and fits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Response(response) => response.flush(self.stream),
            _ => Ok(()),
        }
    }
}

impl<T: Transport> relay::Source for Endpoint<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Bare if self.is_heard => self.stream.read(buf),
            Framing::Bare => cut_or_ended(self.stream.read(buf)),
            Framing::Source(source) => source.read(self.stream, buf),
            Framing::Response(response) => match cut_or_ended(self.stream.read(buf))? {
                // It cannot know the end before it is told, so that it leaves early.
                0 if !response.may_be_left() => Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    response.heard(&buf[..n]);
                    Ok(n)
                }
            },
        }
    }

    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        match self.framing {
            Framing::Bare => self.stream.splice_to(pipe, most),
            Framing::Source(source) => {
                let Some(len) = source.untouched() else { return Ok(0) };
                let n = self.stream.splice_to(pipe, most.min(len))?;
                source.passed(n as u64);
                Ok(n)
            }
            Framing::Response(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl<T: Transport> Sink for Endpoint<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Bare => self.stream.write(buf),
            // An uploader that has sent everything may leave without hearing what becomes of it.
            Framing::Source(source) if source.is_exhausted() => match self.stream.write(buf) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(buf.len()),
                written => written,
            },
            Framing::Source(_) => self.stream.write(buf),
            Framing::Response(response) => response.write(self.stream, buf, false),
        }
    }

    fn write_last(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Response(response) => {
                // MORE holds a segment until the end of the stream rides on it: here none may come.
                let may_keep = response.may_keep_alive();
                response.write(self.stream, buf, !may_keep)
            }
            _ => self.stream.write_last(buf),
        }
    }

    fn half_close(&mut self) -> io::Result<()> {
        if let Framing::Response(response) = self.framing {
            response.end(self.stream)?;
            if response.may_keep_alive() {
                return Ok(());
            }
        }
        self.stream.half_close()
    }

    fn splices(&self) -> bool {
        self.framing.splices() && self.stream.splices()
    }

    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        self.stream.splice_from(pipe, len)
    }
}
