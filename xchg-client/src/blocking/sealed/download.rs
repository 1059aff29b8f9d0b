//! Runs a download on a stream.

use std::io::{Read, Write};
use std::time::Instant;

use super::link::{self, Link};
use super::stream::SealedStream;
use crate::files::{self, Destination, PlaceOptions, Sink};
use crate::session::download::{Download, Effect, Refusal};
use crate::session::{Error, Point, Role};
use crate::{Cancel, Decision, Downloaded, Observer};

/// What the uploader is told if a person here wants none of what may be done.
const SAID_NO: &str = "the person there said no";

/// Receives what the uploader offers, if [`Observer::decide`] accepts it, and places it at
/// `destination`.
///
/// It returns when everything is on the disk under its name. Names that cannot be held, conflicts
/// with what is there, and too little space refuse the offer before anybody is asked; the uploader
/// keeps it for another attempt.
///
/// # Errors
/// [`Error::DeclinedHere`] if it was declined, [`Error::Files`] if it cannot be placed, and all the
/// ways in which a session fails. The other peer is told if it can be. What had arrived of an
/// unfinished file is kept beside its target, and [`Observer::kept`] hears of it;
/// [`PlaceOptions::resume`] goes on from there. Of a stream, nothing is kept.
///
/// # Panics
/// If the stream is not of the download side.
pub fn download<R, W>(
    stream: SealedStream<R, W>,
    destination: Destination<'_>,
    options: PlaceOptions,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Downloaded, Error>
where
    R: Read + Send,
    W: Write + Send,
{
    let mut is_stream = false;
    let received = link::run(stream, cancel, Download::new(), |link, role| {
        let sink = consider(link, role, destination, options, observer)?;
        let mut driver = Driver { sink, observer, cancel, is_stream: &mut is_stream };
        match driver.receive(link, role) {
            Ok(()) => driver.finish(link, role),
            Err(error) => {
                driver.abandon(&error);
                Err(error)
            }
        }
    });
    received.map_err(|error| if is_stream { error.of_stream() } else { error })
}

/// Waits for the offer, and sees whether it can be placed and is wanted.
fn consider<'a>(
    link: &mut Link<'_>,
    role: &mut Download,
    destination: Destination<'a>,
    options: PlaceOptions,
    observer: &mut dyn Observer,
) -> Result<Sink<'a>, Error> {
    while link.next(role)?.ok_or(Error::Lost)? != Effect::Consider {}
    let mut sink = Sink::look(destination, role.take_offer(), options)?;
    observer.manifest(sink.manifest());
    if sink.refuses() {
        match observer.existing(sink.manifest(), sink.survey()) {
            Some(existing) => sink.settle(existing)?,
            None => return Err(refuse(role, Refusal::Decline(SAID_NO.into()))),
        }
    }
    match observer.decide(sink.manifest(), sink.survey()) {
        Decision::Accept => {}
        Decision::Decline(reason) => return Err(refuse(role, Refusal::Decline(reason))),
        Decision::Unable(reason) => return Err(refuse(role, Refusal::Unable(reason))),
    }
    role.accept(sink.shared_manifest(), sink.candidates());
    Ok(sink)
}

/// Says no; the uploader is told when the session ends with this error.
fn refuse(role: &mut Download, refusal: Refusal) -> Error {
    role.refuse(refusal);
    Error::DeclinedHere
}

struct Driver<'a, 'sink> {
    sink: Sink<'sink>,
    observer: &'a mut dyn Observer,
    cancel: &'a Cancel,
    /// Whether content comes that must all come again if the session breaks.
    is_stream: &'a mut bool,
}

impl Driver<'_, '_> {
    /// Receives all content.
    fn receive(&mut self, link: &mut Link<'_>, role: &mut Download) -> Result<(), Error> {
        let started = Instant::now();
        while let Some(effect) = link.next(role)? {
            match effect {
                Effect::Consider => {}
                Effect::Hash(point) => role.hashed(self.hash(point)?),
                Effect::Differs(entry) => self.sink.differs(entry),
                Effect::Prepare { here } => {
                    self.prepare(role)?;
                    self.observer.accepted(here);
                }
                Effect::Begin { point: Point { entry, bytes }, resumes } => {
                    let offered = &self.sink.manifest().entries()[entry];
                    self.observer.begin(entry, offered, bytes);
                    role.begun(self.sink.begin(entry, resumes)?);
                }
                Effect::Write { entry } => {
                    self.sink.write(entry, role.data())?;
                    self.observer.moved(role.data().len() as u64);
                    if link.is_idle() {
                        role.on_time(started.elapsed());
                    }
                }
                Effect::End { entry } => {
                    self.sink.end(entry)?;
                    self.observer.entry_done(entry, &self.sink.manifest().entries()[entry]);
                }
                Effect::Finish => break,
            }
        }
        Ok(())
    }

    fn hash(&mut self, point: Point) -> Result<Option<[u8; 32]>, Error> {
        match self.sink.hash(point, &|| self.cancel.is_cancelled()) {
            Err(files::Error::Stopped) => Err(Error::Cancelled),
            hash => Ok(hash?),
        }
    }

    fn prepare(&mut self, role: &mut Download) -> Result<(), Error> {
        if self.sink.refuses() {
            match self.observer.existing(self.sink.manifest(), self.sink.survey()) {
                Some(existing) => self.sink.settle_late(existing)?,
                None => return Err(refuse(role, Refusal::Decline(SAID_NO.into()))),
            }
        }
        self.sink.prepare()?;
        *self.is_stream = self.sink.is_stream();
        role.prepared();
        Ok(())
    }

    /// Tells what is left, if anything is.
    fn abandon(mut self, error: &Error) {
        let kept = self.sink.abandon();
        if kept.files > 0 || kept.bytes > 0 {
            self.observer.kept(&kept, error);
        }
    }

    /// Sends the receipt when everything is where it shall be.
    fn finish(self, link: &mut Link<'_>, role: &mut Download) -> Result<Downloaded, Error> {
        self.observer.finishing();
        let (manifest, text, notes) = self.sink.finish()?;
        role.finished();
        // Everything is here, whatever the uploader says now: that it could not be told any more is
        // its trouble only.
        while let Ok(Some(_)) = link.next(role) {}
        let (bytes, moved) = (role.bytes(), role.moved());
        Ok(Downloaded { manifest, bytes, moved, text, notes, ..Downloaded::default() })
    }
}
