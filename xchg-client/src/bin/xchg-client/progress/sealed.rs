//! What a sealed transfer tells beyond a plain one: what is offered, the decision, and each file.

use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use xchg_client::files::{Entry, Existing, Kept, Kind, Manifest, Note, Survey};
use xchg_client::session::{self, Decision, Downloaded, Uploaded};
use xchg_client::terminal::escape;
use xchg_client::{Error, SealedObserver, Side};

use super::contents::Contents;
use super::event::{Event, emit};
use super::screen::Screen;
use super::{CONNECTING_NOTICE, Notice, Reporter, Tone, figures, say};
use crate::{offer, questions};

/// The most names in an event.
const EVENT_NAMES: usize = 100;

/// How long to wait for the first word of how much a downloader has: it says so about four times a second.
const TELLING: Duration = Duration::from_secs(1);

/// What a transfer has told so far.
pub(super) struct Story {
    /// Whether the person is asked to accept.
    asks: bool,
    pub(super) has_secret: bool,
    /// Whether the person knows what it means that there is none.
    is_warned: bool,
    /// What was offered last, and whether it was accepted.
    manifest: Option<Manifest>,
    is_accepted: bool,
    is_shown: bool,
    /// What to do with names that are taken, if the person has said so.
    existing: Option<Existing>,
    /// Whether what nobody is asked about may add to folders that exist.
    merges: bool,
    /// Why it was declined, if more can be said about it.
    refusal: Option<Error>,
    /// Whether the person left the question rather than answer it.
    is_left: bool,
    /// What the last attempt left.
    kept: Option<Kept>,
    contents: Contents,
    /// Bytes of all content that are here, or have been sent, as far as the current entry.
    position: u64,
    /// Bytes that the downloader says it has.
    confirmed: Option<u64>,
    /// A line that is said unless what is waited for comes soon.
    waiting: Option<Notice>,
    began: Instant,
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
    fn tell_kept(&mut self, kept: &Kept) {
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
    fn position(&mut self) -> u64 {
        let is_upload = self.side == Side::Upload;
        let story = self.story();
        match story.confirmed {
            Some(confirmed) => confirmed.min(story.position),
            // A downloader that tells would have told by now: another one may never do so.
            None if is_upload && story.began.elapsed() < TELLING => 0,
            None => story.position,
        }
    }

    fn show_position(&mut self, goes_on: bool) {
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

    fn story(&mut self) -> &mut Story {
        self.sealed.as_mut().expect("only sealed transfers tell this")
    }

    /// Shows what is offered, once, to the person who may decline it, or as far as the `tone` lets it.
    fn show_offer(&mut self, manifest: &Manifest, survey: &Survey, asks: bool) {
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
    fn asks(&mut self) -> bool {
        self.story().asks && questions::can_ask()
    }

    /// What the person answered, if it was an answer.
    fn answered<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        answer.inspect_err(|error| self.story().is_left = matches!(error, Error::Cancelled)).ok()
    }

    /// Why an offer that nobody is asked about is not accepted, if it is not.
    fn objection(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Error> {
        let first = *survey.added.first().filter(|_| !self.story().merges)?;
        let folder = manifest.parent(first)?;
        Some(Error::WouldMerge { folder: manifest.path(folder), names: survey.added.len() })
    }
}

impl session::Observer for Reporter {
    fn manifest(&mut self, manifest: &Manifest) {
        let same = self.story().manifest.as_ref() == Some(manifest);
        let story = self.story();
        if !same {
            (story.is_accepted, story.is_shown, story.existing) = (false, false, None);
        }
        story.manifest = Some(manifest.clone());
        story.position = 0;
        story.confirmed = None;
        story.contents = Contents::of(manifest);
        let is_known = !manifest.entries().iter().any(|entry| entry.kind == Kind::Stream);
        self.length = is_known.then(|| manifest.bytes());
        match self.tone {
            Tone::Human if self.side == Side::Upload => {
                let line = "waiting for the other side to accept";
                self.screen.status(line.into());
                let is_said = !Screen::is_there();
                self.story().waiting =
                    is_said.then(|| Notice::after(CONNECTING_NOTICE, line.into())).flatten();
            }
            Tone::Quiet | Tone::Human => {}
            Tone::Json => {
                let kind = offer::kind(manifest);
                let entries = manifest.entries();
                let files = entries.iter().filter(|entry| entry.kind.has_content()).count();
                let names: Vec<String> =
                    (0..entries.len().min(EVENT_NAMES)).map(|i| manifest.path(i)).collect();
                let (entries, bytes) = (entries.len(), manifest.bytes());
                emit(&Event::Manifest { kind, entries, files, bytes, names: &names });
            }
        }
    }

    fn existing(&mut self, manifest: &Manifest, survey: &Survey) -> Option<Existing> {
        if let Some(existing) = self.story().existing {
            return Some(existing);
        }
        let asks = self.asks();
        self.show_offer(manifest, survey, asks);
        if !asks {
            return Some(Existing::Refuse);
        }
        match self.answered(questions::existing(manifest, survey)) {
            Some(Some(existing)) => {
                // Whoever says how to take it takes it.
                self.story().existing = Some(existing);
                self.story().is_accepted = true;
                Some(existing)
            }
            Some(None) | None => None,
        }
    }

    fn decide(&mut self, manifest: &Manifest, survey: &Survey) -> Decision {
        // What was accepted once needs no second answer after a break.
        if self.story().is_accepted {
            return Decision::Accept;
        }
        let asks = self.asks();
        self.show_offer(manifest, survey, asks);
        if !asks {
            self.story().refusal = self.objection(manifest, survey);
            return match self.story().refusal {
                None => Decision::Accept,
                Some(_) => Decision::Unable("a folder of that name is there already".into()),
            };
        }
        self.story().is_accepted = self.answered(questions::accept(manifest, survey)) == Some(true);
        match self.story().is_accepted {
            true => Decision::Accept,
            false => Decision::Decline("the person there said no".into()),
        }
    }

    fn accepted(&mut self, bytes: u64) {
        self.story().kept = None;
        self.story().waiting = None;
        if self.tone == Tone::Json {
            emit(&Event::Decision { accepted: true, resumed: bytes });
        }
        // Nobody wants to know how long the person thought about it.
        self.story().began = Instant::now();
        if self.tone == Tone::Human {
            self.screen.bar(self.length);
            let known = bytes.min(self.story().contents.bytes);
            self.screen.begin_at(known);
        }
    }

    fn begin(&mut self, _: usize, _: &Entry, offset: u64) {
        self.story().position += offset;
        if self.side == Side::Download {
            self.show_position(offset > 0);
        }
    }

    fn moved(&mut self, bytes: u64) {
        self.story().position += bytes;
        if self.side == Side::Download {
            self.show_position(false);
        }
        let (position, confirmed) = (self.story().position, self.story().confirmed);
        self.tell_progress(position, confirmed);
    }

    fn confirmed(&mut self, bytes: u64) {
        self.story().confirmed = Some(bytes);
        self.show_position(false);
        let position = self.story().position;
        self.tell_progress(position, Some(bytes));
    }

    fn entry_done(&mut self, index: usize, _: &Entry) {
        if self.tone == Tone::Json
            && let Some(manifest) = &self.story().manifest
        {
            emit(&Event::EntryDone { index, path: &manifest.path(index) });
        }
    }

    fn kept(&mut self, kept: &Kept, error: &session::Error) {
        match error {
            // Who wants to leave does not wait for the other to have heard of it.
            session::Error::Cancelled => self.tell_kept(kept),
            // Another attempt may follow.
            _ => self.story().kept = Some(kept.clone()),
        }
    }

    fn finishing(&mut self) {
        if self.side == Side::Download {
            self.screen.name("finishing".into());
        }
    }
}

impl SealedObserver for Reporter {
    fn collected(&mut self, manifest: &Manifest) {
        self.offering(&offer::headline(manifest));
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
