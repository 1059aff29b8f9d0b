//! A connection's bytes, both ways, as the engine has them: with what is known of when there are
//! any, and of why it failed.

use std::io::{self, ErrorKind};
use std::time::Duration;

use xchg_core::relay::{Pipe, Sink, Source};

use crate::engine::net::{Id, Layer, Net, Readiness, Transport};

/// Pieces of a layer's bytes that are taken in, with none of the peer's own among them, before
/// others get their turn.
const PIECES: usize = 16;

/// Payload that is put into a layer together with its framing, so that both leave in one record:
/// what a record of TLS holds.
const JOINED_BYTES: usize = 16 << 10;

/// The stream of one connection; dropping it closes it.
///
/// What the peer says may be within a [`Layer`]. Some of it is then held here, though no edge will
/// tell of it, and what was written may still wait for room.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    transport: T,
    /// What the system has said and no call has refuted since.
    readable: Readable,
    is_writable: bool,
    is_watched: bool,
    /// The error that the system has reported. `read` may hide it: behind unread bytes a reset
    /// looks like an end.
    failure: Option<ErrorKind>,
    /// Boxed twice, for most have none, and many wait.
    layer: Option<Box<Box<dyn Layer>>>,
}

/// Whether there may be something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    No,
    Maybe,
    /// The end has come: behind what there is, that is to be read too.
    ToTheEnd,
}

/// A socket that is asked only for what may be there: it counts as readable and writable until a
/// call finds that it is not, and again once the system says so. Nobody else keeps count of that.
#[derive(Debug)]
struct Socket<'a, T> {
    transport: &'a mut T,
    readable: &'a mut Readable,
    is_writable: &'a mut bool,
    /// Whether the system tells of what comes from now on.
    is_watched: bool,
    /// Whether the half-close follows at once what is sent.
    is_last: bool,
}

impl<T: Transport> Stream<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self {
            transport,
            readable: Readable::Maybe,
            is_writable: true,
            is_watched: false,
            failure: None,
            layer: None,
        }
    }

    fn parts(&mut self) -> (Socket<'_, T>, Option<&mut dyn Layer>) {
        let socket = Socket {
            transport: &mut self.transport,
            readable: &mut self.readable,
            is_writable: &mut self.is_writable,
            is_watched: self.is_watched,
            is_last: false,
        };
        (socket, self.layer.as_deref_mut().map(|layer| &mut **layer))
    }

    /// Has what the peer says taken out of `layer` from now on; `heard` is the beginning, which has
    /// been read already.
    ///
    /// # Errors
    /// If that breaks the layer's rules; the peer has been told, as far as it can be.
    pub(crate) fn wrap(&mut self, mut layer: Box<dyn Layer>, mut heard: &[u8]) -> io::Result<()> {
        let mut taken = Ok(0);
        while taken.is_ok() && !heard.is_empty() {
            taken = layer.take_in(&mut heard, &mut []);
        }
        let pushed = unless_blocked(self.parts().0.push(&mut *layer));
        self.layer = Some(Box::new(layer));
        taken.and(pushed)
    }

    /// Goes on with the layer's handshake.
    ///
    /// # Errors
    /// `WouldBlock` if the peer must say more first, `Interrupted` if others should have their
    /// turn; any other is the end of it.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let (mut socket, layer) = self.parts();
        socket.settle(layer.expect("callers have wrapped it"))
    }

    /// Whether what the peer says is within a layer.
    pub(crate) fn is_wrapped(&self) -> bool {
        self.layer.is_some()
    }

    /// Who the peer has proved to be, for the log, if its layer knows.
    pub(crate) fn peer_name(&self) -> Option<String> {
        self.layer.as_ref().and_then(|layer| layer.peer_name())
    }

    /// Notes what has happened to the socket.
    pub(crate) fn note(&mut self, ready: Readiness) {
        if ready.has_read_end {
            self.readable = Readable::ToTheEnd;
        } else if ready.is_readable && self.readable == Readable::No {
            self.readable = Readable::Maybe;
        }
        if ready.is_writable {
            self.is_writable = true;
        }
        if ready.has_failed {
            let failure = self.transport.take_failure().ok().flatten();
            self.failure = Some(failure.unwrap_or(ErrorKind::ConnectionReset));
        }
    }

    /// Notes what has happened to the socket, and says what that means to who reads and writes
    /// here.
    pub(crate) fn on_ready(&mut self, mut ready: Readiness) -> Readiness {
        self.note(ready);
        if let (mut socket, Some(layer)) = self.parts() {
            let done = socket.push(layer).and(socket.pull(layer, &mut []));
            ready.is_readable = layer.is_readable();
            let failed = done
                .err()
                .map(|error| error.kind())
                .filter(|kind| !matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted));
            self.failure = self.failure.or(failed);
        }
        ready
    }

    /// Whether a worker is told of what happens.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Has the worker of `net` told of what happens from now on, by the name `id`.
    ///
    /// # Errors
    /// As those of [`Net::watch`].
    pub(crate) fn watch<N>(&mut self, net: &mut N, id: Id) -> io::Result<()>
    where
        N: Net<Transport = T>,
    {
        if !self.is_watched {
            net.watch(&self.transport, id)?;
            self.is_watched = true;
        }
        Ok(())
    }

    /// Has that worker told nothing more; the next one is told anew how it stands.
    pub(crate) fn unwatch<N: Net<Transport = T>>(&mut self, net: &mut N) {
        if std::mem::take(&mut self.is_watched) {
            net.unwatch(&self.transport);
        }
        self.readable = Readable::Maybe;
        self.is_writable = true;
    }

    /// The error by which the connection is known to have failed.
    pub(crate) fn failure(&self) -> Option<ErrorKind> {
        self.failure
    }

    /// Sends `framing` and then `payload`, what fits of them, and gives how much that is. If it
    /// `is_last`, the half-close that follows at once may leave together with it.
    pub(crate) fn write_framed(
        &mut self,
        framing: &[u8],
        payload: &[u8],
        is_last: bool,
    ) -> io::Result<usize> {
        if self.layer.is_some() {
            let part = &payload[..payload.len().min(JOINED_BYTES)];
            let joined = [framing, part].concat();
            let is_all = part.len() == payload.len();
            return if is_last && is_all { self.write_last(&joined) } else { self.write(&joined) };
        }
        self.parts().0.send(|transport| transport.write_framed(framing, payload, is_last))
    }

    /// How many bytes, with those not sent yet, the peer's system has not acknowledged. `None`
    /// where the system cannot tell.
    pub(crate) fn unacknowledged(&self) -> Option<u64> {
        let unsent = self.layer.as_ref().is_some_and(|layer| layer.has_unsent());
        Some(self.transport.unacknowledged()? + u64::from(unsent))
    }

    /// Whether the peer's system has acknowledged everything that it was sent; on a unix socket,
    /// whether it has read it. `None` where the system cannot tell.
    ///
    /// Whoever closes with bytes unread, or before they come, causes a reset instead of an
    /// acknowledgement, which leaves an error behind.
    pub(crate) fn has_acknowledged_all(&mut self) -> Option<bool> {
        if self.unacknowledged()? > 0 {
            return Some(false);
        }
        // A reset may have come since the poll last reported. Its event is on the way, and finds
        // the failure noted here.
        self.failure = self.failure.or(self.transport.take_failure().ok()?);
        Some(self.failure.is_none())
    }

    /// Has the kernel buffer so many bytes each way. A wish: its own choice serves as well.
    pub(crate) fn set_buffers(&self, bytes: usize) {
        self.transport.set_buffers(bytes);
    }

    /// Has the kernel hold no more than so many bytes on their way out. A wish.
    pub(crate) fn set_send_buffer(&self, bytes: usize) {
        self.transport.set_send_buffer(bytes);
    }

    /// Has the kernel hold no more than so many bytes on their way in: a wish, before many come.
    pub(crate) fn set_recv_buffer(&self, bytes: usize) {
        self.transport.set_recv_buffer(bytes);
    }

    /// How long sent bytes may stay unacknowledged before the connection counts as lost. A wish.
    pub(crate) fn set_stall_timeout(&self, timeout: Duration) {
        self.transport.set_stall_timeout(timeout);
    }

    /// Closes so that the peer sees a failure rather than an end.
    pub(crate) fn reset(self) {
        self.transport.reset();
    }

    /// Closes so that the peer sees an end: within a layer that of the socket alone is none.
    pub(crate) fn close(mut self) {
        if let (mut socket, Some(layer)) = self.parts() {
            layer.end();
            // What does not fit now is lost: nobody is left who would send it.
            socket.push(layer).ok();
        }
    }
}

impl<T: Transport> Source for Stream<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (mut socket, layer) = self.parts();
        let Some(layer) = layer else { return socket.read(buf) };
        match socket.pull(layer, buf)? {
            0 => layer.read(buf),
            n => Ok(n),
        }
    }

    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        match self.parts() {
            (mut socket, None) => socket.receive(|transport| transport.splice_to(pipe, most)),
            (_, Some(_)) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

impl<T: Transport> Sink for Stream<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (mut socket, layer) = self.parts();
        let Some(layer) = layer else { return socket.send(|transport| transport.write(buf)) };
        socket.push(layer)?;
        let n = layer.write(buf)?;
        // It is taken, and bound to be sent: when there is room, if there is none now.
        unless_blocked(socket.push(layer))?;
        Ok(n)
    }

    fn write_last(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (mut socket, layer) = self.parts();
        let Some(layer) = layer else { return socket.send(|transport| transport.write_last(buf)) };
        socket.push(layer)?;
        let n = layer.write(buf)?;
        if n == buf.len() {
            layer.end();
            socket.is_last = true;
        }
        unless_blocked(socket.push(layer))?;
        Ok(n)
    }

    fn half_close(&mut self) -> io::Result<()> {
        if let (mut socket, Some(layer)) = self.parts() {
            layer.end();
            socket.push(layer)?;
        }
        self.transport.half_close()
    }

    fn splices(&self) -> bool {
        self.layer.is_none() && self.transport.splices()
    }

    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        match self.parts() {
            (mut socket, None) => socket.send(|transport| transport.splice_from(pipe, len)),
            (_, Some(_)) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

impl<T: Transport> Socket<'_, T> {
    /// Reads, if there may be something.
    ///
    /// What does not fill `buf` is all that there is: whatever comes then is told of (epoll(7), "Do
    /// I need to continuously read/write a file descriptor until EAGAIN").
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.receive(|transport| transport.read(buf));
        let is_all = read.as_ref().is_ok_and(|&n| 0 < n && n < buf.len());
        if is_all && self.is_watched && *self.readable == Readable::Maybe {
            *self.readable = Readable::No;
        }
        read
    }

    /// Does what takes bytes from the transport, if there may be any.
    fn receive(&mut self, take: impl FnOnce(&mut T) -> io::Result<usize>) -> io::Result<usize> {
        if *self.readable == Readable::No {
            return Err(ErrorKind::WouldBlock.into());
        }
        take(self.transport).inspect_err(|error| {
            if error.kind() == ErrorKind::WouldBlock {
                *self.readable = Readable::No;
            }
        })
    }

    /// Does what gives bytes to the transport, if it may have room.
    fn send(&mut self, give: impl FnOnce(&mut T) -> io::Result<usize>) -> io::Result<usize> {
        if !*self.is_writable {
            return Err(ErrorKind::WouldBlock.into());
        }
        give(self.transport)
            .inspect_err(|error| *self.is_writable = error.kind() != ErrorKind::WouldBlock)
    }

    /// Takes in until there is something to read, and sends what the layer answers to it. Gives how
    /// much has been read into `buf`: it may be 0, with more that can be.
    fn pull(&mut self, layer: &mut dyn Layer, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 0..PIECES {
            if layer.is_readable() {
                return Ok(0);
            }
            let read = layer.take_in(self, buf);
            let pushed = unless_blocked(self.push(layer));
            match read? {
                0 => pushed?,
                // What cannot be sent is told by the next call.
                n => return Ok(n),
            }
        }
        Err(ErrorKind::Interrupted.into())
    }

    /// Takes in until the handshake is over, and sends what the layer answers to it.
    fn settle(&mut self, layer: &mut dyn Layer) -> io::Result<()> {
        unless_blocked(self.push(layer))?;
        for _ in 0..PIECES {
            if layer.is_settled() {
                return Ok(());
            }
            if layer.is_readable() {
                // Only its end, or a failure, can be read amid a handshake.
                return layer.read(&mut []).and(Err(ErrorKind::UnexpectedEof.into()));
            }
            let taken = layer.take_in(self, &mut []);
            let pushed = unless_blocked(self.push(layer));
            taken.and(pushed)?;
        }
        Err(ErrorKind::Interrupted.into())
    }

    /// Sends all that is to be sent.
    fn push(&mut self, layer: &mut dyn Layer) -> io::Result<()> {
        while layer.has_unsent() {
            if layer.give_out(self)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl<T: Transport> io::Read for Socket<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Socket::read(self, buf)
    }
}

impl<T: Transport> io::Write for Socket<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.is_last {
            self.send(|transport| transport.write_last(buf))
        } else {
            self.send(|transport| transport.write(buf))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unless_blocked(sent: io::Result<()>) -> io::Result<()> {
    sent.or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) })
}
