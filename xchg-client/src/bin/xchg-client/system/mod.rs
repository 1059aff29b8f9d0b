//! What systems do differently.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod kind;

pub(crate) use kind::{is_open_to_others, on_first_signal};
