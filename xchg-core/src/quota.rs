//! Counts of who waits, for all matchers of a broker together.

use std::collections::HashMap;

use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::{Limits, Refusal, shard};

/// Whom a peer is counted with in [`Limits::waiting_per_origin`]: an opaque number, such as a hash
/// of its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a newtype")]
pub struct Origin(pub u64);

#[derive(Debug)]
pub(crate) struct Quota {
    limits: Limits,
    waiting: AtomicUsize,
    /// Spread over shards by origin, for they are locked under the lock of a matcher. Empty while
    /// there is no limit per origin: nobody needs the counts then.
    per_origin: [Mutex<HashMap<Origin, usize>>; shard::COUNT],
}

impl Quota {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, waiting: AtomicUsize::new(0), per_origin: Default::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many origins are counted.
    #[cfg(test)]
    pub(crate) fn origins(&self) -> usize {
        self.per_origin.iter().map(|counts| counts.lock().len()).sum()
    }

    /// Counts one more who waits, unless a limit forbids it.
    pub(crate) fn take(&self, origin: Option<Origin>) -> Result<(), Refusal> {
        let Some((origin, most)) = origin.zip(self.limits.waiting_per_origin) else {
            return self.take_place();
        };
        let mut per_origin = self.of(origin).lock();
        let count = per_origin.get(&origin).copied().unwrap_or(0);
        if count >= most {
            return Err(Refusal::OriginFull);
        }
        self.take_place()?;
        per_origin.insert(origin, count + 1);
        Ok(())
    }

    fn take_place(&self) -> Result<(), Refusal> {
        // Relaxed: the counter guards no other memory.
        let room = |waiting| (waiting < self.limits.waiting).then_some(waiting + 1);
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| Refusal::Full)?;
        Ok(())
    }

    /// Counts one fewer.
    pub(crate) fn give_back(&self, origin: Option<Origin>) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if let (Some(origin), Some(_)) = (origin, self.limits.waiting_per_origin) {
            let mut per_origin = self.of(origin).lock();
            if let Some(count) = per_origin.get_mut(&origin) {
                *count -= 1;
                if *count == 0 {
                    per_origin.remove(&origin);
                }
            }
        }
    }

    /// The counts among which that of `origin` is.
    fn of(&self, origin: Origin) -> &Mutex<HashMap<Origin, usize>> {
        // Knuth's multiplicative hash: addresses differ in few bits.
        let hash = origin.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.per_origin[shard::of(hash)]
    }
}
