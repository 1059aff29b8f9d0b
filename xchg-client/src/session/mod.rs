//! The end-to-end session of two peers: section 5 of PROTOCOL.md in code.
//!
//! [`Session::establish`] agrees on keys over any duplex stream of bytes (its two halves), [`send`] and
//! [`receive`] then transfer what [`files`](crate::files) collects and places.
//!
//! Everything is blocking. A read or write lasts as long as the stream's owner lets it: **set timeouts on the
//! stream** (30 s or more). A peer that works for long without having anything to say (hashing, syncing,
//! asking its person) sends a sign of life every 10 s, so that a read timeout means a lost peer, and becomes
//! [`Error::Silent`]. A [`Cancel`](crate::Cancel) token ends a transfer between two calls on the stream; to end a call that
//! blocks, shut the stream down.
//!
//! Nothing here opens a socket, prints, or reads a configuration.

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod keys;
mod link;
mod message;
mod record;
mod secret;
#[cfg(test)]
#[cfg(unix)]
mod testing;
mod transfer;
#[cfg(test)]
mod vectors;

use std::io::{Read, Write};

pub use error::Error;
pub use record::MAX_PLAINTEXT;
pub use secret::Secret;
pub use transfer::{Decision, Observer, Received, Sent, receive, send};

use record::{RecordReader, RecordWriter};

use crate::Side;

/// A stream between two peers that have proved to each other that they know the same secret.
pub struct Session<R, W> {
    side: Side,
    reader: RecordReader<R>,
    writer: RecordWriter<W>,
}

impl<R: Read, W: Write> Session<R, W> {
    /// Agrees with the other peer on keys; `reader` and `writer` are the two halves of one stream, at its
    /// very begin.
    ///
    /// `key` is the one that the person named, not its [meeting key](Key::meeting_key). The stream must hold the first 68 bytes
    /// of each direction without being read, as every socket and pipe does: both peers speak at once.
    ///
    /// # Errors
    /// [`Error::WrongSecret`] if the secrets differ (the other peer gets the same), [`Error::Version`] if the
    /// other peer is of another version, [`Error::Lost`] and the like if the stream fails.
    pub fn establish(
        mut reader: R,
        mut writer: W,
        side: Side,
        key: &[u8],
        secret: &Secret,
    ) -> Result<Self, Error> {
        let schedule = handshake::run(&mut reader, &mut writer, side, key, secret)?;
        Ok(Self {
            side,
            reader: RecordReader::new(reader, schedule.traffic(!side)),
            writer: RecordWriter::new(writer, schedule.traffic(side)),
        })
    }

    /// Which side this peer is.
    pub fn side(&self) -> Side {
        self.side
    }
}
