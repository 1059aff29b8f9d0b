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

pub use blocking::run;
pub use flow::{Flow, Want};
pub use memory::{Memory, memory};
#[cfg(unix)]
pub use pump::{Pump, Resources, Turn};
#[cfg(unix)]
pub use socket::Socket;

/// A connection: a stream each way, each with an end of its own.
///
/// Shared references do the work, as with the standard library's sockets, so that two threads may each drive a flow.
pub trait Duplex {
    /// Reads into `buf` what there is, at most its length; 0 is the peer's end.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the connection is non-blocking and nothing is there; any other is the loss of it.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes from `buf` what fits, at least one byte.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the connection is non-blocking and nothing fits; any other is the loss of it.
    fn write(&self, buf: &[u8]) -> io::Result<usize>;

    /// Tells the peer that no more will come; reading goes on.
    ///
    /// # Errors
    /// Any is the loss of the connection.
    fn half_close(&self) -> io::Result<()>;

    /// Ends both directions at once, so that blocked calls on other threads return.
    fn abort(&self);

    /// The descriptor of a socket whose bytes may bypass [`read`](Self::read) and [`write`](Self::write), if it has one.
    #[cfg(target_os = "linux")]
    fn spliceable(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}
