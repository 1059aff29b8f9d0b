//! The crate's one error.

use std::io;

use crate::ListenAddress;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has no sense.
    #[error("{setting}: {why}")]
    Config {
        /// The setting's name, as in flags.
        setting: &'static str,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {listen}; {advice}")]
    Listen {
        /// The address.
        listen: ListenAddress,
        /// What to do.
        advice: String,
        /// Why.
        source: io::Error,
    },
    /// The operating system refuses what every worker needs.
    #[error("cannot start: {doing} failed")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}
