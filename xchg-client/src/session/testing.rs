//! For tests: two sessions that are connected, without the handshake's arithmetic.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Session;
use super::keys::{KEY_BYTES, Schedule};
use super::record::{RecordReader, RecordWriter};
use crate::Side;

pub(super) type TestSession = Session<UnixStream, UnixStream>;

/// An uploader's and a downloader's session. Their streams have a timeout that no test should run into.
pub(super) fn sessions() -> (TestSession, TestSession) {
    let (upload, download) = UnixStream::pair().unwrap();
    (session(upload, Side::Upload), session(download, Side::Download))
}

fn session(stream: UnixStream, side: Side) -> TestSession {
    let timeout = Some(Duration::from_secs(60));
    stream.set_read_timeout(timeout).unwrap();
    stream.set_write_timeout(timeout).unwrap();
    let (reader, ends) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    Session {
        side,
        reader,
        writer: stream,
        schedule: Schedule::derive(b"shared", b"upload", b"download"),
        has_secret: true,
        is_confirmed: Default::default(),
        abort: Box::new(move || drop(ends.shutdown(Shutdown::Both))),
    }
}

/// The records of a session whose confirmations are exchanged by hand, before the other peer waits for them.
pub(super) fn confirmed(
    session: TestSession,
) -> (RecordReader<impl Read>, RecordWriter<UnixStream>) {
    let Session { side, reader, mut writer, schedule, .. } = session;
    writer.write_all(&schedule.confirmation(side)).unwrap();
    let records = RecordReader::new(Confirmed(reader, false), schedule.traffic(!side));
    (records, RecordWriter::new(writer, schedule.traffic(side)))
}

/// Drops the confirmation when it is first read from.
struct Confirmed(UnixStream, bool);

impl Read for Confirmed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.1 {
            self.0.read_exact(&mut [0; KEY_BYTES])?;
            self.1 = true;
        }
        self.0.read(buffer)
    }
}
