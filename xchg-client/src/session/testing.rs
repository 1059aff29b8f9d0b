//! For tests: two sessions that are connected, without the handshake's arithmetic.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Session;
use super::keys::Schedule;
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
    let schedule = Schedule::derive(b"shared", b"upload", b"download");
    Session {
        side,
        reader: RecordReader::new(stream.try_clone().unwrap(), schedule.traffic(!side)),
        writer: RecordWriter::new(stream, schedule.traffic(side)),
    }
}
