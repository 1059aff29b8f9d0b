//! What both roles do alike: they take records in and say messages, one step after another.

use std::ops::Range;
use std::time::Duration;

use super::Error;
use super::message::{HEADER_BYTES, Message, data_header};
use super::record::Record;
use crate::Side;

/// Data is begun in a new record, rather than in less room than this, unless all of it fits.
const LEAST_DATA: usize = 16 * 1024;

/// What a role needs, to go on.
pub enum Next<E> {
    /// An [empty record](Role::give), to say something in.
    Room,
    /// That this record is sent.
    Send {
        record: Record,
        /// Nothing follows it.
        last: bool,
    },
    /// A [record](Role::hear) of the other peer, or its [confirmation](Role::confirm).
    Wait,
    /// That its driver does something.
    Do(E),
    /// Nothing: the transfer is whole.
    Done,
}

/// The uploader's or the downloader's part of a transfer. It reads and writes nothing, and knows no
/// time: [`poll`](Self::poll) says what is next, until it is done.
pub trait Role {
    /// What the role has its driver do.
    type Effect;

    /// Whose part it is.
    const SIDE: Side;

    fn talk(&mut self) -> &mut Talk;

    /// Goes one step on. None if that is to be looked at: something was said, or has happened.
    fn step(&mut self) -> Result<Option<Next<Self::Effect>>, Error>;

    /// What has happened that somebody may want to know.
    fn news(&mut self) -> Option<Self::Effect> {
        None
    }

    /// The last record that this peer sends if `error` ends the transfer here; none, if nobody
    /// could take it, or it has sent its last.
    fn last_words(&mut self, error: &Error) -> Option<Record> {
        self.talk().last_words(error)
    }

    /// Says what is due at `now`, which counts from any one moment.
    fn on_time(&mut self, now: Duration) {
        let _ = now;
    }

    /// What is next. What is asked of the driver is asked again until it is answered, if it has an
    /// answer; else only once, and done before this is called again.
    ///
    /// # Errors
    /// What ends the transfer: the other peer said so, or broke the rules.
    fn poll(&mut self) -> Result<Next<Self::Effect>, Error> {
        loop {
            if let Some(news) = self.news() {
                return Ok(Next::Do(news));
            }
            if let Some(next) = self.talk().pump() {
                return Ok(next);
            }
            if let Some(next) = self.step()? {
                return Ok(next);
            }
        }
    }

    /// The other peer has proved that it knows the secret.
    fn confirm(&mut self) {
        self.talk().is_confirmed = true;
    }

    /// Whether the role was told that the other peer has proved to know the secret.
    fn is_confirmed(&mut self) -> bool {
        self.talk().is_confirmed
    }

    /// Whether it matters what the other peer says, or whether it is lost.
    fn is_listening(&self) -> bool {
        true
    }

    /// Whether another record can be [heard](Self::hear).
    fn has_room(&mut self) -> bool {
        let is_listening = self.is_listening();
        let talk = self.talk();
        let is_read = |record: &Record| talk.at == record.body().len() && !record.is_last();
        is_listening && talk.incoming.as_ref().is_none_or(is_read)
    }

    /// Takes the other peer's next record; gives the one before back.
    fn hear(&mut self, record: Record) -> Option<Record> {
        let talk = self.talk();
        talk.at = 0;
        talk.incoming.replace(record)
    }

    /// Takes an empty record to say something in.
    fn give(&mut self, record: Record) {
        self.talk().outgoing = Some(record);
    }

    /// Why the other peer, which takes nothing any more, does so; if it is among what was heard.
    fn reason(&mut self) -> Option<Error> {
        self.talk().reason()
    }
}

/// What was heard.
pub(crate) enum Heard<'a> {
    Message(Message<'a>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

/// What is said after what was said so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Flush {
    /// More, perhaps in the same record.
    #[default]
    Later,
    /// More, in another record.
    Now,
    /// Nothing.
    Last,
}

/// Both directions of a session, as messages.
#[derive(Default)]
pub struct Talk {
    pub(super) is_confirmed: bool,
    incoming: Option<Record>,
    /// Where in it the next message begins.
    at: usize,
    /// Where in it the body of the latest message is.
    body: Range<usize>,
    outgoing: Option<Record>,
    /// Messages that are to be put into it.
    unsaid: Vec<u8>,
    flush: Flush,
    /// Whether the last record was sent.
    has_ended: bool,
    /// How many bytes the downloader says that it has by now, if that is news.
    pub(super) progress: Option<u64>,
}

impl Talk {
    /// The next message that is for the role. Signs of life are passed over, and words about
    /// [progress](Self::progress) only noted.
    ///
    /// # Errors
    /// What the other peer says if it gives up; [`Error::Protocol`] if it makes no sense.
    pub(super) fn next(&mut self) -> Result<Heard<'_>, Error> {
        let Some(record) = &self.incoming else { return Ok(Heard::Nothing) };
        loop {
            let unread = &record.body()[self.at..];
            if unread.is_empty() {
                return Ok(if record.is_last() { Heard::End } else { Heard::Nothing });
            }
            let (message, length) = Message::decode(unread)?;
            self.body = self.at + HEADER_BYTES..self.at + length;
            self.at += length;
            match message {
                Message::Alive => {}
                Message::Progress { bytes } => self.progress = Some(bytes),
                Message::Error { cancelled: true, .. } => return Err(Error::PeerCancelled),
                Message::Error { text, .. } => return Err(Error::Peer { text: text.into() }),
                message => return Ok(Heard::Message(message)),
            }
        }
    }

    /// The body of the latest message.
    pub(super) fn body(&self) -> &[u8] {
        self.incoming.as_ref().map_or(&[], |record| &record.body()[self.body.clone()])
    }

    /// Says a message, in the same record as what was said before if it has room.
    pub(super) fn say(&mut self, message: &Message<'_>) {
        message.encode(&mut self.unsaid);
    }

    /// What was said so far shall wait for nothing more.
    pub(super) fn flush(&mut self) {
        self.flush = Flush::Now;
    }

    /// What was said so far is all.
    pub(super) fn finish(&mut self) {
        self.flush = Flush::Last;
    }

    /// Puts what was said into the record. What that takes, if not all of it is done.
    fn pump<E>(&mut self) -> Option<Next<E>> {
        let is_waiting = match self.flush {
            Flush::Later => false,
            Flush::Now => self.outgoing.is_some(),
            Flush::Last => true,
        };
        if self.unsaid.is_empty() && !is_waiting {
            self.flush = Flush::Later;
            return None;
        }
        let Some(record) = &mut self.outgoing else { return Some(Next::Room) };
        if self.unsaid.len() > record.room() {
            return self.send(false);
        }
        record.put(&self.unsaid);
        self.unsaid.clear();
        let is_empty = record.body().is_empty();
        match std::mem::take(&mut self.flush) {
            Flush::Now if !is_empty => self.send(false),
            Flush::Now | Flush::Later => None,
            Flush::Last => self.send(true),
        }
    }

    fn send<E>(&mut self, last: bool) -> Option<Next<E>> {
        self.has_ended |= last;
        self.outgoing.take().map(|record| Next::Send { record, last })
    }

    /// How many bytes of data, at most `limit`, can be [put](Self::put_data) into the record; or
    /// what it takes before any can.
    pub(super) fn room_for_data<E>(&mut self, limit: u64) -> Result<usize, Next<E>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let Some(record) = &self.outgoing else { return Err(Next::Room) };
        let room = record.room();
        if room < HEADER_BYTES + limit.min(LEAST_DATA) {
            return self.send(false).map_or(Ok(0), Err);
        }
        Ok(limit.min(room - HEADER_BYTES))
    }

    /// Where data is written, that is then put there.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        self.outgoing.as_mut().map_or(&mut [], |record| &mut record.spare()[HEADER_BYTES..])
    }

    /// Says the first `bytes` of what is [there](Self::spare); returns them.
    pub(super) fn put_data(&mut self, bytes: usize) -> &[u8] {
        let Some(record) = &mut self.outgoing else { return &[] };
        record.put(&data_header(bytes));
        let start = record.body().len();
        record.advance(bytes);
        &record.body()[start..]
    }

    /// The rest of what was heard is of no interest, but for the reason why it ends.
    fn reason(&mut self) -> Option<Error> {
        loop {
            match self.next() {
                Ok(Heard::Message(message)) => {
                    if let Some(no) = refusal(&message) {
                        return Some(no);
                    }
                }
                Ok(Heard::Nothing | Heard::End) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    pub(super) fn last_words(&mut self, error: &Error) -> Option<Record> {
        match error {
            // The other peer ended it, and hears that it was heard.
            Error::Peer { .. }
            | Error::PeerCancelled
            | Error::Declined { .. }
            | Error::Unable { .. } => self.last_record(None),
            Error::Protocol(_) | Error::Tampered | Error::Cancelled | Error::Files(_) => {
                let cancelled = matches!(error, Error::Cancelled);
                self.last_record(Some(&Message::Error { cancelled, text: &error.for_peer() }))
            }
            // It cannot be told any more, or knows.
            Error::WrongSecret
            | Error::Unconfirmed { .. }
            | Error::Version { .. }
            | Error::Lost
            | Error::Silent
            | Error::Stream { .. }
            | Error::CutStream { .. }
            | Error::DeclinedHere => None,
        }
    }

    /// A last record with nothing but `message`, if none was sent yet.
    pub(super) fn last_record(&mut self, message: Option<&Message<'_>>) -> Option<Record> {
        if std::mem::replace(&mut self.has_ended, true) {
            return None;
        }
        let body = message.map(Message::encoded).unwrap_or_default();
        Some(Record::of(&body, true))
    }
}

/// A record that says that its sender is alive.
pub(crate) fn sign_of_life() -> Record {
    Record::of(&Message::Alive.encoded(), false)
}

/// The error that a downloader's no is.
pub(super) fn refusal(message: &Message<'_>) -> Option<Error> {
    match *message {
        Message::Decline(reason) => Some(Error::Declined { reason: reason.into() }),
        Message::Unable(reason) => Some(Error::Unable { reason: reason.into() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(messages: &[Message<'_>]) -> Record {
        let body: Vec<u8> = messages.iter().flat_map(Message::encoded).collect();
        Record::of(&body, false)
    }

    #[test]
    fn signs_of_life_are_passed_over() {
        use Message::{Accept, Alive, Prove};
        let mut talk = Talk { incoming: Some(record(&[Alive])), ..Talk::default() };
        assert!(matches!(talk.next().unwrap(), Heard::Nothing));
        talk.at = 0;
        talk.incoming = Some(record(&[Alive, Accept, Alive, Alive, Prove, Alive]));
        assert!(matches!(talk.next().unwrap(), Heard::Message(Accept)));
        assert!(matches!(talk.next().unwrap(), Heard::Message(Prove)));
        assert!(matches!(talk.next().unwrap(), Heard::Nothing));
    }

    #[test]
    fn what_does_not_fit_goes_into_the_next_record() {
        let mut talk = Talk::default();
        let big = vec![7; 200_000];
        let mut sent = Vec::new();
        for _ in 0..3 {
            talk.say(&Message::Entries(&big));
            while let Some(next) = talk.pump::<()>() {
                match next {
                    Next::Room => talk.outgoing = Some(Record::new()),
                    Next::Send { record, last } => sent.push((record.body().len(), last)),
                    Next::Wait | Next::Do(()) | Next::Done => {
                        unreachable!("it only says something")
                    }
                }
            }
        }
        talk.finish();
        assert!(matches!(talk.pump::<()>(), Some(Next::Send { last: true, .. })));
        assert_eq!(sent, [(200_004, false), (200_004, false)]);
        assert!(talk.last_record(None).is_none(), "its last was sent");
    }

    #[test]
    fn little_data_is_put_where_it_fits_and_much_is_begun_in_a_new_record() {
        let mut talk = Talk { outgoing: Some(Record::new()), ..Talk::default() };
        talk.say(&Message::Entries(&vec![7; 255 * 1024]));
        assert!(talk.pump::<()>().is_none());
        assert_eq!(talk.room_for_data::<()>(100).ok(), Some(100));
        talk.spare()[..3].copy_from_slice(b"abc");
        assert_eq!(talk.put_data(3), b"abc");
        assert!(matches!(talk.room_for_data::<()>(2000), Err(Next::Send { last: false, .. })));
        assert!(matches!(talk.room_for_data::<()>(2000), Err(Next::Room)));
    }
}
