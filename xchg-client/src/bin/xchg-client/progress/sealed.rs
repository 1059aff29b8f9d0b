//! What a sealed transfer tells beyond a plain one: what is offered, the decision, and each file.

use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use xchg_client::files::{Existing, Kept, Manifest, Note, Survey};
use xchg_client::sealed::{Downloaded, Uploaded};
use xchg_client::terminal::escape;
use xchg_client::{Error, Side};

use super::contents::Contents;
use super::event::{Event, emit};
use super::{Notice, Reporter, Tone, figures, say};
use crate::{offer, questions};

/// How long to wait for the first word of how much a downloader has: it says so about four times a second.
const TELLING: Duration = Duration::from_secs(1);

/// What a transfer has told so far.
pub(super) struct Story {
    /// Whether the person is asked to accept.
    pub(super) asks: bool,
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
    /// Why it was declined, if more can be said about it.
    pub(super) refusal: Option<Error>,
    /// Whether the person left the question rather than answer it.
    pub(super) is_left: bool,
    /// What the last attempt left.
    pub(super) kept: Option<Kept>,
    pub(super) contents: Contents,
    /// Bytes of all content that are here, or have been sent, as far as the current entry.
    pub(super) position: u64,
    /// Bytes that the downloader says it has.
    pub(super) confirmed: Option<u64>,
    /// A line that is said unless what is waited for comes soon.
    pub(super) waiting: Option<Notice>,
    pub(super) began: Instant,
}

impl Reporter {
    /// For a sealed transfer, with a secret or without, about whose offer the person is asked if it `asks`.
    pub(crate) fn sealed(mut self, has_secret: bool, asks: bool) -> Reporter {
        self.sealed = Some(Story {
            asks,
            has_secret,
            is_warned: has_secret,
            manifest: None,
            is_accepted: false,
            is_shown: false,
            existing: None,
            merges: false,
            refusal: None,
            is_left: false,
            kept: None,
            contents: Contents::default(),
            position: 0,
            confirmed: None,
            waiting: None,
            began: Instant::now(),
        });
        self
    }

    /// Says once what it means that there is no secret.
    pub(super) fn warn_without_secret(&mut self) {
        if let Some(story) = &mut self.sealed
            && !mem::replace(&mut story.is_warned, true)
        {
            say(
                "note: there is no secret, so that the server could read what is sent; both sides can give one, as in KEY:SECRET, \
                 or upload with --code",
            );
        }
    }

    /// The last word of an upload that the downloader has.
    pub(crate) fn sent(&mut self, sent: &Uploaded) {
        self.finish(sent.bytes, sent.moved, "; the downloader has it", None);
        self.tell_notes(&sent.notes);
    }

    /// The last word of a download. `output` is the file or folder that it went to, if any.
    pub(crate) fn received(&mut self, received: &Downloaded, output: Option<&Path>) {
        let path = output.and_then(|output| place_of(received, output));
        let path = path.as_deref().map(Path::to_string_lossy);
        let place = path.as_ref().map(|path| format!("; it is in {}", escape(path)));
        let place = place.unwrap_or_default();
        self.finish(received.bytes, received.moved, &place, path.as_deref());
        self.tell_notes(&received.notes);
    }

    /// What an unfinished download has left.
    pub(super) fn tell_kept(&mut self, kept: &Kept) {
        self.screen.clear();
        let Kept { files, bytes, partial, .. } = kept;
        match self.tone {
            Tone::Quiet => {}
            Tone::Human => {
                let unfinished =
                    partial.as_ref().map(|path| format!(", the last in {}", escape(path)));
                say(&format!(
                    "kept: {}{}; the same command goes on from there",
                    HumanBytes(*bytes),
                    unfinished.unwrap_or_default(),
                ));
            }
            Tone::Json => {
                emit(&Event::Kept { files: *files, bytes: *bytes, partial: partial.as_deref() });
            }
        }
    }

    fn tell_notes(&self, notes: &[Note]) {
        if self.tone == Tone::Human {
            notes.iter().for_each(|note| say(&describe(note)));
        }
    }

    fn finish(&mut self, bytes: u64, moved: u64, place: &str, path: Option<&str>) {
        self.screen.clear();
        let elapsed = self.sealed.as_ref().map_or(Duration::ZERO, |story| story.began.elapsed());
        match self.tone {
            Tone::Quiet => {}
            Tone::Human => {
                let kept = match bytes - moved.min(bytes) {
                    0 => String::new(),
                    kept => format!(", {} were there already", HumanBytes(kept)),
                };
                say(&format!("done: {}{kept}{place}", figures(moved, elapsed)));
            }
            Tone::Json => {
                let (seconds, receipt) = (elapsed.as_secs_f64(), true);
                emit(&Event::Done { bytes, moved, seconds, receipt, path });
            }
        }
    }

    /// Lets what nobody is asked about add to folders that exist, or not.
    pub(crate) fn merging(mut self, merges: bool) -> Reporter {
        self.story().merges = merges;
        self
    }

    /// Why what was offered was not accepted, if more can be said about it than the `error` does: the person may have left a
    /// question, or nobody was asked.
    pub(super) fn explain_refusal(&mut self, error: Error) -> Error {
        if let Some(kept) = self.sealed.as_mut().and_then(|story| story.kept.take()) {
            self.tell_kept(&kept);
        }
        let Some(story) = &mut self.sealed else {
            return error;
        };
        match story.refusal.take() {
            _ if story.is_left => Error::Cancelled,
            Some(refusal) => refusal,
            None => error,
        }
    }

    /// Bytes of all content that the downloader has, as far as that is known here.
    pub(super) fn position(&mut self) -> u64 {
        let is_upload = self.side == Side::Upload;
        let story = self.story();
        match story.confirmed {
            Some(confirmed) => confirmed.min(story.position),
            // A downloader that tells would have told by now: another one may never do so.
            None if is_upload && story.began.elapsed() < TELLING => 0,
            None => story.position,
        }
    }

    pub(super) fn show_position(&mut self, goes_on: bool) {
        let position = self.position();
        let contents = &self.story().contents;
        let name = contents.name_at(position);
        if goes_on {
            self.screen.begin_at(position);
        } else {
            self.screen.position(position);
        }
        if self.story().contents.is_news(&name) {
            self.screen.name(name);
        }
    }

    pub(super) fn story(&mut self) -> &mut Story {
        self.sealed.as_mut().expect("only sealed transfers tell this")
    }

    /// Shows what is offered, once, to the person who may decline it, or as far as the `tone` lets it.
    pub(super) fn show_offer(&mut self, manifest: &Manifest, survey: &Survey, asks: bool) {
        // Who wants to hear of nothing else must still know what the question is about.
        let is_shown = self.tone == Tone::Human || (self.tone == Tone::Quiet && asks);
        if !is_shown || self.story().is_shown {
            return;
        }
        self.story().is_shown = true;
        say(&format!("offered: {}", offer::summary(manifest)));
        offer::outline(manifest, survey).iter().for_each(|line| say(&format!("    {line}")));
    }

    /// Whether the person is asked about what is offered.
    pub(super) fn asks(&mut self) -> bool {
        self.story().asks && questions::can_ask()
    }

    /// What the person answered, if it was an answer.
    pub(super) fn answered<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        answer.inspect_err(|error| self.story().is_left = matches!(error, Error::Cancelled)).ok()
    }

    /// Why an offer that nobody is asked about is not accepted, if it is not.
    pub(super) fn objection(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Error> {
        let first = *survey.added.first().filter(|_| !self.story().merges)?;
        let folder = manifest.parent(first)?;
        Some(Error::WouldMerge { folder: manifest.path(folder), names: survey.added.len() })
    }
}

/// Where what was received is: the one file or folder, or the folder that all of it went to.
fn place_of(received: &Downloaded, output: &Path) -> Option<PathBuf> {
    if received.text.is_some() {
        return None;
    }
    if !output.is_dir() {
        return Some(output.into());
    }
    let mut tops = received.manifest.entries().iter().filter(|entry| entry.depth == 0);
    let name = match (tops.next(), tops.next()) {
        (Some(top), None) => received
            .notes
            .iter()
            .find_map(|note| match note {
                Note::Renamed { path, name } if top.name == **path => Some(Path::new(name)),
                _ => None,
            })
            .unwrap_or(Path::new(&top.name)),
        _ => return Some(output.into()),
    };
    Some(if output == Path::new(".") { name.into() } else { output.join(name) })
}

fn describe(note: &Note) -> String {
    match note {
        Note::Renamed { path, name } => {
            format!("note: {} is called {}, for the name was taken", escape(path), escape(name))
        }
        Note::Grew { path } => {
            format!(
                "note: {} has grown meanwhile; what was there at first has been sent",
                escape(path)
            )
        }
        Note::HardLinks { count: 1 } => {
            "note: 1 file is another name of one sent with it, and arrives as a file of its own"
                .into()
        }
        Note::HardLinks { count } => format!(
            "note: {count} files are other names of some sent with them, and arrive as files of their own"
        ),
        Note::Metadata { path, source } => {
            format!("note: mode or time of {} could not be set: {source}", escape(path))
        }
        _ => format!("note: {}", escape(&format!("{note:?}"))),
    }
}
