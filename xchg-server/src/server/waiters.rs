//! Peers that wait, between one server and the next.

use std::fmt;
use std::sync::Arc;

use crate::dialect::http::FailedUploads;
use crate::engine::waiter::Waiter;
use crate::system::SystemSocket;
use crate::{Listen, ListenAddress};

/// Peers that [waited](super::ServerHandle::release) at a server, with all that they have said and
/// asked for, for [another](super::Server::start_with) in the same process. Dropped, they see a
/// failure.
#[derive(Default)]
#[must_use = "they are open connections"]
pub struct Waiters {
    /// In order of arrival, those under one key.
    pub(super) waiters: Vec<Waiter<SystemSocket>>,
    /// What they could have come to.
    pub(super) listened: Vec<(ListenAddress, Listen)>,
    /// Those that may be sent again: the exchanges that still run there add to them.
    pub(super) failed_uploads: Arc<FailedUploads>,
}

impl Waiters {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// For each address that they could have come to, the number of the one among `listened` that
    /// stands for it: the same one; or else one with the same rules, if there is any.
    pub(super) fn places(&self, listened: &[(ListenAddress, Listen)]) -> Vec<Option<u8>> {
        let place = |(address, rules): &(ListenAddress, Listen)| {
            let is_same = |(there, _): &(_, _)| there == address;
            let is_alike = |(_, there): &(_, Listen)| {
                Listen { address: rules.address.clone(), ..there.clone() } == *rules
            };
            let same = listened.iter().position(is_same);
            let place = same.or_else(|| listened.iter().position(is_alike))?;
            u8::try_from(place).ok()
        };
        self.listened.iter().map(place).collect()
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        // A mere end would look like an empty payload.
        self.waiters.drain(..).for_each(Waiter::reset);
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("len", &self.len()).finish_non_exhaustive()
    }
}
