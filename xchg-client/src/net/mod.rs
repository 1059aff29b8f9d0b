//! Connections to the server: where it is, how it is reached and greeted, and how waiting for it is cut short.

pub(crate) mod address;
pub(crate) mod cancel;
mod connect;
pub(crate) mod connection;
pub(crate) mod handshake;
pub(crate) mod throttle;

pub(crate) use connect::{Settings, connect};
pub(crate) use connection::Connection;
pub(crate) use handshake::Handshake;
pub(crate) use throttle::Throttle;
