//! Finding the server, and connecting to it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use rustls_pki_types::ServerName;

use super::connection::Connection;
use super::tls::{self, Credentials, TlsProblem};
use crate::{Address, Cancel, Error};

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    /// How both show who they are, where the address wants TLS.
    pub(crate) credentials: &'a Credentials,
    /// For looking up the host and trying all its addresses.
    pub(crate) timeout: Duration,
    /// The size of the socket's own buffers; the kernel tunes them if there is none.
    pub(crate) buffer_bytes: Option<u32>,
}

/// Tries every address that the host has, in order; each gets an equal share of the time that is
/// left.
pub(crate) fn connect(
    address: &Address,
    settings: Settings<'_>,
    cancel: &Cancel,
) -> Result<Connection, Error> {
    let failed = |source| Error::Connect { address: address.clone(), source };
    let deadline = Instant::now().checked_add(settings.timeout);
    let targets = targets(address, settings.timeout, cancel)?;
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for (i, target) in targets.iter().enumerate() {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let tries_left = u32::try_from(targets.len() - i).unwrap_or(u32::MAX);
        let share = left.map_or(settings.timeout, |left| left / tries_left);
        match Connection::open(target, share, settings.buffer_bytes, cancel) {
            Ok(connection) => {
                return secure(connection, address, settings.credentials, deadline, cancel);
            }
            Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Speaks TLS on `connection` if `address` wants it.
fn secure(
    mut connection: Connection,
    address: &Address,
    credentials: &Credentials,
    deadline: Option<Instant>,
    cancel: &Cancel,
) -> Result<Connection, Error> {
    let Address::Tls { host, .. } = address else { return Ok(connection) };
    let failed = |problem, why| Error::Tls { address: address.clone(), problem, why };
    let local = |why| failed(TlsProblem::Local, why);
    let verified = credentials.verified().map_err(local)?;
    // A zone says by which of this machine's interfaces the server is reached, and is no part of
    // its name.
    let name = host.split_once('%').map_or(host.as_str(), |(host, _)| host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| local("no certificate can be for such a name".to_owned()))?;
    let Err(error) = connection.secure(verified.config.clone(), name, deadline) else {
        return Ok(connection);
    };
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if let Some((why, fingerprint)) = verified.distrust(&error) {
        return Err(Error::Certificate { address: address.clone(), why, fingerprint });
    }
    let (problem, why) = tls::problem(&error).unwrap_or_else(|| {
        let why = match error.kind() {
            io::ErrorKind::TimedOut => "it does not answer".to_owned(),
            io::ErrorKind::UnexpectedEof => "it closes the connection".to_owned(),
            _ => error.to_string(),
        };
        (TlsProblem::NoAnswer, why)
    });
    Err(failed(problem, why))
}

fn targets(address: &Address, timeout: Duration, cancel: &Cancel) -> Result<Vec<SockAddr>, Error> {
    match address {
        Address::Tcp { host, port } | Address::Tls { host, port } => {
            resolve(host, *port, timeout, cancel).map_err(|source| match source {
                _ if cancel.is_cancelled() => Error::Cancelled,
                source => Error::UnknownHost { host: host.clone(), source },
            })
        }
        Address::Unix(path) => match SockAddr::unix(path) {
            Ok(target) => Ok(vec![target]),
            Err(source) => Err(Error::Connect { address: address.clone(), source }),
        },
    }
}

fn resolve(host: &str, port: u16, timeout: Duration, cancel: &Cancel) -> io::Result<Vec<SockAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::from((ip, port)).into()]);
    }
    // The system's resolver can neither be interrupted nor given a deadline: it is left behind in
    // its own thread.
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let host = host.to_owned();
    thread::Builder::new().name("resolver".into()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        sender.send(found.map(|found| found.map(SockAddr::from).collect()))
    })?;
    cancel.receive(&receiver, timeout).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
