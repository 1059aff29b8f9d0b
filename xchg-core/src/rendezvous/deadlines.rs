//! Until when waiters wait.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::offer::Ticket;

/// So few need no tidying.
pub(super) const KEEP: usize = 1024;

/// The deadlines of those who wait, the soonest first.
///
/// Who leaves early stays in the heap until it is due, or until such are the majority; so each call
/// is told who waits still.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, Ticket)>>,
    /// How many of those in the heap wait still.
    waiting: usize,
}

impl Deadlines {
    pub(super) fn push(&mut self, deadline: Instant, ticket: Ticket) {
        self.waiting += 1;
        self.heap.push(Reverse((deadline, ticket)));
    }

    /// The soonest, and whose it is.
    pub(super) fn next(
        &mut self,
        is_waiting: impl Fn(Ticket) -> bool,
    ) -> Option<(Instant, Ticket)> {
        while let Some(&Reverse((deadline, ticket))) = self.heap.peek() {
            if is_waiting(ticket) {
                return Some((deadline, ticket));
            }
            self.heap.pop();
        }
        None
    }

    /// All deadlines, also of those who have left.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (Ticket, Instant)> {
        self.heap.into_iter().map(|Reverse((deadline, ticket))| (ticket, deadline))
    }

    /// Somebody who had a deadline has left.
    pub(super) fn on_left(&mut self, is_waiting: impl Fn(Ticket) -> bool) {
        self.waiting -= 1;
        if self.heap.len() > KEEP + 2 * self.waiting {
            self.heap.retain(|Reverse((_, ticket))| is_waiting(*ticket));
            self.heap.shrink_to_fit();
        }
    }
}

#[cfg(test)]
impl Deadlines {
    /// How many wait, and how many the heap has and has room for.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.waiting, self.heap.len(), self.heap.capacity())
    }
}
