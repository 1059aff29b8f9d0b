//! File exchange server: it pairs an upload and a download of the same key and pipes the bytes
//! between them, storing nothing.
//!
//! This library is the whole server; the program `xchg-server` adds flags, a config file and
//! signals. An embedder makes a [`Config`], [binds](Server::bind) it, [starts](Server::start) it,
//! and follows it by its [`ServerHandle`]:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{Shutdown, TcpStream};
//! use xchg_server::{Config, Listen, ListenAddress, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Port 0: the system chooses one. A port of another's choice is `"192.0.2.1:4980".parse()`,
//! // a unix socket `"unix:/run/xchg"`.
//! let listen = vec!["127.0.0.1:0".parse::<Listen>()?];
//! let server = Server::bind(Config { listen, ..Config::default() })?.start()?;
//! let ListenAddress::Tcp(address) = server.addresses()[0] else {
//!     unreachable!("TCP was asked for")
//! };
//!
//! // Two peers that speak the classic dialect: a command, a key padded to eight bytes, and the
//! // payload.
//! let mut uploader = TcpStream::connect(address)?;
//! uploader.write_all(b"Pgreeting")?;
//! uploader.write_all(b"hello")?;
//! uploader.shutdown(Shutdown::Write)?;
//!
//! let mut downloader = TcpStream::connect(address)?;
//! downloader.write_all(b"Ggreeting")?;
//! let mut text = String::new();
//! downloader.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! drop(downloader);
//!
//! // Whoever waits is let go, exchanges finish, and the server ends.
//! server.drain();
//! server.join();
//! assert_eq!(server.counts().completed, 1);
//! # Ok(())
//! # }
//! ```
//!
//! - [`ServerHandle::subscribe`] gives an [`Event`] at the beginning and at the end of each
//!   exchange, [`ServerHandle::exchanges`] those that run; an [`ExchangeHandle`] shows its progress
//!   and can cancel it.
//! - [`ServerHandle::drain`] and [`ServerHandle::cut`] are the two ways to shut down. Peers may ask
//!   for the first too, as far as [`Config::terminate`] lets them.
//! - [`Server::bind_with`] takes listening sockets that are open already.
//! - [`Config::admin`] has metrics, health and the exchanges served to those who run the server;
//!   [`ServerHandle::metrics`] and [`ServerHandle::illness`] are for who serves them by other
//!   means.
//! - Logs go to whoever subscribes to `tracing`. Nothing is printed, and no signal is handled.
//!
//! A peer's first bytes decide which dialect it speaks; PROTOCOL.md specifies the native one. How
//! the server works inside is in ARCHITECTURE.md.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests bring the time and the sockets along"
    )
)]

mod access;
mod admin;
mod config;
mod dialect;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod listen;
mod metrics;
mod network;
mod origin;
mod rate;
mod server;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
mod system;
mod tls;
mod watch;
mod web;
mod web_origin;

pub use access::Access;
pub use config::{Config, LogAddresses, Terminate};
pub use dialect::Dialect;
pub use engine::shared::Stats;
pub use error::Error;
pub use listen::{Listen, ListenAddress, Tls};
pub use metrics::MetricsFormat;
pub use network::Network;
pub use rate::Rate;
pub use server::{Ending, Server, ServerHandle, Waiters};
pub use system::open_socket::OpenSocket;
pub use web_origin::WebOrigin;
pub use xchg_core::wire::Token;
pub use xchg_core::{
    Counts, Ended, Event, Events, ExchangeHandle, ExchangeId, Limits, NoEvent, Outcome,
};
