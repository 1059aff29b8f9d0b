//! The uploader's part of a plain exchange (PROTOCOL.md section 2).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use xchg_core::Side;

use super::framing::{END_MARK, Framing, HEAD_LEN, Receipt, chunk_head, read_some};
use super::meter::Meter;
use crate::Error;
use crate::blocking::error::in_plain_words;
use crate::blocking::net::Connection;
use crate::files::{self, Outgoing, Source, Stream};

/// How long a failed write waits for the receipt that may explain it.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(1);

/// The one thing that is uploaded.
pub(super) struct Payload {
    outgoing: Outgoing,
    /// The file as it was before the offer: should it lose its name while the offer waits, it is
    /// still what was offered.
    held: Option<File>,
}

impl Payload {
    /// Makes sure that what is to be sent can be.
    ///
    /// # Errors
    /// If it is not one file, text or stream, or cannot be read.
    pub(super) fn hold(mut outgoing: Outgoing) -> Result<Self, Error> {
        match outgoing.manifest().entries() {
            [entry] if entry.kind.has_content() => {}
            _ => return Err(files::Error::NotOneFile.into()),
        }
        let mut held = None;
        if !outgoing.is_unread_stream()
            && let Source::File(file) = outgoing.open(0)?
        {
            held = Some(file);
        }
        Ok(Self { outgoing, held })
    }

    /// The payload's length in bytes, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.outgoing.manifest().entries().first()?.kind.size()
    }

    /// Whether the payload is as long as it was when it was held.
    pub(super) fn stands(&self) -> bool {
        !self.outgoing.has_other_size(0)
    }

    /// What was held, for another offer.
    pub(super) fn into_outgoing(self) -> Outgoing {
        self.outgoing
    }

    /// Sends all of it, and waits until the counterpart has it.
    pub(super) fn send(
        &mut self,
        connection: Connection,
        framing: Framing,
        meter: &mut Meter<'_>,
    ) -> Result<(), Error> {
        let mut sender = Sender { connection, framing, meter };
        let content = match self.renew()? {
            Source::Stream(stream) => {
                sender.send_stream(stream, &self.outgoing)?;
                return sender.conclude();
            }
            Source::File(file) => Content::File { file, by_kernel: true },
            Source::Bytes(bytes) => Content::Bytes(bytes),
        };
        let length = self.length().unwrap_or_default();
        sender.send_whole(Whole { outgoing: &mut self.outgoing, content, length, sent: 0 })?;
        sender.conclude()
    }

    /// Opens it again, now that somebody is there to take it: it may be another by that name.
    ///
    /// # Errors
    /// [`files::Error::Changed`] if it has not the length that was announced.
    fn renew(&mut self) -> Result<Source, Error> {
        let announced = self.length();
        match (self.outgoing.refresh(), self.held.take()) {
            (Ok(()), _) if self.length() == announced => Ok(self.outgoing.open(0)?),
            (Ok(()), _) => Err(self.outgoing.changed(0).into()),
            (Err(_), Some(held)) => Ok(Source::File(held)),
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// Content of known length, to be sent as it was when it was opened.
struct Whole<'a> {
    outgoing: &'a mut Outgoing,
    content: Content,
    length: u64,
    /// Bytes sent so far.
    sent: u64,
}

enum Content {
    File {
        file: File,
        /// Whether the kernel may still be asked to send by itself.
        by_kernel: bool,
    },
    Bytes(Vec<u8>),
}

impl Whole<'_> {
    /// Bytes still to be sent.
    fn left(&self) -> u64 {
        self.length - self.sent
    }

    /// Notes whether the file has grown: then it is sent as far as it went when it was opened.
    ///
    /// # Errors
    /// [`files::Error::Changed`] if it is another by now.
    fn check(&mut self) -> Result<(), Error> {
        match &self.content {
            Content::File { file, .. } => Ok(self.outgoing.check_unchanged(0, file)?),
            Content::Bytes(_) => Ok(()),
        }
    }

    /// Lets the kernel send up to `most` bytes; `None` if it will not. What is wrong shows when
    /// they are copied instead.
    fn send_by_kernel(
        &mut self,
        connection: &mut Connection,
        most: usize,
    ) -> Result<Option<usize>, Error> {
        let Content::File { file, by_kernel } = &mut self.content else { return Ok(None) };
        if !*by_kernel {
            return Ok(None);
        }
        if let Ok(count) = connection.send_file(file, &mut self.sent, most) {
            return Ok(Some(count));
        }
        *by_kernel = false;
        match file.seek(SeekFrom::Start(self.sent)) {
            Ok(_) => Ok(None),
            Err(source) => Err(self.outgoing.failed(0, source).into()),
        }
    }

    /// Reads the next bytes to be sent; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let read = match &mut self.content {
            Content::File { file, .. } => read_some(file, buffer),
            Content::Bytes(bytes) => {
                let sent = usize::try_from(self.sent).unwrap_or(usize::MAX);
                read_some(&mut bytes.get(sent..).unwrap_or_default(), buffer)
            }
        };
        let count = read.map_err(|source| self.outgoing.failed(0, source))?;
        self.sent += count as u64;
        Ok(count)
    }
}

struct Sender<'a, 'm> {
    connection: Connection,
    framing: Framing,
    meter: &'a mut Meter<'m>,
}

impl Sender<'_, '_> {
    /// Sends content of known length as one chunk, as far as it is framed.
    fn send_whole(&mut self, mut whole: Whole<'_>) -> Result<(), Error> {
        if self.framing == Framing::Chunks && whole.left() > 0 {
            self.write(&chunk_head(whole.left()))?;
        }
        let mut buffer = Vec::new();
        while whole.left() > 0 {
            let left = usize::try_from(whole.left()).unwrap_or(usize::MAX);
            let slice = left.min(self.meter.slice());
            if slice == left {
                // Before the last slice: a counterpart that counts bytes must not take it for whole
                // either.
                whole.check()?;
            }
            match self.send_slice(&mut whole, &mut buffer, slice)? {
                0 => return Err(whole.outgoing.changed(0).into()),
                count => self.meter.moved(count)?,
            }
            self.listen()?;
        }
        whole.check()
    }

    fn send_slice(
        &mut self,
        whole: &mut Whole<'_>,
        buffer: &mut Vec<u8>,
        slice: usize,
    ) -> Result<usize, Error> {
        if let Some(count) = whole.send_by_kernel(&mut self.connection, slice)? {
            return Ok(count);
        }
        buffer.resize(slice, 0);
        let count = whole.read(buffer)?;
        self.write(&buffer[..count])?;
        Ok(count)
    }

    /// Sends a stream, each read as a chunk as far as it is framed.
    fn send_stream(&mut self, mut stream: Stream, outgoing: &Outgoing) -> Result<(), Error> {
        let mut buffer = vec![0; HEAD_LEN + self.meter.slice()];
        loop {
            self.wait_for(&stream)?;
            let read = read_some(&mut stream, &mut buffer[HEAD_LEN..]);
            let count = read.map_err(|source| outgoing.failed(0, source))?;
            if count == 0 {
                return Ok(());
            }
            // Head and payload leave in one write.
            let start = match self.framing {
                Framing::Chunks => {
                    buffer[..HEAD_LEN].copy_from_slice(&chunk_head(count as u64));
                    0
                }
                Framing::Raw => HEAD_LEN,
            };
            self.write(&buffer[start..HEAD_LEN + count])?;
            self.meter.moved(count)?;
        }
    }

    /// Waits until the stream has something, or the counterpart is lost.
    fn wait_for(&mut self, stream: &Stream) -> Result<(), Error> {
        if let Some(file) = stream.file() {
            // In raw framing the other direction may end early, and means nothing.
            let watched = self.framing == Framing::Chunks;
            return match self.connection.wait_for_input(file, watched) {
                Ok(true) => Ok(()),
                Ok(false) => Err(self.given_up()),
                Err(source) => Err(self.lost(source)),
            };
        }
        self.listen()
    }

    /// Says that this is all, and hears what became of it.
    fn conclude(mut self) -> Result<(), Error> {
        match self.framing {
            Framing::Chunks => {
                self.write(&END_MARK)?;
                let receipt = self.receipt()?;
                if !receipt.received {
                    return Err(Error::NotReceived { bytes: receipt.bytes });
                }
                if receipt.bytes != self.meter.bytes {
                    return Err(malformed("its receipt is for another number of bytes"));
                }
                // The downloader has all, and may already have closed.
                drop(self.connection.finish());
                Ok(())
            }
            Framing::Raw => {
                let closed =
                    self.connection.finish().and_then(|()| self.connection.wait_for_close());
                closed.map_err(|source| self.lost(source))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.connection.write_all(bytes).map_err(|source| self.lost(source))
    }

    /// A native downloader that says anything before the end mark has given up.
    fn listen(&mut self) -> Result<(), Error> {
        if self.framing == Framing::Raw {
            return Ok(());
        }
        match self.connection.has_news() {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.given_up()),
            Err(source) => Err(self.lost(source)),
        }
    }

    fn receipt(&mut self) -> Result<Receipt, Error> {
        let mut bytes = [0; Receipt::LEN];
        match self.connection.read_exact(&mut bytes) {
            Ok(()) => Receipt::decode(bytes),
            Err(source) => Err(self.lost_without_a_word(source)),
        }
    }

    fn given_up(&mut self) -> Error {
        if self.framing == Framing::Raw {
            return self.lost(io::ErrorKind::ConnectionReset.into());
        }
        match self.receipt() {
            Ok(Receipt { received: false, bytes }) => Error::NotReceived { bytes },
            Ok(_) => malformed("its receipt came before the end mark"),
            Err(error) => error,
        }
    }

    /// The error of a connection that failed, explained by the downloader's last word if there is
    /// one.
    fn lost(&mut self, source: io::Error) -> Error {
        if self.framing == Framing::Chunks
            && self.connection.set_read_timeout(Some(EXPLANATION_TIMEOUT)).is_ok()
            && let Ok(Receipt { received: false, bytes }) = self.receipt()
        {
            return Error::NotReceived { bytes };
        }
        self.lost_without_a_word(source)
    }

    fn lost_without_a_word(&self, source: io::Error) -> Error {
        let source = in_plain_words(source);
        Error::CounterpartLost { counterpart: Side::Download, bytes: self.meter.bytes, source }
    }
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { counterpart: Side::Download, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::WalkOptions;

    fn payload(content: &str) -> (tempfile::TempDir, Payload) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, content).unwrap();
        let outgoing = Outgoing::collect(&[path], WalkOptions::default()).unwrap();
        (folder, Payload::hold(outgoing).unwrap())
    }

    #[test]
    fn only_one_thing_with_content_is_a_payload() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| std::fs::write(path, "x").unwrap());
        for paths in [&[folder.path().to_owned()][..], &paths] {
            let outgoing = Outgoing::collect(paths, WalkOptions::default()).unwrap();
            let held = Payload::hold(outgoing).map(|_| ()).unwrap_err();
            assert!(matches!(held, Error::Files(files::Error::NotOneFile)));
        }
        let stream = Outgoing::stream("s", Stream::new(&b"x"[..])).unwrap();
        assert_eq!(Payload::hold(stream).unwrap().length(), None);
        assert_eq!(payload("").1.length(), Some(0));
    }

    #[test]
    fn a_file_that_lost_its_name_is_still_what_was_offered() {
        let (folder, mut payload) = payload("abc");
        std::fs::remove_file(folder.path().join("f")).unwrap();
        let Ok(Source::File(mut file)) = payload.renew() else { panic!("it is a file") };
        assert_eq!(io::read_to_string(&mut file).unwrap(), "abc");
        assert!(payload.outgoing.check_unchanged(0, &file).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn what_the_kernel_will_not_send_is_copied_from_where_it_stopped() {
        let (_folder, mut payload) = payload("0123456789");
        let Ok(Source::File(file)) = payload.renew() else { panic!("it is a file") };
        let content = Content::File { file, by_kernel: true };
        let outgoing = &mut payload.outgoing;
        let mut whole = Whole { outgoing, content, length: 10, sent: 4 };
        let mut closed = crate::blocking::net::connection::tests::closed();
        assert!(matches!(whole.send_by_kernel(&mut closed, 6), Ok(None)));
        let mut buffer = [0; 3];
        assert_eq!(whole.read(&mut buffer).unwrap(), 3);
        assert_eq!((&buffer, whole.left()), (b"456", 3));
        assert!(matches!(whole.send_by_kernel(&mut closed, 6), Ok(None)), "not asked again");
    }
}
