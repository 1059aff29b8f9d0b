//! Connections to the server: where it is, how it is reached and greeted, and how waiting for it is
//! cut short.

pub(crate) mod address;
pub(crate) mod cancel;
mod connect;
pub(crate) mod connection;
mod handshake;
mod server;
mod throttle;
pub(crate) mod tls;

pub(crate) use connection::Connection;
pub(crate) use server::Server;
pub(crate) use throttle::Throttle;
