//! Counts of who waits, shared by the shards of a broker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::{Limits, Refusal};

/// Whom a peer is counted with in [`Limits::waiting_per_source`]: an opaque number, such as a hash of its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a newtype")]
pub struct Source(pub u64);

#[derive(Debug)]
pub(crate) struct Quota {
    limits: Limits,
    waiting: AtomicUsize,
    /// Empty while there is no limit per source: nobody needs the counts then.
    per_source: Mutex<HashMap<Source, usize>>,
}

impl Quota {
    pub(crate) fn new(limits: Limits) -> Quota {
        Quota { limits, waiting: AtomicUsize::new(0), per_source: Mutex::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many sources are counted.
    #[cfg(test)]
    pub(crate) fn sources(&self) -> usize {
        self.per_source.lock().len()
    }

    /// Counts one more who waits, unless a limit forbids it.
    pub(crate) fn take(&self, source: Option<Source>) -> Result<(), Refusal> {
        let Some((source, most)) = source.zip(self.limits.waiting_per_source) else {
            return self.take_place();
        };
        let mut per_source = self.per_source.lock();
        let count = per_source.get(&source).copied().unwrap_or(0);
        if count >= most {
            return Err(Refusal::SourceFull);
        }
        self.take_place()?;
        per_source.insert(source, count + 1);
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
    pub(crate) fn give_back(&self, source: Option<Source>) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if let (Some(source), Some(_)) = (source, self.limits.waiting_per_source) {
            let mut per_source = self.per_source.lock();
            if let Some(count) = per_source.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    per_source.remove(&source);
                }
            }
        }
    }
}
