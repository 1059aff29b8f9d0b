//! The downloader's part of a plain exchange (PROTOCOL.md section 2).

use std::io::BufReader;

use super::bypass::Bypass;
use super::framing::{Framing, Payload, Receipt};
use super::meter::Meter;
use crate::Error;
use crate::blocking::net::Connection;
use crate::files::{Destination, Existing, Manifest, Note, PlaceOptions, Sink};

/// Room for the heads of small chunks to be read with what follows them; greater reads go past it.
const READ_AHEAD_BYTES: usize = 32 << 10;

/// Where the payload goes, as one entry of this manifest.
pub(super) struct Place<'a, 'd> {
    pub(super) destination: &'a mut Destination<'d>,
    pub(super) manifest: &'a Manifest,
    pub(super) options: PlaceOptions,
}

impl Place<'_, '_> {
    /// Looks whether the payload can be placed, as far as one can tell before it comes. Of a name
    /// that is taken, `existing` says what to do, if nothing else was said; `None` is to take
    /// nothing.
    pub(super) fn look(
        &mut self,
        existing: impl FnOnce(&Sink<'_>) -> Option<Existing>,
    ) -> Result<(), Error> {
        self.destination.check()?;
        let mut wanted = self.options.existing;
        let mut sink = self.sink()?;
        if sink.refuses() {
            wanted = existing(&sink).ok_or(Error::DeclinedHere)?;
        }
        sink.settle(wanted)?;
        drop(sink);
        self.options.existing = wanted;
        Ok(())
    }

    fn sink(&mut self) -> Result<Sink<'_>, Error> {
        Ok(Sink::look(self.destination.again(), self.manifest.clone(), self.options)?)
    }

    /// Takes the whole payload, puts it where it shall be, and says so.
    pub(super) fn receive(
        &mut self,
        connection: Connection,
        framing: Framing,
        length: Option<u64>,
        meter: &mut Meter<'_>,
    ) -> Result<(Manifest, Vec<Note>), Error> {
        let stream = BufReader::with_capacity(READ_AHEAD_BYTES, connection);
        let mut payload = Payload::new(stream, framing, length);
        let kept = self.fill(&mut payload, length, meter);
        let connection = payload.into_stream().into_inner();
        let receipt = Receipt { received: kept.is_ok(), bytes: meter.bytes };
        match framing {
            Framing::Chunks => connection.part_with(&receipt.encode()),
            // Otherwise the close is a reset, which is all that such a counterpart can be told.
            Framing::Raw if kept.is_ok() => drop(connection.finish()),
            Framing::Raw => {}
        }
        kept
    }

    fn fill(
        &mut self,
        payload: &mut Payload<BufReader<Connection>>,
        length: Option<u64>,
        meter: &mut Meter<'_>,
    ) -> Result<(Manifest, Vec<Note>), Error> {
        let existing = self.options.existing;
        let mut sink = self.sink()?;
        sink.settle(existing)?;
        sink.check_space(length.unwrap_or_default())?;
        sink.begin(0, false)?;
        let mut buffer = Vec::new();
        let mut bypass = Bypass::new(&sink);
        loop {
            let count = match bypass.take(payload, &mut sink, meter.slice())? {
                Some(count) => count,
                None => {
                    buffer.resize(meter.slice(), 0);
                    let count = payload.read(&mut buffer)?;
                    sink.write(0, &buffer[..count])?;
                    count
                }
            };
            match count {
                0 => break,
                count => meter.moved(count)?,
            }
        }
        sink.end(0)?;
        let (manifest, _, notes) = sink.finish()?;
        Ok((manifest, notes))
    }
}
