//! Two ends of a connection in memory that never block, and take and give as little at a time as
//! one likes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use xchg_core::relay::{Sink, Source};

use crate::engine::net::{Accepted, Id, Layer, Net, Transport};

/// How wide a pipe is each way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Width {
    /// Bytes that it holds.
    pub(super) capacity: usize,
    /// Bytes that one call moves.
    pub(super) at_once: usize,
}

impl Width {
    pub(super) const WIDE: Self = Self { capacity: usize::MAX, at_once: usize::MAX };
}

#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    writes: usize,
    reads: usize,
    has_ended: bool,
    is_cut: bool,
}

#[derive(Debug)]
pub(super) struct Pipe {
    width: Width,
    to: Arc<Mutex<Way>>,
    from: Arc<Mutex<Way>>,
}

pub(super) fn pipe(width: Width) -> (Pipe, Pipe) {
    let (one, other) = <(Arc<Mutex<Way>>, Arc<Mutex<Way>>)>::default();
    let end =
        |to: &Arc<_>, from: &Arc<_>| Pipe { width, to: Arc::clone(to), from: Arc::clone(from) };
    (end(&one, &other), end(&other, &one))
}

impl Pipe {
    /// Takes out all that has arrived.
    pub(super) fn arrived(&self) -> Vec<u8> {
        self.from.lock().bytes.drain(..).collect()
    }

    /// How often the other end has written.
    pub(super) fn writes(&self) -> usize {
        self.from.lock().writes
    }

    /// How often the other end has asked for bytes.
    pub(super) fn reads(&self) -> usize {
        self.to.lock().reads
    }

    /// How many bytes the other end has not taken.
    pub(super) fn unread(&self) -> usize {
        self.to.lock().bytes.len()
    }

    /// Whether the other end has said that no more comes.
    pub(super) fn has_end(&self) -> bool {
        self.from.lock().has_ended
    }
}

impl Source for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut way = self.from.lock();
        way.reads += 1;
        if way.is_cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n = buf.len().min(self.width.at_once).min(way.bytes.len());
        if n == 0 && !way.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (to, byte) in buf.iter_mut().zip(way.bytes.drain(..n)) {
            *to = byte;
        }
        Ok(n)
    }
}

impl Sink for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut way = self.to.lock();
        assert!(!way.has_ended, "nothing is written behind the end");
        let room = self.width.capacity.saturating_sub(way.bytes.len());
        let n = buf.len().min(self.width.at_once).min(room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        way.bytes.extend(&buf[..n]);
        way.writes += 1;
        Ok(n)
    }

    fn half_close(&mut self) -> io::Result<()> {
        self.to.lock().has_ended = true;
        Ok(())
    }
}

impl Transport for Pipe {
    fn write_framed(&mut self, _: &[u8], _: &[u8], _: bool) -> io::Result<usize> {
        unreachable!("all is within a layer")
    }

    fn take_failure(&self) -> io::Result<Option<io::ErrorKind>> {
        Ok(None)
    }

    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    fn set_buffers(&self, _: usize) {}

    fn set_send_buffer(&self, _: usize) {}

    fn set_recv_buffer(&self, _: usize) {}

    fn set_stall_timeout(&self, _: Duration) {}

    fn reset(&self) {
        self.to.lock().is_cut = true;
    }
}

/// A poll that everybody may register with.
pub(super) struct Poll;

impl Net for Poll {
    type Transport = Pipe;

    fn listeners(&self) -> usize {
        0
    }

    fn accept(&mut self, _: usize) -> io::Result<Option<Accepted<Pipe>>> {
        Ok(None)
    }

    fn close_listeners(&mut self) {}

    fn watch(&mut self, _: &Pipe, _: Id) -> io::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self, _: &Pipe) {}

    fn begins_layer(&self, _: u8, _: &[u8]) -> bool {
        false
    }

    fn layer(&mut self, _: u8) -> io::Result<Box<dyn Layer>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// As a standard library's stream, for a client's library.
impl io::Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Source::read(self, buf)
    }
}

impl io::Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Sink::write(self, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
