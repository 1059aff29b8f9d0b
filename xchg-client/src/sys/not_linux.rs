//! Elsewhere than on Linux: bytes are copied, which is slower and just as right, and the system
//! decides how long they may stay unacknowledged.

use std::fs::File;
use std::io;
use std::time::Duration;

use socket2::Socket;

/// There is none.
pub(crate) enum Pipe {}

impl Pipe {
    pub(crate) fn new() -> Option<Self> {
        None
    }

    pub(crate) fn fill(&self, _: &Socket, _: usize) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn drain_into(&self, _: &File, _: usize) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

/// Never does.
///
/// # Errors
/// `Unsupported`, always.
pub(crate) fn send_file(_: &Socket, _: &File, _: &mut u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Changes nothing.
pub(crate) fn set_user_timeout(_: &Socket, _: Duration) -> io::Result<()> {
    Ok(())
}
