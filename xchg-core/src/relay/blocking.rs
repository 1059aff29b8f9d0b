//! An exchange moved with blocking calls: one thread a flow, the caller's for the uploader's bytes.

use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::{Duplex, Flow, Want};
use crate::{Ended, Exchange, Outcome, Side};

/// The buffer of a flow, of which an exchange has two: what Linux gives a pipe (pipe(7)), and
/// enough that a call's own cost no longer shows beside that of copying the bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Moves the bytes of `exchange` both ways between two connections whose calls block, and says how
/// it ended.
///
/// Returns when both flows have ended, or one call has failed. The end of one flow is a half-close
/// of its sink; the other goes on. The first call to fail [aborts](Duplex::abort) both connections
/// and decides the outcome: whose connection it was, that side is lost. A panic in a connection's
/// call is such a failure. [`ExchangeHandle::cancel`] aborts both connections too. The connections
/// are dropped, and thereby closed, after the exchange has [finished](Exchange::finish).
///
/// It takes a thread and 128 KiB for as long as it runs, beside the caller's thread. To run many
/// exchanges, call it on a thread for each; to run thousands, see [`Pump`](super::Pump).
///
/// ```
/// use std::io::{Read, Write};
/// use std::thread;
/// use std::time::Instant;
/// use xchg_core::relay::{self, Duplex};
/// use xchg_core::{Broker, Brokered, Key, Limits, Offer, Outcome, Realm, Side};
///
/// let broker = Broker::new(Limits::default());
/// let arrive = |side| {
///     let (peer, conn) = relay::memory(4096);
///     let key = Key::parse(b"holiday").expect("it has 1 to 255 bytes");
///     let brokered = broker.offer(Offer::new(Realm::Plain, key, side, conn), Instant::now());
///     (peer, brokered)
/// };
/// let (uploader, _waits) = arrive(Side::Upload);
/// let (downloader, brokered) = arrive(Side::Download);
/// let Brokered::Paired(pair) = brokered else { panic!("the uploader waits") };
/// let relay = thread::spawn(|| relay::run(pair.exchange, pair.upload, pair.download));
///
/// // The end of one direction leaves the other open, for an answer.
/// (&uploader).write_all(b"a picture")?;
/// uploader.half_close()?;
/// let mut picture = Vec::new();
/// (&downloader).read_to_end(&mut picture)?;
/// (&downloader).write_all(b"thanks")?;
/// drop(downloader);
/// let mut answer = String::new();
/// (&uploader).read_to_string(&mut answer)?;
/// assert_eq!(answer, "thanks");
/// let ended = relay.join().expect("peers cannot make it panic");
/// assert_eq!((ended.outcome, ended.bytes), (Outcome::Completed, 9));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`ExchangeHandle::cancel`]: crate::ExchangeHandle::cancel
pub fn run<A, B>(exchange: Exchange, upload: A, download: B) -> Ended
where
    A: Duplex + Send + Sync + 'static,
    B: Duplex + Send + Sync + 'static,
{
    let ends = Arc::new(Ends { upload, download, outcome: OnceLock::new() });
    let cancelled = ends.clone();
    exchange.on_cancel(move || cancelled.cut(Outcome::Cancelled));
    thread::scope(|scope| {
        let reverse = || ends.run(Side::Download, &ends.download, &ends.upload, &exchange);
        match thread::Builder::new().name("xchg-reverse".into()).spawn_scoped(scope, reverse) {
            Ok(_) => ends.run(Side::Upload, &ends.upload, &ends.download, &exchange),
            // The process has no thread to spare: nothing is wrong with the peers.
            Err(_) => ends.cut(Outcome::Cancelled),
        }
    });
    exchange.finish(*ends.outcome.get_or_init(|| Outcome::Completed))
}

/// Both connections, and what ended the exchange between them.
struct Ends<A, B> {
    upload: A,
    download: B,
    /// The first cause stays: what fails after an abort fails because of it.
    outcome: OnceLock<Outcome>,
}

impl<A: Duplex, B: Duplex> Ends<A, B> {
    fn run(&self, from: Side, source: &impl Duplex, sink: &impl Duplex, exchange: &Exchange) {
        if let Err(lost) = relay(from, source, sink, exchange) {
            self.cut(Outcome::Lost(lost));
        }
    }

    /// Ends both flows, unless the exchange has an end already.
    fn cut(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok() {
            // Each on its own: a panic in one must not leave the other blocked.
            catch_unwind(AssertUnwindSafe(|| self.upload.abort())).ok();
            catch_unwind(AssertUnwindSafe(|| self.download.abort())).ok();
        }
    }
}

/// Runs one flow to its end.
///
/// # Errors
/// The side whose connection failed.
fn relay(
    from: Side,
    source: &impl Duplex,
    sink: &impl Duplex,
    exchange: &Exchange,
) -> Result<(), Side> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut owed = 0..0;
    let mut flow = Flow::new(0);
    loop {
        match flow.want() {
            Want::Read => {
                let n = attempt(0..=BUFFER_BYTES, || source.read(&mut buffer)).ok_or(from)?;
                flow.on_read(n as u64);
                owed = 0..n;
            }
            Want::Write => {
                // None written is a failure, lest this spin for ever.
                let n =
                    attempt(1..=owed.len(), || sink.write(&buffer[owed.clone()])).ok_or(!from)?;
                flow.on_written(n as u64);
                owed.start += n;
                exchange.add_moved(from, n as u64);
            }
            Want::HalfClose => {
                attempt(0..=0, || sink.half_close().map(|()| 0)).ok_or(!from)?;
                flow.on_half_closed();
            }
            Want::Nothing => return Ok(()),
        }
    }
}

/// What `call` gives. `None` if it fails or panics, or gives a number that such a call cannot give.
fn attempt(
    valid: RangeInclusive<usize>,
    call: impl FnOnce() -> io::Result<usize>,
) -> Option<usize> {
    // A connection that panicked is not used again, save to abort it.
    let result = catch_unwind(AssertUnwindSafe(call)).ok()?;
    result.ok().filter(|n| valid.contains(n))
}
