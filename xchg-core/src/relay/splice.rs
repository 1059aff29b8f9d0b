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

    /// Moves up to `len` bytes of the pipe to `sink`.
    ///
    /// To a sink whose peer has left it raises SIGPIPE, which splice(2) has no flag to suppress. Rust programs ignore that signal
    /// unless they ask for it; they must not while they relay.
    pub(super) fn empty(&self, sink: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
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

    /// Whether there is any use in taking one: a capacity of 0 switches pipes off.
    pub(super) fn may_be_used(&self) -> bool {
        self.capacity > 0
    }

    pub(super) fn take(&mut self) -> Result<Pipe, Errno> {
        match self.idle.pop() {
            Some(pipe) => Ok(pipe),
            None => Pipe::new(self.capacity),
        }
    }

    /// Takes back a pipe, which must be empty: what is left in it would reach another exchange.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        debug_assert_eq!(rustix::io::ioctl_fionread(&pipe.read), Ok(0), "bytes left in a pipe");
        if self.idle.len() < self.keep {
            self.idle.push(pipe);
        }
    }

    /// How many are idle.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }
}
