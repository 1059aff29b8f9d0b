//! What the program's exit code says.

use std::process;

use xchg_client::{Error, session};

use crate::failure::Failure;

/// A contract with scripts. The help texts in `cli.rs` say the same to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// The whole payload has been received, or the command carried out.
    Done = 0,
    /// The payload has not been received, for a reason that trying again will hardly remove.
    Failed = 1,
    /// The command line cannot be understood; clap exits with this too.
    Usage = 2,
    /// No counterpart came within the wait, or the server is full, shutting down or lost meanwhile:
    /// worth a retry later.
    NoCounterpart = 3,
    /// The two secrets differ, or one side gave none; or the other side left while they were
    /// compared, which may have been a guess.
    WrongSecret = 4,
    /// The offer was declined, here or there.
    Declined = 5,
    /// The counterpart was lost midway: the same command on both sides goes on from there.
    CutShort = 6,
    /// Ctrl-C or SIGTERM: 128 and the number of SIGINT, as shells have it.
    Interrupted = 130,
}

impl ExitCode {
    /// The one for a call that failed like this.
    pub(crate) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Client(error) => Self::of_error(error),
            Failure::NobodyCame { .. } => Self::NoCounterpart,
            Failure::WouldMerge { .. } => Self::Declined,
            Failure::NoTerminal { .. } => Self::Usage,
            Failure::Read { .. } | Failure::Write { .. } => Self::Failed,
        }
    }

    fn of_error(error: &Error) -> Self {
        use session::Error::Declined;
        match error {
            Error::Session(error) if error.is_guess() => Self::WrongSecret,
            Error::Session(Declined { .. }) | Error::DeclinedHere => Self::Declined,
            error if error.is_cut_short() => Self::CutShort,
            Error::Cancelled => Self::Interrupted,
            Error::Code(_) | Error::UnsafeName { .. } => Self::Usage,
            error if error.is_worth_a_retry() => Self::NoCounterpart,
            _ => Self::Failed,
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
