//! Zero copy on Linux: socket to pipe to socket, by `splice(2)`; to several pipes, by `tee(2)`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

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

    /// Takes out the next `len` bytes, which must be there.
    fn take(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut from = 0;
        while from < len {
            match retry_on_intr(|| rustix::io::read(&self.read, &mut bytes[from..]))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => from += n,
            }
        }
        Ok(bytes)
    }
}

/// A block of a source's bytes for several sinks, none of which copies it: each has a pipe, and `tee(2)` puts the same pages into all.
#[derive(Debug)]
pub struct Tee(Pipe);

impl Tee {
    /// One sink's share of a block, empty, with room for about `capacity` bytes.
    ///
    /// # Errors
    /// If there are no descriptors or no memory left for it.
    pub fn new(capacity: usize) -> io::Result<Tee> {
        Ok(Tee(Pipe::new(capacity)?))
    }

    /// Moves what there is from `source` into all of `tees`, at most `len` bytes, and says how many. They must be empty. 0 is the end of the
    /// source; or else it cannot be spliced, which a read tells.
    ///
    /// # Errors
    /// [`Failed`](TeeError::Failed) if the source failed or has nothing now; [`Short`](TeeError::Short), with the bytes, if not all tees
    /// could hold them: what is in the tees is then of no use.
    pub fn fill(tees: &[&Tee], source: BorrowedFd<'_>, len: usize) -> Result<usize, TeeError> {
        let Some((first, others)) = tees.split_first() else { return Ok(0) };
        let n = match first.0.fill(source, len) {
            Ok(n) => n,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(TeeError::Failed(error.into())),
        };
        for other in others.iter().filter(|_| n > 0) {
            let flags = SpliceFlags::NONBLOCK;
            // A pipe counts pages, not bytes: a smaller one may have no room for what is here.
            if retry_on_intr(|| tee(&first.0.read, &other.0.write, n, flags)) != Ok(n) {
                return Err(TeeError::Short(first.0.take(n)?));
            }
        }
        Ok(n)
    }

    /// Moves up to `len` bytes of the share to `sink`, which its peer's leaving makes raise SIGPIPE; see [`Pump`](super::Pump).
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the sink takes nothing now; any other is the loss of it.
    pub fn empty(&self, sink: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
        match self.0.empty(sink, len)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => Ok(n),
        }
    }
}

/// Why [`Tee::fill`] has filled nothing.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "callers handle each of them")]
pub enum TeeError {
    /// The source failed, or has nothing now.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// Not all tees could hold the bytes, which are these.
    #[error("a pipe has no room for {} bytes", .0.len())]
    Short(Vec<u8>),
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn every_sink_gets_what_the_source_had() {
        let (mut from, source) = UnixStream::pair().unwrap();
        let tees = [(); 3].map(|()| Tee::new(1 << 16).unwrap());
        let all: Vec<_> = tees.iter().collect();
        for round in 0..3 {
            let bytes = [round; 20_000];
            from.write_all(&bytes).unwrap();
            let n = Tee::fill(&all, source.as_fd(), 15_000).unwrap();
            for tee in &tees {
                let (sink, mut to) = UnixStream::pair().unwrap();
                let mut moved = 0;
                while moved < n {
                    moved += tee.empty(sink.as_fd(), n - moved).unwrap();
                }
                drop(sink);
                let mut got = Vec::new();
                to.read_to_end(&mut got).unwrap();
                assert_eq!(got, &bytes[..n]);
            }
            let mut rest = vec![0; 20_000 - n];
            (&source).read_exact(&mut rest).unwrap();
        }
    }

    #[test]
    fn what_one_pipe_has_no_room_for_comes_back() {
        let (mut from, source) = UnixStream::pair().unwrap();
        let (large, small) = (Tee::new(1 << 20).unwrap(), Tee::new(4096).unwrap());
        let bytes: Vec<u8> = (0..60_000).map(|i| (i % 251) as u8).collect();
        from.write_all(&bytes).unwrap();
        match Tee::fill(&[&large, &small], source.as_fd(), bytes.len()) {
            Err(TeeError::Short(taken)) => assert!(bytes.starts_with(&taken) && taken.len() > 4096),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_with_nothing_blocks_and_one_that_has_ended_says_so() {
        let (from, source) = UnixStream::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        let tee = Tee::new(4096).unwrap();
        match Tee::fill(&[&tee], source.as_fd(), 100) {
            Err(TeeError::Failed(error)) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            other => panic!("{other:?}"),
        }
        drop(from);
        assert_eq!(Tee::fill(&[&tee], source.as_fd(), 100).unwrap(), 0);
    }
}
