//! The two threads that read and open, seal and write.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::stream;
use crate::Side;
use crate::session::{Confirmation, Error, Opener, Record, Schedule, Sealer, sign_of_life};

/// What a peer proves the secret with, and what comes of the other peer's proof.
#[derive(Clone, Copy)]
pub(super) struct Proof<'a> {
    pub(super) side: Side,
    pub(super) schedule: &'a Schedule,
    pub(super) is_confirmed: &'a AtomicBool,
}

/// What has come from the other peer.
pub(super) enum Arrived {
    /// The proof that it knows the secret: first of all.
    Confirmation,
    /// A record, opened.
    Record(Record),
}

/// Reads and judges the other peer's confirmation; then reads and opens records until the last, an
/// error, or the role's end.
pub(super) fn inbox<R: Read>(
    mut reader: R,
    proof: Proof<'_>,
    free: &Receiver<Record>,
    arrived: &Sender<Result<Arrived, Error>>,
) {
    let confirmed = proof.receive(&mut reader);
    let is_wrong = matches!(confirmed, Err(Error::WrongSecret));
    let is_confirmed = confirmed.is_ok();
    // There is room for it. If the role has ended already, nobody wants to know.
    drop(arrived.try_send(confirmed.map(|()| Arrived::Confirmation)));
    if !is_confirmed {
        if is_wrong && proof.side == Side::Download {
            // The uploader has made its offer already. If the stream were closed with that unread,
            // a reset could overtake our confirmation, and only one of both persons would be told
            // that the secrets differ.
            drop(io::copy(&mut reader, &mut io::sink()));
        }
        return;
    }
    let mut opener = Opener::new(proof.schedule.traffic(!proof.side));
    for mut record in free {
        let opened = stream::receive(&mut reader, &mut opener, &mut record);
        let goes_on = opened.is_ok() && !record.is_last();
        let sent = arrived.send(opened.map(|()| Arrived::Record(record)));
        if !goes_on {
            return;
        }
        if sent.is_err() {
            break;
        }
    }
    // The role has ended, and the other peer is being told. If the stream were closed with its data
    // unread, a reset could overtake what it is told. Whoever waits for this ends it in time.
    let mut record = Record::new();
    while stream::receive(&mut reader, &mut opener, &mut record).is_ok() && !record.is_last() {}
}

const COMPARING: &str = "comparing the secrets";

impl Proof<'_> {
    /// Reads and judges the other peer's.
    fn receive(&self, reader: &mut impl Read) -> Result<(), Error> {
        let mut theirs = Confirmation::default();
        stream::read(reader, &mut theirs, COMPARING)?;
        theirs.judge(self.schedule, !self.side)?;
        self.is_confirmed.store(true, Ordering::Release);
        Ok(())
    }

    /// Sends ours. It does not wait for the other peer's, so that both learn of a wrong
    /// secret; from the first byte on, the other peer may hold a guess against it.
    fn send(&self, writer: &mut impl Write) -> Result<(), Error> {
        stream::write(writer, &self.schedule.confirmation(self.side), COMPARING)
    }
}

/// Sends our confirmation; then seals and sends records until the last, an error, or the role's
/// end.
pub(super) fn outbox<W: Write>(
    mut writer: W,
    proof: Proof<'_>,
    full: Receiver<(Record, bool)>,
    empty: Sender<Record>,
    failed: &Sender<Error>,
    alive_interval: Duration,
) {
    if let Err(error) = proof.send(&mut writer) {
        drop(failed.try_send(error));
        return;
    }
    let mut sealer = Sealer::new(proof.schedule.traffic(proof.side));
    loop {
        let sent = match full.recv_timeout(alive_interval) {
            Ok((mut record, last)) => {
                let sent = stream::send(&mut writer, &mut sealer, &mut record, last);
                if last && sent.is_ok() {
                    return;
                }
                // The role takes none any more once it has ended.
                drop(empty.try_send(record));
                sent
            }
            Err(RecvTimeoutError::Timeout) => {
                stream::send(&mut writer, &mut sealer, &mut sign_of_life(), false)
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = sent {
            // There is room for one, and one is sent. Dropping the channels afterwards makes the
            // role look.
            drop(failed.try_send(error));
            return;
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::thread;

    use crossbeam_channel::bounded;

    use super::super::SealedStream;
    use super::super::testing::{Puppet, streams};
    use super::*;
    use crate::session::message::Message;

    #[test]
    fn a_peer_that_has_nothing_to_say_says_that_it_is_alive() {
        let (ours, theirs) = streams();
        let (full, to_send) = bounded(1);
        let (empty, _empty) = bounded(1);
        let (failed, _failed) = bounded(1);
        thread::scope(|scope| {
            let interval = Duration::from_millis(1);
            scope.spawn(move || {
                let SealedStream { side, schedule, is_confirmed, writer, .. } = ours;
                let proof = Proof { side, schedule: &schedule, is_confirmed: &is_confirmed };
                outbox(writer, proof, to_send, empty, &failed, interval);
            });
            let mut puppet = Puppet::on(theirs);
            for _ in 0..3 {
                assert_eq!(puppet.next().unwrap(), Some(Message::Alive));
            }
            drop(full);
        });
    }
}
