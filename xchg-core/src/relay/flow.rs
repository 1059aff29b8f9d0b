//! The bookkeeping of one direction, without any I/O.

/// One direction of an exchange: what has been read at the source and is still owed to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    state: State,
    held: u64,
    moved: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More may come from the source.
    Open,
    /// The source has ended; the sink has not been told.
    SourceEnded,
    /// The sink has been told.
    Ended,
}

/// What a flow is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever drives a flow does each of them")]
pub enum Want {
    /// Read at the source.
    Read,
    /// Write what is held to the sink.
    Write,
    /// Tell the sink that the source has ended.
    HalfClose,
    /// Nothing: the flow has ended.
    Nothing,
}

impl Flow {
    /// A flow of which `held` bytes have been read already.
    pub fn new(held: u64) -> Self {
        Self { state: State::Open, held, moved: 0 }
    }

    /// What to do next. What is held goes first, so that memory stays bounded by one read.
    pub fn want(&self) -> Want {
        match self.state {
            _ if self.held > 0 => Want::Write,
            State::Open => Want::Read,
            State::SourceEnded => Want::HalfClose,
            State::Ended => Want::Nothing,
        }
    }

    /// Whether more may come from the source.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Bytes read and not yet written.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Bytes written.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether the source has ended, all is written and the sink has been told.
    pub fn has_ended(&self) -> bool {
        self.want() == Want::Nothing
    }

    /// `n` bytes were read; none is the source's end.
    ///
    /// # Panics
    /// In debug builds, if the source had ended.
    pub fn on_read(&mut self, n: u64) {
        debug_assert_eq!(self.state, State::Open, "nothing follows the end");
        match n {
            0 => self.state = State::SourceEnded,
            n => self.held += n,
        }
    }

    /// `n` bytes of those held were written.
    ///
    /// # Panics
    /// In debug builds, if fewer were held.
    pub fn on_written(&mut self, n: u64) {
        debug_assert!(n <= self.held, "wrote {n} of {} bytes", self.held);
        self.held = self.held.saturating_sub(n);
        self.moved += n;
    }

    /// The sink has been told of the end.
    ///
    /// # Panics
    /// In debug builds, if that was not wanted.
    pub fn on_half_closed(&mut self) {
        debug_assert_eq!(self.want(), Want::HalfClose);
        self.state = State::Ended;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum On {
        Read(u64),
        Written(u64),
        HalfClosed,
    }

    fn apply(mut flow: Flow, event: On) -> Flow {
        match event {
            On::Read(n) => flow.on_read(n),
            On::Written(n) => flow.on_written(n),
            On::HalfClosed => flow.on_half_closed(),
        }
        flow
    }

    fn flow(state: State, held: u64) -> Flow {
        Flow { state, held, moved: 100 }
    }

    #[test]
    fn every_event_in_every_state_does_what_the_table_says() {
        use On::{HalfClosed, Read, Written};
        use State::{Ended, Open, SourceEnded};

        // State and bytes held before, event, state and bytes held after; `None` is a mistake of
        // whoever drives the flow.
        let table = [
            (Open, 0, Read(0), Some((SourceEnded, 0))),
            (Open, 0, Read(7), Some((Open, 7))),
            (Open, 0, Written(0), Some((Open, 0))),
            (Open, 0, Written(1), None),
            (Open, 0, HalfClosed, None),
            (Open, 5, Read(0), Some((SourceEnded, 5))),
            (Open, 5, Read(7), Some((Open, 12))),
            (Open, 5, Written(0), Some((Open, 5))),
            (Open, 5, Written(2), Some((Open, 3))),
            (Open, 5, Written(5), Some((Open, 0))),
            (Open, 5, Written(6), None),
            (Open, 5, HalfClosed, None),
            (SourceEnded, 0, Read(0), None),
            (SourceEnded, 0, Read(7), None),
            (SourceEnded, 0, Written(0), Some((SourceEnded, 0))),
            (SourceEnded, 0, Written(1), None),
            (SourceEnded, 0, HalfClosed, Some((Ended, 0))),
            (SourceEnded, 5, Read(0), None),
            (SourceEnded, 5, Read(7), None),
            (SourceEnded, 5, Written(0), Some((SourceEnded, 5))),
            (SourceEnded, 5, Written(2), Some((SourceEnded, 3))),
            (SourceEnded, 5, Written(5), Some((SourceEnded, 0))),
            (SourceEnded, 5, Written(6), None),
            (SourceEnded, 5, HalfClosed, None),
            (Ended, 0, Read(0), None),
            (Ended, 0, Read(7), None),
            (Ended, 0, Written(0), Some((Ended, 0))),
            (Ended, 0, Written(1), None),
            (Ended, 0, HalfClosed, None),
        ];
        for (state, held, event, after) in table {
            let before = flow(state, held);
            let Some((state, held_after)) = after else {
                let panicked = catch_unwind(|| apply(before, event)).is_err();
                assert_eq!(panicked, cfg!(debug_assertions), "{event:?} on {before:?}");
                continue;
            };
            let moved = if let Written(n) = event { 100 + n } else { 100 };
            let after = Flow { state, held: held_after, moved };
            assert_eq!(apply(before, event), after, "{event:?} on {before:?}");
        }
    }

    #[test]
    fn what_is_held_is_written_before_anything_else() {
        use State::{Ended, Open, SourceEnded};

        for (state, held, want) in [
            (Open, 0, Want::Read),
            (Open, 1, Want::Write),
            (SourceEnded, 1, Want::Write),
            (SourceEnded, 0, Want::HalfClose),
            (Ended, 0, Want::Nothing),
        ] {
            let flow = flow(state, held);
            assert_eq!(flow.want(), want, "{flow:?}");
            assert_eq!(flow.has_ended(), want == Want::Nothing, "{flow:?}");
        }
    }

    #[test]
    fn bytes_read_beforehand_are_held_from_the_start() {
        let flow = Flow::new(9);
        assert_eq!((flow.want(), flow.held(), flow.moved()), (Want::Write, 9, 0));
        assert_eq!(Flow::new(0).want(), Want::Read);
    }
}
