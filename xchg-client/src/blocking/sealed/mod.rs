//! End-to-end encrypted transfers: through the server, with offers in realm sealed, a session in
//! each exchange, and new offers after what passes by itself; or over any [`SealedStream`].

mod attempt;
mod download;
mod half;
#[cfg(test)]
#[cfg(unix)]
mod hostile;
mod link;
pub(crate) mod offers;
mod stream;
#[cfg(test)]
#[cfg(unix)]
mod testing;
mod threads;
mod upload;

pub use download::download;
pub use stream::SealedStream;
pub use upload::upload;
