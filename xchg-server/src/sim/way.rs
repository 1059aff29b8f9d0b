//! One direction of a link: a send buffer and a window. Bytes are acknowledged when they have come
//! within the window, whether they have been read or not. Segments arrive in order.

use std::collections::VecDeque;

use super::Time;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) buffer: usize,
    window: usize,
    pub(super) latency: Time,
    unsent: VecDeque<u8>,
    flight: VecDeque<(Time, Segment)>,
    in_flight: usize,
    pub(super) received: VecDeque<u8>,
    /// All bytes that have ever been given to be sent.
    pub(super) given: u64,
    /// All bytes that have ever been received, read or not.
    pub(super) arrived: u64,
    pub(super) ends: bool,
    has_sent_end: bool,
    pub(super) has_end: bool,
    /// Nobody reads any more: what comes is answered with a reset.
    pub(super) is_unread: bool,
    /// When the sender last had something acknowledged, or nothing to wait for.
    pub(super) progress: Time,
}

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    End,
}

impl Way {
    pub(super) fn new(buffer: usize, window: usize, latency: Time, now: Time) -> Self {
        Self { buffer, window, latency, progress: now, ..Self::default() }
    }

    pub(super) fn room(&self) -> usize {
        self.buffer.saturating_sub(self.unsent.len())
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.unsent.len() + self.in_flight + usize::from(self.ends && !self.has_end)
    }

    /// Takes what is to be sent; the end with it, if that is all.
    pub(super) fn take(&mut self, bytes: &[u8], ends: bool, now: Time) {
        if self.unacknowledged() == 0 {
            self.progress = now;
        }
        self.given += bytes.len() as u64;
        self.unsent.extend(bytes);
        self.ends |= ends;
        self.send(now);
    }

    /// Puts on their way what the window lets through.
    pub(super) fn send(&mut self, now: Time) {
        loop {
            let room = self.window.saturating_sub(self.in_flight + self.received.len());
            let n = room.min(self.unsent.len()).min(1460);
            let at = self.flight.back().map_or(0, |(at, _)| *at).max(now + self.latency);
            if n > 0 {
                let bytes = self.unsent.drain(..n).collect();
                self.in_flight += n;
                self.flight.push_back((at, Segment::Bytes(bytes)));
            } else {
                if self.unsent.is_empty() && self.ends && !self.has_sent_end {
                    self.has_sent_end = true;
                    self.flight.push_back((at, Segment::End));
                }
                return;
            }
        }
    }

    /// When the next segment arrives.
    pub(super) fn next(&self) -> Option<Time> {
        self.flight.front().map(|(at, _)| *at)
    }

    /// Takes in what has come by `now`; says whether anything has.
    pub(super) fn deliver(&mut self, now: Time) -> bool {
        let mut any = false;
        while self.flight.front().is_some_and(|(at, _)| *at <= now) {
            match self.flight.pop_front() {
                Some((_, Segment::Bytes(bytes))) => {
                    self.in_flight -= bytes.len();
                    self.arrived += bytes.len() as u64;
                    self.received.extend(bytes);
                }
                _ => self.has_end = true,
            }
            self.progress = now;
            any = true;
        }
        any
    }

    pub(super) fn clear(&mut self) {
        self.unsent.clear();
        self.flight.clear();
        self.in_flight = 0;
        self.ends = self.has_end;
    }
}
