//! xchg-server
mod config;
mod connection;
mod dialect;
mod error;
mod listener;
mod server;
mod shared;
mod timers;
mod web;
mod worker;

pub use config::{Config, Listen, Terminate};
pub use error::Error;
pub use server::{Ending, Server, ServerHandle};
pub use shared::Stats;
