//! Which uploads have failed lately, of those that their clients give a name.
//!
//! Chromium takes an upload that is cut on a connection that was opened before it was needed for a
//! stale connection: it sends all again, unasked. That would wait for another receiver, while the
//! person believes the first to be there still.
//!
//! **An upload that failed is not taken again.** A browser whose upload is cut may take its
//! connection for a stale one, and sends all again, unasked: Chromium does, on every connection
//! that it opened before it needed it. The new upload would wait, and the person never hear that
//! the receiver was lost. So the page names each upload (`Idempotency-Key`), and the server
//! remembers the names of the latest that failed (`FailedUploads`).

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use parking_lot::Mutex;
use xchg_core::Key;

/// How many are remembered: whoever sends again does so within seconds, and one that is forgotten
/// merely waits.
const REMEMBERED: usize = 1024;

/// The latest [`REMEMBERED`] of them, as hashes: 8 KiB.
#[derive(Debug, Default)]
pub(crate) struct FailedUploads {
    state: RandomState,
    recent: Mutex<VecDeque<u64>>,
}

impl FailedUploads {
    /// Notes that the upload under a key, with a hash of the name that its client gave it, has
    /// failed.
    pub(crate) fn add(&self, named: (&Key, u64)) {
        let mut recent = self.recent.lock();
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(self.state.hash_one(named));
    }

    /// Whether it has failed.
    pub(crate) fn has(&self, named: (&Key, u64)) -> bool {
        self.recent.lock().contains(&self.state.hash_one(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let failed = FailedUploads::default();
        let (key, other) = (Key::parse(b"key").unwrap(), Key::parse(b"other").unwrap());
        for number in 0..=REMEMBERED as u64 {
            failed.add((&key, number));
        }
        assert!(!failed.has((&key, 0)));
        assert!((1..=REMEMBERED as u64).all(|number| failed.has((&key, number))));
        assert!(!failed.has((&other, 1)));
        assert_eq!(failed.recent.lock().len(), REMEMBERED);
    }
}
