//! Systems that are no unix: sockets block within the timeouts that they have been given, and a
//! cancellation takes effect between two calls.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

use super::Interest;

/// Nothing here ends a wait.
pub(crate) struct Wakeup;

/// What it would be ended by.
pub(crate) struct Waker;

pub(crate) fn wakeup() -> io::Result<(Wakeup, Waker)> {
    Ok((Wakeup, Waker))
}

/// A call that would block has run into its timeout.
pub(crate) fn wait(_: &Socket, _: Interest, _: &Wakeup, _: Option<Instant>) -> io::Result<()> {
    Err(io::ErrorKind::TimedOut.into())
}

/// Reading blocks until there is something.
pub(crate) fn wait_for_input(_: &File, _: &Socket, _: bool, _: &Wakeup) -> io::Result<bool> {
    Ok(true)
}

pub(crate) fn connect(
    socket: &Socket,
    target: &SockAddr,
    timeout: Duration,
    _: &Wakeup,
) -> io::Result<()> {
    socket.connect_timeout(target, timeout)
}

/// How long a read may block.
pub(crate) fn set_read_timeout(socket: &Socket, timeout: Option<Duration>) -> io::Result<()> {
    socket.set_read_timeout(timeout)
}
