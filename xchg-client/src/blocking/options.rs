//! What to transfer, for whom, and how.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use xchg_core::Key;
use xchg_core::wire::Wait;

use crate::Retry;
use crate::files::{Destination, PlaceOptions, Stream, WalkOptions};
use crate::session::Secret;

/// How what is transferred is protected. Only those meet who choose alike: both sealed or
/// unauthenticated, or both plain.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "an application offers each to its person")]
pub enum Security {
    /// Encrypted from end to end, between two who know the same secret. The server can neither read
    /// nor alter what is sent, and sees only a hash of the key.
    Sealed(Secret),
    /// Encrypted from end to end, between two of whom neither proves who it is. Who only listens on
    /// the way learns nothing; the server, and who stands in its place, could read and alter what
    /// is sent.
    Unauthenticated,
    /// One file, or a stream, as bare bytes that all on the way can read: the counterpart may be
    /// curl, a browser or a classic client. It cannot be resumed.
    Plain,
}

impl From<Secret> for Security {
    /// Sealed with the secret; unauthenticated if it is none.
    fn from(secret: Secret) -> Self {
        if secret.is_none() { Self::Unauthenticated } else { Self::Sealed(secret) }
    }
}

/// What to upload.
#[non_exhaustive]
pub enum Content {
    /// Files, and folders with everything in them.
    Paths {
        /// The paths here. Their last components are the names there.
        paths: Vec<PathBuf>,
        /// What to do with links and special files.
        walk: WalkOptions,
    },
    /// A few words for the other person.
    Text {
        /// The file's name, should it be kept as one.
        name: String,
        /// The words, of at most 1 MiB.
        text: String,
    },
    /// Anything, to its end, without keeping it anywhere. It can be sent once, and not be resumed.
    Stream {
        /// The name of the file that it becomes.
        name: String,
        /// The bytes. In a sealed transfer they are read on a thread of their own, which is left
        /// behind in its read if the transfer ends early.
        stream: Stream,
    },
}

impl Content {
    /// Files, and folders with everything in them, none of which is special or leads elsewhere.
    pub fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        Self::Paths { paths, walk: WalkOptions::default() }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paths { paths, .. } => f.debug_tuple("Paths").field(paths).finish(),
            Self::Text { name, .. } => f.debug_tuple("Text").field(name).finish(),
            Self::Stream { name, .. } => f.debug_tuple("Stream").field(name).finish(),
        }
    }
}

/// What to upload for whom.
#[derive(Debug)]
#[must_use = "nothing is uploaded before Client::upload is called with it"]
pub struct UploadOptions {
    pub(crate) key: Key,
    pub(crate) security: Security,
    pub(crate) content: Content,
    pub(crate) wait: Wait,
    pub(crate) retry: Option<Retry>,
    pub(crate) guesses: NonZeroU32,
    pub(crate) pace: Duration,
    pub(crate) rate_limit: Option<NonZeroU64>,
}

impl UploadOptions {
    /// Uploads `content` as soon as somebody downloads `key`, who is waited for for ever.
    pub fn new(key: Key, security: impl Into<Security>, content: Content) -> Self {
        Self {
            key,
            security: security.into(),
            content,
            wait: Wait::Forever,
            retry: None,
            guesses: NonZeroU32::MIN,
            pace: Duration::ZERO,
            rate_limit: None,
        }
    }

    /// How long to wait for the downloader. Default: for ever.
    pub fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Whether to offer again what failed for a reason that passes; of plain transfers, only what
    /// failed before anything had moved. Default: no.
    pub fn retry(self, retry: impl Into<Option<Retry>>) -> Self {
        Self { retry: retry.into(), ..self }
    }

    /// How many guesses at the secret are allowed, over all offers of this call: see
    /// [`session::Error::is_guess`](crate::session::Error::is_guess). Default: one.
    pub fn guesses(self, guesses: NonZeroU32) -> Self {
        Self { guesses, ..self }
    }

    /// The least pause between two writes. Default: none.
    pub fn pace(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// The most bytes a second. Default: no limit.
    pub fn rate_limit(self, rate: impl Into<Option<NonZeroU64>>) -> Self {
        Self { rate_limit: rate.into(), ..self }
    }
}

/// What to download, and where it goes.
#[derive(Debug)]
#[must_use = "nothing is downloaded before Client::download is called with it"]
pub struct DownloadOptions<'a> {
    pub(crate) key: Key,
    pub(crate) security: Security,
    pub(crate) destination: Destination<'a>,
    pub(crate) place: PlaceOptions,
    pub(crate) wait: Wait,
    pub(crate) retry: Option<Retry>,
    pub(crate) guesses: NonZeroU32,
    pub(crate) rate_limit: Option<NonZeroU64>,
}

impl<'a> DownloadOptions<'a> {
    /// Downloads into `destination` what somebody uploads under `key`, who is waited for for ever.
    pub fn new(key: Key, security: impl Into<Security>, destination: Destination<'a>) -> Self {
        Self {
            key,
            security: security.into(),
            destination,
            place: PlaceOptions::default(),
            wait: Wait::Forever,
            retry: None,
            guesses: NonZeroU32::MIN,
            rate_limit: None,
        }
    }

    /// What to do about names that are taken or unsafe, and whether to go on from what an earlier
    /// run left.
    pub fn place(self, place: PlaceOptions) -> Self {
        Self { place, ..self }
    }

    /// How long to wait for the uploader. Default: for ever.
    pub fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// Whether to ask again for what failed for a reason that passes; of plain transfers, only what
    /// failed before anything had moved. Default: no.
    pub fn retry(self, retry: impl Into<Option<Retry>>) -> Self {
        Self { retry: retry.into(), ..self }
    }

    /// How many guesses at the secret are allowed, over all offers of this call: see
    /// [`session::Error::is_guess`](crate::session::Error::is_guess). Default: one.
    pub fn guesses(self, guesses: NonZeroU32) -> Self {
        Self { guesses, ..self }
    }

    /// The most bytes a second. Default: no limit.
    pub fn rate_limit(self, rate: impl Into<Option<NonZeroU64>>) -> Self {
        Self { rate_limit: rate.into(), ..self }
    }
}
