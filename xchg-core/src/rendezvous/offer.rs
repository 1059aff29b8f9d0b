//! What comes to a matcher, and what it answers.

use std::time::Instant;

use crate::{Key, Origin, Realm, Side};

/// A peer's arrival.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "every caller is to think of a new field")]
pub struct Offer<Conn> {
    /// The realm in which the peer may be paired.
    pub realm: Realm,
    /// The key that the peer shares with its counterpart.
    pub key: Key,
    /// With whom the peer pairs.
    pub role: Role,
    /// Whom the peer is counted with in
    /// [`Limits::waiting_per_origin`](crate::Limits::waiting_per_origin); `None` is nobody.
    pub origin: Option<Origin>,
    /// When the peer stops waiting; `None` is never.
    pub deadline: Option<Instant>,
    /// Whether the peer may wait at all. One that may not is paired if its counterpart is here, and
    /// otherwise refused as [`Full`](Refusal::Full): so a caller with no room left still serves
    /// those who wait.
    pub may_wait: bool,
    /// Whether the peer is refused, rather than queued, if others of its role wait under the key;
    /// or, by a [`Broker`](crate::Broker), if an exchange runs under it.
    pub exclusive: bool,
    /// How many downloaders the exchange is to have, at least 1. With more, all who offer a side
    /// under the key must name the same number; they wait until the uploader and as many
    /// downloaders are here. For [`Role::Side`].
    pub receivers: u16,
    /// The connection, or whatever is paired.
    pub conn: Conn,
}

impl<Conn> Offer<Conn> {
    /// An offer of `side` to one counterpart that waits for ever, in line, from no particular
    /// origin.
    pub fn new(realm: Realm, key: Key, side: Side, conn: Conn) -> Self {
        let role = Role::Side(side);
        Self {
            realm,
            key,
            role,
            origin: None,
            deadline: None,
            may_wait: true,
            exclusive: false,
            receivers: 1,
            conn,
        }
    }

    /// Whether its exchange has more than two peers.
    pub(super) fn is_grouped(&self) -> bool {
        self.receivers > 1
    }
}

/// With whom an offer pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers build it")]
pub enum Role {
    /// With the other side.
    Side(Side),
    /// With any whose label is another, or who has none: the two ends are equals, the first to come
    /// is `upload`. On pairing, the others under the key are [spares](Offered::Paired). For
    /// [`Realm::Transit`]; in a realm where others offer sides, it pairs with none of those, and
    /// stands in their way.
    Label(Option<Box<[u8; 16]>>),
}

impl From<Side> for Role {
    fn from(side: Side) -> Self {
        Self::Side(side)
    }
}

impl Role {
    pub(super) fn pairs_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Side(one), Self::Side(other)) => one != other,
            (Self::Label(Some(one)), Self::Label(Some(other))) => one != other,
            (Self::Label(_), Self::Label(_)) => true,
            _ => false,
        }
    }
}

/// Names a waiting offer, for the matcher that gave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub(super) index: u32,
    /// Tells this use of the slab entry from others.
    pub(super) serial: u32,
}

/// What became of an offer.
#[must_use = "it may hold open connections"]
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers handle every case")]
pub enum Offered<Conn> {
    /// The offer waits until its counterpart comes, or it is
    /// [withdrawn](super::Rendezvous::withdraw) or [expires](super::Rendezvous::expire).
    Waiting {
        /// Names the offer, for [`Rendezvous::withdraw`](super::Rendezvous::withdraw).
        ticket: Ticket,
        /// How many others wait for the same exchange (only with [several
        /// receivers](Offer::receivers)).
        gathered: u16,
    },
    /// Both are here, and are the caller's now.
    Paired {
        /// The key that they share.
        key: Key,
        /// The uploader, or of two equals the one that waited.
        upload: Conn,
        /// The downloader, or of two equals the newcomer.
        download: Conn,
        /// The other downloaders, in order of arrival (only with [several
        /// receivers](Offer::receivers)).
        others: Vec<Conn>,
        /// Others under the key that lost their purpose by this pairing (only with
        /// [`Role::Label`]).
        spares: Vec<Conn>,
    },
    /// The offer is not taken. Its connection comes back, so that the caller can tell the peer why.
    Refused {
        /// The connection that was offered.
        conn: Conn,
        /// Why the offer is not taken.
        why: Refusal,
    },
}

/// Why an offer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// [`Limits::waiting`](crate::Limits::waiting) is reached, or the offer [may not
    /// wait](Offer::may_wait).
    #[error("too many peers are waiting here; try again later")]
    Full,
    /// [`Limits::waiting_per_key`](crate::Limits::waiting_per_key) is reached.
    #[error("too many peers are waiting under this key; use another key, or try again later")]
    KeyFull,
    /// [`Limits::waiting_per_origin`](crate::Limits::waiting_per_origin) is reached.
    #[error("too many peers from your address are waiting; close some, or try again later")]
    OriginFull,
    /// The offer is [exclusive](Offer::exclusive), or one of a group, and another peer of its side
    /// waits.
    #[error("another peer of the same side is here already under this key")]
    SideTaken,
    /// The offer is [exclusive](Offer::exclusive), and an exchange runs under its key.
    #[error("an exchange is running already under this key")]
    Exchanging,
    /// Those who wait under the key name another [number of receivers](Offer::receivers).
    #[error(
        "the number of receivers under this key is {expected}; name as many, or use another key"
    )]
    Receivers {
        /// The number that they name.
        expected: u16,
    },
    /// The matcher is [closed](super::Rendezvous::close).
    #[error("the server is shutting down; try again later, or elsewhere")]
    Closed,
}
