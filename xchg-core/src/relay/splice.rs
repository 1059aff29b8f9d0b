//! Zero copy on Linux: socket to pipe to socket, by `splice(2)`.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// A kernel buffer between two sockets.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Pipe {
    fn new(capacity: usize) -> Result<Pipe, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused above /proc/sys/fs/pipe-max-size, or when the user's pages are used up (pipe(7)): a smaller pipe
        // is slower and just as right.
        let capacity = fcntl_setpipe_size(&write, capacity)
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&write))?;
        Ok(Pipe { read, write, capacity })
    }

    /// Moves what there is from `source` into the pipe, at most `len` bytes; 0 is the source's end.
    pub(super) fn fill(&self, source: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
        let (len, flags) = (len.min(self.capacity), SpliceFlags::MOVE | SpliceFlags::NONBLOCK);
        retry_on_intr(|| splice(source, None, &self.write, None, len, flags))
    }

    /// Moves up to `len` bytes of the pipe to `sink`. `more` says that others will follow soon.
    pub(super) fn empty(
        &self,
        sink: BorrowedFd<'_>,
        len: usize,
        more: bool,
    ) -> Result<usize, Errno> {
        let mut flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        flags.set(SpliceFlags::MORE, more);
        retry_on_intr(|| splice(&self.read, None, sink, None, len, flags))
    }
}

/// Empty pipes, kept for the next flow: making one costs three system calls and its pages.
#[derive(Debug)]
pub(super) struct Pipes {
    idle: Vec<Pipe>,
    capacity: usize,
    keep: usize,
}

impl Pipes {
    pub(super) fn new(capacity: usize, keep: usize) -> Pipes {
        Pipes { idle: Vec::new(), capacity, keep }
    }

    pub(super) fn take(&mut self) -> Result<Pipe, Errno> {
        match self.idle.pop() {
            Some(pipe) => Ok(pipe),
            None => Pipe::new(self.capacity),
        }
    }

    /// Takes back a pipe, which must be empty: what is left in it would reach another exchange.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        if self.idle.len() < self.keep {
            self.idle.push(pipe);
        }
    }
}
