//! A downloader's response: head, framing, payload.

use std::io;
use std::num::NonZeroU64;

use crate::dialect::http::{
    ChunkedEncoder, Description, Framing, MAX_HEAD_BYTES, ReplyTo, download_head,
};
use crate::engine::net::Transport;
use crate::engine::stream::Stream;

/// A response being written.
#[derive(Debug)]
pub(crate) struct Response {
    head: Head,
    /// Head and framing that must go out before any more payload.
    pending: Vec<u8>,
    /// If it is chunked: the encoder, and how much payload is to come in the chunk that has begun.
    chunked: Option<(ChunkedEncoder, u64)>,
    has_ended: bool,
    /// Whether all of the payload has been read: its receiver may then leave, for all it can tell.
    is_exhausted: bool,
    /// What the client has sent behind its request, if the connection is kept: its next request.
    /// `None` if the connection ends with this response.
    behind: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// It waits for a description of the payload.
    Awaited(ReplyTo),
    /// Nothing of it has been written.
    Ready,
    Begun,
}

impl Response {
    /// The response with a payload of which all is known that ever will be.
    pub(super) fn new(to: ReplyTo, length: Option<u64>, description: Option<&Description>) -> Self {
        let (pending, framing) = download_head(to, length, description);
        let chunked = (framing == Framing::Chunked).then(|| (ChunkedEncoder::new(), 0));
        let behind = (to.keep_alive && framing != Framing::Close).then(Vec::new);
        Self { head: Head::Ready, pending, chunked, has_ended: false, is_exhausted: false, behind }
    }

    /// The response with a payload whose description comes with it, and whose length is not known.
    pub(super) fn undescribed(to: ReplyTo) -> Self {
        Self { head: Head::Awaited(to), pending: Vec::new(), ..Self::new(to, None, None) }
    }

    /// Whether the head awaits its description.
    pub(super) fn awaits_description(&self) -> bool {
        matches!(self.head, Head::Awaited(_))
    }

    /// Completes a head that awaited its description.
    pub(super) fn describe(&mut self, description: Option<&Description>) {
        if let Head::Awaited(to) = self.head {
            (self.pending, _) = download_head(to, None, description);
            self.head = Head::Ready;
        }
    }

    /// Notes that all of the payload has been read.
    pub(super) fn on_exhausted(&mut self) {
        self.is_exhausted = true;
    }

    /// Whether the client may end its stream without a loss: it knows the end, or is about to.
    pub(super) fn may_be_left(&self) -> bool {
        self.has_ended || self.is_exhausted
    }

    /// Sends what is pending.
    pub(super) fn flush(&mut self, stream: &mut Stream<impl Transport>) -> io::Result<()> {
        while !self.pending.is_empty() {
            self.send(stream, &[], false)?;
        }
        Ok(())
    }

    /// Sends what is pending and then of `payload` what fits, at least one byte; says how many
    /// bytes of it. If it `is_last`, the end may leave with it, unless that is a chunk.
    pub(super) fn write(
        &mut self,
        stream: &mut Stream<impl Transport>,
        payload: &[u8],
        is_last: bool,
    ) -> io::Result<usize> {
        let payload = self.chunk(payload);
        let is_last = is_last && self.chunked.is_none();
        loop {
            let n = self.send(stream, payload, is_last)?;
            if n > 0 || payload.is_empty() {
                if let Some((_, left)) = &mut self.chunked {
                    *left -= n as u64;
                }
                return Ok(n);
            }
        }
    }

    /// Begins a chunk of `payload`, unless one is under way: as much of it as that has room for.
    fn chunk<'a>(&mut self, payload: &'a [u8]) -> &'a [u8] {
        let Some((encoder, left)) = &mut self.chunked else { return payload };
        if let (0, Some(len)) = (*left, NonZeroU64::new(payload.len() as u64)) {
            self.pending.extend_from_slice(encoder.head(len).as_ref());
            *left = len.get();
        }
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        &payload[..payload.len().min(most)]
    }

    /// Sends once; says how many bytes of `payload` went.
    fn send(
        &mut self,
        stream: &mut Stream<impl Transport>,
        payload: &[u8],
        is_last: bool,
    ) -> io::Result<usize> {
        let sent = stream.write_framed(&self.pending, payload, is_last)?;
        self.head = Head::Begun;
        let framing = sent.min(self.pending.len());
        self.pending.drain(..framing);
        Ok(sent - framing)
    }

    /// Sends what ends the body.
    pub(super) fn end(&mut self, stream: &mut Stream<impl Transport>) -> io::Result<()> {
        if !self.has_ended {
            self.has_ended = true;
            if let Some((encoder, _)) = self.chunked {
                self.pending.extend_from_slice(encoder.last());
            }
        }
        self.flush(stream)
    }

    /// Whether the connection carries another request once the response has ended.
    pub(super) fn may_keep_alive(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether the response has ended and the connection carries another request.
    pub(super) fn keeps_alive(&self) -> bool {
        self.has_ended && self.may_keep_alive()
    }

    /// Notes what the client says before it has the whole response. One that says more than a
    /// request's head can be is not listened to, and its connection not kept.
    pub(super) fn heard(&mut self, bytes: &[u8]) {
        if let Some(behind) = &mut self.behind {
            behind.extend_from_slice(bytes);
            if behind.len() > MAX_HEAD_BYTES {
                self.behind = None;
            }
        }
    }

    /// Takes out what the client has said.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.behind.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.chunked.is_some()
    }

    /// Whether not a byte of it has been written.
    pub(super) fn is_untouched(&self) -> bool {
        self.head != Head::Begun
    }
}
