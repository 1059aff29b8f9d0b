//! The admin listener: how the server is, for whoever runs it, and how it is told to end.
//!
//! A thread of its own serves it, beside the workers and never waiting for one, so that a scraper
//! that hangs holds up nobody, and a worker that is stuck can be told of. It speaks HTTP as the
//! peers' dialect parses it, with one request a connection.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a thread of its own, with sockets of its own"
)]

mod answer;
mod client;
mod exchanges;
pub(crate) mod tally;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::shared::Shared;
use crate::origin;
use crate::system::listener::Listener;

use answer::Panel;
use client::Client;

/// Connections at a time. One more takes the place of the one that has said nothing longest.
const MAX_CLIENTS: usize = 32;

/// How long the thread rests when the system has no room for another connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Descriptors that the admin listener takes beside those of its addresses: its connections, the
/// two that stop it, and what metrics are read from.
pub(crate) const DESCRIPTORS: usize = MAX_CLIENTS + 3;

/// The thread that serves. Dropped, it has ended.
#[derive(Debug)]
pub(crate) struct Service {
    /// Closed to stop it.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Begins to serve at `listeners`, the configuration's in their order.
    ///
    /// # Errors
    /// If the system refuses a thread or a socket.
    pub(crate) fn start<S: Send + 'static>(
        shared: Arc<Shared<S>>,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let desk =
            Desk { listeners, clients: Vec::new(), panel: Panel::new(shared.clone()), stopped };
        let run = move || {
            origin::show(shared.config.log_addresses);
            // Unwind safe: what the panic may have broken goes with it.
            if catch_unwind(AssertUnwindSafe(|| desk.serve())).is_err() {
                shared.note_panic();
                shared.drain(Instant::now());
            }
        };
        let thread = thread::Builder::new().name("xchg-admin".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("its panics are caught");
        }
    }
}

/// What the thread has before it.
struct Desk<S> {
    listeners: Vec<Listener>,
    clients: Vec<Client>,
    panel: Panel<S>,
    stopped: UnixStream,
}

impl<S: Send + 'static> Desk<S> {
    fn serve(mut self) {
        while !self.wait() {
            self.accept_all();
            let (panel, now) = (&mut self.panel, Instant::now());
            self.clients.retain_mut(|client| {
                // Unwind safe: the client is closed, and the panel's rates are only looked up.
                let turned = catch_unwind(AssertUnwindSafe(|| client.turn(panel, now)));
                turned.unwrap_or_else(|_| {
                    panel.shared.counters.panicked();
                    false
                })
            });
        }
    }

    /// Sleeps until something happens, or a client's time is over. Gives whether it is to end.
    fn wait(&self) -> bool {
        let listeners = self.listeners.iter().map(|it| PollFd::new(it, PollFlags::IN));
        let clients =
            self.clients.iter().map(|it| PollFd::from_borrowed_fd(it.as_fd(), it.awaits()));
        let stopped = PollFd::new(&self.stopped, PollFlags::IN);
        let mut all: Vec<_> = [stopped].into_iter().chain(listeners).chain(clients).collect();
        let by = self.clients.iter().map(Client::deadline).min();
        let timeout = by.map(|by| by.saturating_duration_since(Instant::now()));
        // A millisecond late, so that it is over when it is looked at.
        let timeout = timeout.map(|left| left + Duration::from_millis(1));
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut all, timeout.as_ref()) {
            Ok(_) => !all[0].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot wait for requests");
                thread::sleep(BACK_OFF);
                false
            }
        }
    }

    fn accept_all(&mut self) {
        for index in 0..self.listeners.len() {
            // No more at a time than there is room for: the others get their turn.
            for _ in 0..MAX_CLIENTS {
                match self.listeners[index].accept() {
                    Ok(accepted) => self.welcome(Client::new(accepted, Instant::now())),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        if self.panel.shared.counters.accept_failed() {
                            tracing::warn!(%error, "cannot accept connections at the admin listener");
                        }
                        thread::sleep(BACK_OFF);
                        break;
                    }
                }
            }
        }
    }

    fn welcome(&mut self, client: Client) {
        if self.clients.len() == MAX_CLIENTS {
            // In order of arrival.
            let silent = self.clients.iter().position(Client::is_unheard);
            drop(self.clients.remove(silent.unwrap_or(0)));
        }
        self.clients.push(client);
    }
}
