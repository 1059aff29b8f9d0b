//! Listening sockets that somebody else has opened.
//!
//! **A passed socket is its address's.** Sockets that a service manager passes are those of the
//! entries of `listen` with their addresses, which say what holds there; where nothing is said,
//! they are all there is. A manager's one socket is in every worker's poll, for it could not be
//! bound a second time: whoever wakes first accepts. sd_notify(3) is ten lines over one socket that
//! stays open (`service.rs`): the sd-notify crate opens one for each word, which a server that has
//! given up opening any could not.

use std::os::fd::OwnedFd;

use socket2::{Socket, Type};

use crate::{Error, ListenAddress};

/// A stream socket that is bound already, for [`Server::bind_with`](crate::Server::bind_with): a
/// service manager's, or a host's.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use xchg_server::{Config, OpenSocket, Server};
///
/// let socket = OpenSocket::new(std::net::TcpListener::bind("127.0.0.1:0")?)?;
/// let config = Config { listen: vec![socket.address().clone().into()], ..Config::default() };
/// let server = Server::bind_with(config, vec![socket])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpenSocket {
    pub(super) socket: Socket,
    pub(super) address: ListenAddress,
}

impl OpenSocket {
    /// Takes a TCP socket, or a unix stream socket that has a path. Whether it listens already
    /// makes no difference.
    ///
    /// # Errors
    /// [`Error::Config`] if it is anything else.
    pub fn new(socket: impl Into<OwnedFd>) -> Result<Self, Error> {
        let socket = Socket::from(socket.into());
        let wrong = |why: String| Error::Config { setting: "listen", why };
        let address = socket.local_addr().map_err(|error| {
            wrong(format!("what was passed as a listening socket has no address: {error}"))
        })?;
        let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
        let tcp = address.as_socket().map(ListenAddress::Tcp);
        let unix = || address.as_pathname().map(|path| ListenAddress::Unix(path.into()));
        match tcp.or_else(unix) {
            Some(address) if is_stream => Ok(Self { socket, address }),
            Some(address) => Err(wrong(format!(
                "the socket of {address} that was passed takes no connections: it must be a stream's"
            ))),
            None => Err(wrong(
                "a socket was passed that is neither TCP's nor a unix socket with a path"
                    .to_owned(),
            )),
        }
    }

    /// Where it is bound.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }
}
