//! Looks now and then whether files have changed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};

/// How often. What has changed is taken after two looks that see the same.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// What looks at a file, and takes it if it is another.
pub(crate) type Look = Box<dyn Fn() + Send>;

/// The thread that looks. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Has all of `looks` done every [`INTERVAL`]; none takes no thread.
    ///
    /// # Errors
    /// If the system has no thread.
    pub(crate) fn start(looks: Vec<Look>) -> io::Result<Watcher> {
        if looks.is_empty() {
            return Ok(Watcher { stop: None, thread: None });
        }
        let (stop, stops) = crossbeam_channel::bounded::<()>(0);
        let run = move || {
            while stops.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                for look in &looks {
                    // Unwind safe: what a look has left half done, the next begins anew.
                    if catch_unwind(AssertUnwindSafe(look)).is_err() {
                        tracing::error!(
                            "looking at a file panicked, which is a mistake in the server"
                        );
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("xchg-watch".to_owned()).spawn(run)?;
        Ok(Watcher { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught.
            thread.join().ok();
        }
    }
}
