//! For tests: a peer that says whatever it is told to, and the stream that it does so on.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::stream::{self, SealedStream};
use crate::Side;
use crate::session::message::Message;
use crate::session::{Confirmation, Error, Opener, Record, Schedule, Sealer};

pub(super) type TestStream = SealedStream<UnixStream, UnixStream>;

/// An uploader's and a downloader's stream, as after the hellos. They have a timeout that no test
/// should run into.
pub(super) fn streams() -> (TestStream, TestStream) {
    let (upload, download) = UnixStream::pair().unwrap();
    (sealed(upload, Side::Upload), sealed(download, Side::Download))
}

fn sealed(stream: UnixStream, side: Side) -> TestStream {
    let timeout = Some(Duration::from_secs(60));
    stream.set_read_timeout(timeout).unwrap();
    stream.set_write_timeout(timeout).unwrap();
    let (reader, ends) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    SealedStream {
        side,
        reader,
        writer: stream,
        schedule: Schedule::derive(b"shared", b"upload", b"download"),
        has_secret: true,
        is_confirmed: Default::default(),
        abort: Box::new(move || drop(ends.shutdown(Shutdown::Both))),
    }
}

/// A peer on `stream` that says what `script` has it say, and then hears the other out.
pub(super) fn play(stream: TestStream, script: impl FnOnce(&mut Puppet) -> Result<(), Error>) {
    let mut puppet = Puppet::on(stream);
    // The other peer may know enough before all is said.
    drop(script(&mut puppet).and_then(|()| puppet.flush()));
    puppet.leave();
}

/// A peer that knows the secret, and says what it is told to.
pub(super) struct Puppet {
    stream: UnixStream,
    sealer: Sealer,
    opener: Opener,
    /// Said, and not sent yet.
    out: Record,
    heard: Record,
    /// Where in what was heard the next message begins.
    at: usize,
}

impl Puppet {
    /// Takes the place of a peer on its stream, and exchanges confirmations.
    pub(super) fn on(stream: TestStream) -> Self {
        let SealedStream { side, mut reader, mut writer, schedule, .. } = stream;
        // The other peer may have given up already.
        drop(writer.write_all(&schedule.confirmation(side)));
        drop(stream::read(&mut reader, &mut Confirmation::default(), "in a test"));
        Self {
            stream: writer,
            sealer: Sealer::new(schedule.traffic(side)),
            opener: Opener::new(schedule.traffic(!side)),
            out: Record::new(),
            heard: Record::new(),
            at: 0,
        }
    }

    /// Puts a message into the current record, or, if that is full, sends it and puts the message
    /// into the next.
    pub(super) fn put(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let encoded = message.encoded();
        if self.out.room() < encoded.len() {
            self.flush()?;
        }
        self.out.put(&encoded);
        Ok(())
    }

    /// Hears an offer of few entries, and accepts it: before that, it would be out of turn.
    pub(super) fn accept(&mut self) -> Result<(), Error> {
        while !matches!(self.next()?, Some(Message::Entries(_)) | None) {}
        self.put(&Message::Accept)
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.out.body().is_empty() { Ok(()) } else { self.send(false) }
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.send(true)
    }

    fn send(&mut self, last: bool) -> Result<(), Error> {
        let sent = stream::send(&mut self.stream, &mut self.sealer, &mut self.out, last);
        self.out.clear();
        sent
    }

    /// The next message; none after the other peer's last.
    pub(super) fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        while self.at == self.heard.body().len() {
            if self.heard.is_last() {
                return Ok(None);
            }
            self.at = 0;
            stream::receive(&mut self.stream, &mut self.opener, &mut self.heard)?;
        }
        let (message, length) = Message::decode(&self.heard.body()[self.at..])?;
        self.at += length;
        Ok(Some(message))
    }

    /// Hears all that the other peer still has to say, and says no more itself.
    pub(super) fn leave(mut self) {
        loop {
            match self.next() {
                Ok(Some(Message::Error { .. })) | Ok(None) | Err(_) => break,
                Ok(Some(_)) => {}
            }
        }
        // It may have said its last already, or the other peer has closed.
        if !self.sealer.has_ended() {
            drop(self.finish());
        }
    }
}
