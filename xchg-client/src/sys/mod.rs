//! What systems do differently, each function once for every kind of system. Everything else here
//! is the same everywhere.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "linux.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "not_linux.rs")]
mod kernel;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

pub(crate) use kernel::*;
pub(crate) use system::*;

/// What a socket is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read: bytes, the end, or an error.
    Read,
    /// Room to write, or an error.
    Write,
}
