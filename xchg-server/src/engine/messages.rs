//! What other threads ask of a worker.

use xchg_core::wire::RefusalCode;

use super::{Engine, STOPPING_TIMEOUT};
use crate::engine::net::Net;
use crate::engine::shared::Message;

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
            Message::Gather(gathering) => self.gather(gathering),
            Message::Release(slot) => self.guard(self.id(slot), |engine| {
                engine.refuse(
                    slot,
                    RefusalCode::Draining,
                    "the server is shutting down; try again later, or elsewhere",
                );
            }),
            Message::GiveOut(who) => self.give_out(*who),
            Message::Spare(slot) => self.guard(self.id(slot), |engine| drop(engine.remove(slot))),
            Message::ReceiverCame { slot, place } => {
                self.guard(self.id(slot), |engine| engine.tell_of_receiver(slot, place));
            }
            Message::Cancelled(id) => self.guard_exchange(id, Self::drive),
            Message::CloseDoors => {
                self.doors.clear();
                self.net.close_listeners();
            }
            Message::Cut => self.cut_all(),
            Message::Stop => self.stops = Some(self.timers.now().after(STOPPING_TIMEOUT)),
        }
    }
}
