//! Level-triggered readiness, one token a descriptor: the benchmark's event loops.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, Result, retry_on_intr};

/// An epoll instance; see epoll(7).
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// What a descriptor is awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

impl From<Interest> for EventFlags {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::Readable => Self::IN,
            Interest::Writable => Self::OUT,
        }
    }
}

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Reports `token` whenever `source` is ready, or has an error or its end, until it is
    /// forgotten or closed.
    pub(crate) fn add(&self, source: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::add(&self.epoll, source, EventData::new_u64(token), interest.into())
    }

    pub(crate) fn change(&self, source: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, source, EventData::new_u64(token), interest.into())
    }

    pub(crate) fn forget(&self, source: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, source)
    }

    /// Appends the tokens of what is ready; none once `timeout` has passed.
    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<u64>) -> Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
        self.events.clear();
        // A process that is stopped and continued, by a debugger or a container's freezer, is
        // interrupted here.
        retry_on_intr(|| {
            epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout))
        })?;
        ready.extend(self.events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}
