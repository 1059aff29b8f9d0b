//! The threads between a transfer's logic and the stream, from the confirmations to the leave.
//!
//! ```text
//!             +-------- Link (the caller's thread) --------+
//!  reader --> | inbox: reads, opens --> next()   put() --> | outbox: seals, writes --> writer
//!             +--------------------------------------------+
//! ```
//!
//! Reading files and hashing thereby overlaps with sealing and sending, opening with writing to the disk. The
//! records go round between two threads each way, and are allocated once. The outbox says that this peer is
//! alive when there was nothing else to say for a while.
//!
//! Each thread begins with a confirmation: what the logic has to say first need not wait until the other peer's has come.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, never, select};

use super::keys::{KEY_BYTES, Schedule};
use super::message::{HEADER_BYTES, Message, data_header};
use super::record::{Record, RecordReader, RecordWriter};
use super::{Error, HANDSHAKE_TIMEOUT, Session};
use crate::{Cancel, Observer, Side};

/// Records that go round each way: one at either thread, and two between them to even out their speeds.
const RECORDS: usize = 4;

/// How long this peer says nothing at most. A third of the shortest timeout that a stream's owner should set.
const ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the leave takes at most, all in all: to tell the other peer why we give up, to hear why from it, and to take what it
/// has under way (PROTOCOL.md rule S30).
const PARTING: Duration = Duration::from_secs(10);

/// The same if it is our person who cancelled, and waits.
const PARTING_CANCELLED: Duration = Duration::from_secs(5);

/// The same if the secrets differ: only two confirmations are under way, and what a stranger makes of them is of no interest.
const PARTING_WRONG_SECRET: Duration = Duration::from_secs(2);

/// Data is begun in a new record, rather than in less room than this, unless all of it fits.
const LEAST_DATA: usize = 16 * 1024;

/// Both directions of a session, as messages.
pub(super) struct Link<'a> {
    cancel: &'a Cancel,
    /// Says once that the other peer knows the secret; disconnected when the inbox has ended.
    confirmed: Receiver<()>,
    incoming: Incoming<'a>,
    outgoing: Outgoing,
    /// When the leave is over, once it has begun.
    parted_by: Option<Instant>,
}

struct Incoming<'a> {
    /// Hears what the downloader has, whatever the logic waits for meanwhile.
    observer: &'a mut dyn Observer,
    arrived: Receiver<Result<Record, Error>>,
    consumed: Sender<Record>,
    current: Option<Record>,
    /// Where in the current record the next message begins.
    at: usize,
}

struct Outgoing {
    full: Sender<(Record, bool)>,
    empty: Receiver<Record>,
    failed: Receiver<Error>,
    current: Option<Record>,
    scratch: Vec<u8>,
    ended: bool,
}

/// Runs `logic` on the session. If it fails, the other peer is told why, if it does not know and can be told.
/// `observer` hears how much a downloader has.
///
/// # Errors
/// That of `logic`; as [`Error::Unconfirmed`] if it came before the other peer had proved that it knows the secret.
pub(super) fn run<R, W, T>(
    session: Session<R, W>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
    logic: impl FnOnce(&mut Link<'_>) -> Result<T, Error>,
) -> Result<T, Error>
where
    R: Read + Send,
    W: Write + Send,
{
    let Session { side, reader, writer, schedule, has_secret, is_confirmed, abort } = session;
    let (tell_confirmed, confirmed) = bounded(1);
    let (tell_arrived, arrived) = bounded(RECORDS);
    let (consumed, free) = pool();
    let (full, to_send) = bounded(RECORDS);
    let (tell_empty, empty) = pool();
    let (tell_failed, failed) = bounded(1);
    let mut link = Link {
        cancel,
        confirmed,
        incoming: Incoming { observer, arrived, consumed, current: None, at: 0 },
        outgoing: Outgoing {
            full,
            empty,
            failed,
            current: None,
            scratch: Vec::new(),
            ended: false,
        },
        parted_by: None,
    };
    let door = Door { side, schedule: &schedule, is_confirmed: &is_confirmed };
    let result = thread::scope(|scope| {
        let (running, ended) = bounded::<Infallible>(0);
        let inbox_runs = running.clone();
        scope.spawn(move || {
            inbox(reader, &door, tell_confirmed, &free, &tell_arrived);
            drop(inbox_runs);
        });
        scope.spawn(move || {
            outbox(writer, &door, to_send, tell_empty, &tell_failed, ALIVE_INTERVAL);
            drop(running);
        });
        let result = logic(&mut link);
        let parted_by = link.part(result.as_ref().err());
        drop(link);
        if ended.recv_deadline(parted_by) == Err(RecvTimeoutError::Timeout) {
            abort();
        }
        result
    });
    let unconfirmed = has_secret && !is_confirmed.load(Ordering::Acquire);
    result.map_err(|error| if unconfirmed { error.before_confirmation() } else { error })
}

/// What the threads need to prove the secret, and to judge the other peer's proof.
#[derive(Clone, Copy)]
struct Door<'a> {
    side: Side,
    schedule: &'a Schedule,
    is_confirmed: &'a Arc<AtomicBool>,
}

/// A channel that holds the records of one direction.
fn pool() -> (Sender<Record>, Receiver<Record>) {
    let (give, take) = bounded(RECORDS);
    for _ in 0..RECORDS {
        give.send(Record::new()).expect("the receiver is alive, in this function");
    }
    (give, take)
}

impl Link<'_> {
    /// Who hears of the transfer.
    pub(super) fn observer(&mut self) -> &mut dyn Observer {
        self.incoming.observer
    }

    /// Waits until the other peer has proved that it knows the secret. What it says can be heard only after that.
    ///
    /// # Errors
    /// [`Error::WrongSecret`] if it does not know it, or why it could not prove it.
    pub(super) fn await_confirmation(&mut self) -> Result<(), Error> {
        let proved = select! {
            recv(self.confirmed) -> proved => proved.is_ok(),
            recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
            default(HANDSHAKE_TIMEOUT) => return Err(Error::Silent),
        };
        match proved {
            true => Ok(()),
            false => self.receive().and(Err(Error::Lost)),
        }
    }

    /// The next message that is not just a sign of life; none after the other peer's last.
    ///
    /// # Errors
    /// What the other peer says if it gives up, besides the stream's own errors.
    pub(super) fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        while !self.incoming.is_ready()? {
            if self.incoming.is_ended() {
                return Ok(None);
            }
            let record = self.receive()?;
            self.incoming.take(record);
        }
        self.incoming.message().map(Some)
    }

    /// Whether the other peer, which has nothing to say now, still lets us go on. Does not block.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        while !self.incoming.is_ready()? && !self.incoming.is_ended() {
            match self.incoming.arrived.try_recv() {
                Ok(record) => self.incoming.take(record?),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Error::Lost),
            }
        }
        Err(Error::Protocol("a message out of turn"))
    }

    /// Waits for something from another thread, as long as the other peer lets us go on; none if that thread
    /// has ended.
    pub(super) fn wait_for<T>(&mut self, channel: &Receiver<T>) -> Result<Option<T>, Error> {
        loop {
            self.check()?;
            let record = select! {
                recv(channel) -> item => return Ok(item.ok()),
                recv(self.incoming.arrived) -> record => record.map_err(|_| Error::Lost)?,
                recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
            };
            self.incoming.take(record?);
        }
    }

    /// Puts a message into the current record, or, if that is full, sends it and puts the message into the
    /// next.
    pub(super) fn put(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let mut scratch = std::mem::take(&mut self.outgoing.scratch);
        scratch.clear();
        message.encode(&mut scratch);
        self.record(scratch.len())?.put(&scratch);
        self.outgoing.scratch = scratch;
        Ok(())
    }

    /// Puts a `Data` message of at most `limit` bytes that `read` writes in place; returns these.
    ///
    /// The outer error is the session's, the inner one that of `read`.
    pub(super) fn put_data(
        &mut self,
        limit: u64,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Result<io::Result<&[u8]>, Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let record = self.record(HEADER_BYTES + limit.min(LEAST_DATA))?;
        let start = record.body().len();
        let spare = &mut record.spare()[HEADER_BYTES..];
        let room = spare.len().min(limit);
        let bytes = match read(&mut spare[..room]) {
            Ok(0) => return Ok(Ok(&[])),
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        record.advance(HEADER_BYTES + bytes);
        let body = record.body_mut();
        body[start..start + HEADER_BYTES].copy_from_slice(&data_header(bytes));
        Ok(Ok(&body[start + HEADER_BYTES..]))
    }

    /// Sends what was put so far.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        match self.outgoing.current.take() {
            Some(record) if record.body().is_empty() => {
                self.outgoing.current = Some(record);
                Ok(())
            }
            Some(record) => self.send(record, false),
            None => Ok(()),
        }
    }

    /// Says how many bytes of all content this peer has, unless that would have to wait: what it says next is newer.
    pub(super) fn tell_progress(&mut self, bytes: u64) -> Result<(), Error> {
        let Ok(mut record) = self.outgoing.empty.try_recv() else {
            return Ok(());
        };
        let mut message = Vec::with_capacity(2 * HEADER_BYTES + 4);
        Message::Progress { bytes }.encode(&mut message);
        record.clear();
        record.put(&message);
        self.send(record, false)
    }

    /// Sends what was put so far as the last that this peer says.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.record(0)?;
        match self.outgoing.current.take() {
            Some(record) => self.send(record, true),
            None => Ok(()),
        }
    }

    /// The record that is being filled, with room for `bytes`.
    fn record(&mut self, bytes: usize) -> Result<&mut Record, Error> {
        if self.outgoing.current.as_ref().is_some_and(|record| record.room() < bytes) {
            self.flush()?;
        }
        let record = match self.outgoing.current.take() {
            Some(record) => record,
            None => self.empty_record()?,
        };
        Ok(self.outgoing.current.insert(record))
    }

    fn empty_record(&mut self) -> Result<Record, Error> {
        let record = loop {
            // The downloader says how far it is, also while this waits for it to take more.
            let has_room = self.incoming.has_room()?;
            let arrived = if has_room { &self.incoming.arrived } else { &never() };
            select! {
                recv(self.outgoing.empty) -> record => break record.ok(),
                recv(arrived) -> record => match record {
                    Ok(record) => self.incoming.take(record?),
                    Err(_) => return Err(self.lost()),
                },
                recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
            }
        };
        match record {
            Some(mut record) => {
                record.clear();
                Ok(record)
            }
            None => Err(self.lost()),
        }
    }

    fn send(&mut self, record: Record, last: bool) -> Result<(), Error> {
        let sent = select! {
            send(self.outgoing.full, (record, last)) -> sent => sent.is_ok(),
            recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
        };
        if !sent {
            return Err(self.lost());
        }
        self.outgoing.ended = last;
        Ok(())
    }

    fn receive(&mut self) -> Result<Record, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        select! {
            recv(self.incoming.arrived) -> record => record.map_err(|_| Error::Lost)?,
            recv(self.cancel.cancelled()) -> _ => Err(Error::Cancelled),
        }
    }

    /// Why nothing can be sent any more. The other peer may have said so before it stopped to read.
    fn lost(&mut self) -> Error {
        let deadline = self.parted_by(PARTING);
        loop {
            match self.incoming.is_ready() {
                Ok(true) => match self.incoming.message() {
                    Ok(Message::Decline(reason)) => {
                        let reason = reason.into();
                        return Error::Declined { reason };
                    }
                    Ok(Message::Unable(reason)) => {
                        let reason = reason.into();
                        return Error::Unable { reason };
                    }
                    // It is of no interest any more.
                    Ok(_) => {}
                    Err(error) => return error,
                },
                Ok(false) => match self.incoming.arrived.recv_deadline(deadline) {
                    Ok(Ok(record)) => self.incoming.take(record),
                    Ok(Err(error)) => return error,
                    Err(_) => return self.outgoing.failed.try_recv().unwrap_or(Error::Lost),
                },
                Err(error) => return error,
            }
        }
    }

    /// Tells the other peer why we give up, or at least that we heard why it does. Returns when the leave is over.
    fn part(&mut self, error: Option<&Error>) -> Instant {
        let deadline = match error {
            Some(Error::Cancelled) => self.parted_by(PARTING_CANCELLED),
            Some(Error::WrongSecret) => self.parted_by(PARTING_WRONG_SECRET),
            _ => self.parted_by(PARTING),
        };
        let Some(error) = error.filter(|_| !self.outgoing.ended) else {
            return deadline;
        };
        let mut last = Record::with_capacity(2 * 1024);
        match error {
            Error::Peer { .. }
            | Error::PeerCancelled
            | Error::Declined { .. }
            | Error::Unable { .. } => {}
            error if error.is_news_to_peer() => {
                let mut message = Vec::new();
                let cancelled = matches!(error, Error::Cancelled);
                let text = &error.for_peer();
                Message::Error { cancelled, text }.encode(&mut message);
                last.put(&message);
            }
            _ => return deadline,
        }
        // If it cannot be told, it sees the stream end.
        drop(self.outgoing.full.send_deadline((last, true), deadline));
        deadline
    }

    /// When the leave is over that takes `limit`, and begins now unless it has before.
    fn parted_by(&mut self, limit: Duration) -> Instant {
        *self.parted_by.get_or_insert_with(|| Instant::now() + limit)
    }
}

impl Incoming<'_> {
    fn take(&mut self, record: Record) {
        if let Some(old) = self.current.replace(record) {
            // The inbox needs no record any more once it has ended.
            drop(self.consumed.try_send(old));
        }
        self.at = 0;
    }

    /// Whether a message for the logic is next in the current record. Signs of life are passed over, errors
    /// returned.
    fn is_ready(&mut self) -> Result<bool, Error> {
        while let Some(bytes) = self.unread() {
            match Message::decode(bytes)? {
                (Message::Alive, length) => self.at += length,
                (Message::Progress { bytes }, length) => {
                    self.at += length;
                    self.observer.confirmed(bytes);
                }
                (Message::Error { cancelled: true, .. }, _) => return Err(Error::PeerCancelled),
                (Message::Error { text, .. }, _) => {
                    return Err(Error::Peer { text: text.into() });
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Whether the next record can be taken while the logic is busy: it waits for no message that is there.
    fn has_room(&mut self) -> Result<bool, Error> {
        Ok(!self.is_ready()? && !self.is_ended())
    }

    fn message(&mut self) -> Result<Message<'_>, Error> {
        let start = self.at;
        let (_, length) = Message::decode(self.unread().unwrap_or_default())?;
        self.at += length;
        let record = self.current.as_ref();
        let bytes = record.map_or(&[][..], |record| &record.body()[start..]);
        Ok(Message::decode(bytes)?.0)
    }

    fn unread(&self) -> Option<&[u8]> {
        let record = self.current.as_ref()?;
        Some(&record.body()[self.at..]).filter(|bytes| !bytes.is_empty())
    }

    fn is_ended(&self) -> bool {
        self.current.as_ref().is_some_and(Record::is_last)
    }
}

/// Reads and judges the other peer's confirmation; then reads and opens records until the last, an error, or the logic's end.
fn inbox<R: Read>(
    mut reader: R,
    door: &Door<'_>,
    confirmed: Sender<()>,
    free: &Receiver<Record>,
    arrived: &Sender<Result<Record, Error>>,
) {
    if let Err(error) = door.hear(&mut reader) {
        let is_wrong = matches!(error, Error::WrongSecret);
        // There is room for it. If the logic has ended already, nobody wants to know.
        drop(arrived.try_send(Err(error)));
        drop(confirmed);
        if is_wrong && door.side == Side::Download {
            // The uploader has made its offer already. If the stream were closed with that unread, a reset could overtake our
            // confirmation, and only one of both persons would be told that the secrets differ.
            drop(io::copy(&mut reader, &mut io::sink()));
        }
        return;
    }
    door.is_confirmed.store(true, Ordering::Release);
    // The logic may have ended.
    confirmed.try_send(()).ok();
    let mut reader = RecordReader::new(reader, door.schedule.traffic(!door.side));
    for mut record in free {
        let opened = reader.receive(&mut record);
        let goes_on = opened.is_ok() && !record.is_last();
        let sent = arrived.send(opened.map(|()| record));
        if !goes_on {
            return;
        }
        if sent.is_err() {
            break;
        }
    }
    // The logic has ended, and the other peer is being told. If the stream were closed with its data unread,
    // a reset could overtake what it is told. Whoever waits for this ends it in time.
    let mut record = Record::new();
    while reader.receive(&mut record).is_ok() && !record.is_last() {}
}

impl Door<'_> {
    /// Reads the other peer's proof that it knows the secret.
    fn hear(&self, reader: &mut impl Read) -> Result<(), Error> {
        let mut theirs = [0; KEY_BYTES];
        reader
            .read_exact(&mut theirs)
            .map_err(|source| Error::stream("comparing the secrets", source))?;
        match self.schedule.confirms(!self.side, &theirs) {
            true => Ok(()),
            false => Err(Error::WrongSecret),
        }
    }

    /// Sends our proof. It does not wait for the other peer's, so that both learn of a wrong secret; from the first byte on, the
    /// other peer may hold a guess against it.
    fn knock(&self, writer: &mut impl Write) -> Result<(), Error> {
        writer
            .write_all(&self.schedule.confirmation(self.side))
            .and_then(|()| writer.flush())
            .map_err(|source| Error::stream("comparing the secrets", source))
    }
}

/// Sends our confirmation; then seals and sends records until the last, an error, or the logic's end.
fn outbox<W: Write>(
    mut writer: W,
    door: &Door<'_>,
    full: Receiver<(Record, bool)>,
    empty: Sender<Record>,
    failed: &Sender<Error>,
    alive_interval: Duration,
) {
    if let Err(error) = door.knock(&mut writer) {
        drop(failed.try_send(error));
        return;
    }
    let mut writer = RecordWriter::new(writer, door.schedule.traffic(door.side));
    let mut alive = Vec::new();
    Message::Alive.encode(&mut alive);
    let mut sign_of_life = Record::with_capacity(alive.len());
    loop {
        let sent = match full.recv_timeout(alive_interval) {
            Ok((mut record, last)) => {
                let sent = writer.send(&mut record, last);
                if last && sent.is_ok() {
                    return;
                }
                // The logic takes none any more once it has ended.
                drop(empty.try_send(record));
                sent
            }
            Err(RecvTimeoutError::Timeout) => {
                sign_of_life.clear();
                sign_of_life.put(&alive);
                writer.send(&mut sign_of_life, false)
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = sent {
            // There is room for one, and one is sent. Dropping the channels afterwards makes the logic look.
            drop(failed.try_send(error));
            return;
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::testing::{confirmed, sessions};
    use super::*;

    #[test]
    fn a_peer_that_has_nothing_to_say_says_that_it_is_alive() {
        let (upload, download) = sessions();
        let (full, to_send) = bounded(1);
        let (empty, _empty) = bounded(1);
        let (failed, _failed) = bounded(1);
        let (mut reader, _writer) = confirmed(download);
        thread::scope(|scope| {
            let interval = Duration::from_millis(1);
            scope.spawn(move || {
                let Session { side, schedule, is_confirmed, writer, .. } = upload;
                let door = Door { side, schedule: &schedule, is_confirmed: &is_confirmed };
                outbox(writer, &door, to_send, empty, &failed, interval);
            });
            let mut record = Record::new();
            for _ in 0..3 {
                reader.receive(&mut record).unwrap();
                let alive = Message::decode(record.body()).unwrap();
                assert_eq!(alive, (Message::Alive, 4));
            }
            drop(full);
        });
    }

    #[test]
    fn signs_of_life_are_passed_over() {
        let (upload, download) = sessions();
        let cancel = Cancel::new().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                run(upload, &mut (), &cancel, |link| {
                    link.put(&Message::Alive)?;
                    link.flush()?;
                    link.put(&Message::Alive)?;
                    link.put(&Message::Accept)?;
                    link.put(&Message::Alive)?;
                    link.finish()
                })
            });
            run(download, &mut (), &cancel, |link| {
                assert_eq!(link.next()?, Some(Message::Accept));
                assert_eq!(link.next()?, None);
                assert_eq!(link.next()?, None);
                link.finish()
            })
            .unwrap();
        });
    }

    #[test]
    fn what_the_downloader_has_is_heard_while_it_takes_no_more() {
        struct Watcher(Sender<u64>);
        impl Observer for Watcher {
            fn confirmed(&mut self, bytes: u64) {
                self.0.send(bytes).unwrap();
            }
        }
        let (upload, download) = sessions();
        let cancel = Cancel::new().unwrap();
        let (heard, progress) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            let uploader = scope.spawn(|| {
                run(upload, &mut Watcher(heard), &cancel, |link| -> Result<(), Error> {
                    loop {
                        link.put(&Message::Data(&[0; 1000]))?;
                        link.flush()?;
                    }
                })
            });
            let (reader, mut writer) = confirmed(download);
            let mut record = Record::new();
            for bytes in [7, 9] {
                let mut message = Vec::new();
                Message::Progress { bytes }.encode(&mut message);
                record.clear();
                record.put(&message);
                writer.send(&mut record, false).unwrap();
                assert_eq!(progress.recv().unwrap(), bytes);
            }
            cancel.cancel();
            drop((reader, writer));
            uploader.join().unwrap().unwrap_err();
        });
    }

    #[test]
    fn what_the_other_peer_said_last_is_heard_by_who_cannot_send_any_more() {
        let (upload, download) = sessions();
        let cancel = Cancel::new().unwrap();
        let (reader, mut writer) = confirmed(download);
        let mut record = Record::new();
        let mut message = Vec::new();
        let text = "no disk";
        let cancelled = false;
        Message::Error { cancelled, text }.encode(&mut message);
        record.put(&message);
        writer.send(&mut record, true).unwrap();
        drop((reader, writer));
        let ended = run(upload, &mut (), &cancel, |link| {
            loop {
                link.put(&Message::Data(&[0; 1000]))?;
                link.flush()?;
            }
        });
        let told: Result<(), Error> = ended;
        assert!(matches!(told, Err(Error::Peer { text }) if text == "no disk"));
    }

    #[test]
    fn who_fails_lets_the_other_peer_finish_before_it_closes() {
        let (upload, download) = sessions();
        let cancel = Cancel::new().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let fails = |_: &mut Link<'_>| Err(Error::Protocol("nonsense"));
                run::<_, _, ()>(download, &mut (), &cancel, fails).expect_err("it fails")
            });
            let (mut reader, mut writer) = confirmed(upload);
            // More than the stream holds, and without reading what the other peer has to say.
            for number in 0..64 {
                let mut record = Record::new();
                record.advance(record.room());
                writer.send(&mut record, number == 63).unwrap();
            }
            let mut record = Record::new();
            reader.receive(&mut record).unwrap();
            let (told, _) = Message::decode(record.body()).unwrap();
            assert!(record.is_last());
            assert!(
                matches!(told, Message::Error { text, .. } if text.contains("nonsense")),
                "{told:?}"
            );
        });
    }
}
