//! The threads between a role and the stream, from the confirmations to the leave.
//!
//! ```text
//!             +-------- Link (the caller's thread) --------+
//!  reader --> | inbox: reads, opens --> role, files --> .. | outbox: seals, writes --> writer
//!             +--------------------------------------------+
//! ```
//!
//! Reading files and hashing thereby overlaps with sealing and sending, opening with writing to the
//! disk. The records go round between two threads each way, and are allocated once. The outbox says
//! that this peer is alive when there was nothing else to say for a while.
//!
//! Each thread begins with a confirmation: what the role has to say first need not wait until the
//! other peer's has come.
//!
//! **The secrets are compared while the offer is under way.** The threads of a session begin with a
//! confirmation each, and the role need not wait for them: a short offer, with its content if that
//! is little, follows the uploader's own at once. It is sealed with keys that only who knows the
//! secret has. A small file is confirmed after 5 of the distance's round trips so, from the
//! download's start and connecting included, and both programs have ended after 6, instead of 8
//! (`--bench transfer -- --only far`).
//!
//! **One deadline for leaving.** A session that fails, declines or is cancelled still tells its
//! counterpart, through the same threads and after what is under way, and reads on until it has
//! been heard. `link::run` waits for that 10 seconds, 5 if the person here cancelled, and then has
//! every call on the stream end (`abort`), however slowly the counterpart sends or takes.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, bounded, never, select};

use super::stream::SealedStream;
use super::threads::{Arrived, Proof, inbox, outbox};
use crate::Cancel;
use crate::session::{ALIVE_INTERVAL, Error, HANDSHAKE_TIMEOUT, Next, Record, Role, parting};

/// Records that go round each way: one at either thread, and two between them to even out their
/// speeds.
const RECORDS: usize = 4;

/// A role's way to the other peer.
pub(super) struct Link<'a> {
    cancel: &'a Cancel,
    arrived: Receiver<Result<Arrived, Error>>,
    consumed: Sender<Record>,
    full: Sender<(Record, bool)>,
    empty: Receiver<Record>,
    failed: Receiver<Error>,
    /// When the leave is over, once it has begun.
    parted_by: Option<Instant>,
}

/// Runs `work`, which drives `role`, on the stream. If it fails, the other peer is told why, if it
/// does not know and can be told.
///
/// # Errors
/// That of `work`; as [`Error::Unconfirmed`] if it came before the other peer had proved that it
/// knows the secret.
pub(super) fn run<R, W, M, T>(
    stream: SealedStream<R, W>,
    cancel: &Cancel,
    mut role: M,
    work: impl FnOnce(&mut Link<'_>, &mut M) -> Result<T, Error>,
) -> Result<T, Error>
where
    R: Read + Send,
    W: Write + Send,
    M: Role,
{
    assert_eq!(stream.side, M::SIDE, "each side has its role");
    let SealedStream { side, reader, writer, schedule, has_secret, is_confirmed, abort } = stream;
    let (tell_arrived, arrived) = bounded(RECORDS);
    let (consumed, free) = pool();
    let (full, to_send) = bounded(RECORDS);
    let (tell_empty, empty) = pool();
    let (tell_failed, failed) = bounded(1);
    let mut link = Link { cancel, arrived, consumed, full, empty, failed, parted_by: None };
    let proof = Proof { side, schedule: &schedule, is_confirmed: &is_confirmed };
    let result = thread::scope(|scope| {
        let (running, ended) = bounded::<Infallible>(0);
        let inbox_runs = running.clone();
        scope.spawn(move || {
            inbox(reader, proof, &free, &tell_arrived);
            drop(inbox_runs);
        });
        scope.spawn(move || {
            outbox(writer, proof, to_send, tell_empty, &tell_failed, ALIVE_INTERVAL);
            drop(running);
        });
        let result = work(&mut link, &mut role);
        let parted_by = link.part(&mut role, result.as_ref().err());
        drop(link);
        if ended.recv_deadline(parted_by) == Err(RecvTimeoutError::Timeout) {
            abort();
        }
        result
    });
    let unconfirmed = has_secret && !is_confirmed.load(Ordering::Acquire);
    result.map_err(|error| if unconfirmed { error.before_confirmation() } else { error })
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
    /// What the role needs done next; nothing any more once the transfer is whole. Blocks until the
    /// other peer has said what it takes.
    pub(super) fn next<M: Role>(&mut self, role: &mut M) -> Result<Option<M::Effect>, Error> {
        loop {
            self.listen(role)?;
            match role.poll()? {
                Next::Do(effect) => return Ok(Some(effect)),
                Next::Done => return Ok(None),
                Next::Wait => self.wait(role)?,
                Next::Room => self.make_room(role)?,
                Next::Send { record, last } => self.send(role, record, last)?,
            }
        }
    }

    /// Waits for something from another thread, or until the other peer has said something. None if
    /// that thread has ended.
    pub(super) fn wait_for<T, M: Role>(
        &mut self,
        role: &mut M,
        channel: &Receiver<T>,
    ) -> Result<Waited<T>, Error> {
        select! {
            recv(channel) -> item => Ok(Waited::For(item.ok())),
            recv(self.arrived) -> arrived => {
                self.hear(role, arrived.map_err(|_| Error::Lost)??);
                Ok(Waited::Heard)
            }
            recv(self.cancel.cancelled()) -> _ => Err(Error::Cancelled),
        }
    }

    /// Whether something could be said at once.
    pub(super) fn is_idle(&self) -> bool {
        !self.empty.is_empty()
    }

    /// Hears what has arrived, as far as the role has room for it. Does not block.
    fn listen<M: Role>(&mut self, role: &mut M) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        while role.has_room()
            && let Ok(arrived) = self.arrived.try_recv()
        {
            self.hear(role, arrived?);
        }
        Ok(())
    }

    fn hear<M: Role>(&mut self, role: &mut M, arrived: Arrived) {
        match arrived {
            Arrived::Confirmation => role.confirm(),
            Arrived::Record(record) => {
                if let Some(old) = role.hear(record) {
                    // The inbox needs no record any more once it has ended.
                    drop(self.consumed.try_send(old));
                }
            }
        }
    }

    /// Waits for the other peer's next record; before that, until it has proved that it knows the
    /// secret.
    fn wait<M: Role>(&mut self, role: &mut M) -> Result<(), Error> {
        let too_late = if role.is_confirmed() { never() } else { after(HANDSHAKE_TIMEOUT) };
        let arrived = select! {
            recv(self.arrived) -> arrived => arrived.map_err(|_| Error::Lost)??,
            recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
            recv(too_late) -> _ => return Err(Error::Silent),
        };
        self.hear(role, arrived);
        Ok(())
    }

    /// Waits until something can be said, or the other peer, which may take nothing meanwhile, has
    /// said how far it is.
    fn make_room<M: Role>(&mut self, role: &mut M) -> Result<(), Error> {
        let arrived = if role.has_room() { &self.arrived } else { &never() };
        select! {
            recv(self.empty) -> record => match record {
                Ok(mut record) => {
                    record.clear();
                    role.give(record);
                }
                Err(_) => return Err(self.lost(role)),
            },
            recv(arrived) -> arrived => match arrived {
                Ok(arrived) => self.hear(role, arrived?),
                Err(_) => return Err(self.lost(role)),
            },
            recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
        }
        Ok(())
    }

    fn send<M: Role>(&mut self, role: &mut M, record: Record, last: bool) -> Result<(), Error> {
        let sent = select! {
            send(self.full, (record, last)) -> sent => sent.is_ok(),
            recv(self.cancel.cancelled()) -> _ => return Err(Error::Cancelled),
        };
        if sent { Ok(()) } else { Err(self.lost(role)) }
    }

    /// Why nothing can be sent any more. The other peer may have said so before it stopped to read.
    fn lost<M: Role>(&mut self, role: &mut M) -> Error {
        let deadline = self.parted_by(parting(None));
        loop {
            if let Some(reason) = role.reason() {
                return reason;
            }
            match self.arrived.recv_deadline(deadline) {
                Ok(Ok(arrived)) => self.hear(role, arrived),
                Ok(Err(error)) => return error,
                Err(_) => return self.failed.try_recv().unwrap_or(Error::Lost),
            }
        }
    }

    /// Tells the other peer why we give up, or at least that we heard why it does. Returns when the
    /// leave is over.
    fn part<M: Role>(&mut self, role: &mut M, error: Option<&Error>) -> Instant {
        let deadline = self.parted_by(parting(error));
        if let Some(record) = error.and_then(|error| role.last_words(error)) {
            // If it cannot be told, it sees the stream end.
            drop(self.full.send_deadline((record, true), deadline));
        }
        deadline
    }

    /// When the leave is over that takes `limit`, and begins now unless it has before.
    fn parted_by(&mut self, limit: Duration) -> Instant {
        *self.parted_by.get_or_insert_with(|| Instant::now() + limit)
    }
}

/// What waiting came to.
pub(super) enum Waited<T> {
    /// What was waited for; none if nothing more comes.
    For(Option<T>),
    /// The other peer said something.
    Heard,
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::testing::{Puppet, play, streams};
    use super::super::{download, upload};
    use std::io;

    use super::*;
    use crate::Observer;
    use crate::files::{Destination, Outgoing, PlaceOptions, Stream};
    use crate::session::message::Message;

    /// Zeros without an end.
    fn endless() -> Outgoing {
        Outgoing::stream("zeros", Stream::new(io::repeat(0))).unwrap()
    }

    #[test]
    fn what_the_downloader_has_is_heard_while_it_takes_no_more() {
        struct Watcher(Sender<u64>);
        impl Observer for Watcher {
            fn confirmed(&mut self, bytes: u64) {
                self.0.send(bytes).unwrap();
            }
        }
        let (ours, theirs) = streams();
        let cancel = Cancel::new().unwrap();
        let (heard, progress) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            let uploader =
                scope.spawn(|| upload(ours, &mut endless(), &mut Watcher(heard), &cancel));
            let mut puppet = Puppet::on(theirs);
            puppet.accept().unwrap();
            for bytes in [7, 9] {
                puppet.put(&Message::Progress { bytes }).unwrap();
                puppet.flush().unwrap();
                assert_eq!(progress.recv().unwrap(), bytes);
            }
            cancel.cancel();
            drop(puppet);
            uploader.join().unwrap().unwrap_err();
        });
    }

    #[test]
    fn what_the_other_peer_said_last_is_heard_by_who_cannot_send_any_more() {
        let (ours, theirs) = streams();
        let cancel = Cancel::new().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut puppet = Puppet::on(theirs);
                puppet.accept().unwrap();
                puppet.put(&Message::Error { cancelled: false, text: "no disk" }).unwrap();
                puppet.finish().unwrap();
            });
            let told = upload(ours, &mut endless(), &mut (), &cancel).unwrap_err();
            assert!(matches!(told, Error::Peer { ref text } if text == "no disk"), "{told}");
        });
    }

    #[test]
    fn who_fails_lets_the_other_peer_finish_before_it_closes() {
        let (theirs, ours) = streams();
        let cancel = Cancel::new().unwrap();
        let into = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let into = Destination::Directory(into.path().into());
                download(ours, into, PlaceOptions::default(), &mut (), &cancel).unwrap_err()
            });
            play(theirs, |puppet| {
                // Nonsense, more of it than the stream holds, and without reading what the other
                // peer has to say.
                for _ in 0..64 {
                    puppet.put(&Message::Data(&vec![0; 250_000]))?;
                }
                puppet.finish()?;
                let told = puppet.next()?;
                assert!(
                    matches!(told, Some(Message::Error { text, .. }) if text.contains("no offer")),
                    "{told:?}"
                );
                assert_eq!(puppet.next()?, None);
                Ok(())
            });
        });
    }
}
