//! The uploader's part of a transfer (PROTOCOL.md section S7).

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::{self, Message};
use super::prove::{Known, Prefix};
use super::talk::{Heard, Next, Role, Talk, refusal};
use super::{Error, wire_index};
use crate::Side;
use crate::files::{self, ContentHash, Kind, Manifest, Point};

/// Bytes of entries that one message holds, about.
const PIECE_BYTES: usize = 32 * 1024;

/// The longest offer that is made before the downloader has proved that it knows the secret.
const EARLY_OFFER_BYTES: usize = 64 * 1024;

/// The most content that goes with such an offer, before the downloader has accepted: about what a
/// connection carries at once.
const EARLY_CONTENT_BYTES: u64 = 64 * 1024;

/// The most files of which that is.
const EARLY_FILES: usize = 64;

/// What an uploader needs done. All but [`Tell`](Self::Tell) has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver does all of it, or the upload stands still")]
pub enum Effect {
    /// Collect what is offered, as it is now. Answer: [`Upload::offer`].
    Collect,
    /// Hash the first `bytes` of an entry's content. Answer: [`Upload::hashed`].
    Hash(Point),
    /// Get ready to read the content of an entry from this point on. Answer: [`Upload::opened`].
    Open(Point),
    /// Read the next bytes of the content into [`Upload::room`], at least one. Answer:
    /// [`Upload::read`].
    Read {
        /// The entry that was opened.
        entry: usize,
    },
    /// All that was offered of the content is read: see whether it is still what was opened.
    /// Answer: [`Upload::closed`].
    Close {
        /// The entry that was opened.
        entry: usize,
    },
    /// Tell whoever watches.
    Tell(Event),
}

/// Something that whoever watches an upload may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The offer stands: the other peer has proved that it knows the secret.
    Offered,
    /// The downloader accepted, and says that it has so many bytes of the content already.
    Accepted(u64),
    /// The content of an entry begins to move.
    Begun {
        /// The number of the entry.
        entry: usize,
        /// So many bytes of it need not move.
        offset: u64,
    },
    /// So many bytes of content more were said.
    Moved(u64),
    /// The downloader has so many bytes of all content by now; its word.
    Confirmed(u64),
    /// All content of the entry with this number was said.
    Ended(usize),
    /// All content was said.
    Finishing,
}

/// Offers a manifest, and sends its content if the downloader accepts.
///
/// A short offer is made at once, and so is little content: it costs nobody more than to be thrown
/// away, and the downloader may have it before it has accepted. A stream is not read before that.
#[derive(Default)]
pub struct Upload {
    talk: Talk,
    manifest: Arc<Manifest>,
    state: State,
    is_accepted: bool,
    known: Known,
    /// Of the content that is being sent.
    hash: ContentHash,
    /// How many bytes may be read into the record.
    room: usize,
    bytes: u64,
    moved: u64,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Collect,
    /// A long offer waits for the confirmation.
    Greet,
    /// The entries from this one on are still to be offered.
    Offer(usize),
    Confirm,
    Answer,
    /// The points from this one on are still to be proved.
    Prove(usize),
    /// The contents from this entry on are still to be sent.
    Contents(usize),
    Open(usize),
    Content(usize),
    Close(usize),
    Receipt,
    End,
    Done,
}

impl Upload {
    /// An upload that has said nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers [`Effect::Collect`]: with what is offered, an entry at least.
    pub fn offer(&mut self, manifest: Arc<Manifest>) {
        self.manifest = manifest;
        self.state = State::Greet;
    }

    /// Answers [`Effect::Hash`].
    ///
    /// # Errors
    /// [`Error::Protocol`] if the downloader has parts of too many files.
    pub fn hashed(&mut self, hash: ContentHash) -> Result<(), Error> {
        let State::Prove(number) = self.state else { return Ok(()) };
        if let Some(point) = self.known.point(number) {
            let size = self.size(point.entry);
            self.known.prove(point, size, hash, &mut self.talk)?;
        }
        let has_more = self.known.point(number + 1).is_some();
        // Once all proofs are under way, the answer may come.
        self.state = if has_more { State::Prove(number + 1) } else { State::Answer };
        Ok(())
    }

    /// The content can be read.
    pub fn opened(&mut self) {
        let State::Open(entry) = self.state else { return };
        self.begin(entry, self.hash.bytes());
        if self.size(entry).is_none() {
            self.talk.flush();
        }
        self.state = State::Content(entry);
    }

    /// Where content is read to, when it is asked for.
    pub fn room(&mut self) -> &mut [u8] {
        let spare = self.talk.spare();
        let room = self.room.min(spare.len());
        &mut spare[..room]
    }

    /// So many bytes were read; none, if the content ends there.
    ///
    /// # Errors
    /// [`files::Error::Changed`] if it ends before as much was read as was offered.
    ///
    /// # Panics
    /// If there was not so much [room](Self::room).
    pub fn read(&mut self, bytes: usize) -> Result<(), Error> {
        let State::Content(entry) = self.state else { return Ok(()) };
        let size = self.size(entry);
        match (bytes, size) {
            (0, Some(_)) => {
                return Err(files::Error::Changed { path: self.manifest.path(entry) }.into());
            }
            (0, None) => self.end(entry, self.hash.bytes(), self.hash.hash()),
            _ => {
                self.hash.update(self.talk.put_data(bytes));
                if size.is_none() {
                    // What was read of a stream is not held back.
                    self.talk.flush();
                }
                self.moved += bytes as u64;
                self.tell(Event::Moved(bytes as u64));
            }
        }
        Ok(())
    }

    /// The content that was read is what was opened.
    pub fn closed(&mut self) {
        if let State::Close(entry) = self.state {
            self.end(entry, self.hash.bytes(), self.hash.hash());
        }
    }

    /// What is offered.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of all content.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that were sent; fewer if the downloader had some already.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The size of an entry that was offered; none of a stream.
    fn size(&self, entry: usize) -> Option<u64> {
        self.manifest.entries()[entry].kind.size()
    }

    /// Tells of what is accepted; what goes with the offer may be thrown away.
    fn tell(&mut self, event: Event) {
        if self.is_accepted {
            self.events.push_back(event);
        }
    }

    fn is_short(&self) -> bool {
        self.manifest.encoded_bytes() <= EARLY_OFFER_BYTES
    }

    /// Whether all content goes with the offer.
    fn is_early(&self) -> bool {
        let files = self.manifest.entries().iter().filter(|entry| entry.kind.has_content());
        self.is_short()
            && self.manifest.bytes() <= EARLY_CONTENT_BYTES
            && files.clone().count() <= EARLY_FILES
            && files.clone().all(|entry| entry.kind != Kind::Stream)
    }

    /// Says some of the entries from `next` on.
    fn say_entries(&mut self, mut next: usize) -> State {
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        while let Some(entry) = self.manifest.entries().get(next)
            && piece.len() < PIECE_BYTES
        {
            message::encode_entry(entry, &mut piece);
            next += 1;
        }
        if !piece.is_empty() {
            self.talk.say(&Message::Entries(&piece));
            return State::Offer(next);
        }
        if self.is_early() {
            return State::Contents(0);
        }
        self.talk.flush();
        State::Confirm
    }

    /// Goes on with the first content from entry `next` on.
    fn next_content(&mut self, next: usize) -> State {
        let rest = &self.manifest.entries()[next..];
        let Some(entry) = rest.iter().position(|entry| entry.kind.has_content()) else {
            if self.is_accepted {
                return self.finish();
            }
            self.talk.flush();
            return State::Confirm;
        };
        let entry = next + entry;
        self.hash = match self.known.take(entry) {
            Some(Prefix::Whole { bytes, hash }) => {
                self.begin(entry, bytes);
                self.end(entry, bytes, hash);
                return self.state;
            }
            Some(Prefix::Part(hash)) => hash,
            None => ContentHash::new(),
        };
        State::Open(entry)
    }

    fn begin(&mut self, entry: usize, offset: u64) {
        self.tell(Event::Begun { entry, offset });
        self.talk.say(&Message::Begin { entry: wire_index(entry), offset });
    }

    fn end(&mut self, entry: usize, size: u64, hash: [u8; 32]) {
        self.bytes += size;
        self.talk.say(&Message::End { size, hash });
        self.tell(Event::Ended(entry));
        self.state = State::Contents(entry + 1);
    }

    fn finish(&mut self) -> State {
        self.talk.finish();
        self.tell(Event::Finishing);
        State::Receipt
    }

    fn accept(&mut self) -> State {
        self.is_accepted = true;
        self.tell(Event::Accepted(self.known.bytes()));
        if !self.is_early() || self.known.is_asked_for {
            (self.bytes, self.moved) = (0, 0);
            return State::Contents(0);
        }
        // It went with the offer.
        for (entry, offered) in self.manifest.entries().iter().enumerate() {
            if offered.kind.has_content() {
                self.events.extend([
                    Event::Begun { entry, offset: 0 },
                    Event::Moved(offered.kind.size().unwrap_or_default()),
                    Event::Ended(entry),
                ]);
            }
        }
        self.finish()
    }

    /// Hears what the downloader says; it may say anything only when it is its turn. Whether it
    /// said something.
    fn listen(&mut self) -> Result<bool, Error> {
        let message = match self.talk.next()? {
            Heard::Nothing => return Ok(self.talk.progress.is_some()),
            Heard::End if self.state == State::Done => return Ok(false),
            Heard::End if self.state == State::End => {
                self.state = State::Done;
                return Ok(true);
            }
            Heard::End => return Err(self.undue()),
            Heard::Message(message) => message,
        };
        if let Some(no) = refusal(&message).filter(|_| !self.is_accepted) {
            return Err(no);
        }
        self.state = match (self.state, message) {
            (State::Answer, Message::Have(points)) if !self.known.is_asked_for => {
                self.known.has(points, &self.manifest)?;
                State::Answer
            }
            (State::Answer, Message::Prove)
                if !self.known.is_asked_for && self.known.has_points() =>
            {
                self.known.is_asked_for = true;
                State::Prove(0)
            }
            (State::Answer, Message::Resume(entries)) => {
                self.known.resumes(entries)?;
                State::Answer
            }
            (State::Answer, Message::Accept)
                if self.known.is_asked_for || !self.known.has_points() =>
            {
                self.accept()
            }
            (State::Receipt, Message::Receipt { entries, bytes }) => {
                if (entries as usize, bytes) != (self.manifest.entries().len(), self.bytes) {
                    return Err(Error::Protocol("its receipt is for something else"));
                }
                State::End
            }
            _ => return Err(self.undue()),
        };
        Ok(true)
    }

    /// What is wrong with whatever is heard instead of what is due.
    fn undue(&self) -> Error {
        Error::Protocol(match self.state {
            State::Answer | State::Prove(_) => "no answer to the offer",
            State::Receipt => "no receipt",
            State::End => "something after the receipt",
            _ => "a message out of turn",
        })
    }

    /// Asks for more of the content of `entry`, unless all is read.
    fn go_on(&mut self, entry: usize) -> Option<Next<Effect>> {
        let left = self.size(entry).map_or(u64::MAX, |size| size - self.hash.bytes());
        if left == 0 {
            self.state = State::Close(entry);
            return None;
        }
        Some(match self.talk.room_for_data(left) {
            Ok(room) => {
                self.room = room;
                Next::Do(Effect::Read { entry })
            }
            Err(next) => next,
        })
    }
}

impl Role for Upload {
    type Effect = Effect;
    const SIDE: Side = Side::Upload;

    fn talk(&mut self) -> &mut Talk {
        &mut self.talk
    }

    fn news(&mut self) -> Option<Effect> {
        self.events.extend(self.talk.progress.take().map(Event::Confirmed));
        self.events.pop_front().map(Effect::Tell)
    }

    fn step(&mut self) -> Result<Option<Next<Effect>>, Error> {
        if self.state == State::Confirm && self.talk.is_confirmed {
            self.events.push_back(Event::Offered);
            self.state = State::Answer;
            return Ok(None);
        }
        if self.listen()? {
            return Ok(None);
        }
        self.state = match self.state {
            State::Collect => return Ok(Some(Next::Do(Effect::Collect))),
            State::Greet if !self.is_short() && !self.talk.is_confirmed => {
                return Ok(Some(Next::Wait));
            }
            State::Greet => {
                self.talk.say(&Message::Offer {
                    entries: wire_index(self.manifest.entries().len()),
                    bytes: self.manifest.bytes(),
                    encoded_bytes: u32::try_from(self.manifest.encoded_bytes())
                        .expect("a manifest is at most 64 MiB long"),
                });
                State::Offer(0)
            }
            State::Offer(next) => self.say_entries(next),
            State::Prove(next) => match self.known.point(next) {
                Some(point) => return Ok(Some(Next::Do(Effect::Hash(point)))),
                None => State::Answer,
            },
            State::Contents(next) => self.next_content(next),
            State::Open(entry) => {
                let point = Point { entry, bytes: self.hash.bytes() };
                return Ok(Some(Next::Do(Effect::Open(point))));
            }
            State::Content(entry) => return Ok(self.go_on(entry)),
            State::Close(entry) => return Ok(Some(Next::Do(Effect::Close { entry }))),
            State::Confirm | State::Answer | State::Receipt | State::End => {
                return Ok(Some(Next::Wait));
            }
            State::Done => return Ok(Some(Next::Done)),
        };
        Ok(None)
    }
}
