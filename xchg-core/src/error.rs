//! The crate's one error.

use crate::Key;

/// What can go wrong at the boundary of this crate.
///
/// An exchange that ends without all its bytes is none of these: it is an
/// [`Outcome`](crate::Outcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is empty, or longer than [`Key::MAX_LEN`].
    #[error("key is {len} bytes long; use 1 to {max}", max = Key::MAX_LEN)]
    KeyLength {
        /// How many bytes the key has.
        len: usize,
    },
    /// The peer's first bytes are not those of the native dialect.
    #[error("the other end does not speak the xchg protocol; check the address and port")]
    NotNative,
    /// The peer speaks a version that this build does not.
    #[error("peer speaks version {theirs}, this build {ours}; upgrade the older of the two", ours = crate::wire::VERSION)]
    Version {
        /// The version that the peer has named.
        theirs: u8,
    },
    /// A message breaks a rule of PROTOCOL.md.
    #[error("malformed message: {what}")]
    Malformed {
        /// What is wrong, in words.
        what: &'static str,
    },
    /// The peer named a command or a realm that this build does not know.
    #[error("unsupported {what} {value}; upgrade the older of the two")]
    Unsupported {
        /// What the number stands for: a command or a realm.
        what: &'static str,
        /// The number on the wire.
        value: u8,
    },
}
