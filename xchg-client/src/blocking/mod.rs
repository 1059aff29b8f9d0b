//! All that blocks: transfers through a server, each with connections and threads of its own.
//!
//! None of it is there where a page brings the stream, on wasm.

mod client;
mod error;
mod link;
mod net;
mod observer;
mod options;
mod outcome;
mod plain;
mod retry;
pub mod sealed;
mod supply;

pub use client::Client;
pub use error::{Error, duration_in_words};
pub use link::Link;
pub use net::address::{Address, InvalidAddress};
pub use net::cancel::Cancel;
pub use net::tls::{Distrust, Fingerprint, InvalidFingerprint, TlsProblem, Trust};
pub use observer::{Decision, Observer};
pub use options::{Content, DownloadOptions, Security, UploadOptions};
pub use outcome::{Downloaded, Uploaded};
pub use retry::Retry;
