//! An uploader's payload with the framing taken off.

use std::io;

use xchg_core::relay::Source as _;

use crate::dialect::http::{Body, BodyDecoder, BodyError, Description, Step};
use crate::engine::net::Transport;
use crate::engine::stream::Stream;

/// Reads that may yield no payload before others get their turn: a form's other parts are dropped,
/// however long they are.
const READS: usize = 16;

/// Chunks below this are copied: two system calls a chunk and one for its head cost more than
/// copying it does.
const MIN_SPLICE_BYTES: u64 = 64 << 10;

/// A stream that says where its payload ends. An end before that is an error.
#[derive(Debug)]
pub(crate) struct Source {
    body: Body,
    behind: Behind,
    /// Read and not yet decoded: first what came with the head; once the payload has ended, what is
    /// behind it.
    raw: Vec<u8>,
    /// Decoded and not yet read; only forms have any.
    decoded: Vec<u8>,
    state: State,
}

/// What may follow the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// The next request, which is left alone.
    Request,
    /// The end of the stream; anything else is more than was announced.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Bad(BodyError),
}

impl Source {
    pub(super) fn request(body: Body, early: Vec<u8>) -> Self {
        Self::new(body, early, Behind::Request)
    }

    pub(super) fn stream(length: u64, early: Vec<u8>) -> Self {
        Self::new(Body::Framed(BodyDecoder::with_length(length)), early, Behind::Nothing)
    }

    fn new(body: Body, raw: Vec<u8>, behind: Behind) -> Self {
        let mut source = Self { body, behind, raw, decoded: Vec::new(), state: State::Open };
        // A body of no bytes has ended before anything is read.
        if let Err(error) = source.decode(&mut []) {
            source.state = State::Bad(error);
        }
        source
    }

    /// Reads payload into `buf`; 0 is its end.
    pub(super) fn read(
        &mut self,
        stream: &mut Stream<impl Transport>,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        for _ in 0..READS {
            if !self.decoded.is_empty() {
                return Ok(take(&mut self.decoded, buf));
            }
            match self.state {
                State::Open => {}
                State::Ended => return self.end(stream),
                State::Bad(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            let n = if !self.raw.is_empty() {
                take(&mut self.raw, buf)
            } else {
                let most = self.wants(buf.len());
                match stream.read(&mut buf[..most])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => n,
                }
            };
            match self.decode(&mut buf[..n]) {
                Ok(0) => {}
                Ok(n) => return Ok(n),
                Err(error) => self.state = State::Bad(error),
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Reads of a form, through `scratch`, until its payload has begun or ended: what describes it
    /// is known then.
    pub(super) fn begin(
        &mut self,
        stream: &mut Stream<impl Transport>,
        scratch: &mut [u8],
    ) -> io::Result<()> {
        for _ in 0..READS {
            if !self.is_form() || !self.decoded.is_empty() || self.state != State::Open {
                return Ok(());
            }
            let n = if !self.raw.is_empty() {
                take(&mut self.raw, scratch)
            } else {
                match stream.read(scratch)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => n,
                }
            };
            if let Err(error) = self.decode(&mut scratch[..n]) {
                self.state = State::Bad(error);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// How many bytes to read at most, of `room`: what follows a body of known length is best left
    /// in the socket.
    fn wants(&self, room: usize) -> usize {
        let left = match &self.body {
            Body::Framed(decoder) => decoder.left(),
            Body::Form(_) => None,
        };
        left.and_then(|left| usize::try_from(left).ok()).map_or(room, |left| left.min(room))
    }

    /// Decodes `input`. Its payload is put at its front, whose length is returned; or aside, if
    /// that is another's.
    fn decode(&mut self, input: &mut [u8]) -> Result<usize, BodyError> {
        match &mut self.body {
            Body::Form(form) => {
                let taken = form.decode(input, &mut self.decoded)?;
                if form.has_ended() {
                    self.on_end(&input[taken..]);
                }
                Ok(0)
            }
            Body::Framed(decoder) => {
                let (mut from, mut to) = (0, 0);
                loop {
                    match decoder.next(&input[from..]) {
                        Step::Skip(n) => from += n,
                        Step::Pass(_) if from == input.len() => return Ok(to),
                        Step::Pass(left) => {
                            let here = input.len() - from;
                            let n = usize::try_from(left).map_or(here, |left| left.min(here));
                            input.copy_within(from..from + n, to);
                            decoder.passed(n as u64);
                            (from, to) = (from + n, to + n);
                        }
                        Step::NeedMore => return Ok(to),
                        Step::End => {
                            self.on_end(&input[from..]);
                            return Ok(to);
                        }
                        Step::Bad(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn on_end(&mut self, behind: &[u8]) {
        self.state = State::Ended;
        self.raw.splice(..0, behind.iter().copied());
    }

    /// The payload has been read.
    fn end(&mut self, stream: &mut Stream<impl Transport>) -> io::Result<usize> {
        if self.behind == Behind::Request
            || self.raw.is_empty() && super::cut_or_ended(stream.read(&mut [0]))? == 0
        {
            return Ok(0);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "more came than was announced"))
    }

    /// How many of the next bytes in the socket are payload as they are, if it is many.
    pub(super) fn untouched(&mut self) -> Option<usize> {
        let Body::Framed(decoder) = &mut self.body else { return None };
        if self.state != State::Open || !self.raw.is_empty() {
            return None;
        }
        match decoder.next(&[]) {
            Step::Pass(left) if left >= MIN_SPLICE_BYTES => {
                Some(usize::try_from(left).unwrap_or(usize::MAX))
            }
            _ => None,
        }
    }

    /// `n` bytes of payload were moved past this.
    pub(super) fn passed(&mut self, n: u64) {
        if let Body::Framed(decoder) = &mut self.body {
            decoder.passed(n);
            if decoder.next(&[]) == Step::End {
                self.state = State::Ended;
            }
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.state == State::Ended && self.decoded.is_empty()
    }

    pub(super) fn error(&self) -> Option<BodyError> {
        match self.state {
            State::Bad(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn is_form(&self) -> bool {
        matches!(self.body, Body::Form(_))
    }

    /// Whether all is known that a form says of its payload before that comes.
    pub(super) fn has_begun(&self) -> bool {
        self.description().is_some() || self.state != State::Open
    }

    /// What a form says of its payload, once that has begun.
    pub(super) fn description(&self) -> Option<&Description> {
        match &self.body {
            Body::Form(form) => form.description(),
            Body::Framed(_) => None,
        }
    }

    /// Takes out what was read and follows the payload.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        match self.state {
            State::Ended => std::mem::take(&mut self.raw),
            _ => Vec::new(),
        }
    }
}

/// Moves as many of `bytes` as fit to `buf`.
fn take(bytes: &mut Vec<u8>, buf: &mut [u8]) -> usize {
    let n = bytes.len().min(buf.len());
    buf[..n].copy_from_slice(&bytes[..n]);
    bytes.drain(..n);
    if bytes.is_empty() {
        // It may have been large, and it is needed once.
        *bytes = Vec::new();
    }
    n
}
