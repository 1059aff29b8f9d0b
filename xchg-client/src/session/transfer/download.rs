//! The downloader's part of a transfer.

use std::cell::Cell;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use blake3::Hasher;

use super::super::link::{self, Link};
use super::super::message::{self, Message};
use super::super::{Error, Session};
use super::prove::ask_for_proofs;
use super::{Downloaded, wire_index};
use crate::files::{
    self, Destination, MAX_ENCODED_BYTES, MAX_ENTRIES, Manifest, PlaceOptions, ResumePoint, Sink,
    Start, names,
};
use crate::{Cancel, Decision, Observer, Side};

/// The least time between two words about how much is here: often enough for a person to watch it.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What the uploader is told if a person here wants none of what may be done.
const SAID_NO: &str = "the person there said no";

/// Receives what the uploader offers, if [`Observer::decide`] accepts it, and places it at `destination`.
///
/// It returns when everything is on the disk under its name. Names that cannot be held, conflicts with what is
/// there, and too little space refuse the offer before anybody is asked; the uploader keeps it for another attempt.
///
/// # Errors
/// [`Error::DeclinedHere`] if it was declined, [`Error::Files`] if it cannot be placed, and all the ways in
/// which a session fails. The other peer is told if it can be. What had arrived of an unfinished file is kept
/// beside its target, and [`Observer::kept`] hears of it; [`PlaceOptions::resume`] goes on from there. Of a stream, nothing is kept.
///
/// # Panics
/// If the session is not of the download side.
pub fn download<R, W>(
    session: Session<R, W>,
    destination: Destination<'_>,
    options: PlaceOptions,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Downloaded, Error>
where
    R: Read + Send,
    W: Write + Send,
{
    assert_eq!(session.side(), Side::Download, "the downloader receives");
    let is_stream = Cell::new(false);
    let received = link::run(session, &mut (), cancel, |link| {
        link.await_confirmation()?;
        let stop = || cancel.is_cancelled();
        let answer = consider(link, destination, options, observer, &stop);
        let (sink, points) = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(decline(link, error)),
        };
        link.put(&Message::Accept)?;
        link.flush()?;
        is_stream.set(sink.is_stream());
        observer.accepted(points.iter().map(|point| point.offset).sum());
        let told = Instant::now();
        let mut download = Download { link, sink, observer, bytes: 0, moved: 0, told };
        match download.receive_contents(&points) {
            Ok(()) => download.finish(),
            Err(error) => {
                download.abandon(&error);
                Err(error)
            }
        }
    });
    received.map_err(|error| if is_stream.get() { error.of_stream() } else { error })
}

/// Reads the offer and gets ready to receive it, or says why not.
fn consider<'a>(
    link: &mut Link<'_>,
    destination: Destination<'a>,
    options: PlaceOptions,
    observer: &mut dyn Observer,
    stop: &dyn Fn() -> bool,
) -> Result<(Sink<'a>, Vec<ResumePoint>), Error> {
    let offered = read_offer(link)?;
    names::check(&offered)?;
    let mut sink = Sink::look(destination, offered, options)?;
    observer.manifest(sink.manifest());
    if sink.refuses() {
        match observer.existing(sink.manifest(), sink.survey()) {
            Some(existing) => sink.settle(existing)?,
            None => return Err(refuse(link, &Message::Decline(SAID_NO))),
        }
    }
    match observer.decide(sink.manifest(), sink.survey()) {
        Decision::Accept => {}
        Decision::Decline(reason) => return Err(refuse(link, &Message::Decline(&reason))),
        Decision::Unable(reason) => return Err(refuse(link, &Message::Unable(&reason))),
    }
    let points = ask_for_proofs(link, &mut sink, stop)?;
    if sink.refuses() {
        match observer.existing(sink.manifest(), sink.survey()) {
            Some(existing) => sink.settle_late(existing)?,
            None => return Err(refuse(link, &Message::Decline(SAID_NO))),
        }
    }
    sink.prepare()?;
    Ok((sink, points))
}

/// Says no, in one way or the other.
fn refuse(link: &mut Link<'_>, message: &Message<'_>) -> Error {
    match link.put(message).and_then(|()| link.finish()) {
        Ok(()) => Error::DeclinedHere,
        Err(lost) => lost,
    }
}

/// Refuses because of what is wrong with files; other errors are told otherwise.
fn decline(link: &mut Link<'_>, error: Error) -> Error {
    let Error::Files(files) = &error else {
        return error;
    };
    let reason = files.for_peer();
    let message = match files.is_local() {
        true => Message::Unable(&reason),
        false => Message::Decline(&reason),
    };
    match link.put(&message).and_then(|()| link.finish()) {
        Ok(()) => error,
        Err(lost) => lost,
    }
}

fn read_offer(link: &mut Link<'_>) -> Result<Manifest, Error> {
    let Some(Message::Offer { entries, bytes, encoded_bytes }) = link.next()? else {
        return Err(Error::Protocol("no offer"));
    };
    let entries = entries as usize;
    let encoded_bytes = encoded_bytes as usize;
    if !(1..=MAX_ENTRIES).contains(&entries) || encoded_bytes > MAX_ENCODED_BYTES {
        return Err(files::Error::Manifest("it is empty or too large").into());
    }
    let mut manifest = Manifest::new();
    while manifest.entries().len() < entries {
        let Some(Message::Entries(piece)) = link.next()? else {
            return Err(Error::Protocol("fewer entries than it said"));
        };
        for entry in message::decode_entries(piece) {
            manifest.push(entry?)?;
        }
    }
    let same = manifest.entries().len() == entries
        && manifest.encoded_bytes() == encoded_bytes
        && manifest.bytes() == bytes;
    match same {
        true => Ok(manifest),
        false => Err(Error::Protocol("its offer does not add up")),
    }
}

struct Download<'a, 'link, 'sink> {
    link: &'a mut Link<'link>,
    sink: Sink<'sink>,
    observer: &'a mut dyn Observer,
    bytes: u64,
    moved: u64,
    /// When the uploader was last told how much is here.
    told: Instant,
}

impl Download<'_, '_, '_> {
    fn receive_contents(&mut self, points: &[ResumePoint]) -> Result<(), Error> {
        let mut points = points.iter().peekable();
        for index in 0..self.sink.manifest().entries().len() {
            if !self.sink.manifest().entries()[index].kind.has_content() {
                continue;
            }
            let point = points.next_if(|point| point.entry == index);
            self.receive_entry(index, point)?;
            let entry = &self.sink.manifest().entries()[index];
            self.observer.entry_done(index, entry);
        }
        Ok(())
    }

    fn receive_entry(&mut self, index: usize, point: Option<&ResumePoint>) -> Result<(), Error> {
        let offset = match self.link.next()? {
            Some(Message::Begin { entry, offset }) if entry as usize == index => offset,
            _ => return Err(Error::Protocol("another entry than was due")),
        };
        let resume = point.is_some_and(|point| point.offset == offset);
        if offset > 0 && !resume {
            return Err(Error::Protocol("it goes on where we did not ask it to"));
        }
        let entry = &self.sink.manifest().entries()[index];
        self.observer.begin(index, entry, offset);
        let start = self.sink.begin(index, resume)?;
        self.receive_content(index, offset, start)?;
        self.sink.end(index)?;
        Ok(())
    }

    /// Receives the content of an entry after its first `offset` bytes, and checks it.
    fn receive_content(&mut self, index: usize, offset: u64, start: Start) -> Result<(), Error> {
        let offered = self.sink.manifest().entries()[index].kind.size();
        let (mut hasher, known) = match start {
            Start::At(hasher) => (hasher, None),
            Start::Whole(hash) => (Box::<Hasher>::default(), Some(hash)),
        };
        let mut count = offset;
        loop {
            match self.link.next()? {
                Some(Message::Data(bytes)) => {
                    let moved = bytes.len() as u64;
                    count += moved;
                    if offered.is_some_and(|size| count > size) {
                        return Err(Error::Protocol("more of a file than it offered"));
                    }
                    hasher.update(bytes);
                    self.sink.write(index, bytes)?;
                    self.moved += moved;
                    self.observer.moved(moved);
                    self.tell_progress(count)?;
                }
                Some(Message::End { size, hash }) => {
                    if size != count || offered.is_some_and(|size| count < size) {
                        return Err(Error::Protocol("less of a file than it offered"));
                    }
                    if known.unwrap_or_else(|| hasher.finalize()) != hash {
                        let path = self.sink.manifest().path(index);
                        return Err(files::Error::WrongHash { path }.into());
                    }
                    self.bytes += count;
                    return Ok(());
                }
                _ => return Err(Error::Protocol("a file without an end")),
            }
        }
    }

    /// Tells the uploader now and then how much is here, `count` bytes of the current content among it.
    fn tell_progress(&mut self, count: u64) -> Result<(), Error> {
        if self.told.elapsed() < PROGRESS_INTERVAL {
            return Ok(());
        }
        self.told = Instant::now();
        self.link.tell_progress(self.bytes + count)
    }

    /// Tells what is left, if anything is.
    fn abandon(mut self, error: &Error) {
        let kept = self.sink.abandon();
        if kept.files > 0 || kept.bytes > 0 {
            self.observer.kept(&kept, error);
        }
    }

    /// Sends the receipt when everything is where it shall be.
    fn finish(self) -> Result<Downloaded, Error> {
        self.observer.finishing();
        let (manifest, text, notes) = self.sink.finish()?;
        let receipt =
            Message::Receipt { entries: wire_index(manifest.entries().len()), bytes: self.bytes };
        // Everything is here, whatever the uploader says now: that it could not be told any more is its trouble only.
        drop(self.link.put(&receipt).and_then(|()| self.link.finish()));
        Ok(Downloaded { manifest, bytes: self.bytes, moved: self.moved, text, notes })
    }
}
