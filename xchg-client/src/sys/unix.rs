//! Unix: sockets are non-blocking, and every wait also watches what a cancellation closes.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags};
use rustix::io::Errno;
use socket2::{SockAddr, Socket};

use super::Interest;

/// What ends a wait when its [`Waker`] is dropped.
pub(crate) type Wakeup = io::PipeReader;

/// Dropped to end all waits that watch the [`Wakeup`].
pub(crate) type Waker = io::PipeWriter;

/// The two ends of what ends waits.
pub(crate) fn wakeup() -> io::Result<(Wakeup, Waker)> {
    io::pipe()
}

/// Waits until `socket` is ready.
///
/// # Errors
/// `TimedOut` at the deadline, `Interrupted` when woken, or what `poll(2)` says.
pub(crate) fn wait(
    socket: &Socket,
    interest: Interest,
    wakeup: &Wakeup,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let flags = match interest {
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
    };
    wait_for([PollFd::new(socket, flags)], wakeup, deadline).map(|_| ())
}

/// Waits until `input` can be read; `false` if `socket` has something to read first, as far as it
/// is `watched`, or has failed.
///
/// # Errors
/// As [`wait`].
pub(crate) fn wait_for_input(
    input: &File,
    socket: &Socket,
    watched: bool,
    wakeup: &Wakeup,
) -> io::Result<bool> {
    let news = if watched { PollFlags::IN } else { PollFlags::empty() };
    let fds = [PollFd::new(input, PollFlags::IN), PollFd::new(socket, news)];
    let [input, socket] = wait_for(fds, wakeup, None)?;
    Ok(socket.is_empty() && !input.is_empty())
}

/// Waits until one of `fds` is ready, and gives what each is ready for.
fn wait_for<const N: usize>(
    fds: [PollFd<'_>; N],
    wakeup: &Wakeup,
    deadline: Option<Instant>,
) -> io::Result<[PollFlags; N]> {
    let mut watched = Vec::with_capacity(N + 1);
    watched.extend(fds);
    watched.push(PollFd::new(wakeup, PollFlags::IN));
    loop {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut watched, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !watched[N].revents().is_empty() => {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(std::array::from_fn(|i| watched[i].revents())),
        }
    }
}

/// Connects `socket` within `timeout`, and makes it non-blocking.
pub(crate) fn connect(
    socket: &Socket,
    target: &SockAddr,
    timeout: Duration,
    wakeup: &Wakeup,
) -> io::Result<()> {
    if target.is_unix() {
        // A full backlog makes a non-blocking connect fail rather than wait, and there is nothing
        // to poll for.
        socket.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        socket.connect(target)?;
        return socket.set_nonblocking(true);
    }
    socket.set_nonblocking(true)?;
    match socket.connect(target) {
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        done => return done,
    }
    wait(socket, Interest::Write, wakeup, Instant::now().checked_add(timeout))?;
    socket.take_error()?.map_or(Ok(()), Err)
}

/// How long a read may block: here none does, and [`wait`] has its deadline.
pub(crate) fn set_read_timeout(_: &Socket, _: Option<Duration>) -> io::Result<()> {
    Ok(())
}

/// The standard input, past the buffer that [`io::stdin`] has.
pub(crate) fn stdin() -> io::Result<File> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// The standard output, past the buffer that [`io::stdout`] has.
pub(crate) fn stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Whether a file is read and written as it comes: a named pipe or a device.
pub(crate) fn is_stream(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() || metadata.file_type().is_fifo()
}

/// Whether the system says that the file takes no room on a disk.
pub(crate) fn takes_no_room(metadata: &Metadata) -> bool {
    metadata.blocks() == 0
}

/// What tells a file from others, if it has more names than one.
pub(crate) fn shared_identity(metadata: &Metadata) -> Option<(u64, u64)> {
    (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()))
}

/// Opens a file to read it; should a pipe have taken its place, that does not block.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

/// Whether this user may read the file at `path`.
pub(crate) fn check_readable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, Access::READ_OK)?)
}

/// The file's permission bits.
pub(crate) fn mode(metadata: &Metadata) -> u16 {
    u16::try_from(metadata.permissions().mode() & 0o7777).unwrap_or(0o644)
}

/// The bytes of a name, if it can be sent.
pub(crate) fn name_bytes(name: &OsStr) -> Option<&[u8]> {
    Some(name.as_bytes())
}

/// What this system calls a name of these bytes.
pub(crate) fn os_name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, Socket) {
        let (peer, socket) = UnixStream::pair().unwrap();
        (peer, socket.into())
    }

    #[test]
    fn a_wait_ends_when_ready_at_its_deadline_or_when_woken() {
        let (mut peer, socket) = pair();
        let (wakeup, waker) = wakeup().unwrap();
        let wait = |interest| wait(&socket, interest, &wakeup, Some(Instant::now()));
        assert_eq!(wait(Interest::Read).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(wait(Interest::Write).is_ok());
        peer.write_all(b"x").unwrap();
        assert!(wait(Interest::Read).is_ok());
        drop(waker);
        assert_eq!(wait(Interest::Read).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn input_is_waited_for_unless_the_other_end_says_something_first() {
        let (mut peer, socket) = pair();
        let (wakeup, _waker) = wakeup().unwrap();
        let (input, mut writer) = io::pipe().unwrap();
        let input = File::from(std::os::fd::OwnedFd::from(input));
        writer.write_all(b"x").unwrap();
        assert!(wait_for_input(&input, &socket, true, &wakeup).unwrap());
        peer.write_all(b"x").unwrap();
        assert!(!wait_for_input(&input, &socket, true, &wakeup).unwrap());
        assert!(wait_for_input(&input, &socket, false, &wakeup).unwrap());
    }
}
