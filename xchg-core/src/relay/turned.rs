//! What came of a pump's turn.

use std::io;

/// What has come of a [turn](super::Pump::turn).
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "all that there is to a turn")]
pub struct Turned {
    /// Payload bytes that the sink took.
    pub moved: u64,
    /// Why it ended.
    pub why: Why,
}

/// Why a [turn](super::Pump::turn) ended.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "an event loop handles each of them")]
pub enum Why {
    /// The source has nothing now.
    SourceBlocked,
    /// The sink takes nothing now.
    SinkBlocked,
    /// The budget is spent; both may go on.
    Spent,
    /// The flow has ended: its sink has all, and its half-close.
    Ended,
    /// The source failed.
    SourceFailed(io::Error),
    /// The sink failed.
    SinkFailed(io::Error),
}

impl Why {
    /// What an error of a source's call means.
    pub fn of_source(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::SourceBlocked,
            io::ErrorKind::Interrupted => Self::Spent,
            _ => Self::SourceFailed(error),
        }
    }

    pub(super) fn of_sink(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::SinkBlocked,
            _ => Self::SinkFailed(error),
        }
    }
}
