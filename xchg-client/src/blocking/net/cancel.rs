//! Stopping what runs from another thread.
//!
//! Every wait also watches what a cancellation closes: it takes effect at once, or, on systems that
//! cannot wait for two things, between two calls.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;

use crate::Error;
use crate::sys::{self, Waker, Wakeup};

/// Stops the transfers of a [`Client`](crate::Client) or a [session](crate::session), from any
/// thread. Clones are the same token.
///
/// A cancelled transfer ends with [`Error::Cancelled`], or the session's
/// [`Cancelled`](crate::session::Error::Cancelled); a plain download leaves no temporary file, and
/// the counterpart learns that it failed.
///
/// ```
/// use xchg_client::{Cancel, Client, Error};
///
/// let cancel = Cancel::new()?;
/// let client = Client::new("127.0.0.1".parse()?).cancel(cancel.clone());
/// // From another thread, such as that of a button:
/// std::thread::spawn(move || cancel.cancel()).join().expect("it does not panic");
/// assert!(matches!(client.status(), Err(Error::Cancelled)));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cancel(Arc<Shared>);

struct Shared {
    cancelled: AtomicBool,
    /// Disconnected by the cancellation.
    channel: Receiver<Infallible>,
    wakeup: Wakeup,
    alarm: Mutex<Option<Alarm>>,
}

/// Dropped to cancel, which wakes whoever waits on the other ends.
struct Alarm {
    _channel: Sender<Infallible>,
    _waker: Waker,
}

impl Cancel {
    /// A token that nobody has used yet.
    ///
    /// # Errors
    /// If the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let (sender, channel) = crossbeam_channel::bounded(0);
        let (wakeup, waker) = sys::wakeup()?;
        let alarm = Alarm { _channel: sender, _waker: waker };
        Ok(Self(Arc::new(Shared {
            cancelled: AtomicBool::new(false),
            channel,
            wakeup,
            alarm: Mutex::new(Some(alarm)),
        })))
    }

    /// Cancels, for good. Doing it again changes nothing.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.alarm.lock().take();
    }

    /// Whether [`cancel`](Self::cancel) was called, on any clone.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Becomes ready, disconnected, when it is cancelled.
    pub(crate) fn cancelled(&self) -> &Receiver<Infallible> {
        &self.0.channel
    }

    /// Sleeps.
    ///
    /// # Errors
    /// [`Error::Cancelled`], at once.
    pub(crate) fn pause(&self, timeout: Duration) -> Result<(), Error> {
        match self.0.channel.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Cancelled),
            Ok(never) => match never {},
        }
    }

    /// What `channel` has to say, or nothing within `timeout` or when cancelled.
    pub(crate) fn receive<T>(&self, channel: &Receiver<T>, timeout: Duration) -> Option<T> {
        crossbeam_channel::select! {
            recv(channel) -> message => message.ok(),
            recv(self.0.channel) -> _ => None,
            default(timeout) => None,
        }
    }

    /// Waits until this is used, or nobody is left who could send to `channel`. Whether it is used.
    pub(crate) fn comes_before_end_of(&self, channel: &Receiver<Infallible>) -> bool {
        crossbeam_channel::select! {
            recv(channel) -> _ => self.is_cancelled(),
            recv(self.0.channel) -> _ => true,
        }
    }

    /// Calls `wait`, which ends early when this is used.
    ///
    /// # Errors
    /// [`Cancel::error`] if it is, or that of `wait`.
    pub(crate) fn watch<T>(&self, wait: impl FnOnce(&Wakeup) -> io::Result<T>) -> io::Result<T> {
        let done = wait(&self.0.wakeup);
        if self.is_cancelled() { Err(Self::error()) } else { done }
    }

    /// The error of a call that a cancellation has cut short.
    pub(crate) fn error() -> io::Error {
        io::Error::other("cancelled")
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_ends_every_wait_of_every_clone() {
        let cancel = Cancel::new().unwrap();
        let clone = cancel.clone();
        let waiter = std::thread::spawn(move || clone.pause(Duration::from_secs(3600)));
        cancel.cancel();
        cancel.cancel();
        assert!(matches!(waiter.join().unwrap(), Err(Error::Cancelled)));
        assert!(cancel.is_cancelled());
        let (_sender, nobody) = crossbeam_channel::bounded::<()>(0);
        assert_eq!(cancel.receive(&nobody, Duration::from_secs(3600)), None);
    }

    #[test]
    fn a_pause_ends_by_itself() {
        assert!(Cancel::new().unwrap().pause(Duration::from_millis(1)).is_ok());
    }
}
