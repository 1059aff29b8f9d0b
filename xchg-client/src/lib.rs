//! Uploads and downloads files through an xchg server.
//!
//! ```no_run
//! use xchg_client::{Client, DownloadOptions, Key, Source, Target, UploadOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("example.org".parse()?);
//! let key = Key::parse(b"stocks.txt")?;
//! // Here: sends the file as soon as somebody downloads the key, and returns when it is in place there.
//! client.upload(UploadOptions::new(key.clone(), Source::File("stocks.txt".into())), &mut ())?;
//! // There: takes it as soon as somebody uploads the key.
//! let target = Target::Path { path: "stocks.txt".into(), overwrite: false };
//! client.download(DownloadOptions::new(key, target), &mut ())?;
//! # Ok(())
//! # }
//! ```
//!
//! Calls block. An [`Observer`] hears what goes on meanwhile, and a [`Cancel`] token ends it from another thread. Nothing is
//! printed, unless a [`prompt`] is asked for, and no signal is handled: that is the business of the program `xchg-client`, a
//! thin layer around this.

mod address;
mod cancel;
mod client;
pub mod code;
mod connect;
mod download;
mod error;
pub mod files;
mod handshake;
mod meter;
mod observer;
mod plain;
pub mod prompt;
mod sealed;
pub mod session;
mod source;
mod target;
pub mod terminal;
mod throttle;
mod upload;

pub use address::Address;
pub use cancel::Cancel;
pub use client::{
    Client, DEFAULT_BUFFER_BYTES, DEFAULT_CONNECT_TIMEOUT, DownloadOptions, Summary, UploadOptions,
};
pub use code::{Code, InvalidCode};
pub use error::Error;
pub use observer::Observer;
pub use sealed::{Content, ReceiveOptions, Retry, SealedObserver, SendOptions};
pub use source::{Source, key_for};
pub use target::{Target, file_name};
pub use xchg_core::wire::{CounterpartDialect, Matched, StatusReport, Token, Wait, Waiting};
pub use xchg_core::{Key, Realm, Side};

/// Keeps the code in the README running.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
