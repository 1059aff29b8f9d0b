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
    pub fn new(held: u64) -> Flow {
        Flow { state: State::Open, held, moved: 0 }
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
