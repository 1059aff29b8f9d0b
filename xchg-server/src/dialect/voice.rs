//! What a peer speaks and how far it is in that: every question about it that the engine has.

use std::time::Duration;

use xchg_core::wire::RefusalCode;
use xchg_core::{Realm, Side};

use super::{Dialect, Interruption, NotServed, http, native, transit};
use crate::Config;

/// What a peer speaks, and how far it is in that.
#[derive(Debug, Default)]
pub(crate) enum Voice {
    /// It has not said enough to tell.
    #[default]
    Unknown,
    Native,
    Classic,
    /// With what it has asked for, while that is not settled; it may ask again behind that.
    Http(Option<Box<http::Peer>>),
    Transit,
}

impl Voice {
    /// One that speaks `dialect`, and has asked for nothing yet.
    pub(crate) fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Native => Self::Native,
            Dialect::Classic => Self::Classic,
            Dialect::Http => Self::Http(None),
            Dialect::Transit => Self::Transit,
        }
    }

    /// What it speaks, once it is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::Unknown => None,
            Self::Native => Some(Dialect::Native),
            Self::Classic => Some(Dialect::Classic),
            Self::Http(_) => Some(Dialect::Http),
            Self::Transit => Some(Dialect::Transit),
        }
    }

    /// What it is told when it has to wait; `elsewhere` is another realm, where a possible
    /// counterpart waits, and `gathered` how many others wait for the same exchange.
    pub(crate) fn waiting(&mut self, elsewhere: Option<Realm>, gathered: u16) -> Vec<u8> {
        match self {
            Self::Native => native::waiting(elsewhere),
            Self::Http(Some(peer)) => peer.waiting(elsewhere, gathered),
            Self::Unknown | Self::Classic | Self::Http(None) | Self::Transit => Vec::new(),
        }
    }

    /// How often it is told something while it waits; `None` if its dialect has no word for it, or
    /// `config` wants none.
    pub(crate) fn heartbeat_interval(&self, config: &Config) -> Option<Duration> {
        match self {
            Self::Native => Some(config.heartbeat),
            Self::Http(Some(peer)) if !config.processing_interval.is_zero() => {
                peer.heartbeat_interval(config.processing_interval)
            }
            Self::Unknown | Self::Classic | Self::Http(_) | Self::Transit => None,
        }
    }

    /// What it is told then; `elsewhere` as with [`waiting`](Self::waiting).
    pub(crate) fn heartbeat(&mut self, elsewhere: Option<Realm>) -> Vec<u8> {
        match self {
            Self::Native => native::heartbeat(elsewhere),
            Self::Http(Some(peer)) => peer.still_waiting(elsewhere),
            Self::Unknown | Self::Classic | Self::Http(None) | Self::Transit => Vec::new(),
        }
    }

    /// What comes of it if it says anything while it waits; whether it `leaves_by_ending` its
    /// stream, [`Dialect::leaves_by_ending`] has said.
    pub(crate) fn interrupted(&self, leaves_by_ending: bool) -> Interruption {
        match self {
            Self::Classic if leaves_by_ending => {
                Interruption::Untold("a classic downloader says nothing behind its key")
            }
            Self::Transit => Interruption::Told(transit::IMPATIENT),
            Self::Unknown | Self::Native | Self::Classic | Self::Http(_) => Interruption::Kept,
        }
    }

    /// Whether it can be told of a possible counterpart in another realm.
    pub(crate) fn hears_of_elsewhere(&self) -> bool {
        match self {
            Self::Native => true,
            Self::Http(Some(peer)) => peer.side() == Side::Upload,
            Self::Unknown | Self::Classic | Self::Http(None) | Self::Transit => false,
        }
    }

    /// What it is told when its counterpart is here, who speaks `other` and announced a payload of
    /// `length` bytes.
    pub(crate) fn matched(&mut self, other: Dialect, length: Option<u64>) -> Vec<u8> {
        match self {
            Self::Native => native::matched(other, length),
            Self::Http(Some(peer)) => peer.matched(),
            Self::Transit => transit::MATCHED.to_vec(),
            Self::Unknown | Self::Classic | Self::Http(None) => Vec::new(),
        }
    }

    /// What it is told when it is not served; `None` if its dialect has no word for that. A reset
    /// then shows it, since a mere end of the stream looks like the end of an empty payload.
    pub(crate) fn refused(&mut self, why: &NotServed) -> Option<Vec<u8>> {
        match self {
            Self::Native => Some(native::refused(why.code(), &why.text())),
            Self::Http(peer) => {
                let peer = peer.take()?;
                let refusal = http::Refusal::of(why, &peer);
                Some(peer.refused(refusal))
            }
            Self::Transit if why.code() == RefusalCode::Malformed => {
                Some(transit::BAD_HANDSHAKE.to_vec())
            }
            Self::Unknown | Self::Classic | Self::Transit => None,
        }
    }

    /// What it has asked for, if its dialect answers that as the exchange goes, and it is not
    /// settled.
    pub(crate) fn request(&self) -> Option<&http::Peer> {
        match self {
            Self::Http(peer) => peer.as_deref(),
            Self::Unknown | Self::Native | Self::Classic | Self::Transit => None,
        }
    }

    /// As [`request`](Self::request), to be told something.
    pub(crate) fn request_mut(&mut self) -> Option<&mut http::Peer> {
        match self {
            Self::Http(peer) => peer.as_deref_mut(),
            Self::Unknown | Self::Native | Self::Classic | Self::Transit => None,
        }
    }

    /// Takes [`request`](Self::request) out, to be answered for good.
    pub(crate) fn take_request(&mut self) -> Option<Box<http::Peer>> {
        match self {
            Self::Http(peer) => peer.take(),
            Self::Unknown | Self::Native | Self::Classic | Self::Transit => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_is_of_the_dialect_that_it_was_made_for() {
        for dialect in Dialect::ALL {
            assert_eq!(Voice::of(dialect).dialect(), Some(dialect));
        }
        assert_eq!(Voice::default().dialect(), None);
    }

    #[test]
    fn who_has_asked_for_nothing_is_told_only_what_its_dialect_says_unasked() {
        let config = Config::default();
        for mut voice in Dialect::ALL.map(Voice::of).into_iter().chain([Voice::Unknown]) {
            let speaks = matches!(voice, Voice::Native);
            assert_eq!(!voice.waiting(None, 0).is_empty(), speaks, "{voice:?}");
            assert_eq!(!voice.heartbeat(None).is_empty(), speaks, "{voice:?}");
            assert_eq!(voice.heartbeat_interval(&config).is_some(), speaks, "{voice:?}");
            assert_eq!(voice.hears_of_elsewhere(), speaks, "{voice:?}");
            assert!(voice.take_request().is_none(), "{voice:?}");
        }
    }

    #[test]
    fn a_refusal_is_in_words_where_the_dialect_has_some() {
        let said = |dialect, code| {
            Voice::of(dialect).refused(&NotServed::For { code, text: "why" }).is_some()
        };
        for (dialect, malformed, busy) in [
            (Dialect::Native, true, true),
            (Dialect::Classic, false, false),
            (Dialect::Http, false, false),
            (Dialect::Transit, true, false),
        ] {
            assert_eq!(said(dialect, RefusalCode::Malformed), malformed, "{dialect:?}");
            assert_eq!(said(dialect, RefusalCode::Busy), busy, "{dialect:?}");
        }
    }
}
