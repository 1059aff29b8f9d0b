//! What a peer is to do, well or ill, and what it can tell of how that ended.

use xchg_core::Side;
use xchg_core::wire::RefusalCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Classic,
    Native,
    Http,
    HttpClosing,
    Http10,
    Transit,
    /// Nothing that is spoken here, or not quite: its payload, and no more.
    Nonsense,
}

impl Speaks {
    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::HttpClosing | Self::Http10)
    }
}

/// How a peer misbehaves, after so many acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not at all.
    Plays,
    Closes(u32),
    Resets(u32),
    /// Its network goes.
    Vanishes(u32),
    /// It neither reads nor writes any more.
    Halts(u32),
    /// It ends its stream after so many bytes of its greeting, or behind it if that is all, and
    /// goes on to listen.
    Ends(usize),
}

/// What a peer wants of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// To be one side of an exchange.
    Exchange(Side),
    /// A page of the server's own.
    Page(&'static str),
    /// What no server would do: the beginning of a request's first line.
    Refusal(&'static str),
}

/// One thing that a peer wants; http peers may want several on one connection.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) wants: Wants,
    pub(super) key: String,
    pub(super) payload: Vec<u8>,
    pub(super) receivers: u16,
    /// Whether an uploader says how long its payload is, where its dialect lets it choose.
    pub(super) announces: bool,
}

impl Part {
    pub(super) fn is(&self, side: Side) -> bool {
        self.wants == Wants::Exchange(side)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) speaks: Speaks,
    /// One behind the other.
    pub(super) parts: Vec<Part>,
    /// Whether it asks for the next before the last is answered.
    pub(super) pipelines: bool,
    pub(super) wait: Option<u32>,
    pub(super) fate: Fate,
    /// Bytes that it reads or writes at a time.
    pub(super) pace: usize,
    /// Whether it is always so many, and not often fewer.
    pub(super) is_steady: bool,
    /// Whether it says its greeting byte by byte.
    pub(super) hesitates: bool,
    /// Whether it stays connected when its part is over.
    pub(super) stays: bool,
    /// Whether all that it says and hears is in records.
    pub(super) is_wrapped: bool,
}

/// What a peer can tell of how a part of its ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing yet, or nothing that it can tell.
    Nothing,
    /// It was not to be asked for any more: the server had said that it would close before.
    Unasked,
    /// A downloader, or one of two equals, has a whole payload.
    Whole(Vec<u8>),
    /// An uploader was told that everything was received.
    Received,
    /// It has the page.
    Answered,
    /// It was told no.
    Refused(Option<RefusalCode>),
    /// It can tell that its part failed.
    Failed,
}
