//! Over how many locks keys are spread.

/// 16 keep a lock's waiters few up to far more cores than a relay can feed.
pub(crate) const COUNT: usize = 16;

/// The shard of a key with that hash: by other bits than those that place it in the shard's tables.
pub(crate) fn of(hash: u64) -> usize {
    (hash >> 32) as usize % COUNT
}
