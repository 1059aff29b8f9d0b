//! A stream of bytes between two peers that have agreed on keys.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::Side;
use crate::session::{
    Error, HANDSHAKE_TIMEOUT, Handshake, Intake, Opener, Record, Schedule, Sealer, Secret,
};

/// A stream between two peers that have agreed on keys. Whether they know the same secret shows as
/// soon as it is used: what is sent before can be read by nobody else, and
/// [`upload`](super::upload) and [`download`](super::download) fail if they do not.
///
/// Everything is blocking. A read or write lasts as long as the stream's owner lets it: **set
/// timeouts on the stream** (30 s or more). A peer that works for long without having anything to
/// say (hashing, syncing, asking its person) sends a sign of life every 10 s, so that a read
/// timeout means a lost peer, and becomes [`Error::Silent`]. A [`Cancel`](crate::Cancel) token ends
/// a transfer between two calls on the stream; a call that blocks is ended by the `abort` that
/// [`establish`](Self::establish) is given.
#[must_use = "nothing is moved before upload or download is called with it"]
pub struct SealedStream<R, W> {
    pub(super) side: Side,
    pub(super) reader: R,
    pub(super) writer: W,
    pub(super) schedule: Schedule,
    pub(super) has_secret: bool,
    /// Set once the other peer has proved that it knows the secret.
    pub(super) is_confirmed: Arc<AtomicBool>,
    pub(super) abort: Box<dyn Fn() + Send + Sync>,
}

impl<R: Read, W: Write> SealedStream<R, W> {
    /// Agrees with the other peer on keys; `reader` and `writer` are the two halves of one stream,
    /// at its very begin.
    ///
    /// `abort` ends every call on the stream, also one that blocks, and those to come; shutting a
    /// socket down does. It is called when the other peer takes too long: over its hello (30 s), or
    /// over its leave once the transfer has ended (10 s).
    ///
    /// `key` is the one that the person named, not its [meeting key](crate::Key::meeting_key). The
    /// stream must hold the first 73 bytes of each direction without being read, as every socket
    /// and pipe does: both peers speak at once.
    ///
    /// # Errors
    /// [`Error::Version`] if the other peer speaks other versions, [`Error::Lost`] and the like if
    /// the stream fails.
    pub fn establish(
        mut reader: R,
        mut writer: W,
        abort: impl Fn() + Send + Sync + 'static,
        side: Side,
        key: &[u8],
        secret: &Secret,
    ) -> Result<Self, Error> {
        let schedule = within(HANDSHAKE_TIMEOUT, &abort, || {
            const DOING: &str = "agreeing on keys";
            let mut handshake = Handshake::start(side, key, secret);
            write(&mut writer, handshake.hello(), DOING)?;
            read(&mut reader, &mut handshake, DOING)?;
            handshake.finish()
        })?;
        Ok(Self {
            side,
            reader,
            writer,
            schedule,
            has_secret: !secret.is_none(),
            is_confirmed: Arc::default(),
            abort: Box::new(abort),
        })
    }
}

/// Reads one part of the stream in place; blocks as long as the reader does.
pub(super) fn read(
    reader: &mut impl Read,
    part: &mut impl Intake,
    doing: &'static str,
) -> Result<(), Error> {
    loop {
        let unfilled = part.unfilled()?;
        if unfilled.is_empty() {
            return Ok(());
        }
        match reader.read(unfilled) {
            Ok(0) => return Err(Error::Lost),
            Ok(bytes) => part.fill(bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::stream(doing, source)),
        }
    }
}

/// Writes `bytes` in one call, if the writer takes them; blocks as long as it does.
pub(super) fn write(
    writer: &mut impl Write,
    bytes: &[u8],
    doing: &'static str,
) -> Result<(), Error> {
    writer
        .write_all(bytes)
        .and_then(|()| writer.flush())
        .map_err(|source| Error::stream(doing, source))
}

/// Reads one record and opens it in place.
pub(super) fn receive(
    reader: &mut impl Read,
    opener: &mut Opener,
    record: &mut Record,
) -> Result<(), Error> {
    record.clear();
    read(reader, record, "receiving")?;
    opener.open(record)
}

/// Seals one record in place and writes it.
pub(super) fn send(
    writer: &mut impl Write,
    sealer: &mut Sealer,
    record: &mut Record,
    last: bool,
) -> Result<(), Error> {
    write(writer, sealer.seal(record, last), "sending")
}

/// Calls `work`, and `abort` too if that takes longer than `limit`.
fn within<T>(
    limit: Duration,
    abort: &(impl Fn() + Sync),
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let is_late = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let (working, ended) = bounded::<Infallible>(0);
        let is_late = &is_late;
        scope.spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                is_late.store(true, Ordering::Release);
                abort();
            }
        });
        let result = work();
        drop(working);
        result
    });
    if is_late.load(Ordering::Acquire) { result.map_err(|_| Error::Silent) } else { result }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn who_takes_too_long_over_something_is_cut_off() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let ends = ours.try_clone().unwrap();
        let abort = move || ends.shutdown(Shutdown::Both).unwrap();
        let read = |source| Error::stream("waiting", source);
        let result =
            within(Duration::from_millis(1), &abort, || ours.read_exact(&mut [0]).map_err(read));
        assert!(matches!(result, Err(Error::Silent)), "{result:?}");
        drop(theirs);
    }

    #[test]
    fn who_is_done_in_time_is_not() {
        let abort = || panic!("there is time");
        let work = || Ok(7);
        assert_eq!(within(Duration::from_secs(3600), &abort, work).unwrap(), 7);
    }
}
