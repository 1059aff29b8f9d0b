//! What each side tells its observer.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xchg_client::Observer;
use xchg_client::files::{Destination, Outgoing, Stream};

use crate::support::Exchange;

#[test]
fn the_uploader_hears_how_much_the_downloader_has() {
    struct Watcher(Arc<AtomicU64>);
    impl Observer for Watcher {
        fn confirmed(&mut self, bytes: u64) {
            let before = self.0.swap(bytes, Ordering::Relaxed);
            assert!(before <= bytes, "{before} and then {bytes}");
        }
    }
    /// Ends when some of it has been confirmed.
    struct Endless(Arc<AtomicU64>);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.load(Ordering::Relaxed) {
                0 => Ok(buffer.len()),
                _ => Ok(0),
            }
        }
    }
    let confirmed = Arc::new(AtomicU64::new(0));
    let outgoing = Outgoing::stream("zeros", Stream::new(Endless(Arc::clone(&confirmed)))).unwrap();
    let mut nowhere = io::sink();
    let mut exchange = Exchange::new(outgoing, Destination::Writer(&mut nowhere));
    exchange.uploader.observer = Box::new(Watcher(Arc::clone(&confirmed)));
    let (sent, _) = exchange.run().unwrap();
    assert!((1..=sent.bytes).contains(&confirmed.load(Ordering::Relaxed)));
}
