//! What other threads ask of a worker.

use xchg_core::wire::RefusalCode;
use xchg_core::{Exchange, Side, Sides};

use super::{Engine, STOPPING_TIMEOUT};
use crate::engine::connection::{Brought, Connection, State};
use crate::engine::net::Net;
use crate::engine::shared::Message;

/// A connection on its way to the worker whose connection it is paired with.
#[derive(Debug)]
pub(crate) struct Join<T> {
    pub(crate) connection: Connection<T>,
    pub(crate) brought: Brought,
    /// The slot of the peer that waits.
    pub(crate) waits: (Side, u32),
    pub(crate) exchange: Exchange,
}

impl<N: Net> Engine<N> {
    pub(super) fn receive(&mut self) {
        let shared = self.shared.clone();
        for message in shared.inboxes[usize::from(self.index)].drain() {
            self.on_message(message);
        }
    }

    /// Does what is asked; a panic in it ends the connections that it is about, and their exchange.
    pub(super) fn on_message(&mut self, message: Message<N::Transport>) {
        match message {
            Message::Join(join) => {
                let Join { connection, brought, waits, exchange } = *join;
                let slot = self.insert(connection);
                self.bring_together(exchange, (slot, brought), waits);
            }
            Message::Release(slot) => self.guard(self.id(slot), |engine| {
                engine.refuse(
                    slot,
                    RefusalCode::Draining,
                    "the server is shutting down; try again later, or elsewhere",
                );
            }),
            Message::Spare(slot) => self.guard(self.id(slot), |engine| drop(engine.remove(slot))),
            Message::ReceiverCame { slot, place } => {
                self.guard(self.id(slot), |engine| engine.tell_of_receiver(slot, place));
            }
            Message::Gather(gathering) => {
                self.gatherings.insert(gathering.id(), *gathering);
            }
            Message::Summon { slot, to, exchange } => {
                self.guard(self.id(slot), |engine| engine.summon(slot, to, exchange));
            }
            Message::Arrive { exchange, arrived } => self.arrive(exchange, *arrived),
            Message::Cancelled(id) => self.guard_exchange(id, Self::drive),
            Message::CloseDoors => {
                self.doors.clear();
                self.net.close_listeners();
            }
            Message::Cut => self.cut_all(),
            Message::Stop => self.stops = Some(self.timers.now().after(STOPPING_TIMEOUT)),
        }
    }

    /// Takes out what a paired peer has brought, which waits no more.
    pub(super) fn take_brought(&mut self, slot: u32) -> Brought {
        let state = &mut self.connections[slot as usize].state;
        match std::mem::take(state) {
            State::Waiting(waiting) => waiting.brought,
            _ => unreachable!("a paired peer waits until it is sent for"),
        }
    }

    /// Starts an exchange between a newcomer and the peer that waits in `waits`. A panic in it ends
    /// both.
    pub(super) fn bring_together(
        &mut self,
        exchange: Exchange,
        newcomer: (u32, Brought),
        waits: (Side, u32),
    ) {
        let (side, slot) = waits;
        self.guard_all([self.id(newcomer.0), self.id(slot)], |engine| {
            let waits = (slot, engine.take_brought(slot));
            let Sides { upload, download } = Sides::of(side, waits, newcomer);
            engine.start(exchange, upload, &mut [download]);
        });
    }
}
