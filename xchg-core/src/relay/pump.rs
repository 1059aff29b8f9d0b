//! One flow under an event loop: moved as far as it goes without blocking.
//!
//! **Splice only for bulk.** Most small payloads fit one read and one write; a pipe would double
//! the system calls. The first read that fills 64 KiB shows that a flow is bulk: splicing costs the
//! server no more than copying from there on, a tenth less with payloads of 128 KiB and a quarter
//! with 512 KiB. Pipes of 64 KiB and 256 KiB reach 0.7 and 0.95 of what 1 MiB does (`--only bulk`,
//! `--pipe-size`). Where the kernel refuses to splice, copying goes on: slower and just as right.
//!
//! **What is there leaves at once.** A pump sends words, early bytes and all that can be read in
//! one write, and the last with the FIN (`Sink::write_last`).

use std::io;

#[cfg(target_os = "linux")]
use super::Pipe;
use super::{Flow, Resources, Sink, Source, Turned, Want, Why};

/// What a read takes of a turn's budget at least, in bytes: a peer that sends byte by byte has
/// others waiting no longer.
const READ_COST: u64 = 4096;

/// A turn under way.
struct Turning {
    /// What is left of its budget.
    left: u64,
    moved: u64,
}

/// Why reading stopped.
enum Stop {
    /// The buffer is full.
    Full,
    /// The source has ended.
    Ended,
    /// The turn is over.
    Turn(Why),
}

/// Reads into `buf` until it is full, the source has no more, or the budget is spent.
fn gather(source: &mut impl Source, buf: &mut [u8], left: &mut u64) -> (usize, Stop) {
    let mut n = 0;
    while n < buf.len() {
        if *left == 0 {
            return (n, Stop::Turn(Why::Spent));
        }
        // No more than there is budget for: a small one is a limit of bandwidth.
        let end =
            usize::try_from(*left).map_or(buf.len(), |left| buf.len().min(n.saturating_add(left)));
        match source.read(&mut buf[n..end]) {
            Ok(0) => return (n, Stop::Ended),
            Ok(more) => {
                n += more;
                *left = left.saturating_sub(READ_COST.max(more as u64));
            }
            Err(error) => {
                return (n, Stop::Turn(Why::of_source(error)));
            }
        }
    }
    (n, Stop::Full)
}

/// A [`Flow`] and the bytes it holds.
///
/// Small streams are copied. Once a read fills the buffer, bytes bypass user space (Linux only)
/// where [source](Source::splice_to) and [sink](Sink::splice_from) can do that; a sink whose peer
/// has left then raises SIGPIPE, which Rust's runtime ignores from the start and the process must
/// not switch on again.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use xchg_core::relay::{Pump, Resources, Socket, Why};
///
/// let (mut uploader, source) = UnixStream::pair()?;
/// let (sink, mut downloader) = UnixStream::pair()?;
/// source.set_nonblocking(true)?;
/// sink.set_nonblocking(true)?;
///
/// // For all pumps of a thread: a buffer of 64 KiB, pipes of 1 MiB.
/// let mut resources = Resources::new(64 << 10, 1 << 20);
/// let mut pump = Pump::new(Vec::new(), &[]);
/// let (mut source, mut sink) = (Socket(source), Socket(sink));
/// // To be called when a poll says that one of the two is ready; 1 MiB later others have a turn.
/// let mut turn = || pump.turn(&mut source, &mut sink, &mut resources, 1 << 20);
/// uploader.write_all(b"a picture")?;
/// let turned = turn();
/// assert!(matches!(turned.why, Why::SourceBlocked) && turned.moved == 9);
/// drop(uploader);
/// assert!(matches!(turn().why, Why::Ended));
///
/// let mut picture = Vec::new();
/// downloader.read_to_end(&mut picture)?;
/// assert_eq!(picture, b"a picture");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Pump {
    flow: Flow,
    held: Held,
    /// How many of the bytes that leave next are words to the sink's peer rather than payload.
    words: u64,
    mode: Mode,
    discards: bool,
    /// Whether all that is held was there from the beginning.
    is_fresh: bool,
}

#[derive(Debug)]
enum Held {
    Nothing,
    Bytes {
        bytes: Vec<u8>,
        from: usize,
    },
    #[cfg(target_os = "linux")]
    Pipe(Pipe),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Through the scratch buffer, until a read fills it.
    Copy,
    /// Through a pipe.
    #[cfg(target_os = "linux")]
    Splice,
    /// Through the scratch buffer for good: splice was refused.
    #[cfg(target_os = "linux")]
    CopyOnly,
}

impl Pump {
    /// A pump that first writes `words`, which count for nothing, and then `early`, the payload
    /// that has been read already.
    pub fn new(words: Vec<u8>, early: &[u8]) -> Self {
        let (count, mut bytes) = (words.len() as u64, words);
        bytes.extend_from_slice(early);
        let flow = Flow::new(bytes.len() as u64);
        let held = if bytes.is_empty() { Held::Nothing } else { Held::Bytes { bytes, from: 0 } };
        Self { flow, held, words: count, mode: Mode::Copy, discards: false, is_fresh: true }
    }

    /// A pump that writes `words` and then reads its source to the end without passing anything on:
    /// what a peer says to one that cannot hear it.
    pub fn discarding(words: Vec<u8>) -> Self {
        Self { discards: true, ..Self::new(words, &[]) }
    }

    /// Whether the flow has ended.
    pub fn has_ended(&self) -> bool {
        self.flow.has_ended()
    }

    /// Has `words` written behind what is held, before anything that is yet to be read. They count
    /// for nothing.
    ///
    /// # Panics
    /// If the flow is not [discarding](Self::discarding), or has ended: words go where no payload
    /// goes.
    pub fn say(&mut self, words: &[u8]) {
        assert!(self.discards && !self.has_ended(), "words go where no payload goes");
        if words.is_empty() {
            return;
        }
        let mut bytes = match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Bytes { bytes, from } => bytes[from..].to_vec(),
            _ => Vec::new(),
        };
        bytes.extend_from_slice(words);
        self.flow.on_read(words.len() as u64);
        self.words += words.len() as u64;
        self.held = Held::Bytes { bytes, from: 0 };
    }

    /// Takes out what is said and not yet written, for who writes it by other means once the flow
    /// is given up.
    pub fn unwritten(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Bytes { bytes, from } if self.discards => {
                self.flow.on_written(self.flow.held());
                self.words = 0;
                bytes[from..].to_vec()
            }
            held => {
                self.held = held;
                Vec::new()
            }
        }
    }

    /// Whether what the source says is dropped.
    pub fn is_discarding(&self) -> bool {
        self.discards
    }

    /// Whether the flow has shown itself to carry much: a read filled the whole buffer.
    pub fn is_bulk(&self) -> bool {
        self.mode != Mode::Copy
    }

    /// How many payload bytes are held for the sink.
    pub fn held(&self) -> u64 {
        self.flow.held().saturating_sub(self.words)
    }

    /// Whether bytes are held for the sink.
    pub fn is_holding(&self) -> bool {
        self.flow.held() > 0
    }

    /// Moves bytes from `source` to `sink` until one of them blocks, ends or fails, or about
    /// `budget` bytes are moved.
    pub fn turn(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        resources: &mut Resources,
        budget: u64,
    ) -> Turned {
        let mut turn = Turning { left: budget, moved: 0 };
        let why = loop {
            let step = match self.flow.want() {
                Want::Read if turn.left == 0 => Err(Why::Spent),
                Want::Write if turn.left == 0 || !self.gathers(resources) => {
                    self.write(sink, resources, &mut turn)
                }
                Want::Read | Want::Write => self.read(source, sink, resources, &mut turn),
                Want::HalfClose if self.discards => {
                    self.flow.on_half_closed();
                    Ok(())
                }
                Want::HalfClose => {
                    let told = sink.half_close().map(|()| self.flow.on_half_closed());
                    told.map_err(Why::of_sink)
                }
                Want::Nothing => Err(Why::Ended),
            };
            if let Err(why) = step {
                break why;
            }
        };
        Turned { moved: turn.moved, why }
    }

    /// Whether what is held waits for what can be read at once.
    fn gathers(&self, resources: &Resources) -> bool {
        let fits = self.flow.held() < resources.scratch.len() as u64;
        self.is_fresh && fits && self.flow.is_open() && !self.discards
    }

    /// Reads what there is, up to a buffer full, and writes it at once.
    fn read(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        resources: &mut Resources,
        turn: &mut Turning,
    ) -> Result<(), Why> {
        #[cfg(target_os = "linux")]
        if self.mode == Mode::Splice && resources.pipes.may_be_used() && sink.splices() {
            let most = usize::try_from(turn.left).unwrap_or(usize::MAX);
            let n = self.splice_in(source, most, resources)?;
            if n > 0 {
                turn.left = turn.left.saturating_sub(n as u64);
                return Ok(());
            }
            // Its end, or no splicing: a read tells which, and whether the end is a proper one.
        }
        let scratch = &mut resources.scratch;
        let held = self.take_fresh(scratch);
        let (n, stop) = gather(source, &mut scratch[held..], &mut turn.left);
        if n > 0 && !self.discards {
            self.flow.on_read(n as u64);
        }
        if matches!(stop, Stop::Ended) {
            self.flow.on_read(0);
        }
        if !self.discards && held + n > 0 {
            #[cfg(target_os = "linux")]
            if matches!(stop, Stop::Full) && self.mode == Mode::Copy {
                self.mode = Mode::Splice;
            }
            self.write_out(sink, &scratch[..held + n], matches!(stop, Stop::Ended), turn)?;
        }
        match stop {
            Stop::Full | Stop::Ended => Ok(()),
            // The sink is blocked too, and writing to it will tell.
            Stop::Turn(Why::SourceBlocked) if self.flow.held() > 0 => Ok(()),
            Stop::Turn(why) => Err(why),
        }
    }

    /// Takes what has been held since the beginning: it leaves in one segment with what follows at
    /// once.
    fn take_fresh(&mut self, scratch: &mut [u8]) -> usize {
        self.is_fresh = false;
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Bytes { bytes, .. } => {
                scratch[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            }
            _ => 0,
        }
    }

    fn write_out(
        &mut self,
        sink: &mut impl Sink,
        bytes: &[u8],
        is_last: bool,
        turn: &mut Turning,
    ) -> Result<(), Why> {
        let written = if is_last { sink.write_last(bytes) } else { sink.write(bytes) };
        let written = match written {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(Why::SinkFailed(error)),
        };
        self.on_written(written as u64, turn);
        if written < bytes.len() {
            self.held = Held::Bytes { bytes: bytes[written..].to_vec(), from: 0 };
        }
        Ok(())
    }

    fn write(
        &mut self,
        sink: &mut impl Sink,
        resources: &mut Resources,
        turn: &mut Turning,
    ) -> Result<(), Why> {
        self.is_fresh = false;
        let written = match &mut self.held {
            Held::Bytes { bytes, from } => {
                let written = sink.write(&bytes[*from..]);
                *from += *written.as_ref().unwrap_or(&0);
                written
            }
            #[cfg(target_os = "linux")]
            Held::Pipe(pipe) => {
                let len = usize::try_from(self.flow.held()).unwrap_or(usize::MAX);
                match sink.splice_from(pipe, len) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        return self.hold_as_bytes(resources);
                    }
                    spliced => spliced,
                }
            }
            Held::Nothing => unreachable!("whatever the flow holds is somewhere"),
        };
        match written {
            // Lest a connection that takes nothing and does not say so spin its thread for ever.
            Ok(0) => return Err(Why::SinkFailed(io::ErrorKind::WriteZero.into())),
            Ok(n) => self.on_written(n as u64, turn),
            Err(error) => return Err(Why::of_sink(error)),
        }
        if self.flow.held() == 0 {
            match std::mem::replace(&mut self.held, Held::Nothing) {
                #[cfg(target_os = "linux")]
                Held::Pipe(pipe) => resources.pipes.give_back(pipe),
                _ => {}
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = resources;
        Ok(())
    }

    fn on_written(&mut self, n: u64, turn: &mut Turning) {
        self.flow.on_written(n);
        let words = n.min(self.words);
        self.words -= words;
        turn.moved += n - words;
    }

    /// Fills a pipe from `source`. Nothing, if what is next can only be read, or if that is so for
    /// good.
    #[cfg(target_os = "linux")]
    fn splice_in(
        &mut self,
        source: &mut impl Source,
        most: usize,
        resources: &mut Resources,
    ) -> Result<usize, Why> {
        let Ok(pipe) = resources.pipes.take() else {
            // No descriptors or pages left for pipes: copying is slower and just as right.
            self.mode = Mode::CopyOnly;
            return Ok(0);
        };
        let n = match source.splice_to(&pipe, most) {
            Ok(0) => 0,
            Ok(n) => {
                self.flow.on_read(n as u64);
                self.held = Held::Pipe(pipe);
                return Ok(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.mode = Mode::CopyOnly;
                0
            }
            Err(error) => {
                resources.pipes.give_back(pipe);
                return Err(Why::of_source(error));
            }
        };
        resources.pipes.give_back(pipe);
        Ok(n)
    }

    /// Takes out of its pipe what the kernel refuses to splice to the sink: it is copied from here
    /// on.
    #[cfg(target_os = "linux")]
    fn hold_as_bytes(&mut self, resources: &mut Resources) -> Result<(), Why> {
        self.mode = Mode::CopyOnly;
        let Held::Pipe(pipe) = std::mem::replace(&mut self.held, Held::Nothing) else {
            unreachable!("what was to be spliced is in a pipe")
        };
        let len = usize::try_from(self.flow.held()).unwrap_or(usize::MAX);
        let bytes = pipe.take(len).map_err(Why::SourceFailed)?;
        resources.pipes.give_back(pipe);
        self.held = Held::Bytes { bytes, from: 0 };
        Ok(())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
