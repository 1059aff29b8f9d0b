//! The downloader's part of a plain exchange (PROTOCOL.md section 2).

use std::io::BufReader;
use std::path::PathBuf;

use super::bypass::Bypass;
use super::framing::{Framing, Payload, Receipt};
use super::meter::Meter;
use super::target::Output;
use crate::Error;
use crate::net::Connection;

/// Room for the heads of small chunks to be read with what follows them; greater reads go past it.
const READ_AHEAD_BYTES: usize = 32 << 10;

/// Takes the whole payload, puts it where it shall be, and says so. Gives the file's name, if it is
/// one.
pub(crate) fn receive(
    connection: Connection,
    framing: Framing,
    length: Option<u64>,
    output: Output,
    meter: &mut Meter<'_>,
) -> Result<Option<PathBuf>, Error> {
    let stream = BufReader::with_capacity(READ_AHEAD_BYTES, connection);
    let mut payload = Payload::new(stream, framing, length);
    let kept = fill(output, &mut payload, length, meter);
    let connection = payload.into_stream().into_inner();
    let receipt = Receipt { received: kept.is_ok(), bytes: meter.bytes() };
    match framing {
        Framing::Chunks => connection.part_with(&receipt.encode()),
        // Otherwise the close is a reset, which is all that such a counterpart can be told.
        Framing::Raw if kept.is_ok() => drop(connection.finish()),
        Framing::Raw => {}
    }
    kept
}

fn fill(
    output: Output,
    payload: &mut Payload<BufReader<Connection>>,
    length: Option<u64>,
    meter: &mut Meter<'_>,
) -> Result<Option<PathBuf>, Error> {
    let mut sink = output.start(length)?;
    let mut buffer = Vec::new();
    let mut bypass = Bypass::new(&sink);
    loop {
        let count = match bypass.take(payload, &mut sink, meter.slice())? {
            Some(count) => count,
            None => {
                buffer.resize(meter.slice(), 0);
                let count = payload.read(&mut buffer)?;
                sink.write(&buffer[..count])?;
                count
            }
        };
        match count {
            0 => return sink.keep(),
            count => meter.moved(count)?,
        }
    }
}
