//! Uploads and downloads files through an xchg server.
//!
//! ```no_run
//! use xchg_client::files::Destination;
//! use xchg_client::{Client, Content, DownloadOptions, Key, Secret, UploadOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("example.org".parse()?);
//! let key = Key::parse(b"stocks")?;
//! let secret = || Secret::new("swordfish");
//! // Here: uploads the folder as soon as somebody downloads the key, and returns when it is there.
//! let content = Content::paths(["stocks"]);
//! client.upload(UploadOptions::new(key.clone(), secret(), content), &mut ())?;
//! // There: takes it as soon as somebody uploads the key, and only what is not there yet.
//! let destination = Destination::Directory("downloads".into());
//! client.download(DownloadOptions::new(key, secret(), destination), &mut ())?;
//! # Ok(())
//! # }
//! ```
//!
//! These transfers are sealed: encrypted from end to end, in realm sealed. With
//! [`Security::Plain`] they are bare bytes in realm plain, where the counterpart may be curl, a
//! browser or a classic client.
//!
//! [`session`] also compiles for `wasm32-unknown-unknown`, where a page brings the stream and the
//! files; all that reaches the network and blocks is not there then.
//!
//! Calls block. An [`Observer`] hears what goes on meanwhile, and a [`Cancel`] token ends it from
//! another thread. Nothing is printed, no signal is handled, and no error speaks of options of a
//! command line: that is the business of the program `xchg-client`, a thin layer around this.

#![cfg_attr(
    target_family = "wasm",
    allow(dead_code, unused_imports, reason = "only blocking drivers need all of it")
)]

#[cfg(not(target_family = "wasm"))]
mod blocking;
pub mod code;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod key;
pub mod session;
#[cfg(not(target_family = "wasm"))]
mod sys;
pub mod terminal;

#[cfg(not(target_family = "wasm"))]
pub use blocking::{
    Address, Cancel, Client, Content, Decision, Distrust, DownloadOptions, Downloaded, Error,
    Fingerprint, InvalidAddress, InvalidFingerprint, Link, Observer, Retry, Security, TlsProblem,
    Trust, UploadOptions, Uploaded, duration_in_words, sealed,
};
pub use code::{Code, InvalidCode};
pub use key::{file_name, normalised};
pub use session::Secret;
pub use xchg_core::wire::{
    CounterpartDialect, Matched, RefusalCode, StatusReport, Token, Wait, Waiting,
};
pub use xchg_core::{Key, Realm, Side};

/// Keeps the code in the README running.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
