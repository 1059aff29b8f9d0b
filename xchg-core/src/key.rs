//! What two peers have in common: the key they name, and the realm in which it counts.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use sha2::{Digest, Sha256};

use crate::Error;

/// Separates the hash of a key from every other use of SHA-256 (PROTOCOL.md rule S2).
const MEETING_KEY_LABEL: &[u8] = b"xchg v1 server key\0";

/// The name that two peers share. 1 to [`MAX_LEN`](Key::MAX_LEN) bytes, any bytes; cheap to clone.
///
/// Whoever knows a key can take the exchange, so that it may be a secret: `Debug` shows a
/// [fingerprint](Key::fingerprint) only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// The longest key, in bytes: the wire carries the length in one byte.
    pub const MAX_LEN: usize = 255;

    /// Takes `bytes` as a key.
    ///
    /// # Errors
    /// [`Error::KeyLength`] if there are none, or more than [`MAX_LEN`](Key::MAX_LEN).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN {
            return Err(Error::KeyLength { len: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key under which peers meet in [`Realm::Sealed`] who named this one: a hash of it, 32
    /// bytes (PROTOCOL.md rule S2).
    ///
    /// A secret does not enter it, so that two peers of whom one mistyped it, or gave none, still
    /// meet, and are told. The hash hides the key from the server's logs; it is no protection for a
    /// key that can be guessed, and the secret does not rest on it.
    pub fn meeting_key(&self) -> Self {
        let hash = Sha256::new().chain_update(MEETING_KEY_LABEL).chain_update(&self.0);
        Self(hash.finalize().as_slice().into())
    }

    /// Eight hexadecimal digits that tell keys apart in a log without giving them away.
    ///
    /// They are salted anew in each process, so that nobody can look a guessed key up in an old
    /// log.
    pub fn fingerprint(&self) -> String {
        static SALT: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        format!("{:08x}", SALT.hash_one(self) >> 32)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

/// Which peers may meet under a key: only those that named the same realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Realm {
    /// The stream is readable by the server, and by peers of any dialect.
    Plain,
    /// The peers speak an encrypted session end to end.
    Sealed,
    /// Peers of the magic-wormhole transit relay protocol.
    Transit,
}

impl Realm {
    /// Every realm.
    pub const ALL: [Self; 3] = match Self::Plain {
        // What is missing here does not compile.
        Self::Plain | Self::Sealed | Self::Transit => [Self::Plain, Self::Sealed, Self::Transit],
    };

    /// The realm's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sealed => "sealed",
            Self::Transit => "transit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_bytes() {
        for (len, ok) in [(0, false), (1, true), (255, true), (256, false)] {
            assert_eq!(Key::parse(&vec![7; len]).is_ok(), ok, "{len} bytes");
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = Key::parse(b"swordfish").unwrap();
        assert!(!format!("{key:?}").contains("swordfish"));
        assert_eq!(key.fingerprint().len(), 8);
        assert_eq!(key.fingerprint(), Key::parse(b"swordfish").unwrap().fingerprint());
    }

    #[test]
    fn peers_of_one_key_meet_under_one_hash() {
        let hash = |key: &[u8]| Key::parse(key).unwrap().meeting_key();
        assert_eq!(hash(b"holiday").as_bytes().len(), 32);
        assert_eq!(hash(b"holiday"), hash(b"holiday"));
        assert_ne!(hash(b"holiday"), hash(b"holidaz"));
    }
}
