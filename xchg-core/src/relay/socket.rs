//! Any connected stream socket by its descriptor.

use std::io;
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, SendFlags, Shutdown};

#[cfg(target_os = "linux")]
use super::Pipe;
use super::{Duplex, Sink, Source};

/// A connected stream socket: TCP, unix, or one end of a pair.
///
/// [`abort`](Duplex::abort) shuts it down both ways, which its peer cannot tell from a proper end.
/// Peers that must know a cut stream from a whole one need lengths or an end mark in it, as
/// PROTOCOL.md section 2 has them.
///
/// A write to a peer that has left fails, and raises no SIGPIPE; but on Apple's systems it does,
/// unless the process ignores that signal, as Rust programs do, or the socket has `SO_NOSIGPIPE`,
/// as those of the standard library have.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "a newtype")]
pub struct Socket<T>(pub T);

/// A peer that leaves is an error to handle, not a signal to the embedding process.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
/// There is no such flag: see [`Socket`].
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

/// The segment is held until the FIN can ride on it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SEND_LAST: SendFlags = SEND.union(SendFlags::MORE);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEND_LAST: SendFlags = SEND;

impl<T: AsFd> Duplex for Socket<T> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let (taken, _) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.0, &mut *buf, RecvFlags::empty())
        })?;
        Ok(taken)
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::net::send(&self.0, buf, SEND))?)
    }

    fn half_close(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, Shutdown::Write)?)
    }

    fn abort(&self) {
        // Its only error is that the connection is gone, which is what is wanted.
        rustix::net::shutdown(&self.0, Shutdown::Both).ok();
    }
}

impl<T: AsFd> Source for Socket<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Duplex::read(self, buf)
    }

    #[cfg(target_os = "linux")]
    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        Ok(pipe.fill(self.0.as_fd(), most)?)
    }
}

impl<T: AsFd> Sink for Socket<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Duplex::write(self, buf)
    }

    fn write_last(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::net::send(&self.0, buf, SEND_LAST))?)
    }

    fn half_close(&mut self) -> io::Result<()> {
        Duplex::half_close(self)
    }

    fn splices(&self) -> bool {
        cfg!(target_os = "linux")
    }

    #[cfg(target_os = "linux")]
    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        Ok(pipe.empty(self.0.as_fd(), len)?)
    }
}
