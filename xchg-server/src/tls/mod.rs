//! TLS: the certificate with its key, read again whenever they change, and the encrypted stream
//! over a plain one.
//!
//! Which listeners take it is in [`Listen::tls`](crate::Listen::tls); when a connection turns to
//! it, in the engine. Certificates come from files alone: whoever renews them (certbot, lego) puts
//! new ones in their place.

mod files;
mod name;
mod session;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use files::{Files, problems};
pub(crate) use session::Session;
pub(crate) use store::Store;

/// Whether that is the beginning of TLS: a record of a handshake (RFC 8446 section 5.1). No dialect
/// begins so.
pub(crate) fn begins(first: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    first.first() == Some(&HANDSHAKE)
}
