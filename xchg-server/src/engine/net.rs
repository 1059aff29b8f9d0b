//! What the workers need of the system under them: the kernel's sockets, or in tests a simulation.
//!
//! All that decides is generic over [`Net`], and names neither a descriptor nor a clock nor a poll.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use xchg_core::relay::{Sink, Source};

use crate::origin::Origin;

/// The system under one worker.
pub(crate) trait Net {
    /// A connection's socket.
    type Transport: Transport;

    /// How many listeners there are.
    fn listeners(&self) -> usize;

    /// Accepts a connection at the listener of that number; `None` if nobody is there.
    ///
    /// # Errors
    /// If the system has no room for another connection: it stays in the backlog.
    fn accept(&mut self, listener: usize) -> io::Result<Option<Accepted<Self::Transport>>>;

    /// Closes all listeners.
    fn close_listeners(&mut self);

    /// Has the worker told of whatever happens to `socket` from now on, and once of how it stands.
    ///
    /// # Errors
    /// If the system has no room for it.
    fn watch(&mut self, socket: &Self::Transport, id: Id) -> io::Result<()>;

    /// Has the worker told nothing more of `socket`.
    fn unwatch(&mut self, socket: &Self::Transport);

    /// Whether the bytes `first` begin a layer that may be spoken at that listener. What is within
    /// it is then heard from the beginning.
    fn begins_layer(&self, listener: u8, first: &[u8]) -> bool;

    /// The layer that is spoken at that listener.
    ///
    /// # Errors
    /// If there is no memory or randomness for it.
    fn layer(&mut self, listener: u8) -> io::Result<Box<dyn Layer>>;
}

/// The socket of one connection; dropping it closes it. The engine reaches it through a
/// [`Stream`](crate::engine::stream::Stream).
pub(crate) trait Transport: Source + Sink + Debug + Send + 'static {
    /// Sends `framing` and then `payload`, what fits of them, and gives how much that is. If it
    /// `is_last`, the half-close that follows at once may leave together with it.
    fn write_framed(&mut self, framing: &[u8], payload: &[u8], is_last: bool) -> io::Result<usize>;

    /// The error that the connection has failed with, told once.
    ///
    /// # Errors
    /// If the system does not tell.
    fn take_failure(&self) -> io::Result<Option<io::ErrorKind>>;

    /// How many bytes, with those not sent yet, the peer's system has not acknowledged. `None`
    /// where the system cannot tell.
    fn unacknowledged(&self) -> Option<u64>;

    /// Has the kernel buffer so many bytes each way. A wish: its own choice serves as well.
    fn set_buffers(&self, bytes: usize);

    /// Has the kernel hold no more than so many bytes on their way out. A wish.
    fn set_send_buffer(&self, bytes: usize);

    /// Has the kernel hold no more than so many bytes on their way in: a wish, before many come.
    fn set_recv_buffer(&self, bytes: usize);

    /// How long sent bytes may stay unacknowledged before the connection counts as lost. A wish.
    fn set_stall_timeout(&self, timeout: Duration);

    /// Has the peer see a failure rather than an end when the socket is dropped, or at once.
    fn reset(&self);
}

/// Bytes within bytes, as TLS has them: what a peer says is taken out of what its socket has, and
/// what it is told is put into what is sent. What of it comes when is [`Stream`]'s business.
///
/// A layer within a layer is one again: it takes in through the outer one, which is read and
/// written as the socket of the inner. `tls/tests/nested.rs` has one.
///
/// [`Stream`]: crate::engine::stream::Stream
pub(crate) trait Layer: Debug + Send + 'static {
    /// Takes in a piece of what `socket` has, and reads what of it fits into `buf`; gives how much
    /// is in there. It is called only when there is nothing to [`read`](Self::read).
    ///
    /// # Errors
    /// Those of `socket`, and [`InvalidData`](io::ErrorKind::InvalidData) if the peer breaks the
    /// layer's rules. What tells it so is to be sent.
    fn take_in(&mut self, socket: &mut dyn io::Read, buf: &mut [u8]) -> io::Result<usize>;

    /// Whether its handshake is over: before that the peer can neither be heard nor told anything.
    fn is_settled(&self) -> bool;

    /// Who the peer has proved to be in its handshake, for the log, if it was asked to.
    fn peer_name(&self) -> Option<String>;

    /// Whether something can be read, be it the end or an error.
    fn is_readable(&self) -> bool;

    /// Reads what has been taken in; 0 is the end, as the peer has said it within.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if more must be taken in,
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the socket has ended before the peer did.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Takes some of `buf` to be sent: no more than a few records' worth, and only once all that it
    /// took before is sent, so that what it holds is bounded.
    ///
    /// # Errors
    /// If nothing may be said any more.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;

    /// Says within that no more will come. Called again, it does nothing.
    fn end(&mut self);

    /// Whether something is to be sent: words of the peer's, or of the layer's own.
    fn has_unsent(&self) -> bool;

    /// Sends some of it.
    ///
    /// # Errors
    /// Those of `socket`.
    fn give_out(&mut self, socket: &mut dyn io::Write) -> io::Result<usize>;
}

/// A connection just accepted.
#[derive(Debug)]
pub(crate) struct Accepted<T> {
    pub(crate) transport: T,
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

impl Readiness {
    /// Both, one after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            is_readable: self.is_readable | other.is_readable,
            is_writable: self.is_writable | other.is_writable,
            has_read_end: self.has_read_end | other.has_read_end,
            has_write_end: self.has_write_end | other.has_write_end,
            has_failed: self.has_failed | other.has_failed,
        }
    }
}

/// Names a connection for the system and the timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) slot: u32,
    /// Tells this use of the slot from others.
    pub(crate) serial: u32,
}
