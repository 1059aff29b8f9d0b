//! What a sealed transfer tells beyond a plain one: what is offered, the decision, and each file.

use std::mem;
use std::time::Duration;

use indicatif::HumanBytes;
use xchg_client::files::{Existing, Kept, Manifest, Survey};
use xchg_client::terminal::escape;
use xchg_client::{Error, Side};

use super::contents::Contents;
use super::event::{Event, emit};
use super::{Notice, Reporter};
use crate::failure::Failure;
use crate::say::{Verbosity, say};
use crate::{offer, questions};

/// How long to wait for the first word of how much a downloader has: it says so about four times a
/// second.
const TELLING: Duration = Duration::from_secs(1);

/// What a transfer has told so far.
pub(super) struct SealedReport {
    pub(super) has_secret: bool,
    /// Whether the person knows what it means that there is none.
    pub(super) is_warned: bool,
    /// What was offered last, and whether it was accepted.
    pub(super) manifest: Option<Manifest>,
    pub(super) is_accepted: bool,
    pub(super) is_shown: bool,
    /// What to do with names that are taken, if the person has said so.
    pub(super) existing: Option<Existing>,
    /// Whether what nobody is asked about may add to folders that exist.
    pub(super) merges: bool,
    /// Why the offer was declined, if more can be said about it.
    pub(super) refusal: Option<Failure>,
    /// What the last attempt left.
    pub(super) kept: Option<Kept>,
    pub(super) contents: Contents,
    /// Bytes of all content that are here, or have been sent, as far as the current entry.
    pub(super) position: u64,
    /// Bytes that the downloader says it has.
    pub(super) confirmed: Option<u64>,
    /// A line that is said unless what is waited for comes soon.
    pub(super) waiting: Option<Notice>,
}

impl Reporter {
    /// For a sealed transfer, with a secret or without.
    pub(crate) fn sealed(mut self, has_secret: bool) -> Self {
        self.sealed = Some(SealedReport {
            has_secret,
            is_warned: has_secret,
            manifest: None,
            is_accepted: false,
            is_shown: false,
            existing: None,
            merges: false,
            refusal: None,
            kept: None,
            contents: Contents::default(),
            position: 0,
            confirmed: None,
            waiting: None,
        });
        self
    }

    /// Says once what it means that there is no secret.
    pub(super) fn warn_without_secret(&mut self) {
        if let Some(report) = &mut self.sealed
            && !mem::replace(&mut report.is_warned, true)
        {
            say(
                "note: there is no secret, so that the server could read what is sent; both sides can give one, as in KEY:SECRET, \
                 or upload with --code",
            );
        }
    }

    /// What an unfinished download has left.
    pub(super) fn tell_kept(&mut self, kept: &Kept) {
        self.screen.clear();
        let Kept { files, bytes, partial, .. } = kept;
        match self.verbosity {
            Verbosity::Quiet => {}
            Verbosity::Human => {
                let unfinished =
                    partial.as_ref().map(|path| format!(", the last in {}", escape(path)));
                say(&format!(
                    "kept: {}{}; the same command goes on from there",
                    HumanBytes(*bytes),
                    unfinished.unwrap_or_default(),
                ));
            }
            Verbosity::Json => {
                emit(&Event::Kept { files: *files, bytes: *bytes, partial: partial.as_deref() });
            }
        }
    }

    /// Lets what nobody is asked about add to folders that exist, or not.
    pub(crate) fn merging(mut self, merges: bool) -> Self {
        self.report().merges = merges;
        self
    }

    /// Why what was offered was not accepted, if more can be said about it than the `error` does:
    /// the person may have left a question, or nobody was asked.
    pub(super) fn explain_refusal(&mut self, error: Error) -> Failure {
        if let Some(kept) = self.sealed.as_mut().and_then(|report| report.kept.take()) {
            self.tell_kept(&kept);
        }
        let refusal = self.sealed.as_mut().and_then(|report| report.refusal.take());
        match refusal {
            _ if self.is_left => Error::Cancelled.into(),
            Some(refusal) => refusal,
            None => error.into(),
        }
    }

    /// Bytes of all content that the downloader has, as far as that is known here.
    pub(super) fn position(&mut self) -> u64 {
        let is_upload = self.side == Side::Upload;
        let began = self.began;
        let report = self.report();
        match report.confirmed {
            Some(confirmed) => confirmed.min(report.position),
            // A downloader that tells would have told by now: another one may never do so.
            None if is_upload && began.elapsed() < TELLING => 0,
            None => report.position,
        }
    }

    pub(super) fn show_position(&mut self, goes_on: bool) {
        let position = self.position();
        let contents = &self.report().contents;
        let name = contents.name_at(position);
        if goes_on {
            self.screen.begin_at(position);
        } else {
            self.screen.position(position);
        }
        if self.report().contents.is_news(&name) {
            self.screen.name(name);
        }
    }

    pub(super) fn report(&mut self) -> &mut SealedReport {
        self.sealed.as_mut().expect("only sealed transfers tell this")
    }

    /// Shows what is offered, once, to the person who may decline it, or as far as the `verbosity`
    /// lets it.
    pub(super) fn show_offer(&mut self, manifest: &Manifest, survey: &Survey, asks: bool) {
        // Who wants to hear of nothing else must still know what the question is about.
        let is_shown =
            self.verbosity == Verbosity::Human || (self.verbosity == Verbosity::Quiet && asks);
        if !is_shown || self.report().is_shown {
            return;
        }
        self.report().is_shown = true;
        say(&format!("offered: {}", offer::summary(manifest)));
        offer::outline(manifest, survey).iter().for_each(|line| say(&format!("    {line}")));
    }

    /// Whether the person is asked about what is offered.
    pub(super) fn asks(&mut self) -> bool {
        self.asks && questions::can_ask()
    }

    /// What to do with a file that has the `name`.
    pub(super) fn existing_file(&mut self, name: &str) -> Option<Existing> {
        if !self.asks() {
            return Some(Existing::Refuse);
        }
        self.answered(questions::existing_file(name)).flatten()
    }

    /// What the person answered, if it was an answer.
    pub(super) fn answered<T>(&mut self, answer: Result<T, Failure>) -> Option<T> {
        answer
            .inspect_err(|error| {
                self.is_left = matches!(error, Failure::Client(Error::Cancelled));
            })
            .ok()
    }

    /// Why an offer that nobody is asked about is not accepted, if it is not.
    pub(super) fn objection(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Failure> {
        let first = *survey.added.first().filter(|_| !self.report().merges)?;
        let folder = manifest.parent(first)?;
        Some(Failure::WouldMerge { folder: manifest.path(folder), names: survey.added.len() })
    }
}
