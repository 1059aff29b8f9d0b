//! The bounds on what peers can make a matcher hold.

/// How many peers may wait. A newcomer over a limit is refused; nobody who waits is ever evicted
/// for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers build it with `..Limits::default()`")]
pub struct Limits {
    /// Peers waiting in all. Default 100,000: at the 0.2 KiB that a waiting peer costs in user
    /// space, 20 MiB.
    pub waiting: usize,
    /// Peers waiting under one key. Default 1,000: more is a mistake or an attack, for each further
    /// one waits longer.
    pub waiting_per_key: usize,
    /// Peers waiting from one [`Origin`](crate::Origin), of those that are
    /// [counted](crate::Offer::origin). Default: no limit, since a proxy makes everybody one
    /// origin.
    pub waiting_per_origin: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiting: 100_000, waiting_per_key: 1_000, waiting_per_origin: None }
    }
}
