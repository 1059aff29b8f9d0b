//! The kernel's sockets under a worker, and the loop that drives it.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::SockRef;
use xchg_core::relay::Socket;

use crate::listener::Listener;
use crate::net::{Accepted, Id, Net, Readiness, Stream};
use crate::system_calls;
use crate::worker::Worker;

/// The waker's token; listeners count down from the next. Connections' tokens stay below, for their
/// serials have 31 bits.
pub(crate) const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// As many events at once as show that more follow closely.
const CROWD: usize = 3;

/// How long the events behind a crowd may gather, so that one wake-up serves many; the kernel adds
/// its timer slack, 50 us by default (`PR_SET_TIMERSLACK` in prctl(2)). Small exchanges, 32 and more
/// at once, then take a tenth less of the processors, and no longer.
const COALESCE: Duration = Duration::from_micros(50);

/// Connections in a row that may fail before they are accepted. If more do, it is not they: a filter
/// may stand before `accept`.
const MAX_FAILED_PEERS: u32 = 64;

/// How long a worker sleeps at most: so late it finds a message for which nobody could wake it.
const MISSED_WAKE: Duration = Duration::from_secs(1);

/// How often in a row polling may fail, and how long it rests in between: a kernel short of memory
/// recovers.
const MAX_POLL_FAILURES: u32 = 100;
const POLL_REST: Duration = Duration::from_millis(100);

/// The sockets and listeners of one worker.
pub(crate) struct System {
    registry: mio::Registry,
    listeners: Vec<Listener>,
}

impl System {
    /// # Errors
    /// If the system refuses to watch a listener.
    pub(crate) fn new(poll: &Poll, listeners: Vec<Listener>) -> io::Result<System> {
        let registry = poll.registry().try_clone()?;
        for (index, listener) in listeners.iter().enumerate() {
            let fd = listener.as_raw_fd();
            let token = Token(FIRST_LISTENER - index);
            registry.register(&mut mio::unix::SourceFd(&fd), token, Interest::READABLE)?;
        }
        Ok(System { registry, listeners })
    }
}

impl Net for System {
    type Stream = Socket<OwnedFd>;

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
        self.listeners.clear();
    }

    fn watch(&mut self, stream: &Socket<OwnedFd>, id: Id) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let fd = stream.0.as_raw_fd();
        self.registry.register(&mut mio::unix::SourceFd(&fd), token(id), both)
    }

    fn unwatch(&mut self, stream: &Socket<OwnedFd>) {
        let fd = stream.0.as_raw_fd();
        // Whatever this poll knew, another's says anew when it watches the stream.
        self.registry.deregister(&mut mio::unix::SourceFd(&fd)).ok();
    }
}

impl Stream for Socket<OwnedFd> {
    fn write_framed(&self, framing: &[u8], payload: &[u8], is_last: bool) -> io::Result<usize> {
        // MORE holds the segment until the end of the stream rides on it.
        let more = if is_last { SendFlags::MORE } else { SendFlags::empty() };
        Ok(rustix::io::retry_on_intr(|| {
            let both = [IoSlice::new(framing), IoSlice::new(payload)];
            let mut control = SendAncillaryBuffer::default();
            sendmsg(&self.0, &both, &mut control, more | SendFlags::NOSIGNAL)
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

    fn set_stall_timeout(&self, timeout: Duration) {
        // Refused by unix sockets, which have no such time.
        #[cfg(target_os = "linux")]
        SockRef::from(&self.0).set_tcp_user_timeout(Some(timeout)).ok();
        #[cfg(not(target_os = "linux"))]
        let _ = timeout;
    }

    fn reset(self) {
        if SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).is_err() {
            // Disconnecting resets as well (connect(2), `AF_UNSPEC`). If that fails too, the close
            // is an ordinary one: nothing else is left to try.
            rustix::net::connect_unspec(&self.0).ok();
        }
    }
}

/// Runs a worker until it is stopped and its last connection is gone.
pub(crate) fn drive(mut worker: Worker<System>, mut poll: Poll) {
    let mut events = Events::with_capacity(EVENTS);
    let mut failures = 0;
    loop {
        let timeout =
            Some(worker.timeout().map_or(MISSED_WAKE, |timeout| timeout.min(MISSED_WAKE)));
        if timeout != Some(Duration::ZERO) && events.iter().count() >= CROWD {
            std::thread::sleep(COALESCE);
        }
        match poll.poll(&mut events, timeout) {
            Ok(()) => failures = 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failures += 1;
                // Without its poll a worker can do nothing at all.
                assert!(failures < MAX_POLL_FAILURES, "polling fails: {error}");
                std::thread::sleep(POLL_REST);
            }
        }
        worker.advance(Instant::now());
        for event in &events {
            match event.token() {
                WAKER => {}
                Token(token) if FIRST_LISTENER - token < worker.listeners() => {
                    worker.knock(FIRST_LISTENER - token);
                }
                token => worker.ready(id(token), readiness(event)),
            }
        }
        worker.turn();
        if worker.is_over() {
            return worker.finish();
        }
    }
}

fn token(id: Id) -> Token {
    Token((id.serial as usize) << 32 | id.slot as usize)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of the token")]
fn id(token: Token) -> Id {
    Id { slot: token.0 as u32, serial: (token.0 >> 32) as u32 }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        is_readable: event.is_readable(),
        is_writable: event.is_writable(),
        has_read_end: event.is_read_closed(),
        has_write_end: event.is_write_closed(),
        has_failed: event.is_error(),
    }
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
