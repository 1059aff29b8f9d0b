//! What only Linux has: bytes that go between files and sockets without being copied through this
//! process, and a limit to how long they may stay unacknowledged.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use socket2::Socket;

/// Room in the pipe, in bytes: the most that a user without privileges gets by default
/// (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: usize = 1 << 20;

/// What bytes go through from a socket to a file.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A pipe, if the system has one for this.
    pub(crate) fn new() -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        // A smaller pipe serves too.
        fcntl_setpipe_size(&write, PIPE_BYTES).ok();
        Some(Self { read, write })
    }

    /// Moves up to `most` bytes out of `socket` into the pipe, which has room. 0 is the other end's
    /// end.
    ///
    /// # Errors
    /// `Unsupported` if the kernel cannot; `WouldBlock` if nothing is there yet.
    pub(crate) fn fill(&self, socket: &Socket, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(socket, None, &self.write, None, most, flags) {
            Err(Errno::INVAL) => Err(io::ErrorKind::Unsupported.into()),
            done => Ok(done?),
        }
    }

    /// Moves up to `count` bytes, which are in the pipe, to where `file` is at.
    ///
    /// # Errors
    /// `Unsupported` if the file system cannot.
    pub(crate) fn drain_into(&self, file: &File, count: usize) -> io::Result<usize> {
        loop {
            match splice(&self.read, None, file, None, count, SpliceFlags::MOVE) {
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) => return Err(io::ErrorKind::Unsupported.into()),
                done => return Ok(done?),
            }
        }
    }

    /// Reads bytes that are in the pipe.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.read, buffer)?)
    }
}

/// Sends up to `count` bytes of `file` from `offset` on, and moves `offset` along. 0 is the end of
/// the file.
///
/// # Errors
/// `WouldBlock` if the socket takes nothing now.
pub(crate) fn send_file(
    socket: &Socket,
    file: &File,
    offset: &mut u64,
    count: usize,
) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(socket, file, Some(offset), count)?)
}

/// How long bytes may stay unacknowledged before the connection is given up.
pub(crate) fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))
}
