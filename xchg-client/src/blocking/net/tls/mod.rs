//! TLS to the server: whom a client trusts, and the records around what two threads read and write.

mod records;
mod trust;
mod verify;

pub(super) use records::Records;
pub(crate) use trust::Credentials;
pub use trust::{Distrust, Fingerprint, InvalidFingerprint, TlsProblem, Trust};
pub(super) use verify::problem;
