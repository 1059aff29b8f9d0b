//! Lines on their way to stderr: a bounded queue, and the one thread that writes.
//!
//! Whoever logs hands a line over and goes on, whatever stderr is: a full disk, a pipe that nobody
//! reads, or one whose reader has gone. What finds no room, or cannot be written, is dropped and
//! counted, and the count is told once a line gets through again.
//!
//! **A queue of our own before stderr.** tracing-appender's non-blocking writer drops and counts
//! lines too. But it says nothing of those that a full disk loses, and when it cannot stop it
//! prints, which panics if that fails.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Bytes that may wait to be written: some thousands of lines, the burst of a busy second at level
/// `debug`.
const MAX_BYTES: usize = 1 << 20;

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    /// Notified when lines come.
    filled: Condvar,
    /// Notified when all have been written.
    written: Condvar,
    /// Lines lost since the start, here and by the writer.
    lost_in_all: AtomicU64,
}

#[derive(Debug)]
struct Lines {
    /// Whole lines, each with its end.
    bytes: Vec<u8>,
    /// Lines that found no room behind those.
    lost: u64,
    /// Whether some have been taken out and are not written yet.
    is_writing: bool,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let lines = Lines { bytes: Vec::new(), lost: 0, is_writing: false };
        let (filled, written) = (Condvar::new(), Condvar::new());
        Self { lines: Mutex::new(lines), filled, written, lost_in_all: AtomicU64::new(0) }
    }

    /// Queues a line, or counts it as lost. Never waits for anything but a copy in memory.
    pub(super) fn push(&self, line: &[u8]) {
        let mut lines = self.lines.lock();
        if lines.bytes.len() + line.len() > MAX_BYTES {
            lines.lost += 1;
            self.note_lost(1);
            return;
        }
        lines.bytes.extend_from_slice(line);
        drop(lines);
        self.filled.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.lock().bytes.is_empty()
    }

    /// Lines lost since the start.
    pub(super) fn lost_in_all(&self) -> u64 {
        // Relaxed, as below: the counter guards no other memory.
        self.lost_in_all.load(Ordering::Relaxed)
    }

    fn note_lost(&self, lines: u64) {
        self.lost_in_all.fetch_add(lines, Ordering::Relaxed);
    }

    /// Waits until all lines have been written, or given up; `timeout` at most.
    pub(super) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut lines = self.lines.lock();
        while lines.is_writing || !lines.bytes.is_empty() {
            if self.written.wait_until(&mut lines, deadline).timed_out() {
                return;
            }
        }
    }

    /// Waits for lines and takes all out, with the number of those that were lost behind them.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut lines = self.lines.lock();
        lines.is_writing = false;
        while lines.bytes.is_empty() && lines.lost == 0 {
            self.written.notify_all();
            self.filled.wait(&mut lines);
        }
        lines.is_writing = true;
        (std::mem::take(&mut lines.bytes), std::mem::take(&mut lines.lost))
    }
}

/// Writes a queue's lines.
#[derive(Debug)]
pub(super) struct Writer<Sink, Notice> {
    sink: Sink,
    /// Makes the line that tells how many were lost.
    notice: Notice,
    /// Lines lost and not told yet.
    lost: u64,
    /// Whether the last line that was begun has no end.
    is_torn: bool,
}

impl<Sink: Write, Notice: FnMut(u64) -> Vec<u8>> Writer<Sink, Notice> {
    pub(super) fn new(sink: Sink, notice: Notice) -> Self {
        Self { sink, notice, lost: 0, is_torn: false }
    }

    /// Writes what comes, for ever.
    pub(super) fn run(mut self, queue: &Queue) -> ! {
        loop {
            let (lines, lost) = queue.take();
            let unwritten = self.write_all(&lines, lost);
            queue.note_lost(unwritten);
        }
    }

    /// Writes `lines`, behind which `lost` others found no room. Gives how many could not be
    /// written.
    fn write_all(&mut self, lines: &[u8], lost: u64) -> u64 {
        let (mut writes, before) = (true, self.lost);
        // One write each, so that another process's lines in the same pipe or file come between
        // ours, not into them.
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            writes = self.write(line);
        }
        let unwritten = self.lost - before;
        self.lost += lost;
        if self.lost > 0 && writes {
            let told = self.lost;
            let notice = (self.notice)(told);
            if self.write(&notice) {
                self.lost -= told;
            }
        }
        unwritten
    }

    /// Writes a line, or counts it as lost. Says whether it is written.
    fn write(&mut self, line: &[u8]) -> bool {
        let ended = if self.is_torn { self.write_bytes(b"\n") } else { Ok(()) };
        let written = ended.and_then(|()| self.write_bytes(line));
        self.lost += u64::from(written.is_err());
        written.is_ok()
    }

    fn write_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = match self.sink.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.is_torn = bytes[n - 1] != b'\n';
            bytes = &bytes[n..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    fn notice(lost: u64) -> Vec<u8> {
        format!("{lost} lost\n").into_bytes()
    }

    /// Takes so many bytes, and then fails.
    #[derive(Debug, Default)]
    struct Disk {
        room: usize,
        bytes: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.bytes.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_loses_is_told_once_there_is_room() {
        let mut writer = Writer::new(Disk { room: 9, bytes: Vec::new() }, notice);
        assert_eq!(writer.write_all(b"one\ntwo\nthree\nfour\n", 0), 2);
        assert_eq!(writer.write_all(b"five\n", 3), 1);
        assert_eq!(writer.sink.bytes, b"one\ntwo\nt");
        // Room for the line, and not for the notice behind it.
        writer.sink.room = 5;
        writer.write_all(b"six\n", 0);
        assert_eq!(writer.sink.bytes, b"one\ntwo\nt\nsix\n");
        writer.sink.room = 100;
        writer.write_all(b"seven\n", 0);
        // Three lines, the three that had no room in the queue, and the notice that failed.
        assert_eq!(writer.sink.bytes, b"one\ntwo\nt\nsix\nseven\n7 lost\n");
        writer.write_all(b"eight\n", 0);
        assert!(writer.sink.bytes.ends_with(b"7 lost\neight\n"), "it is told once");
    }

    #[test]
    fn more_than_the_queue_holds_is_counted_and_told_behind_what_it_holds() {
        let queue = Queue::new();
        let line = [vec![b'x'; 1023], vec![b'\n']].concat();
        for _ in 0..MAX_BYTES / 1024 + 5 {
            queue.push(&line);
        }
        let (lines, lost) = queue.take();
        assert_eq!((lines.len(), lost, queue.lost_in_all()), (MAX_BYTES, 5, 5));
        let mut writer = Writer::new(Vec::new(), notice);
        writer.write_all(&lines, lost);
        assert!(writer.sink.starts_with(&lines));
        assert_eq!(writer.sink[lines.len()..], *b"5 lost\n");
    }

    #[test]
    fn a_flush_waits_for_what_is_written_and_not_for_what_cannot_be() {
        /// Passes on what it is given, once it is let.
        struct Gate(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);
        impl Write for Gate {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.recv().ok();
                self.1.send(bytes.to_vec()).ok();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (open, gate) = mpsc::channel();
        let (sink, written) = mpsc::channel();
        let queue = Arc::new(Queue::new());
        let queued = queue.clone();
        std::thread::spawn(move || Writer::new(Gate(gate, sink), notice).run(&queued));
        queue.push(b"line\n");
        queue.flush(Duration::from_millis(1));
        assert!(written.try_recv().is_err(), "the gate is closed");
        open.send(()).unwrap();
        queue.flush(Duration::from_secs(60));
        assert_eq!(written.try_recv().unwrap(), b"line\n");
    }
}
