//! The two threads that read and open, seal and write.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::stream;
use crate::Side;
use crate::session::{Confirmation, Error, Opener, Record, Schedule, Sealer, sign_of_life};

/// What the threads need to prove the secret, and to judge the other peer's proof.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    pub(super) side: Side,
    pub(super) schedule: &'a Schedule,
    pub(super) is_confirmed: &'a AtomicBool,
}

/// Reads and judges the other peer's confirmation; then reads and opens records until the last, an
/// error, or the role's end.
pub(super) fn inbox<R: Read>(
    mut reader: R,
    door: &Door<'_>,
    confirmed: Sender<()>,
    free: &Receiver<Record>,
    arrived: &Sender<Result<Record, Error>>,
) {
    if let Err(error) = door.hear(&mut reader) {
        let is_wrong = matches!(error, Error::WrongSecret);
        // There is room for it. If the role has ended already, nobody wants to know.
        drop(arrived.try_send(Err(error)));
        drop(confirmed);
        if is_wrong && door.side == Side::Download {
            // The uploader has made its offer already. If the stream were closed with that unread,
            // a reset could overtake our confirmation, and only one of both persons would be told
            // that the secrets differ.
            drop(io::copy(&mut reader, &mut io::sink()));
        }
        return;
    }
    door.is_confirmed.store(true, Ordering::Release);
    // The role may have ended.
    confirmed.try_send(()).ok();
    let mut opener = Opener::new(door.schedule.traffic(!door.side));
    for mut record in free {
        let opened = stream::receive(&mut reader, &mut opener, &mut record);
        let goes_on = opened.is_ok() && !record.is_last();
        let sent = arrived.send(opened.map(|()| record));
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

impl Door<'_> {
    /// Reads the other peer's proof that it knows the secret.
    fn hear(&self, reader: &mut impl Read) -> Result<(), Error> {
        let mut theirs = Confirmation::default();
        stream::read(reader, &mut theirs, COMPARING)?;
        theirs.judge(self.schedule, !self.side)
    }

    /// Sends our proof. It does not wait for the other peer's, so that both learn of a wrong
    /// secret; from the first byte on, the other peer may hold a guess against it.
    fn knock(&self, writer: &mut impl Write) -> Result<(), Error> {
        stream::write(writer, &self.schedule.confirmation(self.side), COMPARING)
    }
}

/// Sends our confirmation; then seals and sends records until the last, an error, or the role's
/// end.
pub(super) fn outbox<W: Write>(
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
    let mut sealer = Sealer::new(door.schedule.traffic(door.side));
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
                let door = Door { side, schedule: &schedule, is_confirmed: &is_confirmed };
                outbox(writer, &door, to_send, empty, &failed, interval);
            });
            let mut puppet = Puppet::on(theirs);
            for _ in 0..3 {
                assert_eq!(puppet.next().unwrap(), Some(Message::Alive));
            }
            drop(full);
        });
    }
}
