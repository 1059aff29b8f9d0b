//! What the workers need of the system under them: the kernel's sockets, or in tests a simulation.
//!
//! All that decides is generic over [`Net`], and names neither a descriptor nor a clock nor a poll.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use xchg_core::relay::Duplex;

use crate::origin::Origin;

/// The system under one worker.
pub(crate) trait Net {
    /// A connection's stream.
    type Stream: Stream;

    /// How many listeners there are.
    fn listeners(&self) -> usize;

    /// Accepts a connection at the listener of that number; `None` if nobody is there.
    ///
    /// # Errors
    /// If the system has no room for another connection: it stays in the backlog.
    fn accept(&mut self, listener: usize) -> io::Result<Option<Accepted<Self::Stream>>>;

    /// Closes all listeners.
    fn close_listeners(&mut self);

    /// Has the worker told of whatever happens to `stream` from now on, and once of how it stands.
    ///
    /// # Errors
    /// If the system has no room for it.
    fn watch(&mut self, stream: &Self::Stream, id: Id) -> io::Result<()>;

    /// Has the worker told nothing more of `stream`.
    fn unwatch(&mut self, stream: &Self::Stream);
}

/// The stream of one connection; dropping it closes it.
pub(crate) trait Stream: Duplex + Debug + Send + 'static {
    /// Sends `framing` and then `payload`, what fits of them, and gives how much that is. If it
    /// `is_last`, the half-close that follows at once may leave together with it.
    fn write_framed(&self, framing: &[u8], payload: &[u8], is_last: bool) -> io::Result<usize>;

    /// The error that the connection has failed with, told once.
    ///
    /// # Errors
    /// If the system does not tell.
    fn take_failure(&self) -> io::Result<Option<io::ErrorKind>>;

    /// How many bytes, with those not sent yet, the peer's system has not acknowledged. `None` where
    /// the system cannot tell.
    fn unacknowledged(&self) -> Option<u64>;

    /// Has the kernel buffer so many bytes each way. A wish: its own choice serves as well.
    fn set_buffers(&self, bytes: usize);

    /// Has the kernel hold no more than so many bytes on their way out. A wish.
    fn set_send_buffer(&self, bytes: usize);

    /// How long sent bytes may stay unacknowledged before the connection counts as lost. A wish.
    fn set_stall_timeout(&self, timeout: Duration);

    /// Closes so that the peer sees a failure rather than an end.
    fn reset(self);
}

/// A connection just accepted.
#[derive(Debug)]
pub(crate) struct Accepted<S> {
    pub(crate) stream: S,
    pub(crate) origin: Origin,
    /// The number that its listener has in the configuration.
    pub(crate) listener: u8,
}

/// What has happened to a stream: edges, each told once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// The peer has sent the end of its stream.
    pub(crate) has_read_end: bool,
    /// Nothing can be sent any more.
    pub(crate) has_write_end: bool,
    pub(crate) has_failed: bool,
}

/// Names a connection for the system and the timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) slot: u32,
    /// Tells this use of the slot from others.
    pub(crate) serial: u32,
}
