//! Zero copy on Linux: socket to pipe to socket, by `splice(2)`; from pipe to pipe, by `tee(2)`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

/// A kernel buffer between two sockets; [`put`](Pipe::put) and [`take`](Pipe::take) are for
/// connections that are none.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    /// Counted as long as it lives.
    count: Count,
}

impl Pipe {
    fn new(capacity: usize, census: &Arc<Census>) -> Result<Self, Errno> {
        // Relaxed: the count guards no other memory.
        let open = census.open.fetch_add(1, Ordering::Relaxed);
        let count = Count(census.clone());
        if open >= census.most.load(Ordering::Relaxed) {
            return Err(Errno::MFILE);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused above /proc/sys/fs/pipe-max-size, or when the user's pages are used up (pipe(7)):
        // a smaller pipe is slower and just as right.
        let capacity = fcntl_setpipe_size(&write, capacity)
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&write))?;
        Ok(Self { read, write, capacity, count })
    }

    /// Another one of up to `capacity` bytes, no larger than this, which counts like it.
    pub(super) fn another(&self, capacity: usize) -> Result<Self, Errno> {
        Self::new(capacity.min(self.capacity), &self.count.0)
    }

    /// Moves what there is from `source` into the pipe, at most `len` bytes; 0 is the source's end.
    pub(super) fn fill(&self, source: BorrowedFd<'_>, len: usize) -> Result<usize, Stopped> {
        let (len, flags) = (len.min(self.capacity), SpliceFlags::MOVE | SpliceFlags::NONBLOCK);
        retry_on_intr(|| splice(source, None, &self.write, None, len, flags)).map_err(Stopped::by)
    }

    /// Moves up to `len` bytes of the pipe to `sink`.
    ///
    /// To a sink whose peer has left it raises SIGPIPE, which splice(2) has no flag to suppress.
    /// Rust programs ignore that signal unless they ask for it; they must not while they relay.
    pub(super) fn empty(&self, sink: BorrowedFd<'_>, len: usize) -> Result<usize, Stopped> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        retry_on_intr(|| splice(&self.read, None, sink, None, len, flags)).map_err(Stopped::by)
    }

    /// Puts up to `len` bytes into `other`, and leaves them here.
    pub(super) fn copy_to(&self, other: &Self, len: usize) -> Result<usize, Errno> {
        retry_on_intr(|| tee(&self.read, &other.write, len, SpliceFlags::NONBLOCK))
    }

    /// Drops all that is here but the last `len` bytes.
    pub(super) fn shorten_to(&self, len: usize) -> io::Result<()> {
        let all = usize::try_from(rustix::io::ioctl_fionread(&self.read)?).unwrap_or(usize::MAX);
        self.take(all.saturating_sub(len)).map(drop)
    }

    /// Puts in what fits of `bytes`, from the process's memory.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing fits.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::write(&self.write, bytes))?)
    }

    /// Takes out the next `len` bytes, which must be there.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if they are not.
    pub fn take(&self, len: usize) -> io::Result<Vec<u8>> {
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

/// Why nothing was spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The connection has nothing, or takes nothing, now.
    Blocked,
    /// The connection is lost.
    Lost(Errno),
    /// The kernel does not splice here, for whatever reason: copying may go on.
    Refused,
}

impl Stopped {
    /// What an error of splice(2) means. A connection's own error is told but once: a read after it
    /// would find a proper end. All that TCP (tcp(7), icmp(7)) and unix sockets have is here;
    /// whatever else there may be, such as a filter's verdict, is about the call.
    fn by(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Self::Blocked,
            Errno::PIPE
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::TIMEDOUT
            | Errno::NOTCONN
            | Errno::SHUTDOWN
            | Errno::NETDOWN
            | Errno::NETRESET
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::MSGSIZE => Self::Lost(error),
            _ => Self::Refused,
        }
    }
}

impl From<Stopped> for io::Error {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Blocked => io::ErrorKind::WouldBlock.into(),
            Stopped::Lost(error) => error.into(),
            Stopped::Refused => io::ErrorKind::Unsupported.into(),
        }
    }
}

/// Empty pipes, kept for the next flow: making one costs three system calls and its pages.
#[derive(Debug)]
pub(super) struct Pipes {
    idle: Vec<Pipe>,
    capacity: usize,
    keep: usize,
    census: Arc<Census>,
}

/// How many pipes there are, with those in use, and how many there may be.
#[derive(Debug)]
struct Census {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// One of the pipes that there are.
#[derive(Debug)]
struct Count(Arc<Census>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipes {
    pub(super) fn new(capacity: usize, keep: usize) -> Self {
        let census = Census { open: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) };
        Self { idle: Vec::new(), capacity, keep, census: Arc::new(census) }
    }

    pub(super) fn limit(&mut self, most: usize) {
        self.census.most.store(most, Ordering::Relaxed);
    }

    /// How many there are, with those in use.
    pub(super) fn open_now(&self) -> usize {
        self.census.open.load(Ordering::Relaxed)
    }

    /// Whether there is any use in taking one: a capacity of 0 switches pipes off.
    pub(super) fn may_be_used(&self) -> bool {
        self.capacity > 0
    }

    pub(super) fn take(&mut self) -> Result<Pipe, Errno> {
        match self.idle.pop() {
            Some(pipe) => Ok(pipe),
            None => Pipe::new(self.capacity, &self.census),
        }
    }

    /// Takes back a pipe, which must be empty: what is left in it would reach another exchange.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        debug_assert_eq!(
            rustix::io::ioctl_fionread(&pipe.read).unwrap_or(0),
            0,
            "bytes left in a pipe"
        );
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
    use super::*;

    #[test]
    fn what_is_put_into_a_pipe_comes_out_as_it_was() {
        let pipe = Pipes::new(4096, 0).take().unwrap();
        let bytes: Vec<u8> = (0..5_000).map(|i| (i % 251) as u8).collect();
        assert_eq!(pipe.put(&bytes).unwrap(), 4096, "what fits");
        assert_eq!(pipe.put(&bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(pipe.take(1_000).unwrap(), bytes[..1_000]);
        assert_eq!(pipe.take(3_096).unwrap(), bytes[1_000..4_096]);
        assert_eq!(pipe.take(1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn only_a_connections_own_errors_are_its_loss() {
        for error in
            [Errno::PERM, Errno::NOSYS, Errno::IO, Errno::NOSPC, Errno::MFILE, Errno::NOMEM]
        {
            assert_eq!(Stopped::by(error), Stopped::Refused, "{error}");
        }
        for error in [Errno::CONNRESET, Errno::PIPE, Errno::TIMEDOUT, Errno::HOSTUNREACH] {
            assert_eq!(Stopped::by(error), Stopped::Lost(error));
        }
    }

    #[test]
    fn no_more_pipes_are_made_than_allowed() {
        let mut pipes = Pipes::new(4096, 1);
        pipes.limit(2);
        let one = pipes.take().unwrap();
        let other = one.another(1 << 20).unwrap();
        assert_eq!(other.capacity, one.capacity, "no larger");
        assert_eq!(pipes.take().err(), Some(Errno::MFILE));
        drop(other);
        let third = pipes.take().unwrap();
        pipes.give_back(one);
        pipes.give_back(third);
        assert_eq!(pipes.open_now(), 1, "one is kept");
    }
}
