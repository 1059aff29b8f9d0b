//! The loop that drives a worker: it sleeps in the poll, and tells the engine what has happened.
//!
//! **Events gather in a crowd.** A worker that finds three events or more at once sleeps a moment
//! before it asks for the next (`COALESCE`): a wake-up for each costs as much as the work.
//! Exchanges of 1 KiB take 77 us of processor time instead of 92 with 32 in flight and 98 instead
//! of 103 with 256, at the same latency (`--only rate`, 14 rounds); one at a time never waits.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::{FIRST_LISTENER, System, WAKER};
use crate::engine::Engine;
use crate::engine::net::{Id, Readiness};

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// As many events at once as show that more follow closely.
const CROWD: usize = 3;

/// How long the events behind a crowd may gather, so that one wake-up serves many; the kernel adds
/// its timer slack, 50 us by default (`PR_SET_TIMERSLACK` in prctl(2)). Small exchanges, 32 and
/// more at once, then take a tenth less of the processors, and no longer.
const COALESCE: Duration = Duration::from_micros(50);

/// How long a worker sleeps at most: so late it finds a message for which nobody could wake it.
const MISSED_WAKE: Duration = Duration::from_secs(1);

/// How often in a row polling may fail, and how long it rests in between: a kernel short of memory
/// recovers.
const MAX_POLL_FAILURES: u32 = 100;
const POLL_REST: Duration = Duration::from_millis(100);

/// Runs a worker until it is stopped and its last connection is gone.
pub(crate) fn drive(mut engine: Engine<System>, mut poll: Poll) {
    let mut events = Events::with_capacity(EVENTS);
    let mut failures = 0;
    loop {
        let timeout =
            Some(engine.timeout().map_or(MISSED_WAKE, |timeout| timeout.min(MISSED_WAKE)));
        if timeout != Some(Duration::ZERO) && events.iter().count() >= CROWD {
            std::thread::sleep(COALESCE);
        }
        match poll.poll(&mut events, timeout) {
            Ok(()) => failures = 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failures += 1;
                // Without its poll a worker can do nothing at all.
                assert!(failures < MAX_POLL_FAILURES, "polling fails: {error}");
                std::thread::sleep(POLL_REST);
            }
        }
        let woken = Instant::now();
        engine.advance(woken);
        for event in &events {
            match event.token() {
                WAKER => {}
                Token(token) if FIRST_LISTENER - token < engine.listeners() => {
                    engine.knock(FIRST_LISTENER - token);
                }
                token => engine.ready(id(token), readiness(event)),
            }
        }
        engine.turn();
        engine.turned(woken.elapsed());
        if engine.is_over() {
            return engine.finish();
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of the token")]
fn id(token: Token) -> Id {
    Id { slot: token.0 as u32, serial: (token.0 >> 32) as u32 }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        is_readable: event.is_readable(),
        is_writable: event.is_writable(),
        has_read_end: event.is_read_closed(),
        has_write_end: event.is_write_closed(),
        has_failed: event.is_error(),
    }
}
