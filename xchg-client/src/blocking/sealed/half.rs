//! The two halves of a connection that a session runs on: each blocks in its own thread.

use std::io::{self, Read, Write};
use std::time::Instant;

use crate::Cancel;
use crate::blocking::net::Connection;
use crate::blocking::net::Throttle;
use crate::session::SILENCE_TIMEOUT;

/// One handle on the connection. What goes through it may be slowed down.
pub(crate) struct Half {
    connection: Connection,
    hard: Cancel,
    throttle: Throttle,
}

impl Half {
    /// `hard` ends every call on it.
    pub(super) fn new(
        connection: &Connection,
        hard: &Cancel,
        throttle: Throttle,
    ) -> io::Result<Self> {
        let mut connection = connection.another(hard)?;
        connection.set_read_timeout(Some(SILENCE_TIMEOUT))?;
        Ok(Self { connection, hard: hard.clone(), throttle })
    }

    fn slice(&self, bytes: usize) -> usize {
        self.throttle.slice(bytes).max(1).min(bytes)
    }

    fn moved(&mut self, bytes: usize) -> io::Result<()> {
        let pause = self.throttle.after(bytes, Instant::now());
        if pause.is_zero() {
            return Ok(());
        }
        self.hard.pause(pause).map_err(|_| Cancel::error())
    }
}

impl Read for Half {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.slice(buffer.len());
        match self.connection.read(&mut buffer[..most]) {
            Ok(bytes) => self.moved(bytes).map(|()| bytes),
            Err(error) => {
                // Nobody takes what the other half may be waiting to write.
                self.hard.cancel();
                Err(error)
            }
        }
    }
}

impl Write for Half {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.slice(bytes.len());
        let written = self.connection.write(&bytes[..most])?;
        self.moved(written).map(|()| written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}
