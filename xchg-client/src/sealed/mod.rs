//! End-to-end encrypted transfers: through the server, with offers in realm sealed, a session in
//! each exchange, and new offers after what passes by itself; or over any [`SealedStream`].

mod attempt;
mod download;
mod half;
#[cfg(test)]
#[cfg(unix)]
mod hostile;
mod link;
mod outcome;
mod stream;
#[cfg(test)]
#[cfg(unix)]
mod testing;
mod threads;
mod upload;

use std::fmt;
use std::io::Read;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use xchg_core::wire::Wait;
use xchg_core::{Key, Side};

use crate::files::{Destination, Outgoing, PlaceOptions, WalkOptions};
use crate::key::normalised;
use crate::net::Throttle;
use crate::retry::{Patience, Retry};
use crate::session::{self, Secret};
use crate::{Client, Error, Observer};
use attempt::Attempt;
pub use download::download;
pub use outcome::{Downloaded, Uploaded};
pub use stream::SealedStream;
pub use upload::upload;

/// What to upload.
#[non_exhaustive]
pub enum Content {
    /// Files, and folders with everything in them.
    Paths {
        /// Their names here. The last components are their names there.
        paths: Vec<PathBuf>,
        /// What to do with links and special files.
        walk: WalkOptions,
    },
    /// A few words for the other person.
    Text {
        /// The file's name, should it be kept as one.
        name: String,
        /// The words, of at most [`MAX_TEXT_BYTES`](crate::files::MAX_TEXT_BYTES).
        text: String,
    },
    /// Anything, to its end, without keeping it anywhere. It can be sent once, and not be resumed.
    Stream {
        /// The name of the file that it becomes.
        name: String,
        /// Read on a thread of its own, which is left behind in its read if the transfer ends
        /// early.
        reader: Box<dyn Read + Send>,
    },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Paths { paths, .. } => f.debug_tuple("Paths").field(paths).finish(),
            Content::Text { name, .. } => f.debug_tuple("Text").field(name).finish(),
            Content::Stream { name, .. } => f.debug_tuple("Stream").field(name).finish(),
        }
    }
}

/// What to upload for whom.
#[derive(Debug)]
#[non_exhaustive]
pub struct UploadOptions {
    /// What the downloader has to name too.
    pub key: Key,
    /// What it has to know too. With a secret, the server sees only a hash of the key. Default:
    /// none.
    pub secret: Secret,
    /// What it gets.
    pub content: Content,
    /// How long to wait for the downloader. Default: for ever.
    pub wait: Wait,
    /// Whether to offer again what failed for a reason that passes. Default: no.
    pub retry: Option<Retry>,
    /// How many guesses at the secret are allowed, over all offers of this call: see
    /// [`session::Error::is_guess`]. Default: one.
    pub guesses: NonZeroU32,
    /// The least pause between two writes. Default: none.
    pub pace: Duration,
    /// The most bytes a second. Default: no limit.
    pub rate_limit: Option<NonZeroU64>,
}

impl UploadOptions {
    /// Uploads `content` as soon as somebody downloads `key`.
    pub fn new(key: Key, secret: Secret, content: Content) -> UploadOptions {
        UploadOptions {
            key,
            secret,
            content,
            wait: Wait::Forever,
            retry: None,
            guesses: NonZeroU32::MIN,
            pace: Duration::ZERO,
            rate_limit: None,
        }
    }
}

/// What to download, and where it goes.
#[non_exhaustive]
pub struct DownloadOptions<'a> {
    /// What the uploader has to name too.
    pub key: Key,
    /// What it has to know too. Default: none.
    pub secret: Secret,
    /// Where it goes.
    pub destination: Destination<'a>,
    /// What to do about names that are taken or unsafe, and whether to go on from what an earlier
    /// run left. Default: refuse, and yes.
    pub place: PlaceOptions,
    /// How long to wait for the uploader. Default: for ever.
    pub wait: Wait,
    /// Whether to ask again for what failed for a reason that passes. Default: no.
    pub retry: Option<Retry>,
    /// How many guesses at the secret are allowed, over all offers of this call: see
    /// [`session::Error::is_guess`]. Default: one.
    pub guesses: NonZeroU32,
    /// The most bytes a second. Default: no limit.
    pub rate_limit: Option<NonZeroU64>,
}

impl<'a> DownloadOptions<'a> {
    /// Downloads into `destination` what somebody uploads under `key`.
    pub fn new(key: Key, secret: Secret, destination: Destination<'a>) -> DownloadOptions<'a> {
        DownloadOptions {
            key,
            secret,
            destination,
            place: PlaceOptions { resume: true, ..PlaceOptions::default() },
            wait: Wait::Forever,
            retry: None,
            guesses: NonZeroU32::MIN,
            rate_limit: None,
        }
    }
}

impl Client {
    /// Waits for a downloader who knows the secret, and sends it the content. One that cannot take
    /// it, for a reason of its own, is not the last: the offer is made again.
    ///
    /// # Errors
    /// Unless the downloader has everything safe on its disk, and said so. [`Error::is_cut_short`]
    /// tells what another call goes on with.
    pub fn upload(
        &self,
        options: UploadOptions,
        observer: &mut dyn Observer,
    ) -> Result<Uploaded, Error> {
        let UploadOptions { key, secret, content, wait, retry, guesses, pace, rate_limit } =
            options;
        let key = normalised(&key);
        let mut supply = Supply { content: Some(content), ready: None };
        let mut patience = Patience::new(retry, guesses);
        self.cancellable(|cancel| {
            loop {
                observer.collected(supply.prepare()?.manifest());
                let throttle = Throttle::new(pace, rate_limit, Instant::now());
                let side = Side::Upload;
                let attempt = Attempt::new(self, side, (&key, &secret), wait, cancel);
                let sent = attempt.run(throttle, observer, |stream, observer, token| {
                    let mut outgoing = supply.take()?;
                    let sent = upload(stream, &mut outgoing, observer, token);
                    supply.take_back(outgoing);
                    sent
                });
                match sent {
                    Err(error) if supply.is_repeatable() => {
                        patience.pause_after(error, attempt.has_met(), cancel, observer)?;
                    }
                    done => return done,
                }
            }
        })
    }

    /// Waits for an uploader who knows the secret, and takes what it sends if [`Observer::decide`]
    /// accepts it.
    ///
    /// # Errors
    /// Unless everything is in place. [`Error::is_cut_short`] tells what another call goes on with.
    pub fn download(
        &self,
        options: DownloadOptions<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Downloaded, Error> {
        let DownloadOptions {
            key,
            secret,
            mut destination,
            place,
            wait,
            retry,
            guesses,
            rate_limit,
        } = options;
        let key = normalised(&key);
        let mut patience = Patience::new(retry, guesses);
        destination.check()?;
        self.cancellable(|cancel| {
            loop {
                let throttle = Throttle::new(Duration::ZERO, rate_limit, Instant::now());
                let side = Side::Download;
                let attempt = Attempt::new(self, side, (&key, &secret), wait, cancel);
                let received = attempt.run(throttle, observer, |stream, observer, token| {
                    let destination = again(&mut destination);
                    download(stream, destination, place, observer, token)
                });
                match received {
                    // What a writer got cannot be taken back.
                    Err(error @ Error::Session(_))
                        if matches!(destination, Destination::Writer(_)) && attempt.has_met() =>
                    {
                        return Err(error);
                    }
                    Err(error) => {
                        patience.pause_after(error, attempt.has_met(), cancel, observer)?;
                    }
                    done => return done,
                }
            }
        })
    }
}

/// The content, collected before each offer: what cannot be sent is said before anybody comes. The
/// session collects it again.
struct Supply {
    content: Option<Content>,
    ready: Option<Outgoing>,
}

impl Supply {
    fn prepare(&mut self) -> Result<&Outgoing, Error> {
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => match &self.content {
                Some(Content::Paths { paths, walk }) => Outgoing::collect(paths, *walk)?,
                Some(Content::Text { name, text }) => Outgoing::text(name, text)?,
                Some(Content::Stream { .. }) | None => match self.content.take() {
                    Some(Content::Stream { name, reader }) => Outgoing::stream(&name, reader)?,
                    _ => return Err(crate::files::Error::Nothing.into()),
                },
            },
        };
        Ok(self.ready.insert(ready))
    }

    fn take(&mut self) -> Result<Outgoing, session::Error> {
        self.ready.take().ok_or(session::Error::Files(crate::files::Error::Nothing))
    }

    /// A stream that was not begun is there for the next offer; all else is collected anew.
    fn take_back(&mut self, outgoing: Outgoing) {
        self.ready = Some(outgoing).filter(Outgoing::is_unread_stream);
    }

    /// Whether another offer has something to send: a stream is gone with the session that began to
    /// read it.
    fn is_repeatable(&self) -> bool {
        self.ready.is_some() || self.content.is_some()
    }
}

/// The same destination for another attempt.
fn again<'a>(destination: &'a mut Destination<'_>) -> Destination<'a> {
    match destination {
        Destination::Directory(path) => Destination::Directory(path.clone()),
        Destination::File(path) => Destination::File(path.clone()),
        Destination::Writer(writer) => Destination::Writer(&mut **writer),
    }
}
