//! A whole session in one thread, or in none: bytes in, bytes out.

use std::mem;
use std::time::Duration;

use super::handshake::{Confirmation, Handshake};
use super::keys::Schedule;
use super::record::{Opener, Record, Sealer};
use super::talk::{Next, Role, sign_of_life};
use super::{ALIVE_INTERVAL, Error, Intake, SILENCE_TIMEOUT, Secret, parting};
use crate::Side;

/// One peer's session, of [`Upload`](super::upload::Upload) or
/// [`Download`](super::download::Download).
///
/// It does no I/O and has no clock. Its driver has four things to do, in any order and as often as
/// it likes: give it what [arrives](Self::on_bytes), send what it has [to
/// transmit](Self::transmit), do what it [asks for](Self::poll), and tell it the
/// [time](Self::on_time). Once one of them has failed, or it is [done](Step::Done), the session
/// still takes leave, until it [is over](Self::is_over).
///
/// This is the session for an event loop, as a page has one. It seals and opens where it is called:
/// [`sealed::upload`](crate::sealed::upload) and [`sealed::download`](crate::sealed::download) have
/// a thread for each, and the same roles between them.
pub struct Session<R> {
    has_secret: bool,
    role: R,
    receiving: Receiving,
    /// Once keys are agreed on.
    sealer: Option<Sealer>,
    /// Sealed already.
    transmit: Vec<u8>,
    /// Records that are not in use.
    spare: Vec<Record>,
    now: Duration,
    /// When bytes arrived last; before the records, what they are part of.
    heard_at: Duration,
    said_at: Duration,
    /// Since when there is nothing to do but to wait.
    waiting: Option<Duration>,
    /// When the leave is over, once it has begun.
    parted_by: Option<Duration>,
}

/// What of the other peer comes next.
enum Receiving {
    Hello(Box<Handshake>),
    Confirmation(Box<Schedule>, Confirmation),
    Records(Box<Opener>, Record),
    /// Anything, to its end: it is of no interest.
    Rest,
    /// Nothing.
    End,
}

/// What a session needs its driver to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to come")]
pub enum Step<E> {
    /// Do this.
    Do(E),
    /// Nothing, until something has arrived, what there is to transmit was sent, or time has
    /// passed.
    Wait,
    /// Nothing any more: the transfer is whole.
    Done,
}

impl<R: Role> Session<R> {
    /// Begins at time `now`, which counts from any one moment. `key` is the one that the person
    /// named, not its [meeting key](crate::Key::meeting_key).
    pub fn new(role: R, key: &[u8], secret: &Secret, now: Duration) -> Self {
        let handshake = Handshake::start(R::SIDE, key, secret);
        Self {
            has_secret: !secret.is_none(),
            role,
            transmit: handshake.hello().into(),
            receiving: Receiving::Hello(Box::new(handshake)),
            sealer: None,
            spare: Vec::new(),
            now,
            heard_at: now,
            said_at: now,
            waiting: Some(now),
            parted_by: None,
        }
    }

    /// The uploader's or downloader's part, which takes the answers to what it asks for.
    pub fn role(&mut self) -> &mut R {
        &mut self.role
    }

    /// Takes of the bytes that have arrived as many as it can now, and says how many. The rest is
    /// to be given again when what it asks for is done.
    ///
    /// # Errors
    /// What ends the session.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut rest = bytes;
        loop {
            match self.receive(&mut rest) {
                Ok(true) if !rest.is_empty() => {}
                Ok(_) => return Ok(bytes.len() - rest.len()),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Nothing more will arrive: the stream has ended, or was lost.
    ///
    /// # Errors
    /// What ends the session, if it was not over.
    pub fn on_end(&mut self) -> Result<(), Error> {
        let is_due = matches!(mem::replace(&mut self.receiving, Receiving::End), Receiving::End);
        if is_due || self.parted_by.is_some() || !self.role.is_listening() {
            return Ok(());
        }
        let error = self.role.reason().unwrap_or(Error::Lost);
        Err(self.fail(error))
    }

    /// What is to be sent.
    pub fn transmit(&self) -> &[u8] {
        &self.transmit
    }

    /// The first `bytes` of [`transmit`](Self::transmit) were sent.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn transmitted(&mut self, bytes: usize) {
        self.transmit.drain(..bytes);
    }

    /// It is `now`, which never goes backwards. To be said before anything else is, and at
    /// [`timeout`](Self::timeout).
    ///
    /// # Errors
    /// [`Error::Silent`] if the other peer has not been heard of for too long.
    pub fn on_time(&mut self, now: Duration) -> Result<(), Error> {
        self.now = now;
        if self.parted_by.is_some() {
            return Ok(());
        }
        if self.silent_at().is_some_and(|at| now >= at) {
            return Err(self.fail(Error::Silent));
        }
        let is_quiet = now.saturating_sub(self.said_at) >= ALIVE_INTERVAL;
        if is_quiet && self.role.is_confirmed() && self.transmit.is_empty() {
            self.send(&mut sign_of_life(), false);
        }
        Ok(())
    }

    /// When [`on_time`](Self::on_time) is due, at the latest.
    pub fn timeout(&self) -> Duration {
        let alive_at = self.said_at + ALIVE_INTERVAL;
        let due = self.silent_at().map_or(alive_at, |at| at.min(alive_at));
        self.parted_by.unwrap_or(due)
    }

    /// What is to be done next.
    ///
    /// # Errors
    /// What ends the session.
    pub fn poll(&mut self) -> Result<Step<R::Effect>, Error> {
        let step = self.step().map_err(|error| self.fail(error))?;
        self.waiting = match step {
            Step::Wait => self.waiting.or(Some(self.now)),
            Step::Do(_) | Step::Done => None,
        };
        Ok(step)
    }

    fn step(&mut self) -> Result<Step<R::Effect>, Error> {
        if self.sealer.is_none() || self.parted_by.is_some() {
            return Ok(Step::Wait);
        }
        self.role.on_time(self.now);
        loop {
            match self.role.poll()? {
                Next::Do(effect) => return Ok(Step::Do(effect)),
                Next::Wait => return Ok(Step::Wait),
                Next::Done => {
                    self.parted_by = Some(self.now + parting(None));
                    return Ok(Step::Done);
                }
                // One record at a time is enough: none is sealed before the last is on its way.
                Next::Room if !self.transmit.is_empty() => return Ok(Step::Wait),
                Next::Room => {
                    let mut record = self.spare.pop().unwrap_or_else(Record::new);
                    record.clear();
                    self.role.give(record);
                }
                Next::Send { mut record, last } => {
                    self.send(&mut record, last);
                    self.spare.push(record);
                }
            }
        }
    }

    /// When the other peer has been silent for too long, if that is what we wait for.
    fn silent_at(&self) -> Option<Duration> {
        self.waiting.map(|since| since.max(self.heard_at) + SILENCE_TIMEOUT)
    }

    /// Ends the session, because its driver has failed at something or its person wants no more:
    /// the other peer is told, if it can be. Returns what it means for the transfer.
    pub fn fail(&mut self, error: Error) -> Error {
        if self.parted_by.is_none() {
            self.parted_by = Some(self.now + parting(Some(&error)));
            if let Some(mut record) = self.role.last_words(&error) {
                self.send(&mut record, true);
            }
            match error {
                Error::WrongSecret if R::SIDE == Side::Download => {
                    self.receiving = Receiving::Rest;
                }
                Error::WrongSecret
                | Error::Version { .. }
                | Error::Tampered
                | Error::Lost
                | Error::Silent => self.receiving = Receiving::End,
                _ => {}
            }
        }
        let is_at_stake = self.has_secret && self.sealer.is_some() && !self.role.is_confirmed();
        if is_at_stake { error.before_confirmation() } else { error }
    }

    /// Whether all is said and heard: the stream can be closed.
    pub fn is_over(&self) -> bool {
        let is_heard = matches!(self.receiving, Receiving::End);
        self.parted_by.is_some_and(|by| self.now >= by || (is_heard && self.transmit.is_empty()))
    }

    /// Takes some of `bytes`. Whether it could take more.
    fn receive(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        match mem::replace(&mut self.receiving, Receiving::End) {
            Receiving::Hello(mut handshake) => {
                if !handshake.take(bytes)? {
                    self.receiving = Receiving::Hello(handshake);
                    return Ok(false);
                }
                let schedule = handshake.finish()?;
                self.transmit.extend_from_slice(&schedule.confirmation(R::SIDE));
                self.sealer = Some(Sealer::new(schedule.traffic(R::SIDE)));
                self.said_at = self.now;
                self.receiving =
                    Receiving::Confirmation(Box::new(schedule), Confirmation::default());
            }
            Receiving::Confirmation(schedule, mut confirmation) => {
                if !confirmation.take(bytes)? {
                    self.receiving = Receiving::Confirmation(schedule, confirmation);
                    return Ok(false);
                }
                confirmation.judge(&schedule, !R::SIDE)?;
                self.role.confirm();
                let opener = Box::new(Opener::new(schedule.traffic(!R::SIDE)));
                self.receiving = Receiving::Records(opener, Record::new());
            }
            Receiving::Records(opener, record) => {
                return self.receive_record(opener, record, bytes);
            }
            Receiving::Rest => {
                *bytes = &[];
                self.receiving = Receiving::Rest;
            }
            Receiving::End => *bytes = &[],
        }
        self.heard_at = self.now;
        Ok(true)
    }

    fn receive_record(
        &mut self,
        mut opener: Box<Opener>,
        mut record: Record,
        bytes: &mut &[u8],
    ) -> Result<bool, Error> {
        self.heard_at = self.now;
        let has_room = self.parted_by.is_some() || self.role.has_room();
        if !has_room || !record.take(bytes)? {
            self.receiving = Receiving::Records(opener, record);
            return Ok(false);
        }
        opener.open(&mut record)?;
        let is_last = record.is_last();
        let old = if self.parted_by.is_some() { Some(record) } else { self.role.hear(record) };
        if !is_last {
            let mut next = old.or_else(|| self.spare.pop()).unwrap_or_else(Record::new);
            next.clear();
            self.receiving = Receiving::Records(opener, next);
        }
        Ok(true)
    }

    fn send(&mut self, record: &mut Record, last: bool) {
        if let Some(sealer) = &mut self.sealer {
            self.transmit.extend_from_slice(sealer.seal(record, last));
            self.said_at = self.now;
        }
    }
}
