//! What the workers and the handle share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use xchg_core::wire::{RefusalCode, StatusReport};
use xchg_core::{Broker, Key, Limits, Offer, Place};

use crate::Config;
use crate::access::Gate;
use crate::admin::tally::Answers;
use crate::dialect::http::FailedUploads;
use crate::engine::Gathering;
use crate::engine::admission::{Admission, WAITING_PER_SOURCE};
use crate::engine::allowance::Paces;
use crate::engine::connection::Address;
use crate::engine::frequency::Frequency;
use crate::engine::net::Id;
use crate::engine::pulse::Pulse;
use crate::engine::secure::Handshakes;
use crate::engine::tally::Tally;
use crate::engine::throttle::Throttles;
use crate::engine::waiter::{GiveOut, Heir};
use crate::origin::Origin;
use crate::system::descriptors::Descriptors;
use crate::tls::Store;

pub(crate) struct Shared<T> {
    /// As it was given, with no more connections than there are descriptors for.
    pub(crate) config: Config,
    pub(crate) descriptors: Descriptors,
    pub(crate) broker: Broker<Address>,
    pub(crate) inboxes: Vec<Inbox<T>>,
    pub(crate) admission: Admission,
    pub(crate) gate: Gate,
    pub(crate) paces: Paces,
    /// How often each source may make an offer, if that is limited.
    pub(crate) offers: Option<Mutex<Frequency>>,
    pub(crate) counters: Counters,
    pub(crate) tally: Tally,
    /// How requests at the admin listener were answered.
    pub(crate) admin: Answers,
    /// Of each worker.
    pub(crate) pulses: Box<[Pulse]>,
    pub(crate) failed_uploads: Arc<FailedUploads>,
    pub(crate) throttles: Throttles,
    pub(crate) handshakes: Handshakes,
    /// What is shown to those who come in TLS.
    pub(crate) certificates: Option<Arc<Store>>,
    pub(crate) started: Instant,
    /// When the word to drain was given, and how many payload bytes had been moved by then.
    pub(crate) drain_began: OnceLock<(Instant, u64)>,
    /// Says to whom those who wait are given, if they are not let go.
    pub(crate) drain: Sender<Option<Heir<T>>>,
    /// Whether exchanges are cut: also those that start while the message is on its way.
    pub(crate) cuts: AtomicBool,
    /// Whether the workers are told to stop.
    pub(crate) stops: AtomicBool,
    /// Whether a worker or the supervisor has panicked.
    pub(crate) has_panicked: AtomicBool,
}

/// What is asked of a worker.
pub(crate) enum Message<T> {
    /// To run an exchange with who waits there, or to have them taken along to where it is to run.
    Gather(Box<Gathering<T>>),
    /// To let go of a waiting peer that the broker has given back.
    Release(u32),
    /// To give out waiting peers that the broker has given back.
    GiveOut(Box<GiveOut<T>>),
    /// To close a waiting peer that the broker has given back because others were paired.
    Spare(u32),
    /// To tell an uploader, if it still waits at that place, that one of its receivers has come.
    ReceiverCame { slot: u32, place: Place },
    /// To look at an exchange that a handle has cancelled.
    Cancelled(Id),
    /// To accept nobody any more.
    CloseDoors,
    /// To end all exchanges.
    Cut,
    /// To end.
    Stop,
}

/// A worker's messages, and the means to wake it for them.
pub(crate) struct Inbox<T> {
    sender: Sender<Message<T>>,
    receiver: Receiver<Message<T>>,
    wake: Wake,
    /// Whether the worker knows that something is here: a second wake-up would be a system call for
    /// nothing.
    is_woken: AtomicBool,
}

/// Has a worker that waits for something to happen look at its messages.
pub(crate) type Wake = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

impl<T> Inbox<T> {
    pub(crate) fn new(wake: Wake) -> Self {
        // Unbounded, and yet bounded: each connection and exchange is in few messages at a time.
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self { sender, receiver, wake, is_woken: AtomicBool::new(false) }
    }

    pub(crate) fn send(&self, message: Message<T>) {
        self.sender.send(message).expect("the inbox itself holds a receiver");
        if !self.is_woken.swap(true, Ordering::AcqRel)
            && let Err(error) = (self.wake)()
        {
            // Whoever sends the next message tries again, and the worker looks for messages by
            // itself once a second.
            self.is_woken.store(false, Ordering::Release);
            tracing::error!(%error, "cannot wake a worker");
        }
    }

    /// Drops messages, and what is in them, until the server stops.
    pub(crate) fn discard_until_stopped(&self) {
        while !matches!(self.receiver.recv(), Ok(Message::Stop) | Err(_)) {}
    }

    pub(crate) fn drain(&self) -> impl Iterator<Item = Message<T>> {
        // Before the first look: what is sent after the last one then wakes the worker again. A
        // swap, not a store: it reads what `send` has swapped in, and so sees the message of one
        // who found the worker woken. A store may become visible only after the look.
        self.is_woken.swap(false, Ordering::AcqRel);
        self.receiver.try_iter()
    }
}

/// Why peers are refused, as the counts have it.
pub(crate) const REFUSALS: [RefusalCode; 7] = [
    RefusalCode::Malformed,
    RefusalCode::Version,
    RefusalCode::Busy,
    RefusalCode::TimedOut,
    RefusalCode::Draining,
    RefusalCode::Forbidden,
    RefusalCode::Unsupported,
];

/// Counts since the start, of what the broker does not see.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    accept_failures: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    untrusted_proxies: AtomicU64,
    proxy_header_failures: AtomicU64,
    secured: AtomicU64,
    handshake_failures: AtomicU64,
    cut: AtomicUsize,
    panics: AtomicU64,
}

// Relaxed throughout: the counters guard no other memory.
impl Counters {
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this failure is worth a line in the log: the first, and each thousandth.
    pub(crate) fn accept_failed(&self) -> bool {
        self.accept_failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000)
    }

    pub(crate) fn refused(&self, code: RefusalCode) {
        if let Some(index) = REFUSALS.iter().position(|&known| known == code) {
            self.refused[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were refused for each of the [reasons](REFUSALS).
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (RefusalCode, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        REFUSALS.into_iter().zip(counts)
    }

    /// Notes somebody who came where only trusted proxies may.
    pub(crate) fn untrusted_proxy(&self) {
        self.untrusted_proxies.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a header of the PROXY protocol that was due and did not come, or came where none is.
    pub(crate) fn proxy_header_failed(&self) {
        self.proxy_header_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn secured(&self) {
        self.secured.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshake_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the handling of a connection has panicked.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(crate) fn cut_exchange(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}

/// What the server has counted beside its exchanges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Times that accepting failed for want of descriptors or memory.
    pub accept_failures: u64,
    /// Peers that were told no, or closed for what they said.
    pub refused: u64,
    /// Those of them that came to a listener for proxies from elsewhere than
    /// [`Config::trusted_proxies`].
    pub untrusted_proxies: u64,
    /// Those of them without a header of the PROXY protocol at a listener for proxies, or with one
    /// elsewhere.
    pub proxy_header_failures: u64,
    /// Connections that have shaken hands in TLS.
    pub tls_handshakes: u64,
    /// Connections that began to, and failed or took too long.
    pub tls_handshake_failures: u64,
    /// Certificates that were taken in place of others while the server ran.
    pub tls_reloads: u64,
    /// Certificates that were found then and could not be used: the one before stayed.
    pub tls_reload_failures: u64,
    /// Whether the last that was found is one of these: an older one is in use.
    pub tls_is_outdated: bool,
    /// Token files that were taken in place of others while the server ran.
    pub token_reloads: u64,
    /// Token files that were found then and could not be used: the tokens before stayed.
    pub token_reload_failures: u64,
    /// Whether the last that was found is one of these: older tokens are in use.
    pub tokens_are_outdated: bool,
    /// Until when the certificate in use holds, if there is one.
    pub tls_expires: Option<SystemTime>,
}

impl<T> Shared<T> {
    /// The state of a server whose workers have `inboxes`, and whose broker `broker` makes, and
    /// where the word to drain comes out.
    pub(crate) fn new(
        mut config: Config,
        descriptors: Descriptors,
        inboxes: Vec<Inbox<T>>,
        broker: impl FnOnce(Limits) -> Broker<Address>,
        now: Instant,
    ) -> (Self, Receiver<Option<Heir<T>>>) {
        descriptors.bound(&mut config);
        let (drain, drains) = crossbeam_channel::bounded(1);
        let shared = Self {
            broker: broker(Limits {
                waiting_per_origin: Some(
                    config.limits.waiting_per_origin.unwrap_or(WAITING_PER_SOURCE),
                ),
                ..config.limits
            }),
            admission: Admission::new(&config, descriptors.connections),
            gate: Gate::new(config.token.clone(), None),
            paces: Paces::new(&config),
            offers: config
                .max_offers_per_second
                .map(|most| Mutex::new(Frequency::per_second(most))),
            config,
            descriptors,
            pulses: inboxes.iter().map(|_| Pulse::default()).collect(),
            inboxes,
            counters: Counters::default(),
            tally: Tally::new(),
            admin: Answers::default(),
            failed_uploads: Arc::default(),
            throttles: Throttles::default(),
            handshakes: Handshakes::default(),
            certificates: None,
            started: now,
            drain_began: OnceLock::new(),
            drain,
            cuts: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
        };
        (shared, drains)
    }

    /// The lower bits of the milliseconds from the server's start to `now`.
    #[expect(clippy::cast_possible_truncation, reason = "what is wanted")]
    pub(crate) fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_millis() as u32
    }

    /// Lets a peer of `origin` make an offer, if its source may make one more now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn admit_offer(&self, origin: Origin, now: Instant) -> Result<(), Duration> {
        self.offers.as_ref().map_or(Ok(()), |offers| offers.lock().admit(origin.source(), now))
    }

    /// Begins the drain; further calls change nothing.
    pub(crate) fn drain(&self, now: Instant) {
        self.drain_for(None, now);
    }

    /// As [`drain`](Self::drain), and gives those who wait to `heir`, if there is one.
    pub(crate) fn drain_for(&self, heir: Option<Heir<T>>, now: Instant) {
        if self.drain_began.set((now, self.moved())).is_ok() {
            // There is room for the one word; nobody needs it if the server has ended.
            self.drain.try_send(heir).ok();
        }
    }

    /// Has the workers do with those whom the broker has given back in a drain what is to be done:
    /// they are given to `heir`, or let go.
    pub(crate) fn release(&self, offers: Vec<Offer<Address>>, heir: Option<Heir<T>>) {
        let Some(heir) = heir else {
            for Offer { conn, .. } in offers {
                self.inboxes[usize::from(conn.worker)].send(Message::Release(conn.slot));
            }
            return;
        };
        let mut of_workers: Vec<Vec<_>> = self.inboxes.iter().map(|_| Vec::new()).collect();
        for (number, offer) in offers.into_iter().enumerate() {
            of_workers[usize::from(offer.conn.worker)].push((number, offer));
        }
        // To all: who has the answer of each knows that nobody accepts any more.
        for (inbox, offers) in self.inboxes.iter().zip(of_workers) {
            inbox.send(Message::GiveOut(Box::new(GiveOut { offers, to: heir.clone() })));
        }
    }

    /// What is wrong with the server, in words.
    pub(crate) fn illness(&self) -> Option<String> {
        if self.has_panicked() {
            return Some("a thread has panicked, and the server drains; the log says where".into());
        }
        let worker = self.pulses.iter().position(Pulse::is_stuck)?;
        Some(format!("worker {worker} has not turned for 5 seconds"))
    }

    /// Payload bytes that the workers have moved.
    pub(crate) fn moved(&self) -> u64 {
        self.pulses.iter().map(Pulse::moved).sum()
    }

    /// Ends all exchanges, and those to come.
    pub(crate) fn cut(&self) {
        self.cuts.store(true, Ordering::Release);
        self.broadcast(|| Message::Cut);
    }

    /// Notes that a thread of the server has panicked.
    pub(crate) fn note_panic(&self) {
        self.has_panicked.store(true, Ordering::Release);
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Acquire)
    }

    /// How long exchanges may still take once the server drains.
    pub(crate) fn drain_timeout(&self) -> Option<Duration> {
        /// With a worker gone the server is alive by half: a new process shall soon take over.
        const PANICKED: Duration = Duration::from_secs(60);
        let panicked = self.has_panicked().then_some(PANICKED);
        [self.config.drain_timeout, panicked].into_iter().flatten().min()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let tokens = self.gate.store();
        Stats {
            connections: self.admission.open() as u64,
            accepted: counters.accepted.load(Ordering::Relaxed),
            accept_failures: counters.accept_failures.load(Ordering::Relaxed),
            refused: counters.refusals().map(|(_, count)| count).sum(),
            untrusted_proxies: counters.untrusted_proxies.load(Ordering::Relaxed),
            proxy_header_failures: counters.proxy_header_failures.load(Ordering::Relaxed),
            tls_handshakes: counters.secured.load(Ordering::Relaxed),
            tls_handshake_failures: counters.handshake_failures.load(Ordering::Relaxed),
            tls_reloads: self.certificates.as_ref().map_or(0, |store| store.reloads()),
            tls_reload_failures: self.certificates.as_ref().map_or(0, |store| store.failures()),
            tls_is_outdated: self.certificates.as_ref().is_some_and(|store| store.is_outdated()),
            token_reloads: tokens.map_or(0, |store| store.reloads()),
            token_reload_failures: tokens.map_or(0, |store| store.failures()),
            tokens_are_outdated: tokens.is_some_and(|store| store.is_outdated()),
            tls_expires: self.certificates.as_ref().map(|store| store.not_after()),
        }
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.cuts.load(Ordering::Acquire)
    }

    pub(crate) fn broadcast(&self, message: impl Fn() -> Message<T>) {
        self.inboxes.iter().for_each(|inbox| inbox.send(message()));
    }

    pub(crate) fn report(&self, now: Instant) -> StatusReport {
        let counts = self.broker.counts();
        let uptime = now.saturating_duration_since(self.started);
        StatusReport {
            waiting: counts.waiting,
            exchanging: counts.exchanging,
            completed: counts.completed,
            failed: counts.failed,
            uptime_millis: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            draining: counts.draining,
        }
    }

    /// A key as logs show it.
    pub(crate) fn shown(&self, key: &Key) -> String {
        if self.config.log_keys {
            key.as_bytes().escape_ascii().to_string()
        } else {
            key.fingerprint()
        }
    }
}

impl<T> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}
