//! One offer in realm sealed, and the session in its exchange.
//!
//! **A session's end is known from within.** The last record says that nothing is missing, so a
//! mere end of the stream harms nobody. The connection is reset all the same unless the session
//! came to an end that both know: the server shall not count a killed peer as a completed exchange.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use xchg_core::wire::{Offer, Wait};
use xchg_core::{Key, Realm, Side};

use super::SealedStream;
use super::half::Half;
use crate::blocking::net::{Connection, Server, Throttle};
use crate::blocking::options::Security;
use crate::key::normalised;
use crate::session::{self, Secret};
use crate::{Cancel, Error, Observer};

/// What all attempts at one transfer have in common, and how far the latest has come.
pub(super) struct Attempts<'a> {
    server: &'a Server,
    side: Side,
    key: Key,
    secret: Secret,
    cancel: &'a Cancel,
    is_confirmed: Arc<AtomicBool>,
    /// When the counterpart came.
    matched: Option<Instant>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        server: &'a Server,
        side: Side,
        key: &Key,
        security: Security,
        cancel: &'a Cancel,
    ) -> Self {
        let secret = match security {
            Security::Sealed(secret) => secret,
            Security::Unauthenticated | Security::Plain => Secret::none(),
        };
        let (key, is_confirmed) = (normalised(key), Arc::default());
        Self { server, side, key, secret, cancel, is_confirmed, matched: None }
    }

    /// Whether the counterpart came to the latest, and has the same secret.
    pub(super) fn has_met(&self) -> bool {
        self.is_confirmed.load(Ordering::Acquire)
    }

    /// How long ago the counterpart came.
    pub(super) fn elapsed(&self) -> Duration {
        self.matched.map_or(Duration::ZERO, |matched| matched.elapsed())
    }

    /// Waits so long for the counterpart, agrees on keys with it, and runs `transfer`.
    pub(super) fn run<T>(
        &mut self,
        wait: Wait,
        throttle: Throttle,
        observer: &mut dyn Observer,
        transfer: impl FnOnce(
            SealedStream<Half, Half>,
            &mut dyn Observer,
            &Cancel,
        ) -> Result<T, session::Error>,
    ) -> Result<T, Error> {
        (self.is_confirmed, self.matched) = (Arc::default(), None);
        let mut offer = Offer::new(Realm::Sealed, self.side, self.key.meeting_key());
        offer.wait = wait;
        // With a secret, the server shall not know the key.
        offer.twin = self.secret.is_none().then(|| self.key.clone());
        let (connection, _) = self.server.offer(offer, self.cancel, observer)?;
        self.matched = Some(Instant::now());
        let stop = Stop::new().map_err(set_up)?;
        // What is slowed down is the direction of the content.
        let (received, sent) = match self.side {
            Side::Download => (throttle, Throttle::none()),
            Side::Upload => (Throttle::none(), throttle),
        };
        let half = |throttle| Half::new(&connection, &stop.hard, throttle).map_err(set_up);
        let (reader, writer) = (half(received)?, half(sent)?);
        let result = stop.during(self.cancel, || {
            let key = self.key.as_bytes();
            let hard = stop.hard.clone();
            let abort = move || hard.cancel();
            let stream =
                SealedStream::establish(reader, writer, abort, self.side, key, &self.secret)?;
            self.is_confirmed = Arc::clone(&stream.is_confirmed);
            stop.is_established.store(true, Ordering::Release);
            transfer(stream, observer, &stop.token)
        });
        close(&connection, &result);
        Ok(result?)
    }
}

/// Takes leave of a counterpart that knows how it ended. A close without this is a reset, which the
/// server takes for a loss.
fn close<T>(connection: &Connection, result: &Result<T, session::Error>) {
    use session::Error::{Lost, Silent, Stream, Unconfirmed};
    let is_known = match result {
        Ok(_) => true,
        Err(Unconfirmed { .. }) => false,
        Err(error) => !matches!(error.root(), Lost | Silent | Stream { .. }),
    };
    if is_known {
        // It may have closed already.
        drop(connection.finish());
    }
}

fn set_up(source: io::Error) -> Error {
    Error::Local { what: "the session", source }
}

/// Ends a session: the token lets it tell the counterpart, for a while; `hard` ends every wait for
/// the network.
struct Stop {
    token: Cancel,
    hard: Cancel,
    is_established: AtomicBool,
}

impl Stop {
    fn new() -> io::Result<Self> {
        let token = Cancel::new()?;
        Ok(Self { token, hard: Cancel::new()?, is_established: AtomicBool::new(false) })
    }

    /// Runs `work`, which `cancel` ends.
    fn during<T>(&self, cancel: &Cancel, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (working, ended) = bounded(0);
            scope.spawn(move || self.pass_on(cancel, &ended));
            let result = work();
            drop(working);
            result
        })
    }

    fn pass_on(&self, cancel: &Cancel, ended: &Receiver<Infallible>) {
        if !cancel.comes_before_end_of(ended) {
            return;
        }
        // A session that was just established sees the token as its first, and takes no longer over
        // its leave than it may.
        self.token.cancel();
        if !self.is_established.load(Ordering::Acquire) {
            self.hard.cancel();
        }
    }
}
