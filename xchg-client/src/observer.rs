//! Hearing what goes on.

use std::time::Duration;

use xchg_core::wire::{Matched, Waiting};

use crate::{Address, Error};

/// Told what goes on, in this order, by the thread that runs the transfer. Every method does nothing by default.
///
/// The end is no event: it is what the transfer returns.
pub trait Observer {
    /// The server is being looked up and connected to.
    fn connecting(&mut self, address: &Address) {
        let _ = address;
    }

    /// The server has the offer, and no counterpart is there yet. Also called, every so often,
    /// while one waits in another realm.
    fn waiting(&mut self, waiting: &Waiting) {
        let _ = waiting;
    }

    /// The offer failed, and is made again after `delay`. What arrived until then is not sent again.
    fn retrying(&mut self, error: &Error, delay: Duration) {
        let _ = (error, delay);
    }

    /// The counterpart is here.
    fn matched(&mut self, matched: &Matched) {
        let _ = matched;
    }

    /// So many bytes of payload have moved in all. Comes after every slice, which may be thousands of times a second.
    fn progress(&mut self, bytes: u64) {
        let _ = bytes;
    }
}

/// Nobody.
impl Observer for () {}
