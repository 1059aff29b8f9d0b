//! What a peer is to do, well or ill, and what it can tell of how that ended.

use std::fmt::Write;
use std::net::Ipv4Addr;

use xchg_core::Side;
use xchg_core::wire::RefusalCode;

use crate::origin::Origin;

/// The proxy that is trusted.
pub(super) const PROXY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

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
    /// It breaks the rules of what it speaks within, with that record.
    Breaks(usize),
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
    /// Whether an uploader that speaks http sends a form with a file in it.
    pub(super) is_form: bool,
}

impl Part {
    pub(super) fn is(&self, side: Side) -> bool {
        self.wants == Wants::Exchange(side)
    }
}

/// How a peer comes to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    Directly,
    /// Through a proxy that says first for whom it comes, in words or not.
    Proxied {
        in_words: bool,
    },
    /// Through a proxy that says so in each request.
    Forwarded,
    /// To where only proxies may come.
    Astray,
    /// To where everything must be in records.
    Secured,
}

impl Comes {
    /// The number of the listener.
    pub(super) fn listener(self) -> u8 {
        match self {
            Self::Directly | Self::Forwarded => 0,
            Self::Proxied { .. } | Self::Astray => 1,
            Self::Secured => 2,
        }
    }
}

/// The token that lets everybody exchange something, in worlds where it takes one.
pub(super) const TOKEN: &str = "sesame";

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) speaks: Speaks,
    pub(super) comes: Comes,
    /// The number of the source that it comes from.
    pub(super) host: u8,
    pub(super) token: Option<&'static str>,
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

impl Plan {
    /// Whether it is served where only who shows a token is, if `by_token`.
    pub(super) fn is_served(&self, by_token: bool) -> bool {
        let has_words = self.speaks == Speaks::Native || self.speaks.is_http();
        let is_known = !by_token || (has_words && self.token == Some(TOKEN));
        let is_astray = match self.comes {
            Comes::Astray => true,
            Comes::Secured => !self.is_wrapped,
            _ => false,
        };
        is_known && !is_astray
    }

    /// What the proxy that it comes through says first, if it says something.
    pub(super) fn preface(&self) -> Vec<u8> {
        match self.comes {
            Comes::Proxied { in_words: true } => {
                format!("PROXY TCP4 {} {PROXY} 4711 4980\r\n", self.address()).into_bytes()
            }
            Comes::Proxied { in_words: false } => {
                let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
                bytes.extend(self.address().octets());
                bytes.extend(PROXY.octets());
                bytes.extend([0x12, 0x67, 0x13, 0x74]);
                bytes
            }
            _ => Vec::new(),
        }
    }

    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 1 + self.host)
    }

    /// What its requests say of whom they are for, and by what right.
    pub(super) fn fields(&self) -> String {
        let mut fields = String::new();
        if self.comes == Comes::Forwarded {
            write!(fields, "X-Forwarded-For: {}\r\n", self.address()).ok();
        }
        if let Some(token) = self.token {
            write!(fields, "Authorization: Bearer {token}\r\n").ok();
        }
        fields
    }

    /// Where its connection comes from.
    pub(super) fn origin(&self) -> Origin {
        Origin::of(match self.comes {
            Comes::Proxied { .. } | Comes::Forwarded => PROXY.into(),
            _ => self.address().into(),
        })
    }
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
