//! The uploader's part of a plain exchange (PROTOCOL.md section 2).

use std::io::{self, Read, Write};
use std::time::Duration;

use xchg_core::Side;

use super::framing::{END_MARK, Framing, HEAD_LEN, Receipt, chunk_head};
use super::meter::Meter;
use super::source::{Input, Stream, WholeFile};
use crate::Error;
use crate::error::in_plain_words;
use crate::net::Connection;

/// How long a failed write waits for the receipt that may explain it.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the whole input, and waits until the counterpart has it. Returns whether it was a file
/// that has grown meanwhile, of which what was there at first has been sent.
pub(crate) fn send(
    connection: Connection,
    framing: Framing,
    input: Input,
    meter: &mut Meter<'_>,
) -> Result<bool, Error> {
    let mut sender = Sender { connection, framing, meter };
    let has_grown = match input {
        Input::Whole(file) => sender.send_file(file)?,
        Input::Stream(stream) => {
            sender.send_stream(stream)?;
            false
        }
    };
    sender.conclude()?;
    Ok(has_grown)
}

struct Sender<'a, 'm> {
    connection: Connection,
    framing: Framing,
    meter: &'a mut Meter<'m>,
}

impl Sender<'_, '_> {
    /// Sends a file as one chunk, as far as it is framed. Returns whether it has grown.
    fn send_file(&mut self, mut file: WholeFile) -> Result<bool, Error> {
        if self.framing == Framing::Chunks {
            self.write(&chunk_head(file.left()))?;
        }
        let mut buffer = Vec::new();
        while file.left() > 0 {
            let slice = usize::try_from(file.left()).unwrap_or(usize::MAX).min(self.meter.slice());
            if slice as u64 == file.left() {
                // Before the last slice: a counterpart that counts bytes must not take it for whole
                // either.
                file.has_grown()?;
            }
            match self.send_slice(&mut file, &mut buffer, slice)? {
                0 => return Err(file.changed()),
                count => self.meter.moved(count)?,
            }
            self.listen()?;
        }
        file.has_grown()
    }

    fn send_slice(
        &mut self,
        file: &mut WholeFile,
        buffer: &mut Vec<u8>,
        slice: usize,
    ) -> Result<usize, Error> {
        if let Some(count) = file.send_by_kernel(&mut self.connection, slice)? {
            return Ok(count);
        }
        buffer.resize(slice, 0);
        let count = file.read(buffer)?;
        self.write(&buffer[..count])?;
        Ok(count)
    }

    /// Sends a stream, each read as a chunk as far as it is framed.
    fn send_stream(&mut self, mut stream: Stream) -> Result<(), Error> {
        let mut buffer = vec![0; HEAD_LEN + self.meter.slice()];
        loop {
            self.wait_for(&stream)?;
            let count = stream.read(&mut buffer[HEAD_LEN..])?;
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
                if receipt.bytes != self.meter.bytes() {
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
        Error::CounterpartLost { counterpart: Side::Download, bytes: self.meter.bytes(), source }
    }
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { counterpart: Side::Download, what }
}
