//! Moving an exchange's bytes.
//!
//! An exchange is two [flows](Flow), one a direction, that share nothing: the end of one is a half-close of the other
//! peer's connection, never a close of both. [`run`] moves them with blocking calls, for embedders with a thread to spend;
//! [`Pump`] moves one flow as far as it goes without blocking, for event-driven servers.

mod blocking;
mod flow;
mod memory;
#[cfg(unix)]
mod pump;
#[cfg(unix)]
mod socket;
#[cfg(target_os = "linux")]
mod splice;

use std::io;
use std::sync::Arc;

pub use blocking::run;
pub use flow::{Flow, Want};
pub use memory::{Memory, memory};
#[cfg(unix)]
pub use pump::{Pump, Resources, Turn};
#[cfg(unix)]
pub use socket::Socket;
#[cfg(target_os = "linux")]
pub use splice::{Tee, TeeError};

/// A connection: a stream each way, each with an end of its own.
///
/// Shared references do the work, as with the standard library's sockets, so that two threads may each drive a flow.
pub trait Duplex {
    /// Reads into `buf` what there is, at most its length; 0 is the peer's end.
    ///
    /// # Errors
    /// If the connection is non-blocking: [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is there, or
    /// [`Interrupted`](io::ErrorKind::Interrupted) if others should have their turn before it is asked again. Any other is the loss of it.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes from `buf` what fits, at least one byte.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the connection is non-blocking and nothing fits; any other is the loss of it.
    fn write(&self, buf: &[u8]) -> io::Result<usize>;

    /// As [`write`](Self::write), where the [half-close](Self::half_close) follows at once: both may leave together.
    ///
    /// # Errors
    /// As those of `write`.
    fn write_last(&self, buf: &[u8]) -> io::Result<usize> {
        self.write(buf)
    }

    /// Tells the peer that no more will come; reading goes on.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the end needs words of its own that do not fit now; any other is the loss of the connection.
    fn half_close(&self) -> io::Result<()>;

    /// Ends both directions at once, so that blocked calls on other threads return.
    fn abort(&self);

    /// The socket from which the next bytes may be taken past [`read`](Self::read), and how many of them at most; at least one. Whether
    /// the socket's end is the connection's, `read` is asked.
    #[cfg(target_os = "linux")]
    fn splice_source(&self) -> Option<(std::os::fd::BorrowedFd<'_>, usize)> {
        None
    }

    /// `n` bytes were taken from the [`splice_source`](Self::splice_source).
    #[cfg(target_os = "linux")]
    fn on_spliced(&self, _n: usize) {}

    /// The socket to which bytes may be brought past [`write`](Self::write), if there is one; it must not change within an exchange.
    #[cfg(target_os = "linux")]
    fn splice_sink(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// A connection that others hold too, or of whatever type behind `Arc<dyn Duplex + Send + Sync>`.
impl<T: Duplex + ?Sized> Duplex for Arc<T> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read(buf)
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        (**self).write(buf)
    }

    fn half_close(&self) -> io::Result<()> {
        (**self).half_close()
    }

    fn abort(&self) {
        (**self).abort();
    }

    #[cfg(target_os = "linux")]
    fn splice_source(&self) -> Option<(std::os::fd::BorrowedFd<'_>, usize)> {
        (**self).splice_source()
    }

    #[cfg(target_os = "linux")]
    fn on_spliced(&self, n: usize) {
        (**self).on_spliced(n);
    }

    #[cfg(target_os = "linux")]
    fn splice_sink(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        (**self).splice_sink()
    }
}
