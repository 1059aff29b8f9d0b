//! What a sealed transfer tells beyond a plain one: what is offered, the decision, and each file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use xchg_client::files::{Entry, Kind, Manifest, Note, Survey};
use xchg_client::session::{self, Decision, Received, Sent};
use xchg_client::terminal::escape;
use xchg_client::{Error, SealedObserver, Side};

use super::{Event, Reporter, Tone, chain, emit, figures, say};
use crate::questions;

/// The most names that a person is shown.
const SHOWN_NAMES: usize = 20;

/// The most names in an event.
const EVENT_NAMES: usize = 100;

/// What a transfer has told so far.
pub(super) struct Story {
    /// Whether the person is asked to accept.
    asks: bool,
    pub(super) has_secret: bool,
    /// What was offered last, and whether it was accepted.
    manifest: Option<Manifest>,
    is_accepted: bool,
    /// Whether the person left the question rather than answer it.
    is_left: bool,
    /// Bytes of all content that are there, as far as the current entry.
    position: u64,
    began: Instant,
}

impl Reporter {
    /// For a sealed transfer, with a secret or without, about whose offer the person is asked if it `asks`.
    pub(crate) fn sealed(mut self, has_secret: bool, asks: bool) -> Reporter {
        self.sealed = Some(Story {
            asks,
            has_secret,
            manifest: None,
            is_accepted: false,
            is_left: false,
            position: 0,
            began: Instant::now(),
        });
        self
    }

    /// The last word of an upload that the downloader has.
    pub(crate) fn sent(&mut self, sent: Sent) {
        self.finish(sent.bytes, sent.moved, "; the downloader has it", None);
    }

    /// The last word of a download. `output` is the file or folder that it went to, if any.
    pub(crate) fn received(&mut self, received: &Received, output: Option<&Path>) {
        let path = output.and_then(|output| place_of(received, output));
        let path = path.as_deref().map(Path::to_string_lossy);
        let place = path.as_ref().map(|path| format!("; it is in {}", escape(path)));
        let place = place.unwrap_or_default();
        self.finish(received.bytes, received.moved, &place, path.as_deref());
        if self.tone == Tone::Human {
            received.notes.iter().for_each(|note| say(&describe(note)));
        }
    }

    fn finish(&mut self, bytes: u64, moved: u64, place: &str, path: Option<&str>) {
        self.clear_bar();
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

    /// Whether the person was asked about the offer, and left the question.
    pub(crate) fn is_left(&self) -> bool {
        self.sealed.as_ref().is_some_and(|story| story.is_left)
    }

    fn story(&mut self) -> &mut Story {
        self.sealed.as_mut().expect("only sealed transfers tell this")
    }

    /// Shows what is offered to the person who may decline it.
    fn show_offer(&self, manifest: &Manifest) {
        let tops = manifest.entries().iter().filter(|entry| entry.depth == 0);
        let count = manifest.entries().len();
        say(&format!("offered: {}", summary(manifest)));
        for entry in tops.clone().take(SHOWN_NAMES) {
            let size = match entry.kind {
                Kind::File { size } => format!(", {}", HumanBytes(size)),
                Kind::Directory => "/".into(),
                _ => String::new(),
            };
            say(&format!("    {}{size}", escape(&entry.name)));
        }
        if tops.count() > SHOWN_NAMES {
            say(&format!("    and more, {count} entries in all"));
        }
    }
}

impl session::Observer for Reporter {
    fn manifest(&mut self, manifest: &Manifest) {
        let same = self.story().manifest.as_ref() == Some(manifest);
        let story = self.story();
        story.is_accepted &= same;
        story.manifest = Some(manifest.clone());
        story.position = 0;
        let is_known = !manifest.entries().iter().any(|entry| entry.kind == Kind::Stream);
        self.length = is_known.then(|| manifest.bytes());
        match self.tone {
            Tone::Quiet => {}
            Tone::Human if self.side == Side::Download && !same => self.show_offer(manifest),
            Tone::Human => {}
            Tone::Json => {
                let entries = manifest.entries();
                let files = entries.iter().filter(|entry| entry.kind.has_content()).count();
                let names: Vec<String> =
                    (0..entries.len().min(EVENT_NAMES)).map(|i| manifest.path(i)).collect();
                let (entries, bytes) = (entries.len(), manifest.bytes());
                emit(&Event::Manifest { entries, files, bytes, names: &names });
            }
        }
    }

    fn decide(&mut self, manifest: &Manifest, _: &Survey) -> Decision {
        let story = self.story();
        // What was accepted once needs no second answer after a break.
        let asks = story.asks && !story.is_accepted && questions::can_ask();
        // Who wants to hear of nothing else must still know what the question is about.
        if asks && self.tone == Tone::Quiet {
            self.show_offer(manifest);
        }
        let answer = if asks { questions::accept() } else { Ok(true) };
        self.story().is_left = matches!(answer, Err(Error::Cancelled));
        self.story().is_accepted = matches!(answer, Ok(true));
        match self.story().is_accepted {
            true => Decision::Accept,
            false => Decision::Decline("the person there said no".into()),
        }
    }

    fn accepted(&mut self, bytes: u64) {
        if self.tone == Tone::Json {
            emit(&Event::Decision { accepted: true, resumed: bytes });
        }
        // Nobody wants to know how long the person thought about it.
        self.story().began = Instant::now();
        self.show_bar();
    }

    fn begin(&mut self, _: usize, entry: &Entry, offset: u64) {
        let position = self.story().position + offset;
        self.story().position = position;
        if let Some(bar) = &self.bar {
            bar.set_message(escape(&entry.name));
            bar.set_position(position);
            if offset > 0 {
                // What is there already did not come at this rate.
                bar.reset_eta();
            }
        }
    }

    fn moved(&mut self, bytes: u64) {
        let position = self.story().position + bytes;
        self.story().position = position;
        xchg_client::Observer::progress(self, position);
    }

    fn entry_done(&mut self, index: usize, _: &Entry) {
        if self.tone == Tone::Json
            && let Some(manifest) = &self.story().manifest
        {
            emit(&Event::EntryDone { index, path: &manifest.path(index) });
        }
    }

    fn finishing(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_message("finishing");
        }
    }
}

impl SealedObserver for Reporter {
    fn retrying(&mut self, error: &Error, delay: Duration) {
        self.clear_bar();
        let text = chain(error);
        let seconds = delay.as_secs_f64();
        match self.tone {
            Tone::Quiet => {}
            Tone::Human => say(&format!("{}; trying again in {seconds} s", escape(&text))),
            Tone::Json => emit(&Event::Retrying { error: &text, seconds }),
        }
    }
}

/// What is offered, in one line.
fn summary(manifest: &Manifest) -> String {
    let count =
        |is: fn(&Kind) -> bool| manifest.entries().iter().filter(|entry| is(&entry.kind)).count();
    let size = HumanBytes(manifest.bytes());
    match manifest.entries() {
        [Entry { kind: Kind::Text { .. }, .. }] => return format!("a text, {size}"),
        [Entry { kind: Kind::Stream, .. }] => return "a stream of unknown length".into(),
        _ => {}
    }
    let mut parts = Vec::new();
    for (number, one, many) in [
        (count(Kind::has_content), "file", "files"),
        (count(|kind| *kind == Kind::Directory), "folder", "folders"),
        (count(|kind| matches!(kind, Kind::Symlink { .. })), "link", "links"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {}", if number == 1 { one } else { many }));
        }
    }
    parts.push(format!("{size} in all"));
    parts.join(", ")
}

/// Where what was received is: the one file or folder, or the folder that all of it went to.
fn place_of(received: &Received, output: &Path) -> Option<PathBuf> {
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
                Note::Renamed { path, name } if **path == *top.name => Some(name.as_str()),
                _ => None,
            })
            .unwrap_or(&top.name),
        _ => return Some(output.into()),
    };
    Some(if output == Path::new(".") { name.into() } else { output.join(name) })
}

fn describe(note: &Note) -> String {
    match note {
        Note::Renamed { path, name } => {
            format!("note: {} is called {}, for the name was taken", escape(path), escape(name))
        }
        Note::Metadata { path, source } => {
            format!("note: mode or time of {} could not be set: {source}", escape(path))
        }
        _ => format!("note: {}", escape(&format!("{note:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use xchg_client::files::Modified;

    use super::*;

    fn manifest(kinds: &[(Kind, usize)]) -> Manifest {
        let mut manifest = Manifest::new();
        for (index, (kind, depth)) in kinds.iter().enumerate() {
            let modified = Modified { seconds: 0, nanos: 0 };
            let (kind, name) = (kind.clone(), index.to_string().into());
            manifest.push(Entry { kind, depth: *depth, name, mode: 0o644, modified }).unwrap();
        }
        manifest
    }

    #[test]
    fn an_offer_is_told_in_one_line() {
        let file = |size| Kind::File { size };
        let link = Kind::Symlink { target: "0".into() };
        for (kinds, expected) in [
            (&[(file(5), 0)][..], "1 file, 5 B in all"),
            (
                &[(Kind::Directory, 0), (file(5), 1), (link, 1)],
                "1 file, 1 folder, 1 link, 5 B in all",
            ),
            (&[(file(512), 0), (file(512), 0)], "2 files, 1.00 KiB in all"),
            (&[(Kind::Text { size: 3 }, 0)], "a text, 3 B"),
            (&[(Kind::Stream, 0)], "a stream of unknown length"),
        ] {
            assert_eq!(summary(&manifest(kinds)), expected);
        }
    }
}
