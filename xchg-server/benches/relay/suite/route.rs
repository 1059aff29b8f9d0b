//! How bytes get from the benchmark's uploaders to its downloaders: directly, through a forwarder,
//! or through a server that pairs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::{Domain, Socket, Type};

use super::failure::{During, Failure, Result};

/// How long anything may take that should take microseconds.
pub(crate) const STALLED: Duration = Duration::from_secs(10);

/// Loopback addresses that connections are spread over, where the candidates listen on all of them:
/// the ports of one would be used up, by connections in TIME_WAIT, within a second or two.
const ADDRESSES: u8 = 16;

/// Command and key of the classic dialect.
pub(crate) const GREETING_BYTES: usize = 9;

/// The way from uploader to downloader.
pub(crate) struct Route {
    /// Port that the first connection of a pair goes to.
    port: u16,
    /// Whether something listens there on every loopback address, not only on 127.0.0.1.
    everywhere: bool,
    /// Where the far connections arrive; `None` if the server speaks the classic dialect, and the
    /// downloader dials too.
    listener: Option<TcpListener>,
    /// Whether our own sockets have to ask for Reno, for want of a network namespace.
    ask_for_reno: bool,
    serial: AtomicU32,
}

/// Both ends of a way through the candidate.
pub(crate) struct Stream {
    pub(crate) upload: TcpStream,
    pub(crate) download: TcpStream,
}

/// The side of the classic dialect; the byte is its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    Upload = b'P',
    Download = b'G',
}

impl Route {
    /// Through the listener itself: no relay.
    pub(crate) fn direct(
        listener: TcpListener,
        everywhere: bool,
        ask_for_reno: bool,
    ) -> io::Result<Self> {
        let port = listener.local_addr()?.port();
        Self::forwarded(port, listener, everywhere, ask_for_reno)
    }

    /// Through a forwarder that listens on `port` and connects to `listener`.
    pub(crate) fn forwarded(
        port: u16,
        listener: TcpListener,
        everywhere: bool,
        ask_for_reno: bool,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            port,
            everywhere,
            listener: Some(listener),
            ask_for_reno,
            serial: AtomicU32::new(0),
        })
    }

    /// Through a server on `port` that pairs peers of the classic dialect.
    pub(crate) fn paired(port: u16, everywhere: bool, ask_for_reno: bool) -> Self {
        Self { port, everywhere, listener: None, ask_for_reno, serial: AtomicU32::new(0) }
    }

    /// Whether there is no relay on it.
    pub(crate) fn is_direct(&self) -> bool {
        self.listener()
            .and_then(|listener| listener.local_addr().ok())
            .is_some_and(|own| own.port() == self.port)
    }

    /// Whether downloaders name a key and may wait.
    pub(crate) fn is_paired(&self) -> bool {
        self.listener.is_none()
    }

    /// Where far connections arrive; non-blocking.
    pub(crate) fn listener(&self) -> Option<&TcpListener> {
        self.listener.as_ref()
    }

    /// A number not given before on this route; it makes a key.
    pub(crate) fn next_serial(&self) -> u32 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// The classic greeting for the key that `serial` makes.
    pub(crate) fn greeting(side: Side, serial: u32) -> [u8; GREETING_BYTES] {
        let mut greeting = [side as u8; GREETING_BYTES];
        // Hexadecimal digits, so that a server's log of keys can be read.
        for (digit, shift) in greeting[1..].iter_mut().zip((0..8).rev()) {
            *digit = b"0123456789abcdef"[(serial >> (4 * shift)) as usize % 16];
        }
        greeting
    }

    fn address(&self) -> SocketAddrV4 {
        let [changing, ..] = self.serial.load(Ordering::Relaxed).to_le_bytes();
        let host = if self.everywhere { 1 + changing % ADDRESSES } else { 1 };
        SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), self.port)
    }

    /// Begins to connect, without waiting for it to succeed.
    pub(crate) fn dial(&self) -> rustix::io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &self.address()) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    }

    /// Connects, with deadlines on all that follows.
    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&SocketAddr::V4(self.address()), STALLED)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.set_write_timeout(Some(STALLED))?;
        if self.ask_for_reno {
            sockopt::set_tcp_congestion(&stream, "reno")?;
        }
        Ok(stream)
    }

    /// Connects as `side` under the key that `serial` makes.
    pub(crate) fn greet(&self, side: Side, serial: u32) -> io::Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(&Self::greeting(side, serial))?;
        Ok(stream)
    }

    /// Opens both ends of a way through the candidate.
    pub(crate) fn open(&self) -> Result<Stream> {
        let serial = self.next_serial();
        match self.listener() {
            Some(listener) => {
                let upload = self.connect().during("cannot connect")?;
                Ok(Stream { upload, download: accept(listener)? })
            }
            None => {
                let upload =
                    self.greet(Side::Upload, serial).during("cannot connect as uploader")?;
                let download =
                    self.greet(Side::Download, serial).during("cannot connect as downloader")?;
                Ok(Stream { upload, download })
            }
        }
    }

    /// Takes in a far connection that is of no use.
    pub(crate) fn take_arrival(&self) -> Result<()> {
        self.listener().map_or(Ok(()), |listener| accept(listener).map(drop))
    }

    /// Sends a word through and sees it arrive.
    pub(crate) fn probe(&self) -> Result<()> {
        let Stream { mut upload, mut download } = self.open()?;
        upload.write_all(b"probe").during("cannot send")?;
        drop(upload);
        let mut arrived = Vec::new();
        download.read_to_end(&mut arrived).during("what was sent does not arrive")?;
        match arrived.as_slice() {
            b"probe" => Ok(()),
            _ => Err(Failure::new(format!("`probe` was sent, but {arrived:?} arrived"))),
        }
    }
}

/// Listens with room for all that the workloads have in flight: the standard library's backlog of
/// 128 is not enough.
pub(crate) fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Waits for the connection that the candidate makes to `listener`.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let timeout = Timespec::try_from(STALLED).during("timeout out of range")?;
    let arrived =
        retry_on_intr(|| poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout)));
    let arrived = arrived.during("cannot poll")?;
    if arrived == 0 {
        return Err(Failure::new(format!("no connection came through within {STALLED:?}")));
    }
    let (stream, _) = listener.accept().during("cannot accept")?;
    stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(STALLED)))
        .during("cannot set options")?;
    Ok(stream)
}
