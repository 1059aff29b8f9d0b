//! Whose turn it is among the exchanges that carry much, and how much each may move in it.
//!
//! **Small exchanges first.** A small exchange is driven by its events, at once. One that carries
//! much is queued, and all that are queued move 12 MiB together (`ROUND_BYTES`) before the poll is
//! asked for small ones again. Small exchanges, 32 at once, beside 64 bulk streams on two cores
//! (`--only mixed`): with rounds of 4 MiB their p99 is 2.6 times what it is without them and bulk
//! keeps 0.36 of its rate; with 12 MiB 2.5 times and 0.54, with 24 MiB 3.5 times and 0.68. Without
//! a relay it is 2.9 times and 0.62.
//!
//! **Turns of one size.** Turns of 64 KiB, 256 KiB, 1 MiB and 2 MiB share no more evenly one than
//! another: of 64 equal streams between sockets of one machine the first has ended at 0.2 to 0.9 of
//! the time that all take, whatever the size, and at 0.4 to 0.8 without a relay (`first/last` in
//! `--only bulk`). Small turns only cost: 0.21 to 0.26 s of the server a GiB with 64 KiB, 0.17 to
//! 0.21 s with 2 MiB.

use std::collections::VecDeque;

use crate::engine::net::Id;

/// Bytes that exchanges which carry much may move together before the poll is asked for small ones:
/// a few milliseconds' worth. With less the small ones, which take whatever they are given, are no
/// quicker at p99; with more they pay for what bulk gains.
const ROUND_BYTES: u64 = 12 << 20;

/// Bytes that one exchange may move in a turn.
pub(crate) const TURN_BYTES: u64 = 2 << 20;

/// The exchanges that carry much and may go on, by their uploaders.
#[derive(Debug)]
pub(crate) struct Schedule {
    queue: VecDeque<Id>,
    /// How many of the queued have their turn in this round.
    turns_left: usize,
    round_left: u64,
}

impl Schedule {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new(), turns_left: 0, round_left: 0 }
    }

    /// Whether nobody waits for a turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Has an exchange go on, behind all others that wait for their turn.
    pub(crate) fn queue(&mut self, id: Id) {
        self.queue.push_back(id);
    }

    /// Begins a round: a turn for everybody who is queued by now, as far as its bytes go.
    pub(crate) fn begin_round(&mut self) {
        self.turns_left = self.queue.len();
        self.round_left = ROUND_BYTES;
    }

    /// Whose turn is next in this round.
    pub(crate) fn next(&mut self) -> Option<Id> {
        if self.round_left == 0 || self.turns_left == 0 {
            return None;
        }
        self.turns_left -= 1;
        self.queue.pop_front()
    }

    /// Notes that so many bytes were moved.
    pub(crate) fn on_moved(&mut self, bytes: u64) {
        self.round_left = self.round_left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> Id {
        Id { slot, serial: 0 }
    }

    /// Runs rounds among `count` that always have more, each of which moves a turn's bytes; gives
    /// the bytes that each has moved once all have moved `enough` together.
    fn moved(count: u32, enough: u64) -> Vec<u64> {
        let mut schedule = Schedule::new();
        (0..count).for_each(|slot| schedule.queue(id(slot)));
        let mut moved = vec![0; count as usize];
        while moved.iter().sum::<u64>() < enough {
            schedule.begin_round();
            let mut round = 0;
            while let Some(id) = schedule.next() {
                moved[id.slot as usize] += TURN_BYTES;
                round += TURN_BYTES;
                schedule.on_moved(TURN_BYTES);
                schedule.queue(id);
            }
            assert!(round <= ROUND_BYTES + TURN_BYTES, "{round} bytes in one round");
        }
        moved
    }

    #[test]
    fn who_always_has_more_moves_as_much_as_any_other() {
        for count in [1, 2, 7, 64, 1000] {
            let moved = moved(count, 4 << 30);
            let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
            assert!(most - least <= TURN_BYTES, "{least} to {most} bytes of {count}");
        }
    }

    #[test]
    fn who_is_queued_in_a_round_has_its_turn_in_the_next() {
        let mut schedule = Schedule::new();
        schedule.queue(id(1));
        schedule.begin_round();
        assert_eq!(schedule.next(), Some(id(1)));
        schedule.queue(id(1));
        schedule.queue(id(2));
        assert_eq!(schedule.next(), None);
        schedule.begin_round();
        schedule.on_moved(ROUND_BYTES - 1);
        assert_eq!(schedule.next(), Some(id(1)));
        schedule.on_moved(1);
        assert_eq!(schedule.next(), None, "the round's bytes are spent");
        schedule.begin_round();
        assert_eq!(schedule.next(), Some(id(2)));
        assert!(schedule.is_empty());
    }
}
