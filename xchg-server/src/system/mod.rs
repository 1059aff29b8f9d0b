//! The kernel under a worker: its sockets, its listeners, and the [loop](driver) that drives it.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the system")]

pub(crate) mod descriptors;
mod driver;
pub(crate) mod listener;
pub(crate) mod open_socket;
pub(crate) mod process;
mod system_calls;

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::{Interest, Poll, Token};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::SockRef;
use xchg_core::relay::Socket;

use crate::Config;
use crate::engine::net::{Accepted, Id, Layer, Net, Transport};
use crate::tls::{self, Session, Store};
use listener::Listener;

pub(crate) use driver::drive;

/// The waker's token; listeners count down from the next. Connections' tokens stay below, for their
/// serials have 31 bits.
pub(crate) const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Connections in a row that may fail before they are accepted. If more do, it is not they: a
/// filter may stand before `accept`.
const MAX_FAILED_PEERS: u32 = 64;

/// The sockets and listeners of one worker.
pub(crate) struct System {
    registry: mio::Registry,
    listeners: Vec<Listener>,
    secured: Option<Secured>,
}

/// What the workers need to speak TLS.
#[derive(Debug, Clone)]
pub(crate) struct Secured {
    certificates: Arc<Store>,
    /// Whether it is spoken at each listener of the configuration.
    takes: Arc<[bool]>,
}

impl Secured {
    pub(crate) fn new(config: &Config, certificates: &Arc<Store>) -> Self {
        let takes = (0..config.listen.len()).map(|listener| config.takes_tls(listener));
        Self { certificates: certificates.clone(), takes: takes.collect() }
    }
}

impl System {
    /// # Errors
    /// If the system refuses to watch a listener.
    pub(crate) fn new(
        poll: &Poll,
        listeners: Vec<Listener>,
        secured: Option<Secured>,
    ) -> io::Result<Self> {
        let registry = poll.registry().try_clone()?;
        for (index, listener) in listeners.iter().enumerate() {
            let fd = listener.as_raw_fd();
            let token = Token(FIRST_LISTENER - index);
            registry.register(&mut mio::unix::SourceFd(&fd), token, Interest::READABLE)?;
        }
        Ok(Self { registry, listeners, secured })
    }
}

/// What a connection is here.
pub(crate) type SystemSocket = Socket<OwnedFd>;

impl Net for System {
    type Transport = SystemSocket;

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> io::Result<Option<Accepted<Socket<OwnedFd>>>> {
        let mut failures = 0;
        loop {
            match self.listeners[listener].accept() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_the_peers(&error) && failures < MAX_FAILED_PEERS => failures += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn close_listeners(&mut self) {
        for listener in self.listeners.drain(..) {
            // The poll would go on telling of a socket that others hold too.
            self.registry.deregister(&mut mio::unix::SourceFd(&listener.as_raw_fd())).ok();
        }
    }

    fn watch(&mut self, socket: &Socket<OwnedFd>, id: Id) -> io::Result<()> {
        // For room as well, though most never want for it and the first event tells of nothing else
        // (2 to 4 % of a small exchange's processor time): an end that has been acknowledged is
        // told of as room, and completes an exchange.
        let both = Interest::READABLE | Interest::WRITABLE;
        let fd = socket.0.as_raw_fd();
        self.registry.register(&mut mio::unix::SourceFd(&fd), token(id), both)
    }

    fn unwatch(&mut self, socket: &Socket<OwnedFd>) {
        let fd = socket.0.as_raw_fd();
        // Whatever this poll knew, another's says anew when it watches the stream.
        self.registry.deregister(&mut mio::unix::SourceFd(&fd)).ok();
    }

    fn begins_layer(&self, listener: u8, first: &[u8]) -> bool {
        let takes = |secured: &Secured| secured.takes[usize::from(listener)];
        tls::begins(first) && self.secured.as_ref().is_some_and(takes)
    }

    fn layer(&mut self, _listener: u8) -> io::Result<Box<dyn Layer>> {
        let secured = self.secured.as_ref().expect("somebody has seen that it is spoken");
        Ok(Box::new(Session::new(secured.certificates.config())?))
    }
}

/// No signal comes of a peer that has left. Apple's systems have no such flag, but Rust programs
/// ignore SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

/// The segment is held until the end of the stream rides on it, where there is a flag for that.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SEND_LAST: SendFlags = SEND.union(SendFlags::MORE);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEND_LAST: SendFlags = SEND;

impl Transport for Socket<OwnedFd> {
    fn write_framed(&mut self, framing: &[u8], payload: &[u8], is_last: bool) -> io::Result<usize> {
        let flags = if is_last { SEND_LAST } else { SEND };
        Ok(rustix::io::retry_on_intr(|| {
            let both = [IoSlice::new(framing), IoSlice::new(payload)];
            let mut control = SendAncillaryBuffer::default();
            sendmsg(&self.0, &both, &mut control, flags)
        })?)
    }

    fn take_failure(&self) -> io::Result<Option<io::ErrorKind>> {
        Ok(SockRef::from(&self.0).take_error()?.map(|error| error.kind()))
    }

    fn unacknowledged(&self) -> Option<u64> {
        system_calls::unacknowledged(&self.0)
    }

    fn set_buffers(&self, bytes: usize) {
        let socket = SockRef::from(&self.0);
        socket.set_recv_buffer_size(bytes).ok();
        socket.set_send_buffer_size(bytes).ok();
    }

    fn set_send_buffer(&self, bytes: usize) {
        SockRef::from(&self.0).set_send_buffer_size(bytes).ok();
    }

    fn set_recv_buffer(&self, bytes: usize) {
        SockRef::from(&self.0).set_recv_buffer_size(bytes).ok();
    }

    fn set_stall_timeout(&self, timeout: Duration) {
        // Refused by unix sockets, which have no such time.
        #[cfg(target_os = "linux")]
        SockRef::from(&self.0).set_tcp_user_timeout(Some(timeout)).ok();
        #[cfg(not(target_os = "linux"))]
        let _ = timeout;
    }

    fn reset(&self) {
        if SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).is_err() {
            // Disconnecting resets as well (connect(2), `AF_UNSPEC`). If that fails too, the close
            // is an ordinary one: nothing else is left to try.
            rustix::net::connect_unspec(&self.0).ok();
        }
    }
}

fn token(id: Id) -> Token {
    Token((id.serial as usize) << 32 | id.slot as usize)
}

/// Whether an error of `accept` speaks of that one connection only (accept(2), "Error handling").
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied, TimedOut,
    };
    use rustix::io::Errno;
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied | TimedOut
    ) || [Errno::PROTO, Errno::NETDOWN, Errno::HOSTDOWN, Errno::HOSTUNREACH, Errno::NETUNREACH]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
