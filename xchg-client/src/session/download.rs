//! The downloader's part of a transfer (PROTOCOL.md section S7).

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::message::{self, Message};
use super::prove::Wanted;
use super::record::Record;
use super::talk::{Heard, Next, Role, Talk};
use super::{Error, wire_index};
use crate::Side;
use crate::files::{
    self, ContentHash, MAX_ENCODED_BYTES, MAX_ENTRIES, Manifest, Point, Start, names,
};

/// The least time between two words about how much is here: often enough for a person to watch it.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What a downloader needs done. [`Consider`](Self::Consider), [`Hash`](Self::Hash),
/// [`Prepare`](Self::Prepare), [`Begin`](Self::Begin) and [`Finish`](Self::Finish) have an answer;
/// the rest is asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver does all of it, or bytes are lost")]
pub enum Effect {
    /// See whether the [offer](Download::take_offer) can be placed, and whether somebody wants it.
    /// Answer: [`Download::accept`] or [`Download::refuse`].
    Consider,
    /// Hash what is here, as far as this point. Answer: [`Download::hashed`].
    Hash(Point),
    /// What is here of the entry with this number is not what the uploader has.
    Differs(usize),
    /// What will be gone on from is known; get ready for content. Answer: [`Download::prepared`]
    /// or [`Download::refuse`].
    Prepare {
        /// So many bytes of all content need not come.
        here: u64,
    },
    /// Get ready to write the content of an entry from this point on. Answer: [`Download::begun`].
    Begin {
        /// What is here already.
        point: Point,
        /// Whether that is what was hashed.
        resumes: bool,
    },
    /// Write [`Download::data`].
    Write {
        /// The entry that was begun.
        entry: usize,
    },
    /// All content of the entry that was begun is there, and is right.
    End {
        /// The entry.
        entry: usize,
    },
    /// All content is there: bring it to where it shall be. Answer: [`Download::finished`].
    Finish,
}

/// Takes an offer and, if it is accepted, its content.
#[derive(Default)]
pub struct Download {
    talk: Talk,
    state: State,
    /// What is offered, as far as it has come; then as it is placed.
    manifest: Arc<Manifest>,
    /// What the offer says of itself.
    announced: Announced,
    wanted: Wanted,
    /// Our hash of the point that is compared.
    ours: Option<[u8; 32]>,
    is_accepted: bool,
    refusal: Option<Refusal>,
    /// Of the content that arrives: whether it goes on from what was there.
    resumes: bool,
    hash: ContentHash,
    /// The hash of the content, if all of it was there.
    whole: Option<[u8; 32]>,
    /// Bytes of it that are there.
    count: u64,
    /// When the uploader was last told how much is here, and what.
    told: Option<(Duration, u64)>,
    bytes: u64,
    moved: u64,
}

#[derive(Clone, Copy, Default)]
struct Announced {
    entries: usize,
    bytes: u64,
    encoded_bytes: usize,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Offer,
    Entries,
    Consider,
    /// The points from this one on are still to be said.
    Have(usize),
    Hash(usize),
    Proof(usize),
    Resume(usize),
    Prepare,
    Begin(usize),
    Start(usize),
    Content(usize),
    Finish,
    Done,
}

/// Why an offer is not accepted, in words for the uploader's person, of which 1024 bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Refusal {
    /// Nobody here wants what is offered.
    Decline(String),
    /// The offer cannot be taken as things are here, which may be mended: the uploader keeps its
    /// offer.
    Unable(String),
}

impl Refusal {
    /// The one that follows from what is wrong with files.
    fn of(error: &files::Error) -> Self {
        let reason = error.for_peer();
        if error.is_local() { Self::Unable(reason) } else { Self::Decline(reason) }
    }

    fn message(&self) -> Message<'_> {
        match self {
            Self::Decline(reason) => Message::Decline(reason),
            Self::Unable(reason) => Message::Unable(reason),
        }
    }
}

impl Download {
    /// A download that has heard nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is offered, with names that do no harm on any system; to be considered.
    #[must_use = "it is gone from here"]
    pub fn take_offer(&mut self) -> Manifest {
        Arc::unwrap_or_clone(mem::take(&mut self.manifest))
    }

    /// The offer can be placed, as this: other names, perhaps, for the same entries. `points` are
    /// what is there already, in the order of the entries, and shall be gone on from if the
    /// uploader has the same.
    pub fn accept(&mut self, manifest: Arc<Manifest>, points: Vec<Point>) {
        self.manifest = manifest;
        self.state = if points.is_empty() { State::Prepare } else { State::Have(0) };
        self.wanted = Wanted::new(points);
    }

    /// The offer will not be accepted. What ends the session tells the uploader so.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    /// Answers [`Effect::Hash`]: with none if that cannot be done now.
    pub fn hashed(&mut self, hash: Option<[u8; 32]>) {
        if let State::Hash(number) = self.state {
            self.ours = hash;
            self.state = State::Proof(number);
        }
    }

    /// Content can come.
    pub fn prepared(&mut self) {
        if !matches!(self.state, State::Prepare) {
            return;
        }
        self.is_accepted = true;
        self.talk.say(&Message::Accept);
        self.talk.flush();
        self.go_on_at(0);
    }

    /// Content can be written after what `start` says.
    pub fn begun(&mut self, start: Start) {
        let State::Start(entry) = self.state else { return };
        (self.hash, self.whole) = match start {
            Start::At(hash) => (hash, None),
            Start::Whole(hash) => (ContentHash::new(), Some(hash)),
        };
        self.state = State::Content(entry);
    }

    /// The content that is to be written.
    pub fn data(&self) -> &[u8] {
        self.talk.body()
    }

    /// All is in place. It is whatever becomes of the uploader now.
    pub fn finished(&mut self) {
        if !matches!(self.state, State::Finish) {
            return;
        }
        let entries = wire_index(self.announced.entries);
        self.talk.say(&Message::Receipt { entries, bytes: self.bytes });
        self.talk.finish();
        self.state = State::Done;
    }

    /// Bytes of all content that is whole.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that arrived; fewer if some were there already.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    fn size(&self, entry: usize) -> Option<u64> {
        self.manifest.entries()[entry].kind.size()
    }

    /// Hears some of the entries.
    fn take_entries(&mut self) -> Result<Option<Next<Effect>>, Error> {
        let Announced { entries, bytes, encoded_bytes } = self.announced;
        // Nobody else has it before it is whole.
        let manifest = Arc::make_mut(&mut self.manifest);
        if manifest.entries().len() < entries {
            let piece = match self.talk.next()? {
                Heard::Nothing => return Ok(Some(Next::Wait)),
                Heard::Message(Message::Entries(piece)) => piece,
                _ => return Err(Error::Protocol("fewer entries than it said")),
            };
            for entry in message::decode_entries(piece) {
                manifest.push(entry?)?;
            }
            return Ok(None);
        }
        let said = (manifest.entries().len(), manifest.encoded_bytes(), manifest.bytes());
        if said != (entries, encoded_bytes, bytes) {
            return Err(Error::Protocol("its offer does not add up"));
        }
        names::check(manifest)?;
        self.state = State::Consider;
        Ok(None)
    }

    /// Hears the offer.
    fn take_offer_head(&mut self) -> Result<Option<Next<Effect>>, Error> {
        let (entries, bytes, encoded_bytes) = match self.talk.next()? {
            Heard::Nothing => return Ok(Some(Next::Wait)),
            Heard::Message(Message::Offer { entries, bytes, encoded_bytes }) => {
                (entries as usize, bytes, encoded_bytes as usize)
            }
            _ => return Err(Error::Protocol("no offer")),
        };
        if !(1..=MAX_ENTRIES).contains(&entries) || encoded_bytes > MAX_ENCODED_BYTES {
            return Err(files::Error::Manifest("it is empty or too large").into());
        }
        self.announced = Announced { entries, bytes, encoded_bytes };
        self.state = State::Entries;
        Ok(None)
    }

    /// Compares the hashes of point `number`, once the uploader's is there.
    fn compare(&mut self, number: usize) -> Result<Option<Next<Effect>>, Error> {
        let Some(point) = self.wanted.point(number) else { return Ok(None) };
        let Some(is_right) = self.wanted.compare(point, self.ours, &mut self.talk)? else {
            return Ok(Some(Next::Wait));
        };
        self.state = State::Hash(number + 1);
        Ok((!is_right).then_some(Next::Do(Effect::Differs(point.entry))))
    }

    /// Goes on with the first content from entry `next` on, or to the end.
    fn go_on_at(&mut self, next: usize) {
        let rest = &self.manifest.entries()[next..];
        if let Some(entry) = rest.iter().position(|entry| entry.kind.has_content()) {
            self.state = State::Begin(next + entry);
            return;
        }
        self.state = State::Finish;
        // Whoever placed it may need no copy then.
        self.manifest = Arc::default();
    }

    fn take_begin(&mut self, due: usize) -> Result<Option<Next<Effect>>, Error> {
        let offset = match self.talk.next()? {
            Heard::Nothing => return Ok(Some(Next::Wait)),
            Heard::Message(Message::Begin { entry, offset }) if entry as usize == due => offset,
            _ => return Err(Error::Protocol("another entry than was due")),
        };
        let point = self.wanted.take(due);
        let resumes = point.is_some_and(|point| point.bytes == offset);
        if offset > 0 && !resumes {
            return Err(Error::Protocol("it goes on where we did not ask it to"));
        }
        self.resumes = resumes;
        self.count = offset;
        self.state = State::Start(due);
        Ok(None)
    }

    /// Hears some of the content of `entry`, or its end, and checks it.
    fn take_content(&mut self, entry: usize) -> Result<Option<Next<Effect>>, Error> {
        let size = self.size(entry);
        match self.talk.next()? {
            Heard::Nothing => Ok(Some(Next::Wait)),
            Heard::Message(Message::Data(bytes)) => {
                let moved = bytes.len() as u64;
                self.count += moved;
                if size.is_some_and(|size| self.count > size) {
                    return Err(Error::Protocol("more of a file than it offered"));
                }
                self.hash.update(bytes);
                self.moved += moved;
                Ok(Some(Next::Do(Effect::Write { entry })))
            }
            Heard::Message(Message::End { size: said, hash }) => {
                if said != self.count || size.is_some_and(|size| self.count < size) {
                    return Err(Error::Protocol("less of a file than it offered"));
                }
                if self.whole.unwrap_or_else(|| self.hash.hash()) != hash {
                    let path = self.manifest.path(entry);
                    return Err(files::Error::WrongHash { path }.into());
                }
                self.bytes += self.count;
                self.count = 0;
                self.go_on_at(entry + 1);
                Ok(Some(Next::Do(Effect::End { entry })))
            }
            _ => Err(Error::Protocol("a file without an end")),
        }
    }
}

impl Role for Download {
    type Effect = Effect;
    const SIDE: Side = Side::Download;

    fn talk(&mut self) -> &mut Talk {
        &mut self.talk
    }

    fn step(&mut self) -> Result<Option<Next<Effect>>, Error> {
        let effect = match self.state {
            State::Offer => return self.take_offer_head(),
            State::Entries => return self.take_entries(),
            State::Consider => Effect::Consider,
            State::Have(next) => {
                let next = self.wanted.say(next, &mut self.talk);
                self.state = next.map_or(State::Hash(0), State::Have);
                return Ok(None);
            }
            State::Hash(number) => match self.wanted.point(number) {
                Some(point) => Effect::Hash(point),
                None => {
                    self.state = State::Resume(0);
                    return Ok(None);
                }
            },
            State::Proof(number) => return self.compare(number),
            State::Resume(next) => {
                let next = self.wanted.say_right(next, &mut self.talk);
                self.state = next.map_or(State::Prepare, State::Resume);
                return Ok(None);
            }
            State::Prepare => Effect::Prepare { here: self.wanted.bytes() },
            State::Begin(entry) => return self.take_begin(entry),
            State::Start(entry) => {
                let point = Point { entry, bytes: self.count };
                Effect::Begin { point, resumes: self.resumes }
            }
            State::Content(entry) => return self.take_content(entry),
            State::Finish => Effect::Finish,
            State::Done => return Ok(Some(Next::Done)),
        };
        Ok(Some(Next::Do(effect)))
    }

    /// With the end of the last content all is there, whatever the uploader says after that.
    fn is_listening(&self) -> bool {
        !matches!(self.state, State::Finish | State::Done)
    }

    /// Says how much is here, if more is than when it was last said a while ago.
    fn on_time(&mut self, now: Duration) {
        let State::Content(_) = self.state else { return };
        let (at, moved) = *self.told.get_or_insert((now, self.moved));
        if self.moved == moved || now.saturating_sub(at) < PROGRESS_INTERVAL {
            return;
        }
        self.told = Some((now, self.moved));
        self.talk.say(&Message::Progress { bytes: self.bytes + self.count });
        self.talk.flush();
    }

    fn last_words(&mut self, error: &Error) -> Option<Record> {
        let refusal = match (self.refusal.take(), error) {
            (None, Error::Files(error)) if !self.is_accepted => Some(Refusal::of(error)),
            (refusal, _) => refusal,
        };
        match refusal {
            Some(refusal) => self.talk.last_record(Some(&refusal.message())),
            None => self.talk.last_words(error),
        }
    }
}
