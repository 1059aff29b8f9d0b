//! The end-to-end session of two peers: section 5 of PROTOCOL.md in code.
//!
//! [`Session::establish`] agrees on keys over any duplex stream of bytes (its two halves), [`upload`] and
//! [`download`] then compare the secrets and transfer what [`files`](crate::files) collects and places.
//!
//! Everything is blocking. A read or write lasts as long as the stream's owner lets it: **set timeouts on the
//! stream** (30 s or more). A peer that works for long without having anything to say (hashing, syncing,
//! asking its person) sends a sign of life every 10 s, so that a read timeout means a lost peer, and becomes
//! [`Error::Silent`]. A [`Cancel`](crate::Cancel) token ends a transfer between two calls on the stream; a call that blocks
//! is ended by the `abort` that [`Session::establish`] is given.
//!
//! Nothing here opens a socket, prints, or reads a configuration.

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod keys;
mod link;
mod message;
mod record;
mod secret;
#[cfg(test)]
#[cfg(unix)]
mod testing;
mod transfer;
#[cfg(test)]
#[cfg(unix)]
mod vectors;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

pub use error::Error;
pub use record::MAX_PLAINTEXT;
pub use secret::Secret;
pub use transfer::{Downloaded, Uploaded, download, upload};

use keys::Schedule;

use crate::Side;

/// How long the other peer's hello may take, and then its confirmation: programs write both at once.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream between two peers that have agreed on keys. Whether they know the same secret shows as soon as it is used: what is
/// sent before can be read by nobody else, and [`upload`] and [`download`] fail if they do not.
pub struct Session<R, W> {
    side: Side,
    reader: R,
    writer: W,
    schedule: Schedule,
    has_secret: bool,
    /// Set once the other peer has proved that it knows the secret.
    is_confirmed: Arc<AtomicBool>,
    abort: Box<dyn Fn() + Send + Sync>,
}

impl<R: Read, W: Write> Session<R, W> {
    /// Agrees with the other peer on keys; `reader` and `writer` are the two halves of one stream, at its
    /// very begin.
    ///
    /// `abort` ends every call on the stream, also one that blocks, and those to come; shutting a socket down does. It is called
    /// when the other peer takes too long: over its hello (30 s), or over its leave once the transfer has ended (10 s).
    ///
    /// `key` is the one that the person named, not its [meeting key](crate::Key::meeting_key). The stream must hold the first 73 bytes
    /// of each direction without being read, as every socket and pipe does: both peers speak at once.
    ///
    /// # Errors
    /// [`Error::Version`] if the other peer speaks other versions, [`Error::Lost`] and the like if the stream fails.
    pub fn establish(
        mut reader: R,
        mut writer: W,
        abort: impl Fn() + Send + Sync + 'static,
        side: Side,
        key: &[u8],
        secret: &Secret,
    ) -> Result<Self, Error> {
        let schedule = within(HANDSHAKE_TIMEOUT, &abort, || {
            handshake::run(&mut reader, &mut writer, side, key, secret)
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

    /// Which side this peer is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Becomes true when the other peer has proved that it knows the secret.
    pub(crate) fn is_confirmed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_confirmed)
    }
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
    match is_late.load(Ordering::Acquire) {
        true => result.map_err(|_| Error::Silent),
        false => result,
    }
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
