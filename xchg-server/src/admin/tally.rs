//! How the requests were answered.

use std::sync::atomic::{AtomicU64, Ordering};

/// The statuses that there are.
const STATUSES: [&str; 11] =
    ["200", "202", "400", "401", "403", "404", "405", "411", "414", "431", "503"];

/// Answers since the start, by status.
#[derive(Debug, Default)]
pub(crate) struct Answers([AtomicU64; STATUSES.len()]);

// Relaxed throughout: the counters guard no other memory.
impl Answers {
    /// Counts an answer by its first line.
    pub(super) fn count(&self, answer: &[u8]) {
        let status = answer.get("HTTP/1.1 ".len()..).and_then(|rest| rest.get(..3));
        let known = STATUSES.iter().position(|&known| Some(known.as_bytes()) == status);
        if let Some(index) = known {
            self.0[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were of each status.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATUSES.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
