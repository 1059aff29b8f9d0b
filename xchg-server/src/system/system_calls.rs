//! System calls that no safe crate has. The only module that may use `unsafe`.
#![expect(
    unsafe_code,
    reason = "rustix leaves it to the caller that an ioctl's code and type agree"
)]

use std::os::fd::AsFd;

/// How many bytes the peer has not acknowledged yet (TCP) or not read yet (unix), those included
/// that have not been sent, and on TCP one more for the end of the stream.
///
/// `SIOCOUTQ` in tcp(7) and unix(7). `None` where the system has no such call, or if it fails.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(socket: impl AsFd) -> Option<u64> {
    use rustix::ioctl::{Getter, ioctl};

    /// The number of `SIOCOUTQ` (include/uapi/linux/sockios.h), which is that of `TIOCOUTQ`.
    #[cfg(not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc64"
    )))]
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x7472;
    #[cfg(any(target_arch = "powerpc", target_arch = "powerpc64", target_arch = "sparc64"))]
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x4004_7473;

    // SAFETY: the kernel writes one C int for this code (`tcp_ioctl` and `unix_ioctl`, `put_user`
    // to an `int *`), which is what the getter holds, and keeps no pointer to it.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, std::ffi::c_int>::new()) };
    bytes.ok().and_then(|bytes| u64::try_from(bytes).ok())
}

/// Elsewhere than on Linux nothing tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged(_socket: impl AsFd) -> Option<u64> {
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_not_read_from_a_unix_socket_is_counted() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(unacknowledged(&ours), Some(0));
        ours.write_all(b"12345").unwrap();
        assert!(unacknowledged(&ours).unwrap() >= 5);
        theirs.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(unacknowledged(&ours), Some(0));
    }

    #[test]
    fn what_no_window_lets_through_is_counted_and_what_is_received_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(n) = ours.write(&[0; 65_536]) {
            sent += n as u64;
        }
        let left = unacknowledged(&ours).unwrap();
        assert!(0 < left && left <= sent, "{left} of {sent} bytes");
        ours.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        assert_eq!(received.len() as u64, sent);
        // The last acknowledgement may be late: their end is behind it.
        drop(theirs);
        ours.set_nonblocking(false).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        assert_eq!(unacknowledged(&ours), Some(0));
    }
}
