//! Systems that are no unix: sockets block within the timeouts that they have been given, and a
//! cancellation takes effect between two calls.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::windows::io::AsHandle;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket};

use super::Interest;

/// The side of a token that a wait looks at. On such systems, nothing ends a wait.
pub(crate) struct Wakeup;

/// The side of a token that would end a wait.
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

pub(crate) fn stdin() -> io::Result<File> {
    Ok(io::stdin().as_handle().try_clone_to_owned()?.into())
}

pub(crate) fn stdout() -> io::Result<File> {
    Ok(io::stdout().as_handle().try_clone_to_owned()?.into())
}

/// What devices and pipes there are is not told by their metadata.
pub(crate) fn is_stream(_: &Metadata) -> bool {
    false
}

pub(crate) fn takes_no_room(_: &Metadata) -> bool {
    false
}

pub(crate) fn shared_identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Found out when it is opened.
pub(crate) fn check_readable(_: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn mode(metadata: &Metadata) -> u16 {
    match (metadata.is_dir(), metadata.permissions().readonly()) {
        (true, _) => 0o755,
        (false, true) => 0o444,
        (false, false) => 0o644,
    }
}

/// Names that are not Unicode cannot be sent.
pub(crate) fn name_bytes(name: &OsStr) -> Option<&[u8]> {
    name.to_str().map(str::as_bytes)
}

/// What is not UTF-8 is refused, or replaced, before it is a name of anything.
pub(crate) fn os_name(bytes: &[u8]) -> &OsStr {
    OsStr::new(str::from_utf8(bytes).unwrap_or("\u{fffd}"))
}
