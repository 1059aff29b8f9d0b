//! TLS to the server: whom a client trusts, and the records around what two threads read and write.

#[cfg(not(target_family = "wasm"))]
mod records;
mod trust;
#[cfg(not(target_family = "wasm"))]
mod verify;

#[cfg(not(target_family = "wasm"))]
pub(super) use records::Records;
#[cfg(not(target_family = "wasm"))]
pub(crate) use trust::Credentials;
pub use trust::{Distrust, Fingerprint, TlsProblem, Trust};
#[cfg(not(target_family = "wasm"))]
pub(super) use verify::problem;
