//! Connections to the server: where it is, how it is reached and greeted, and how waiting for it is
//! cut short.

pub(crate) mod address;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod cancel;
#[cfg(not(target_family = "wasm"))]
mod connect;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod connection;
#[cfg(not(target_family = "wasm"))]
mod handshake;
#[cfg(not(target_family = "wasm"))]
mod server;
#[cfg(not(target_family = "wasm"))]
mod throttle;
pub(crate) mod tls;

#[cfg(not(target_family = "wasm"))]
use connect::{Settings, connect};
#[cfg(not(target_family = "wasm"))]
pub(crate) use connection::Connection;
#[cfg(not(target_family = "wasm"))]
use handshake::Handshake;
#[cfg(not(target_family = "wasm"))]
pub(crate) use server::Server;
#[cfg(not(target_family = "wasm"))]
pub(crate) use throttle::Throttle;
