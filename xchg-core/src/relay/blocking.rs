//! An exchange moved with blocking calls.

use crate::relay::Duplex;
use crate::{Exchange, Outcome};

/// stub
pub fn run<A: Duplex + Sync, B: Duplex + Sync>(
    exchange: Exchange,
    upload: A,
    download: B,
) -> Outcome {
    let _ = (&upload, &download);
    let o = Outcome::Cancelled { bytes: 0 };
    exchange.finish(o);
    o
}
