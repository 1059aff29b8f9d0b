//! A connection to the server: bytes in both directions that a [`Cancel`] can interrupt.
//!
//! **A client that resets unless finished.** To a counterpart without end marks a stream that just
//! ends is a whole payload. So the client's close is a reset, even that of a killed process, until
//! all is sent (`Connection::reset_unless_finished`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::tls::Records;
use crate::Cancel;
use crate::sys::{self, Interest, Pipe};

/// How long a connection may be silent before the kernel probes it, and until it is given up: 30 s
/// of silence and three probes every 10 s make 60 s.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// How long bytes may stay unacknowledged before the connection is given up.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a downloader that gave up keeps taking what is under way, so that its receipt is read
/// before a reset.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to the server: TCP, or a unix socket. Reads and writes block until they can do
/// something, the [`Cancel`] token is used, or a read's timeout has passed.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    is_tcp: bool,
    /// What the bytes are within, if anything.
    records: Option<Arc<Records>>,
    cancel: Cancel,
    read_timeout: Option<Duration>,
    read_deadline: Option<Instant>,
}

impl Connection {
    /// Connects to `target` within `timeout`.
    pub(super) fn open(
        target: &SockAddr,
        timeout: Duration,
        buffer_bytes: Option<u32>,
        cancel: &Cancel,
    ) -> io::Result<Self> {
        let is_tcp = !target.is_unix();
        let domain = if is_tcp { target.domain() } else { Domain::UNIX };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        if let Some(bytes) = buffer_bytes {
            // Before connecting: the window scale is agreed on in the first segments (RFC 7323
            // section 2.2).
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        if is_tcp {
            socket.set_tcp_nodelay(true)?;
        }
        cancel.watch(|wakeup| sys::connect(&socket, target, timeout, wakeup))?;
        Ok(Self {
            socket,
            is_tcp,
            records: None,
            cancel: cancel.clone(),
            read_timeout: None,
            read_deadline: None,
        })
    }

    /// Speaks TLS from now on, with the server of that name; the handshake has time until
    /// `deadline`.
    ///
    /// # Errors
    /// What the library says of the handshake is the error within.
    pub(super) fn secure(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let records = Records::new(config, name)?;
        self.set_read_deadline(deadline);
        records.shake_hands(&mut *self)?;
        self.set_read_deadline(None);
        self.records = Some(Arc::new(records));
        Ok(())
    }

    /// Another handle on the same connection, whose waits `cancel` ends. It has no read timeout.
    pub(crate) fn another(&self, cancel: &Cancel) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            is_tcp: self.is_tcp,
            records: self.records.clone(),
            cancel: cancel.clone(),
            read_timeout: None,
            read_deadline: None,
        })
    }

    /// How long a read may wait for its first byte; `None` for as long as it takes.
    pub(crate) fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout = timeout;
        sys::set_read_timeout(&self.socket, timeout)
    }

    /// When reads give up whatever comes until then; `None` if never.
    pub(crate) fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.read_deadline = deadline;
    }

    /// When a read that begins now gives up.
    fn reads_until(&self) -> Option<Instant> {
        let timeout = self.read_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        timeout.into_iter().chain(self.read_deadline).min()
    }

    /// Lets the kernel find out that the server's machine is gone, now that no heartbeats come.
    ///
    /// The user timeout is for those who send next to nothing. With it the kernel would also give
    /// up on a window that stays closed (`tcp_probe_timer` in Linux), that is on a downloader that
    /// only pauses; an uploader relies on retransmissions, which Linux gives up after about a
    /// quarter of an hour (`tcp_retries2`).
    pub(crate) fn watch_for_death(&self, sends_payload: bool) -> io::Result<()> {
        if !self.is_tcp {
            return Ok(());
        }
        self.socket.set_tcp_keepalive(&KEEPALIVE)?;
        if sends_payload { Ok(()) } else { sys::set_user_timeout(&self.socket, USER_TIMEOUT) }
    }

    /// Makes any close before [`finish`](Self::finish) a reset, even that of a killed process: a
    /// stream that merely ends would be a whole payload to counterparts without end marks. Unix
    /// sockets have no resets.
    pub(crate) fn reset_unless_finished(&self) -> io::Result<()> {
        if self.is_tcp { self.socket.set_linger(Some(Duration::ZERO)) } else { Ok(()) }
    }

    /// Half-closes: all is sent.
    pub(crate) fn finish(&self) -> io::Result<()> {
        if let Some(records) = &self.records {
            records.end(|bytes| self.send(bytes))?;
        }
        self.socket.shutdown(Shutdown::Write)?;
        if self.is_tcp { self.socket.set_linger(None) } else { Ok(()) }
    }

    /// Says a last word as far as that is possible without waiting, even when cancelled, and takes
    /// leave so that the other end can read it: bytes left unread would make the close a reset.
    pub(crate) fn part_with(mut self, word: &[u8]) {
        let said = match &self.records {
            Some(records) => records.write(word, |bytes| self.socket.send(bytes)),
            None => self.socket.send(word),
        };
        if said.is_err() || self.finish().is_err() {
            return;
        }
        let deadline = Instant::now() + PARTING_TIMEOUT;
        let mut rest = vec![0; 64 << 10];
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let taken = self.set_read_timeout(Some(left)).and_then(|()| self.read(&mut rest));
            if !matches!(taken, Ok(n) if n > 0) {
                return;
            }
        }
    }

    /// Waits for the other end to close after all it has to say, which nobody wants to know.
    pub(crate) fn wait_for_close(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }
}

impl Connection {
    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.cancel.watch(|wakeup| sys::wait(&self.socket, interest, wakeup, deadline))
    }

    /// Whether a read would give something now: bytes, the end, or an error.
    pub(crate) fn has_news(&self) -> io::Result<bool> {
        let Some(records) = &self.records else { return self.has_bytes() };
        // Not all that comes is something to read.
        records.has_news(|buffer| {
            if self.has_bytes()? {
                self.receive(buffer, None)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        })
    }

    /// Whether the socket has something now.
    fn has_bytes(&self) -> io::Result<bool> {
        match self.wait(Interest::Read, Some(Instant::now())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until `input` can be read; `false` if the connection has news first, as far as it is
    /// `watched`, or has failed.
    pub(crate) fn wait_for_input(&self, input: &File, watched: bool) -> io::Result<bool> {
        loop {
            // What is read already, no system tells of.
            if watched && self.records.is_some() && self.has_news()? {
                return Ok(false);
            }
            let wait = |wakeup: &_| sys::wait_for_input(input, &self.socket, watched, wakeup);
            let is_input = self.cancel.watch(wait)?;
            if is_input || self.records.is_none() || !watched {
                return Ok(is_input);
            }
        }
    }

    /// Reads from the socket, and waits for it as long as may be.
    fn receive(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        while !self.cancel.is_cancelled() {
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Interest::Read, deadline)?;
                }
                done => return done,
            }
        }
        Err(Cancel::error())
    }

    /// Writes to the socket, and waits for it.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        while !self.cancel.is_cancelled() {
            match (&self.socket).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Interest::Write, None)?
                }
                done => return done,
            }
        }
        Err(Cancel::error())
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = self.reads_until();
        // Also where there is always something to read.
        if self.read_deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match &self.records {
            Some(records) => records.read(buffer, |sealed| self.receive(sealed, deadline)),
            None => self.receive(buffer, deadline),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.records {
            Some(records) => records.write(bytes, |sealed| self.send(sealed)),
            None => self.send(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    /// Moves up to `most` bytes into `pipe`, which has room, without copying them through this
    /// process. 0 is the other end's end.
    ///
    /// # Errors
    /// `Unsupported` if that cannot be done.
    pub(crate) fn fill(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        let deadline = self.reads_until();
        self.bypass()?;
        self.repeat(Interest::Read, deadline, |socket| pipe.fill(socket, most))
    }

    /// Sends up to `count` bytes of `file` from `offset` on without copying them through this
    /// process, and moves `offset` along. 0 is the end of the file.
    pub(crate) fn send_file(
        &mut self,
        file: &File,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        self.bypass()?;
        self.repeat(Interest::Write, None, |socket| sys::send_file(socket, file, offset, count))
    }

    /// Nothing gets past this process that has to be sealed or opened.
    fn bypass(&self) -> io::Result<()> {
        if self.records.is_none() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Calls `call` until it does something, and waits in between.
    fn repeat(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
        mut call: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        while !self.cancel.is_cancelled() {
            match call(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(interest, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
        Err(Cancel::error())
    }
}

#[cfg(test)]
#[cfg(unix)]
pub(crate) mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::blocking::net::connect::{Settings, connect};
    use crate::blocking::net::tls::Credentials;

    /// A connection to a listener of its own, and the other end.
    fn pair(cancel: &Cancel) -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let credentials = &Credentials::default();
        let settings =
            Settings { credentials, timeout: Duration::from_secs(60), buffer_bytes: None };
        let connection = connect(&address, settings, cancel).unwrap();
        (connection, listener.accept().unwrap().0)
    }

    /// A connection that takes no bytes any more.
    pub(crate) fn closed() -> Connection {
        let (connection, _) = pair(&Cancel::new().unwrap());
        connection.finish().unwrap();
        connection
    }

    #[test]
    fn a_cancellation_wakes_blocked_reads_and_writes() {
        let cancel = Cancel::new().unwrap();
        let (mut reader, _silent) = pair(&cancel);
        let (mut writer, _full) = pair(&cancel);
        let reads = thread::spawn(move || reader.read(&mut [0]).is_err());
        let writes = thread::spawn(move || {
            loop {
                if writer.write(&[0; 1 << 16]).is_err() {
                    return true;
                }
            }
        });
        cancel.cancel();
        assert!(reads.join().unwrap() && writes.join().unwrap());
    }

    #[test]
    fn a_read_gives_up_at_its_timeout_and_not_before_bytes_that_are_there() {
        let (mut connection, mut other) = pair(&Cancel::new().unwrap());
        connection.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let error = connection.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!connection.has_news().unwrap());
        connection.set_read_timeout(None).unwrap();
        other.write_all(b"x").unwrap();
        assert_eq!(connection.read(&mut [0; 2]).unwrap(), 1);
    }

    #[test]
    fn dropped_is_a_reset_until_all_is_said() {
        let cancel = Cancel::new().unwrap();
        for (finishes, clean) in [(false, false), (true, true)] {
            let (mut connection, mut other) = pair(&cancel);
            connection.reset_unless_finished().unwrap();
            connection.write_all(b"x").unwrap();
            if finishes {
                connection.finish().unwrap();
            }
            drop(connection);
            assert_eq!(other.read_to_end(&mut Vec::new()).is_ok(), clean);
        }
    }

    #[test]
    fn parting_words_arrive_even_when_nobody_listened_before() {
        let (connection, mut other) = pair(&Cancel::new().unwrap());
        connection.reset_unless_finished().unwrap();
        other.write_all(&[0; 1000]).unwrap();
        let parting = thread::spawn(|| connection.part_with(b"bye"));
        let mut word = [0; 3];
        other.read_exact(&mut word).unwrap();
        drop(other);
        parting.join().unwrap();
        assert_eq!(&word, b"bye");
    }
}
