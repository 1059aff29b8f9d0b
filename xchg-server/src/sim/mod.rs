//! The server in a simulation: workers, broker, links and peers of every dialect under one clock,
//! all from one seed. Nothing of it is in a built server; `tests/sim.rs` runs it.
//!
//! A world is lived through and then judged by an oracle that knows what the server may promise.
//! The same seed is the same life, step by step, so that what went wrong can be looked at again.

#![expect(clippy::disallowed_methods, reason = "a world begins at some instant; there is no other")]

mod link;
mod oracle;
mod peer;
mod plan;
mod random;
mod records;
mod scenario;
mod seat;
mod socket;
mod sources;
mod way;
mod words;
mod world;

/// Microseconds since the world began.
pub(super) type Time = u64;

pub(super) const SECOND: Time = 1_000_000;

/// Lives the world of `seed` and judges it. With `trace`, what is told of a wrong one is everything
/// that happened in it, not only the latest.
///
/// # Errors
/// What went wrong, and what happened before it.
pub fn run(seed: u64, trace: bool) -> Result<(), String> {
    let mut world = world::World::new(seed, trace);
    world.run().map_err(|world::Wrong(what)| format!("seed {seed}: {what}"))
}
