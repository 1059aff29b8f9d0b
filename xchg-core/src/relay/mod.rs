//! Moving an exchange's bytes.
//!
//! An exchange is two [flows](Flow), one a direction, that share nothing: the end of one is a
//! half-close of the other peer's connection, never a close of both. [`run`] moves them with
//! blocking calls, for embedders with a thread to spend; [`Pump`] moves one flow as far as it goes
//! without blocking, for event-driven servers; to several
//! connections, if its sink is a [`Group`].

mod blocking;
mod flow;
mod group;
mod memory;
#[cfg(target_os = "linux")]
mod pipe;
#[cfg(unix)]
mod pump;
#[cfg(unix)]
mod resources;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
mod turned;

use std::io;
use std::sync::Arc;

pub use blocking::run;
pub use flow::{Flow, Want};
pub use group::{Group, Grouped};
pub use memory::{Memory, memory};
#[cfg(target_os = "linux")]
pub use pipe::Pipe;
#[cfg(unix)]
pub use pump::Pump;
#[cfg(unix)]
pub use resources::Resources;
#[cfg(unix)]
pub use socket::Socket;
#[cfg(unix)]
pub use turned::{Turned, Why};

/// A kernel buffer between two sockets, of which there are none on this system.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Pipe(std::convert::Infallible);

/// Where a flow's bytes come from.
pub trait Source {
    /// Reads into `buf` what there is, at most its length; 0 is the peer's end.
    ///
    /// # Errors
    /// If the source is non-blocking: [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is
    /// there, or [`Interrupted`](io::ErrorKind::Interrupted) if others should have their turn
    /// before it is asked again. Any other is the loss of it.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Moves what there is, at most `most` bytes, into `pipe`, which is empty: past
    /// [`read`](Self::read) and the process's memory. 0 is the end, or says that the next bytes can
    /// only be read; a read tells which.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the source can only be read, now and later;
    /// that is so unless it is implemented. Else as those of `read`.
    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        let _ = (pipe, most);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Where a flow's bytes go to.
pub trait Sink {
    /// Writes from `buf` what fits, at least one byte.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the sink is non-blocking and nothing fits; any
    /// other is the loss of it.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;

    /// As [`write`](Self::write), where the [half-close](Self::half_close) follows at once: both
    /// may leave together.
    ///
    /// # Errors
    /// As those of `write`.
    fn write_last(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write(buf)
    }

    /// Tells the peer that no more will come.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if something has to be sent before, and does not
    /// fit now; any other is the loss of the sink.
    fn half_close(&mut self) -> io::Result<()>;

    /// Whether [`splice_from`](Self::splice_from) is worth an attempt.
    fn splices(&self) -> bool {
        false
    }

    /// Moves of the next `len` bytes in `pipe` what fits, at least one, past [`write`](Self::write)
    /// and the process's memory.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) if they can only be written; that is so unless
    /// it is implemented. Else as those of `write`.
    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        let _ = (pipe, len);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A connection whose calls block: a stream each way, each with an end of its own.
///
/// Shared references do the work, as with the standard library's sockets, so that two threads may
/// each drive a flow.
pub trait Duplex {
    /// Reads into `buf` what there is, at most its length; 0 is the peer's end.
    ///
    /// # Errors
    /// If the connection is lost.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes from `buf` what fits, at least one byte.
    ///
    /// # Errors
    /// If the connection is lost.
    fn write(&self, buf: &[u8]) -> io::Result<usize>;

    /// Tells the peer that no more will come; reading goes on.
    ///
    /// # Errors
    /// If the connection is lost.
    fn half_close(&self) -> io::Result<()>;

    /// Ends both directions at once, so that blocked calls on other threads return.
    fn abort(&self);
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
}
