//! Throughput of a few long streams.
//!
//! The generator has to cost little beside the relay, which shares the processors with it. Measured
//! per GiB on two cores: one event loop over all ends 0.07 s directly and 0.15 s beside a relay; a
//! loop for each side 0.15 s and 0.2 s; two blocking threads a stream 0.11 s and, with 64 streams,
//! 0.6 s. Sending with `sendfile` from a memory file saves the copy that `write` makes (0.15 s for
//! 0.22 s beside a relay), discarding with `MSG_TRUNC` the one that `read` makes (0.1 s for 0.2 s
//! directly); 1 MiB a call is as good as any size. So a relay gets one event loop beside it, which
//! no relay keeps fully busy. Directly, nothing else wants the other processors: there the streams
//! are dealt to a loop on each, lest the comparison flatter the relays.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::candidate::Running;
use super::failure::{During, Failure, Result};
use super::meter::{measure, processors};
use super::poller::{Interest, Poller};
use super::report::{Column, Sample};
use super::route::{Route, STALLED, Stream};

/// Most bytes sent or discarded in one call.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

pub(crate) const GIB: f64 = (1_u64 << 30) as f64;

static THROUGHPUT: Column = Column::new("gib_per_second", "GiB/s", 2);
static SERVER: Column = Column::new("server_seconds_per_gib", "server s/GiB", 3);
/// When the first of several equal streams has ended, as a part of the time until all have: 1 if
/// the relay shares evenly.
static EVENNESS: Column = Column::new("first_of_all", "first/last", 2);

/// Moves `bytes` over `streams` at once through `running`; every stream's bytes are counted where
/// they arrive.
pub(crate) fn round(running: &Running, streams: usize, bytes: u64) -> Result<Sample> {
    let share = bytes / streams as u64;
    let load = Load::open(&running.route, streams, share)?;
    let (control, began) = (Control::default(), Instant::now());
    let (moved, cost) = measure(running.process.as_ref(), || load.run(&control));
    moved?;
    let gib = (share * streams as u64) as f64 / GIB;
    let mut sample = vec![
        (&THROUGHPUT, gib / cost.elapsed.as_secs_f64()),
        (&SERVER, cost.server_time.as_secs_f64() / gib),
    ];
    if let Some(first) = control.first_end.get().filter(|_| streams > 1) {
        let first = first.duration_since(began).as_secs_f64();
        sample.push((&EVENNESS, first / cost.elapsed.as_secs_f64()));
    }
    sample.extend(cost.common());
    Ok(sample)
}

/// Streams through a candidate, to be set in motion.
pub(crate) struct Load {
    /// One list for each event loop.
    loops: Vec<Vec<Flow>>,
    payload: OwnedFd,
}

/// What can be seen and done while streams run.
#[derive(Debug, Default)]
pub(crate) struct Control {
    received: AtomicU64,
    stop: AtomicBool,
    /// When the first stream ended.
    first_end: OnceLock<Instant>,
}

impl Control {
    /// Bytes that have arrived so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Ends all streams before their share is sent; what was sent shall still arrive.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Opens the streams, each to carry `share` bytes.
    pub(crate) fn open(route: &Route, streams: usize, share: u64) -> Result<Self> {
        let count = if route.is_direct() { processors().min(streams) } else { 1 };
        let mut loops: Vec<Vec<Flow>> = (0..count).map(|_| Vec::new()).collect();
        for index in 0..streams {
            let stream = route.open()?;
            let ends = [&stream.upload, &stream.download];
            ends.iter()
                .try_for_each(|end| end.set_nonblocking(true))
                .during("cannot set options")?;
            loops[index % count].push(Flow { stream, share, sent: 0, received: 0 });
        }
        let payload = payload().during("cannot make a memory file")?;
        Ok(Self { loops, payload })
    }

    /// Sends and receives until every stream has ended.
    ///
    /// # Errors
    /// A stream ends with more or fewer bytes than were sent, or nothing moves any more.
    pub(crate) fn run(self, control: &Control) -> Result<()> {
        let payload = &self.payload;
        thread::scope(|scope| {
            let loops = self.loops.into_iter();
            let loops: Vec<_> =
                loops.map(|flows| scope.spawn(|| drive(flows, payload, control))).collect();
            loops.into_iter().try_for_each(|one| {
                one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}

/// 1 MiB in memory that `sendfile` can send from.
pub(super) fn payload() -> io::Result<OwnedFd> {
    let file = File::from(memfd_create("payload", MemfdFlags::CLOEXEC)?);
    file.write_all_at(&vec![b'x'; CHUNK_BYTES], 0)?;
    Ok(file.into())
}

/// The event loop: each readiness gets one call, so that no stream starves another.
fn drive(mut flows: Vec<Flow>, payload: &OwnedFd, control: &Control) -> Result<()> {
    let mut poller = Poller::new().during("cannot create an event loop")?;
    for (index, flow) in (0..).zip(&flows) {
        poller
            .add(&flow.stream.upload, 2 * index, Interest::Writable)
            .during("cannot watch an uploader")?;
        poller
            .add(&flow.stream.download, 2 * index + 1, Interest::Readable)
            .during("cannot watch a downloader")?;
    }
    let (mut ready, mut scratch) = (Vec::new(), vec![0; CHUNK_BYTES]);
    let mut running = flows.len();
    while running > 0 {
        poller.wait(STALLED, &mut ready).during("cannot wait for events")?;
        if ready.is_empty() {
            let sent: u64 = flows.iter().map(|flow| flow.sent).sum();
            let received: u64 = flows.iter().map(|flow| flow.received).sum();
            let what = format!("{running} of {} streams stand still for {STALLED:?}", flows.len());
            return Err(Failure::new(format!(
                "{what}, with {received} of {sent} bytes sent arrived"
            )));
        }
        for token in ready.drain(..) {
            let flow = usize::try_from(token / 2).ok().and_then(|index| flows.get_mut(index));
            let flow = flow.expect("tokens were made from the indices of flows");
            if token % 2 == 0 {
                if flow.send(payload, control)? {
                    poller.forget(&flow.stream.upload).during("cannot forget an uploader")?;
                }
            } else if flow.receive(&mut scratch, control)? {
                poller.forget(&flow.stream.download).during("cannot forget a downloader")?;
                control.first_end.get_or_init(Instant::now);
                running -= 1;
            }
        }
    }
    Ok(())
}

struct Flow {
    stream: Stream,
    /// Bytes that the uploader is to send.
    share: u64,
    sent: u64,
    received: u64,
}

impl Flow {
    /// Sends a chunk; says whether all is sent and the uploader's side closed.
    fn send(&mut self, payload: &OwnedFd, control: &Control) -> Result<bool> {
        if control.stop.load(Ordering::Relaxed) {
            self.share = self.sent;
        }
        let chunk = usize::try_from(self.share - self.sent)
            .map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        if chunk > 0 {
            match sendfile(&self.stream.upload, payload, Some(&mut 0), chunk) {
                Ok(count) => self.sent += count as u64,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).during("an uploader cannot send"),
            }
        }
        let finished = self.sent == self.share;
        if finished {
            self.stream
                .upload
                .shutdown(Shutdown::Write)
                .during("an uploader cannot end its stream")?;
        }
        Ok(finished)
    }

    /// Discards a chunk; says whether the stream has ended, with all that was sent.
    fn receive(&mut self, scratch: &mut [u8], control: &Control) -> Result<bool> {
        match recv(&self.stream.download, scratch, RecvFlags::TRUNC) {
            Ok((_, 0)) if self.received == self.sent && self.sent == self.share => Ok(true),
            Ok((_, 0)) => {
                Err(Failure::new(format!("{} bytes arrived of {} sent", self.received, self.sent)))
            }
            Ok((_, count)) => {
                self.received += count as u64;
                control.received.fetch_add(count as u64, Ordering::Relaxed);
                Ok(false)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error).during("a downloader cannot receive"),
        }
    }
}
