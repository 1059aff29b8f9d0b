//! What an exchange reads from and writes to: a peer's socket, with the framing of its dialect taken off or put on.
//!
//! The relay knows nothing of it: an [`Endpoint`] is a [`Duplex`] like the bare socket. Payload that needs no framing is still spliced.

mod response;
mod source;

use std::cell::{RefCell, RefMut};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;

use xchg_core::relay::Duplex;

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
    Source(RefCell<Box<Source>>),
    /// A downloader's payload is the body of a response.
    Response(RefCell<Box<Response>>),
}

impl Framing {
    /// The body of an http upload, of which `early` has been read already.
    pub(crate) fn body(body: Body, early: Vec<u8>) -> Framing {
        Framing::Source(RefCell::new(Box::new(Source::request(body, early))))
    }

    /// A stream that was said to be `length` bytes long, of which `early` has been read already.
    pub(crate) fn measured(length: u64, early: Vec<u8>) -> Framing {
        Framing::Source(RefCell::new(Box::new(Source::stream(length, early))))
    }

    /// The response to the request that `to` describes, with a payload that `upload` reads; `early`
    /// has been read behind that request.
    pub(crate) fn response(
        to: ReplyTo,
        length: Option<u64>,
        description: Option<&Description>,
        upload: &Framing,
        early: Vec<u8>,
    ) -> Framing {
        let mut response = if upload.is_form() {
            Response::undescribed(to)
        } else {
            Response::new(to, length, description)
        };
        response.heard(&early);
        Framing::Response(RefCell::new(Box::new(response)))
    }

    /// Why the payload cannot be read, if that is so.
    pub(crate) fn error(&self) -> Option<BodyError> {
        match self {
            Framing::Source(source) => source.borrow().error(),
            _ => None,
        }
    }

    /// What was read of the stream and follows the payload, or the request that a response answers.
    pub(crate) fn rest(&self) -> Vec<u8> {
        match self {
            Framing::Source(source) => source.borrow_mut().rest(),
            Framing::Response(response) => response.borrow_mut().rest(),
            Framing::Bare => Vec::new(),
        }
    }

    /// Whether a response has ended and its connection carries another.
    pub(crate) fn keeps_alive(&self) -> bool {
        matches!(self, Framing::Response(response) if response.borrow().keeps_alive())
    }

    /// Whether nothing of a response has been written, so that another one may be.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(self, Framing::Response(response) if response.borrow().is_untouched())
    }

    fn is_form(&self) -> bool {
        matches!(self, Framing::Source(source) if source.borrow().is_form())
    }

    /// Whether all of the payload has been read.
    fn is_exhausted(&self) -> bool {
        matches!(self, Framing::Source(source) if source.borrow().is_exhausted())
    }

    fn description(&self) -> Option<Description> {
        match self {
            Framing::Source(source) => source.borrow().description().cloned(),
            _ => None,
        }
    }
}

/// One peer's end of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint<'a, T> {
    pub(crate) stream: &'a Stream<T>,
    pub(crate) framing: &'a Framing,
    /// The counterpart's: a form describes itself, and so the response to its downloader.
    pub(crate) other: &'a Framing,
}

impl<T: Transport> Endpoint<'_, T> {
    /// The response, whose payload has begun or ended: what describes it is known now.
    fn described<'r>(&self, response: &'r RefCell<Box<Response>>) -> RefMut<'r, Box<Response>> {
        let mut response = response.borrow_mut();
        response.describe(|| self.other.description());
        response
    }

    /// Sends as much of a response's head as is known and fits.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self.framing {
            Framing::Response(response) => response.borrow_mut().flush(self.stream),
            _ => Ok(()),
        }
    }
}

impl<T: Transport> Duplex for Endpoint<'_, T> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Bare => self.stream.read(buf),
            Framing::Source(source) => source.borrow_mut().read(self.stream, buf),
            Framing::Response(response) => match self.stream.read(buf)? {
                // It cannot know the end before it is told, so that it leaves early.
                0 if !response.borrow().has_ended() && !self.other.is_exhausted() => {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
                n => {
                    response.borrow_mut().heard(&buf[..n]);
                    Ok(n)
                }
            },
        }
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Bare => self.stream.write(buf),
            // An uploader that has sent everything may leave without hearing what becomes of it.
            Framing::Source(source) if source.borrow().is_exhausted() => {
                match self.stream.write(buf) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(buf.len()),
                    written => written,
                }
            }
            Framing::Source(_) => self.stream.write(buf),
            Framing::Response(response) => self.described(response).write(self.stream, buf, false),
        }
    }

    fn write_last(&self, buf: &[u8]) -> io::Result<usize> {
        match self.framing {
            Framing::Response(response) => {
                let mut response = self.described(response);
                // MORE holds a segment until the end of the stream rides on it: here none may come.
                let may_keep = response.may_keep_alive();
                response.write(self.stream, buf, !may_keep)
            }
            _ => self.stream.write_last(buf),
        }
    }

    fn half_close(&self) -> io::Result<()> {
        if let Framing::Response(response) = self.framing {
            let mut response = self.described(response);
            response.end(self.stream)?;
            if response.may_keep_alive() {
                return Ok(());
            }
        }
        self.stream.half_close()
    }

    fn abort(&self) {
        self.stream.abort();
    }

    #[cfg(target_os = "linux")]
    fn splice_source(&self) -> Option<(BorrowedFd<'_>, usize)> {
        let (socket, all) = self.stream.splice_source()?;
        match self.framing {
            Framing::Bare => Some((socket, all)),
            Framing::Source(source) => source.borrow_mut().untouched().map(|len| (socket, len)),
            Framing::Response(_) => None,
        }
    }

    #[cfg(target_os = "linux")]
    fn on_spliced(&self, n: usize) {
        if let Framing::Source(source) = self.framing {
            source.borrow_mut().passed(n as u64);
        }
    }

    #[cfg(target_os = "linux")]
    fn splice_sink(&self) -> Option<BorrowedFd<'_>> {
        match self.framing {
            Framing::Response(response) if response.borrow().is_chunked() => None,
            _ => self.stream.splice_sink(),
        }
    }
}
