//! What the service manager passes in, and what it is told (`sd_notify(3)`, `sd_listen_fds(3)`).

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use listenfd::ListenFd;
use xchg_server::{Ending, Error, OpenSocket, ServerHandle};

/// How often it is told how things stand, at least.
const STATUS: Duration = Duration::from_secs(10);

/// How much longer a drain may take with each word of it; the manager's own limit
/// (`TimeoutStopSec=`) is for servers that say nothing any more.
const EXTENSION: Duration = Duration::from_secs(60);

/// The listening sockets that it has opened.
///
/// # Errors
/// If one of them cannot be listened on.
pub(crate) fn sockets() -> Result<Vec<OpenSocket>, Error> {
    // From the environment, and out of it: children are not meant.
    let mut passed = ListenFd::from_env();
    (0..passed.len()).map(|index| OpenSocket::new(take(&mut passed, index)?)).collect()
}

fn take(passed: &mut ListenFd, index: usize) -> Result<OwnedFd, Error> {
    let tcp = passed.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
    let unix = || passed.take_unix_listener(index).ok().flatten().map(OwnedFd::from);
    tcp.or_else(unix).ok_or_else(|| Error::Config {
        setting: "LISTEN_FDS",
        why: format!(
            "the descriptor {} is no stream socket: use ListenStream= in the socket unit",
            3 + index
        ),
    })
}

/// The socket that the service manager hears at.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    /// How often it is told how things stand: twice as often as it wants to hear it.
    interval: Duration,
}

impl Manager {
    /// The manager named by `NOTIFY_SOCKET`, if one is.
    ///
    /// # Errors
    /// If it is named and cannot be reached.
    pub(crate) fn find() -> Result<Option<Self>, Error> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let reached = || {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read holds up nobody.
            socket.set_nonblocking(true)?;
            connect(&socket, &name)?;
            let interval = patience().map_or(STATUS, |patience| STATUS.min(patience / 2));
            Ok(Some(Self { socket, interval }))
        };
        reached().map_err(|error: io::Error| Error::Config {
            setting: "NOTIFY_SOCKET",
            why: format!("nobody can be told at {}: {error}; unset it", name.display()),
        })
    }

    /// Says that the server serves, and how it stands until it has ended.
    pub(crate) fn follow(&self, server: &ServerHandle) -> Ending {
        self.tell("READY=1", "Serving", server);
        while !server.wait_for_drain(self.interval) {
            self.tell("", "Serving", server);
        }
        self.tell("STOPPING=1", "Draining", server);
        loop {
            let extend = format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros());
            self.tell(&extend, "Draining", server);
            if let Some(ending) = server.join_timeout(self.interval) {
                return ending;
            }
        }
    }

    /// Tells how the server stands besides; and that it is well, without which a manager that asks
    /// for that ends it.
    fn tell(&self, news: &str, doing: &str, server: &ServerHandle) {
        let illness = server.illness();
        let well = if illness.is_none() { "\nWATCHDOG=1" } else { "" };
        let state =
            format!("STATUS={}{well}\n{news}", illness.unwrap_or_else(|| status(doing, server)));
        if let Err(error) = self.socket.send(state.trim_end().as_bytes())
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::warn!(%error, "cannot tell the service manager how things stand");
        }
    }
}

/// How often the manager wants to hear that this process is well, if it does.
fn patience() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| is_meant && *micros > 0).map(Duration::from_micros)
}

/// An `@` stands for the byte 0 of a name that is in no file system (`unix(7)`).
#[cfg(target_os = "linux")]
fn connect(socket: &UnixDatagram, name: &std::ffi::OsStr) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::SocketAddr;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?),
        _ => socket.connect(name),
    }
}

#[cfg(not(target_os = "linux"))]
fn connect(socket: &UnixDatagram, name: &std::ffi::OsStr) -> io::Result<()> {
    socket.connect(name)
}

fn status(doing: &str, server: &ServerHandle) -> String {
    let counts = server.counts();
    format!(
        "{doing}: {} waiting, {} exchanging; {} completed, {} failed",
        counts.waiting, counts.exchanging, counts.completed, counts.failed
    )
}
