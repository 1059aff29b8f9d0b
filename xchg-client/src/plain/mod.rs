//! Transfers of bare bytes in realm plain, where the counterpart may be curl, a browser or a classic client
//! (PROTOCOL.md section 2).

mod bypass;
pub(crate) mod download;
pub(crate) mod framing;
pub(crate) mod meter;
pub(crate) mod source;
pub(crate) mod target;
pub(crate) mod upload;
