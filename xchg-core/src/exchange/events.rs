//! What is told of exchanges to whoever wants to know.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};

use super::handle::{Ended, ExchangeHandle};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// What happens to an exchange.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Two peers were paired.
    Started(ExchangeHandle),
    /// The exchange ended.
    Ended(ExchangeHandle, Ended),
}

/// The events of a broker's exchanges, in the order in which they happened: what
/// [`Broker::subscribe`](crate::Broker::subscribe) gives.
///
/// As an iterator it blocks for the next event, until there can be none.
///
/// ```
/// use std::time::Instant;
/// use xchg_core::{Broker, Brokered, Event, Key, Limits, Offer, Outcome, Realm, Side};
///
/// let broker = Broker::new(Limits::default());
/// let events = broker.subscribe(100);
/// for side in Side::BOTH {
///     let offer = Offer::new(Realm::Plain, Key::parse(b"chess")?, side, ());
///     if let Brokered::Paired(pair) = broker.offer(offer, Instant::now()) {
///         pair.exchange.finish(Outcome::Completed);
///     }
/// }
/// drop(broker);
/// let told: Vec<Event> = events.into_iter().collect();
/// assert!(matches!(told[..], [Event::Started(_), Event::Ended(_, _)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Events(Receiver<Event>);

/// Why there is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "callers tell one from the other")]
pub enum NoEvent {
    /// None has happened yet.
    #[error("no event has happened yet")]
    Yet,
    /// None will happen: the broker and its exchanges are gone, and everything has been told.
    #[error("no event will happen any more")]
    Ever,
}

impl Events {
    /// The next event; blocks until it happens.
    ///
    /// # Errors
    /// [`NoEvent::Ever`], if there will be none.
    pub fn recv(&self) -> Result<Event, NoEvent> {
        self.0.recv().map_err(|_| NoEvent::Ever)
    }

    /// The next event; blocks until it happens, and at most for `timeout`.
    ///
    /// # Errors
    /// [`NoEvent::Yet`] when the time is over, [`NoEvent::Ever`] if there will be none.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Event, NoEvent> {
        self.0.recv_timeout(timeout).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoEvent::Yet,
            RecvTimeoutError::Disconnected => NoEvent::Ever,
        })
    }

    /// The next event, if it has happened already.
    ///
    /// # Errors
    /// [`NoEvent::Yet`] if it has not, [`NoEvent::Ever`] if there will be none.
    pub fn try_recv(&self) -> Result<Event, NoEvent> {
        self.0.try_recv().map_err(|error| match error {
            TryRecvError::Empty => NoEvent::Yet,
            TryRecvError::Disconnected => NoEvent::Ever,
        })
    }

    /// The events that have happened already.
    pub fn try_iter(&self) -> impl Iterator<Item = Event> {
        self.0.try_iter()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.recv().ok()
    }
}

/// All who have subscribed.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    senders: Mutex<Vec<Sender<Event>>>,
    /// Whether there are any: mostly there are none, and then nobody locks.
    are_any: AtomicBool,
}

impl Subscribers {
    pub(crate) fn add(&self, capacity: usize) -> Events {
        let (sender, receiver) = crossbeam_channel::bounded(capacity.max(1));
        self.senders.lock().push(sender);
        self.are_any.store(true, Ordering::Release);
        Events(receiver)
    }

    pub(crate) fn tell(&self, event: impl Fn() -> Event) {
        if self.are_any.load(Ordering::Acquire) {
            let mut senders = self.senders.lock();
            senders.retain(|sender| {
                !matches!(sender.try_send(event()), Err(TrySendError::Disconnected(_)))
            });
            self.are_any.store(!senders.is_empty(), Ordering::Release);
        }
    }
}
