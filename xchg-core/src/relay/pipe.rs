//! Zero copy on Linux: socket to pipe to socket, by `splice(2)`; from pipe to pipe, by `tee(2)`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

use super::{Sink, Source};

/// A kernel buffer between two sockets.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    /// Counted as long as it lives.
    count: Count,
}

impl Pipe {
    fn new(capacity: usize, census: &Arc<Census>) -> Result<Pipe, Errno> {
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
        Ok(Pipe { read, write, capacity, count })
    }

    /// Another one of up to `capacity` bytes, no larger than this, which counts like it.
    pub(super) fn another(&self, capacity: usize) -> Result<Pipe, Errno> {
        Pipe::new(capacity.min(self.capacity), &self.count.0)
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
    pub(super) fn copy_to(&self, other: &Pipe, len: usize) -> Result<usize, Errno> {
        retry_on_intr(|| tee(&self.read, &other.write, len, SpliceFlags::NONBLOCK))
    }

    /// Moves up to `len` bytes into `other`.
    pub(super) fn move_to(&self, other: &Pipe, len: usize) -> Result<usize, Stopped> {
        self.empty(other.write.as_fd(), len)
    }

    /// Takes out the next `len` bytes, which must be there.
    pub(super) fn take(&self, len: usize) -> io::Result<Vec<u8>> {
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
    fn by(error: Errno) -> Stopped {
        match error {
            Errno::AGAIN => Stopped::Blocked,
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
            | Errno::MSGSIZE => Stopped::Lost(error),
            _ => Stopped::Refused,
        }
    }
}

impl From<Stopped> for io::Error {
    fn from(stopped: Stopped) -> io::Error {
        match stopped {
            Stopped::Blocked => io::ErrorKind::WouldBlock.into(),
            Stopped::Lost(error) => error.into(),
            Stopped::Refused => io::ErrorKind::Unsupported.into(),
        }
    }
}

/// A block of a source's bytes for several sinks, none of which copies it: each has a pipe, and
/// `tee(2)` puts the same pages into all.
#[derive(Debug)]
pub struct Tee {
    pipe: Pipe,
    /// The rest of the share, once the kernel has refused to splice it.
    copied: Vec<u8>,
    refuses: bool,
}

impl Tee {
    pub(super) fn new(pipe: Pipe) -> Tee {
        Tee { pipe, copied: Vec::new(), refuses: false }
    }

    /// Moves what there is from `source` into all of `tees`, at most `len` bytes, and says how
    /// many. They must be empty. 0 is the end of the source, or of what can be spliced of it, which
    /// a read tells.
    ///
    /// # Errors
    /// [`Failed`](TeeError::Failed) if the source failed or has nothing now;
    /// [`Short`](TeeError::Short), with the bytes, if not all tees could hold them, or the kernel
    /// refuses: what is in the tees is then of no use, and copying may go on.
    pub fn fill(tees: &[&Tee], source: &mut impl Source, len: usize) -> Result<usize, TeeError> {
        let Some((first, others)) = tees.split_first() else { return Ok(0) };
        let n = match source.splice_to(&first.pipe, len) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(TeeError::Short(Vec::new()));
            }
            Err(error) => return Err(TeeError::Failed(error)),
        };
        for other in others.iter().filter(|_| n > 0) {
            let flags = SpliceFlags::NONBLOCK;
            // A pipe counts pages, not bytes: a smaller one may have no room for what is here.
            if retry_on_intr(|| tee(&first.pipe.read, &other.pipe.write, n, flags)) != Ok(n) {
                return Err(TeeError::Short(first.pipe.take(n)?));
            }
        }
        Ok(n)
    }

    /// Moves of the share, of which `len` bytes are left, what `sink` takes; its peer's leaving
    /// raises SIGPIPE, see [`Pump`](super::Pump).
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the sink takes nothing now; any other is the
    /// loss of it.
    pub fn empty(&mut self, sink: &mut impl Sink, len: usize) -> io::Result<usize> {
        if self.copied.is_empty() {
            match sink.splice_from(&self.pipe, len) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.copied = self.pipe.take(len)?;
                }
                spliced => return spliced,
            }
            self.refuses = true;
        }
        let n = sink.write(&self.copied)?;
        self.copied.drain(..n);
        Ok(n)
    }

    /// Whether the kernel has refused to splice to its sink: it is better copied to from the next
    /// block on.
    pub fn refuses(&self) -> bool {
        self.refuses
    }
}

/// Why [`Tee::fill`] has filled nothing.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "callers handle each of them")]
pub enum TeeError {
    /// The source failed, or has nothing now.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// Not all tees could hold the bytes, which are these; none, if the kernel has moved none.
    #[error("{} bytes have not gone into all pipes", .0.len())]
    Short(Vec<u8>),
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
    pub(super) fn new(capacity: usize, keep: usize) -> Pipes {
        let census = Census { open: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) };
        Pipes { idle: Vec::new(), capacity, keep, census: Arc::new(census) }
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

    /// Makes one of another capacity.
    pub(super) fn open(&self, capacity: usize) -> Result<Pipe, Errno> {
        Pipe::new(capacity, &self.census)
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
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::super::Socket;
    use super::*;

    fn tees<const N: usize>(capacities: [usize; N]) -> [Tee; N] {
        let pipes = Pipes::new(0, 0);
        capacities.map(|capacity| Tee::new(pipes.open(capacity).unwrap()))
    }

    /// A connection to which the kernel does not splice.
    struct Unspliceable(Socket<UnixStream>);

    impl Sink for Unspliceable {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Sink::write(&mut self.0, buf)
        }

        fn half_close(&mut self) -> io::Result<()> {
            Sink::half_close(&mut self.0)
        }

        fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
            // Open for reading only: EBADF.
            let file = std::fs::File::open("/dev/null")?;
            Ok(pipe.empty(file.as_fd(), len)?)
        }
    }

    #[test]
    fn every_sink_gets_what_the_source_had() {
        let (mut from, source) = UnixStream::pair().unwrap();
        let mut tees = tees([1 << 16; 3]);
        for round in 0..3 {
            let all: Vec<_> = tees.iter().collect();
            let bytes = [round; 20_000];
            from.write_all(&bytes).unwrap();
            let n = Tee::fill(&all, &mut Socket(&source), 15_000).unwrap();
            for tee in &mut tees {
                let (sink, mut to) = UnixStream::pair().unwrap();
                let mut moved = 0;
                while moved < n {
                    moved += tee.empty(&mut Socket(&sink), n - moved).unwrap();
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
        let [large, small] = tees([1 << 20, 4096]);
        let bytes: Vec<u8> = (0..60_000).map(|i| (i % 251) as u8).collect();
        from.write_all(&bytes).unwrap();
        match Tee::fill(&[&large, &small], &mut Socket(source), bytes.len()) {
            Err(TeeError::Short(taken)) => assert!(bytes.starts_with(&taken) && taken.len() > 4096),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_with_nothing_blocks_and_one_that_has_ended_says_so() {
        let (from, source) = UnixStream::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        let [tee] = tees([4096]);
        match Tee::fill(&[&tee], &mut Socket(&source), 100) {
            Err(TeeError::Failed(error)) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            other => panic!("{other:?}"),
        }
        drop(from);
        assert_eq!(Tee::fill(&[&tee], &mut Socket(&source), 100).unwrap(), 0);
    }

    #[test]
    fn a_share_that_cannot_be_spliced_is_copied() {
        let (mut from, source) = UnixStream::pair().unwrap();
        let [mut one, mut other] = tees([1 << 16; 2]);
        from.write_all(&[7; 20_000]).unwrap();
        let n = Tee::fill(&[&one, &other], &mut Socket(source), 20_000).unwrap();
        let ((sink, mut to), (odd, mut odd_to)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let (mut sink, mut odd) = (Socket(sink), Unspliceable(Socket(odd)));
        let (mut left, mut odd_left) = (n, n);
        while left > 0 {
            left -= one.empty(&mut sink, left).unwrap();
        }
        while odd_left > 0 {
            odd_left -= other.empty(&mut odd, odd_left).unwrap();
        }
        assert!(other.refuses() && !one.refuses());
        drop((sink, odd));
        for to in [&mut to, &mut odd_to] {
            let mut got = Vec::new();
            to.read_to_end(&mut got).unwrap();
            assert_eq!(got, [7; 20_000][..n]);
        }
    }

    #[test]
    fn a_source_that_cannot_be_spliced_gives_nothing_and_may_be_copied() {
        let [tee] = tees([4096]);
        let source = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        match Tee::fill(&[&tee], &mut Socket(&source), 100) {
            Err(TeeError::Short(bytes)) => assert_eq!(bytes, b""),
            other => panic!("{other:?}"),
        }
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
