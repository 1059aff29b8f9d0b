//! TLS: the certificate with its key, read again whenever they change, and the encrypted stream
//! over a plain one.
//!
//! Which listeners take it is in [`Listen::tls`](crate::Listen::tls); when a connection turns to
//! it, in the engine. Certificates come from files alone: whoever renews them (certbot, lego) puts
//! new ones in their place.
//!
//! **ring, not aws-lc-rs.** A handshake takes the server 102 us with ring and 82 us if a session is
//! resumed, which saves the signature alone: X25519 takes 63 us of both. With aws-lc-rs these are
//! 77, 62 and 36 (one certificate on P-256, in memory). An https exchange of about 300 us would
//! take 40 less. But ring would stay for all else that needs it, and a program that does nothing
//! but such handshakes is 2.1 MB larger with the other: as much as half of this server.

mod files;
mod name;
mod session;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use files::{Files, client_ca_problem, problems};
pub(crate) use session::Session;
pub(crate) use store::Store;

/// Whether that is the beginning of TLS: a record of a handshake (RFC 8446 section 5.1). No dialect
/// begins so.
pub(crate) fn begins(first: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    first.first() == Some(&HANDSHAKE)
}
