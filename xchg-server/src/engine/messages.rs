//! What other threads ask of a worker.

use xchg_core::wire::RefusalCode;
use xchg_core::{Exchange, Side};

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
            Message::Cancelled(id) => {
                self.guard(id, |engine| match engine.connection(id).map(|one| &one.state) {
                    Some(&State::Exchanging { exchange }) => engine.drive(exchange),
                    Some(&State::Fanning { fan }) => engine.drive_fan(fan),
                    _ => {}
                });
            }
            Message::CloseDoors => {
                self.doors.clear();
                self.net.close_listeners();
            }
            Message::Cut => self.cut_all(),
            Message::Stop => self.stops = Some(self.timers.now().after(STOPPING_TIMEOUT)),
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
        let ids = [self.id(newcomer.0), self.id(waits.1)];
        self.guard_all(ids, |engine| engine.start(exchange, newcomer, waits));
    }
}
