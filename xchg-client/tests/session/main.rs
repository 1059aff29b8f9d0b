//! Sessions from end to end, through the public API, over socket pairs and in memory.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cuts;
mod disk;
mod failures;
mod machine;
mod observers;
mod resume;
mod support;
mod transfers;
