//! The server's end of a link. Where it splices, its bytes pass through pipes of the kernel.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
#[cfg(target_os = "linux")]
use xchg_core::relay::Pipe;
use xchg_core::relay::{Sink, Source};

use super::Time;
use super::link::Link;
use crate::engine::net::Transport;

#[derive(Debug)]
pub(super) struct SimSocket {
    pub(super) link: Arc<Mutex<Link>>,
}

impl Source for SimSocket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.link.lock().server_read(buf)
    }

    #[cfg(target_os = "linux")]
    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        let mut link = self.link.lock();
        if !link.splices_up() {
            return Err(ErrorKind::Unsupported.into());
        }
        link.server_takes(|bytes| pipe.put(&bytes[..most.min(bytes.len())]))
    }
}

impl Sink for SimSocket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.link.lock().server_write(buf)
    }

    fn half_close(&mut self) -> io::Result<()> {
        self.link.lock().server_ends()
    }

    #[cfg(target_os = "linux")]
    fn splices(&self) -> bool {
        self.link.lock().splices_down()
    }

    #[cfg(target_os = "linux")]
    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        let mut link = self.link.lock();
        if !link.splices_down() {
            return Err(ErrorKind::Unsupported.into());
        }
        link.server_gives(len, |n| pipe.take(n))
    }
}

impl Transport for SimSocket {
    fn write_framed(
        &mut self,
        framing: &[u8],
        payload: &[u8],
        _is_last: bool,
    ) -> io::Result<usize> {
        self.write(&[framing, payload].concat())
    }

    fn take_failure(&self) -> io::Result<Option<ErrorKind>> {
        Ok(self.link.lock().take_failure())
    }

    fn unacknowledged(&self) -> Option<u64> {
        Some(self.link.lock().unacknowledged())
    }

    fn set_buffers(&self, _bytes: usize) {}

    fn set_send_buffer(&self, _bytes: usize) {}

    fn set_recv_buffer(&self, _bytes: usize) {}

    fn set_stall_timeout(&self, timeout: Duration) {
        let timeout = Time::try_from(timeout.as_micros()).unwrap_or(Time::MAX / 2);
        self.link.lock().set_stall_timeout(timeout);
    }

    fn reset(&self) {
        self.link.lock().server_closes(true);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.link.lock().server_closes(false);
    }
}
