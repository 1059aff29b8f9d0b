//! The real program against scripted servers.

#![allow(clippy::unwrap_used, reason = "whatever fails here is a failed test")]

#[cfg(target_os = "linux")]
#[path = "../support/rendezvous.rs"]
mod rendezvous;
#[path = "../support/mod.rs"]
mod support;

mod commands;
mod download;
#[cfg(unix)]
mod interrupt;
mod names;
#[cfg(target_os = "linux")]
mod prompt;
#[cfg(target_os = "linux")]
mod questions;
mod server;
#[cfg(target_os = "linux")]
mod terminal;
mod upload;
mod waiting;
