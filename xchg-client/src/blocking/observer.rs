//! Hearing what goes on in a transfer, and deciding about it.

use std::time::Duration;

use xchg_core::wire::{Matched, Waiting};

use crate::files::{Entry, Existing, Kept, Manifest, Survey};
use crate::{Address, Error, session};

/// Told what goes on, by the thread that runs the transfer, and asked what it decides. Every method
/// does nothing, and accepts everything, unless it is written.
///
/// The end is no event: it is what the transfer returns. Names in a manifest are the other peer's
/// words on the downloader's side: they are safe to create, but
/// [escape](crate::terminal::escape) them to show them.
///
/// ```
/// use xchg_client::{Matched, Observer};
///
/// /// Counts what moves.
/// struct Meter(u64);
///
/// impl Observer for Meter {
///     fn matched(&mut self, matched: &Matched) {
///         println!("the counterpart speaks {:?}", matched.dialect);
///     }
///
///     fn moved(&mut self, bytes: u64) {
///         self.0 += bytes;
///     }
/// }
/// # let mut meter = Meter(0);
/// # let observer: &mut dyn Observer = &mut meter;
/// # observer.moved(3);
/// # observer.moved(4);
/// # assert_eq!(meter.0, 7);
/// ```
pub trait Observer {
    /// Uploader of a sealed transfer only, before each offer: what would be sent if somebody came
    /// now. What there is when somebody does is offered, and [`manifest`](Self::manifest) hears of
    /// that.
    fn collected(&mut self, manifest: &Manifest) {
        let _ = manifest;
    }

    /// The server is being looked up and connected to, once for each offer.
    fn connecting(&mut self, address: &Address) {
        let _ = address;
    }

    /// The server has the offer, and no counterpart is there yet. Also called, every so often,
    /// while one waits in another realm.
    fn waiting(&mut self, waiting: &Waiting) {
        let _ = waiting;
    }

    /// The offer failed, and is made again after `delay`. What arrived until then is not sent
    /// again.
    fn retrying(&mut self, error: &Error, delay: Duration) {
        let _ = (error, delay);
    }

    /// The counterpart is here.
    fn matched(&mut self, matched: &Matched) {
        let _ = matched;
    }

    /// Of sealed transfers: what is offered, by us, or, with names made safe, to us. It comes once
    /// the other peer has proved that it knows the secret.
    fn manifest(&mut self, manifest: &Manifest) {
        let _ = manifest;
    }

    /// Downloader of a sealed transfer only: what to do with the names that are
    /// [taken](Survey::taken), of which there are some, if
    /// [`PlaceOptions::existing`](crate::files::PlaceOptions::existing) is to refuse. Comes before
    /// [`decide`](Self::decide), which hears of what is found then. `None` declines the offer.
    /// Refuses unless it is written: then the uploader keeps it for another attempt.
    fn existing(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Existing> {
        let _ = (manifest, survey);
        Some(Existing::Refuse)
    }

    /// Downloader of a sealed transfer only: whether to take what is offered. It may take its time,
    /// the other peer is kept informed.
    fn decide(&mut self, manifest: &Manifest, survey: &Survey) -> Decision {
        let _ = (manifest, survey);
        Decision::Accept
    }

    /// Of sealed transfers: the downloader accepted, and says that it has `bytes` of the content
    /// already.
    fn accepted(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Of sealed transfers: the content of entry `index` begins to move, after the first `offset`
    /// bytes of it.
    fn begin(&mut self, index: usize, entry: &Entry, offset: u64) {
        let _ = (index, entry, offset);
    }

    /// So many bytes of content more were given to the connection, or arrived. Comes after every
    /// piece, which may be thousands of times a second.
    fn moved(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Uploader of a sealed transfer only: the downloader has so many `bytes` of all content by
    /// now, with those that it had before. Comes about four times a second while content moves,
    /// from downloaders that tell. Never more than they were offered is promised: the number is the
    /// other peer's word.
    fn confirmed(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Of sealed transfers: all content of entry `index` was sent; or arrived, and is what was
    /// sent. It may not be on the disk yet.
    fn entry_done(&mut self, index: usize, entry: &Entry) {
        let _ = (index, entry);
    }

    /// Downloader of a sealed transfer only: the transfer has failed like this, and leaves
    /// something to go on from. The other peer may not know of it yet.
    fn kept(&mut self, kept: &Kept, error: &session::Error) {
        let _ = (kept, error);
    }

    /// Of sealed transfers: all content has moved. The downloader brings the rest to the disk, the
    /// uploader waits for its receipt.
    fn finishing(&mut self) {}
}

/// Nobody, who accepts everything.
impl Observer for () {}

/// The downloader's answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth answer")]
pub enum Decision {
    /// Take it.
    Accept,
    /// Do not; the uploader is told the reason, of which 1024 bytes are kept.
    Decline(String),
    /// The offer cannot be taken as it was asked for here, which may be mended: the uploader is
    /// told the reason, and keeps its offer.
    Unable(String),
}
