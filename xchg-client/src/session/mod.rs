//! The end-to-end session of two peers: section 5 of PROTOCOL.md in code.
//!
//! A session is a machine: bytes and answers go in, bytes and what is to be done come out. It opens
//! no socket or file, starts no thread, reads no clock and prints nothing, and it compiles for
//! `wasm32-unknown-unknown`. Two drivers run it: `sealed`, which blocks, with a thread for each
//! direction of a stream; and, for whoever has an event loop, [`Session`].
//!
//! **A session without I/O.** So the tests run two of them against each other byte by byte and lose
//! the line anywhere, and another driver than ours, such as a page's, writes no protocol. The
//! blocking driver keeps the shape that makes it fast: records are filled, sealed, opened and
//! written out in one buffer each, and sealing, reading and hashing, and writing overlap in three
//! threads.
//!
//! ```text
//!   bytes     Handshake: hello, Confirmation     Opener: opens records    Sealer: seals records
//!   records   Talk: one message after another out of records, and into records
//!   roles     Upload, Download: what is said and judged, and what the driver is to do: Effects
//! ```
//!
//! This is all that a driver does, here for both peers in one loop without a network:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use xchg_client::files::{Entry, Kind, Manifest};
//! use xchg_client::session::download::{Download, Effect as Down};
//! use xchg_client::session::upload::{Effect as Up, Upload};
//! use xchg_client::session::{ContentHash, Secret, Session, Start, Step};
//!
//! # fn main() -> Result<(), xchg_client::session::Error> {
//! let content = b"three buoys";
//! let mut manifest = Manifest::new();
//! manifest.push(Entry::new(Kind::File { size: content.len() as u64 }, 0, "log.txt"))?;
//! let manifest = Arc::new(manifest);
//!
//! let (secret, now) = (Secret::new("swordfish"), Duration::ZERO);
//! let mut here = Session::new(Upload::new(), b"stocks", &secret, now);
//! let mut there = Session::new(Download::new(), b"stocks", &secret, now);
//! let mut arrived = Vec::new();
//! loop {
//!     here.transmitted(there.on_bytes(here.transmit())?);
//!     there.transmitted(here.on_bytes(there.transmit())?);
//!     match here.poll()? {
//!         Step::Do(Up::Collect) => here.role().offer(Arc::clone(&manifest)),
//!         Step::Do(Up::Open(_)) => here.role().opened(),
//!         Step::Do(Up::Read { .. }) => {
//!             // As much as is left of it, if that fits a record.
//!             here.role().room().copy_from_slice(content);
//!             here.role().read(content.len())?;
//!         }
//!         Step::Do(Up::Close { .. }) => here.role().closed(),
//!         Step::Do(Up::Hash(_)) => unreachable!("the other peer has nothing yet"),
//!         Step::Do(Up::Tell(event)) => println!("here: {event:?}"),
//!         Step::Wait | Step::Done => {}
//!     }
//!     match there.poll()? {
//!         Step::Do(Down::Consider) => {
//!             let offer = Arc::new(there.role().take_offer());
//!             there.role().accept(offer, Vec::new());
//!         }
//!         Step::Do(Down::Prepare { .. }) => there.role().prepared(),
//!         Step::Do(Down::Begin { .. }) => there.role().begun(Start::At(ContentHash::new())),
//!         Step::Do(Down::Write { .. }) => arrived.extend_from_slice(there.role().data()),
//!         Step::Do(Down::Finish) => there.role().finished(),
//!         Step::Do(Down::Hash(_) | Down::Differs(_)) => unreachable!("nothing is here yet"),
//!         Step::Do(Down::End { .. }) | Step::Wait => {}
//!         Step::Done => break,
//!     }
//! }
//! assert_eq!(arrived, content);
//! # Ok(())
//! # }
//! ```

pub mod download;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod intake;
mod keys;
mod machine;
pub(crate) mod message;
mod prove;
mod record;
mod secret;
mod talk;
pub mod upload;
#[cfg(test)]
mod vectors;

use std::time::Duration;

pub use crate::files::content::{ContentHash, Point, Start};
pub use error::Error;
pub use machine::{Session, Step};
pub use secret::Secret;

pub(crate) use handshake::{Confirmation, Handshake};
pub(crate) use intake::Intake;
pub(crate) use keys::Schedule;
pub(crate) use record::{Opener, Record, Sealer};
pub(crate) use talk::{Next, Role, sign_of_life};

/// How long the other peer's hello may take, and then its confirmation: programs write both at
/// once.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the other peer may be silent before it counts as lost (PROTOCOL.md rule S29): it says
/// something every 10 s.
pub(crate) const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long this peer says nothing at most. A third of the shortest timeout that a stream's owner
/// should set.
pub(crate) const ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the leave takes at most after a transfer that ended with `error`, all in all: to tell
/// the other peer why, to hear why from it, and to take what it has under way (PROTOCOL.md rule
/// S30).
pub(crate) fn parting(error: Option<&Error>) -> Duration {
    Duration::from_secs(match error {
        // Our person waits.
        Some(Error::Cancelled) => 5,
        // Only two confirmations are under way, and what a stranger makes of them is of no
        // interest.
        Some(Error::WrongSecret) => 2,
        _ => 10,
    })
}

/// The number of an entry on the wire.
fn wire_index(index: usize) -> u32 {
    u32::try_from(index).expect("a manifest has at most 1,000,000 entries")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn nothing_here_does_io_or_reads_a_clock() {
        let names = ["std::fs", "std::net", "std::thread", "std::io::", "Instant", "crossbeam"];
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session");
        for file in fs::read_dir(here).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            // Tests may.
            let (product, _) = text.split_once("\n#[cfg(test)]\nmod tests").unwrap_or((&text, ""));
            for name in names {
                assert!(!product.contains(name), "{} names {name}", path.display());
            }
        }
    }
}
