//! Waiting peers that go from one server to another in the same process, and do not notice.
//!
//! Whoever the broker gives back in a drain may be given out instead of let go. What is given out
//! is all that a peer is: its stream, with the layer and what that holds; its dialect, and what it
//! has been told; what it asked for, and what it has brought; and until when it waits. Times are
//! instants meanwhile, for each worker counts its own ticks.
//!
//! It comes in as it came first, by an offer, but says nothing and is told nothing. Limits are
//! those of where it comes to: whom they have no room for is told so as any newcomer.

use std::time::Instant;

use crossbeam_channel::Sender;
use xchg_core::Offer;
use xchg_core::wire::RefusalCode;

use super::Engine;
use super::gather::Moved;
use crate::engine::admission::{self, Standing};
use crate::engine::connection::{Address, Connection};
use crate::engine::net::{Net, Transport};
use crate::engine::timers::Tick;

/// All that a waiting peer is, while it is at no worker.
#[derive(Debug)]
pub(crate) struct Waiter<T> {
    /// What it asks for, and until when; as whom it had asked for it.
    offer: Offer<Address>,
    moved: Moved<T>,
    /// When it is next to be told that it waits, or its wait is over.
    next: Option<Instant>,
    /// For how long it has waited, in milliseconds.
    waited: u32,
}

/// Those of a worker who are to be given out, each with its number in the order of arrival, and
/// where to.
pub(crate) struct GiveOut<T> {
    pub(crate) offers: Vec<(usize, Offer<Address>)>,
    pub(crate) to: Heir<T>,
}

/// Where waiters are given out to. Whoever holds the other end knows that all are there when nobody
/// has this one any more.
pub(crate) type Heir<T> = Sender<(usize, Waiter<T>)>;

impl<T: Transport> Waiter<T> {
    /// The number of the listener that it came to.
    pub(crate) fn listener(&self) -> u8 {
        self.moved.connection.listener
    }

    /// Closes its connection so that it sees a failure.
    pub(crate) fn reset(self) {
        self.moved.connection.reset();
    }
}

impl<N: Net> Engine<N> {
    /// Gives out peers whose places the broker has given back.
    pub(super) fn give_out(&mut self, GiveOut { offers, to }: GiveOut<N::Transport>) {
        for (number, offer) in offers {
            self.guard(self.id(offer.conn.slot), |engine| {
                if let Some(waiter) = engine.release(offer)
                    && let Err(unsent) = to.send((number, waiter))
                {
                    unsent.into_inner().1.reset();
                }
            });
        }
    }

    fn release(&mut self, offer: Offer<Address>) -> Option<Waiter<N::Transport>> {
        let (moved, expires) = self.take_waiting(offer.conn)?;
        let Connection { origin, standing, deadline, .. } = moved.connection;
        self.shared.admission.leave(origin, standing);
        let next = self.timers.at(deadline.tick(self.timers.now()));
        let deadline = self.timers.at(expires.tick());
        let waited = self.shared.millis(self.timers.instant()).wrapping_sub(offer.conn.came);
        Some(Waiter { offer: Offer { deadline, ..offer }, moved, next, waited })
    }

    /// Takes in a peer that came here as if to `listener`; one that could have come to none is let
    /// go.
    pub(crate) fn take_in(&mut self, waiter: Waiter<N::Transport>, listener: Option<u8>) {
        let Waiter { offer, moved: Moved { mut connection, brought, .. }, next, waited } = waiter;
        let origin = connection.origin;
        connection.standing = self.shared.admission.enter(origin);
        connection.listener = listener.unwrap_or_default();
        let may_wait = connection.standing == Standing::Within;
        let slot = self.insert(connection);
        self.guard(self.id(slot), |engine| {
            if listener.is_none() {
                let text = "the server does not listen any more where you came to";
                return engine.refuse(slot, RefusalCode::Draining, text);
            }
            let tick = |at: Option<Instant>| at.map_or(Tick::NEVER, |at| engine.timers.tick(at));
            let (expires, next) = (tick(offer.deadline), tick(next));
            let came = engine.shared.millis(engine.timers.instant()).wrapping_sub(waited);
            let conn = Address { worker: engine.index, slot, came, ..offer.conn };
            let origin = admission::waits_for(origin, &engine.shared.config);
            let offer = Offer { origin, deadline: None, may_wait, conn, ..offer };
            if engine.make_offer(offer, expires, brought).is_some() {
                let next = next.min(engine.next_beat(slot)).min(expires);
                engine.connections[slot as usize].deadline = engine.timers.soon(next);
                if engine.register(slot) {
                    engine.arm(slot);
                }
            }
        });
    }
}
