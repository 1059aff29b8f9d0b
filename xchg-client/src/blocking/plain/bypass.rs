//! From the socket to the file past this process, where the system can.

use std::io::{self, BufReader};

use super::framing::Payload;
use crate::Error;
use crate::blocking::net::Connection;
use crate::files::Sink;
use crate::sys::Pipe;

/// Moves a payload into a file. Reading and writing it instead takes 1.3 times the processor time
/// into a file in memory, and 1.6 times into one on ext4 (1 GiB from loopback TCP, nothing else
/// done with it).
pub(super) struct Bypass {
    /// `None` where the system cannot or will not: the payload is copied then, slower and just as
    /// right.
    pipe: Option<Pipe>,
}

impl Bypass {
    /// Only files are written so.
    pub(super) fn new(sink: &Sink<'_>) -> Self {
        Self { pipe: if sink.takes_pipes() { Pipe::new() } else { None } }
    }

    /// Moves up to `most` bytes, and says how many; 0 is the payload's end. `None` if the next
    /// bytes must be copied.
    pub(super) fn take(
        &mut self,
        payload: &mut Payload<BufReader<Connection>>,
        sink: &mut Sink<'_>,
        most: usize,
    ) -> Result<Option<usize>, Error> {
        let (Some(pipe), Some((stream, left))) = (&self.pipe, payload.bare()) else {
            return Ok(None);
        };
        // What was read with a chunk's head comes first.
        if !stream.buffer().is_empty() {
            return Ok(None);
        }
        let taken = stream.get_mut().fill(pipe, left.min(most));
        if matches!(&taken, Err(error) if error.kind() == io::ErrorKind::Unsupported) {
            self.pipe = None;
            return Ok(None);
        }
        let count = payload.took(taken)?;
        sink.write_from(0, pipe, count)?;
        Ok(Some(count))
    }
}
