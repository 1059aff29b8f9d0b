//! A pair of connected ends in memory: a [`Duplex`] for tests, and for embedders whose peers are
//! threads of one process.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Duplex;

/// Makes two connected ends. Each way holds up to `capacity` bytes that are written and not yet
/// read; a writer blocks while it is full, a reader while it is empty.
///
/// # Panics
/// If `capacity` is 0, for no byte would ever pass.
pub fn memory(capacity: usize) -> (Memory, Memory) {
    assert!(capacity > 0, "a buffer of no bytes passes none");
    let (there, back) = (Arc::new(Way::new(capacity)), Arc::new(Way::new(capacity)));
    (
        Memory { incoming: back.clone(), outgoing: there.clone() },
        Memory { incoming: there, outgoing: back },
    )
}

/// One end of a pair that [`memory`] made.
///
/// To the other end, dropping this one is the end of what it reads, and
/// [`BrokenPipe`](ErrorKind::BrokenPipe) to what it writes. After an [`abort`](Duplex::abort) at
/// either end, every call at both fails with [`ConnectionAborted`](ErrorKind::ConnectionAborted),
/// and what was buffered is gone.
pub struct Memory {
    incoming: Arc<Way>,
    outgoing: Arc<Way>,
}

/// One direction.
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// No more will be written.
    ended: bool,
    /// Nobody is left to read.
    unheard: bool,
    aborted: bool,
}

impl Duplex for Memory {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = self.incoming.wait_while(|state| state.bytes.is_empty() && !state.ended)?;
        let taken = state.bytes.read(buf)?;
        self.incoming.changed.notify_all();
        Ok(taken)
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let is_full = |state: &State| state.room() == 0 && !state.ended && !state.unheard;
        let mut state = self.outgoing.wait_while(is_full)?;
        if state.ended || state.unheard {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = buf.len().min(state.room());
        state.bytes.extend(&buf[..taken]);
        self.outgoing.changed.notify_all();
        Ok(taken)
    }

    fn half_close(&self) -> io::Result<()> {
        self.outgoing.wait_while(|_| false)?.ended = true;
        self.outgoing.changed.notify_all();
        Ok(())
    }

    fn abort(&self) {
        for way in [&self.incoming, &self.outgoing] {
            way.change(|state| {
                state.aborted = true;
                state.bytes = VecDeque::new();
            });
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.outgoing.change(|state| state.ended = true);
        self.incoming.change(|state| {
            state.unheard = true;
            state.bytes = VecDeque::new();
        });
    }
}

impl Read for &Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Duplex::read(*self, buf)
    }
}

impl Write for &Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Duplex::write(*self, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Way {
    fn new(capacity: usize) -> Self {
        let bytes = VecDeque::new();
        let state = State { bytes, capacity, ended: false, unheard: false, aborted: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Blocks while `blocked` says so, at most until an abort, which is the only error.
    fn wait_while(&self, blocked: impl Fn(&State) -> bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        while !state.aborted && blocked(&state) {
            self.changed.wait(&mut state);
        }
        if state.aborted { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(state) }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }
}

impl State {
    fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn kind<T: fmt::Debug>(result: io::Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn what_one_end_writes_the_other_reads_both_ways() {
        let (one, other) = memory(3);
        assert_eq!(Duplex::write(&one, b"to and fro").unwrap(), 3);
        assert_eq!(Duplex::write(&other, b"fro").unwrap(), 3);
        let mut buf = [0; 2];
        assert_eq!(Duplex::read(&other, &mut buf).unwrap(), 2);
        assert_eq!(&buf, b"to");
        assert_eq!(Duplex::read(&one, &mut buf).unwrap(), 2);
        assert_eq!(&buf, b"fr");
        assert_eq!(Duplex::write(&one, b"!!!").unwrap(), 2, "two of three bytes were read");
        assert_eq!(Duplex::read(&one, &mut []).unwrap(), 0);
    }

    #[test]
    fn megabytes_pass_through_a_few_bytes() {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect();
        let (one, other) = memory(777);
        thread::scope(|scope| {
            scope.spawn(|| {
                (&one).write_all(&bytes).unwrap();
                one.half_close().unwrap();
            });
            let mut got = Vec::new();
            (&other).read_to_end(&mut got).unwrap();
            assert!(got == bytes);
        });
    }

    #[test]
    fn a_half_close_ends_one_way_and_leaves_the_other() {
        let (one, other) = memory(8);
        Duplex::write(&one, b"last").unwrap();
        one.half_close().unwrap();
        one.half_close().unwrap();
        assert_eq!(kind(Duplex::write(&one, b"more")), ErrorKind::BrokenPipe);
        let mut got = Vec::new();
        (&other).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"last");
        Duplex::write(&other, b"answer").unwrap();
        drop(other);
        (&one).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"lastanswer");
    }

    #[test]
    fn a_dropped_end_has_said_all_and_hears_nothing() {
        let (one, other) = memory(8);
        Duplex::write(&one, b"said").unwrap();
        drop(one);
        let mut got = Vec::new();
        (&other).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"said");
        assert_eq!(kind(Duplex::write(&other, b"heard?")), ErrorKind::BrokenPipe);
        other.half_close().unwrap();
    }

    #[test]
    fn a_drop_frees_a_writer_that_is_blocked() {
        let (one, other) = memory(1);
        Duplex::write(&one, b"1").unwrap();
        let writer = thread::spawn(move || kind(Duplex::write(&one, b"2")));
        drop(other);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_abort_fails_both_ends_and_frees_who_is_blocked() {
        let (one, other) = memory(4);
        Duplex::write(&one, b"gone").unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| kind(Duplex::read(&one, &mut [0; 4])));
            let writer = scope.spawn(|| kind(Duplex::write(&one, b"5")));
            other.abort();
            assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionAborted);
            assert_eq!(writer.join().unwrap(), ErrorKind::ConnectionAborted);
        });
        for end in [&one, &other] {
            assert_eq!(kind(Duplex::read(end, &mut [0; 4])), ErrorKind::ConnectionAborted);
            assert_eq!(kind(Duplex::write(end, b"6")), ErrorKind::ConnectionAborted);
            assert_eq!(kind(end.half_close()), ErrorKind::ConnectionAborted);
        }
    }
}
