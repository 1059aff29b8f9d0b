//! Where a key's place in tables is.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

use crate::{Key, Realm};

/// Hashes keys, so that nobody outside can choose ones that collide: unless with a seed that they
/// know.
#[derive(Debug, Clone)]
pub(crate) enum KeyHasher {
    Random(RandomState),
    Seeded(u64),
}

impl KeyHasher {
    pub(crate) fn random() -> Self {
        Self::Random(RandomState::new())
    }

    pub(crate) fn hash(&self, realm: Realm, key: &Key) -> u64 {
        match self {
            Self::Random(state) => state.hash_one((realm, key)),
            Self::Seeded(seed) => {
                let mut hasher = DefaultHasher::new();
                (seed, realm, key).hash(&mut hasher);
                hasher.finish()
            }
        }
    }
}
