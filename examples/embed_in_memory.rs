//! Two threads of one process exchange bytes without any socket: the broker pairs them, a relay
//! moves the bytes both ways.
//!
//! `cargo run --release --example embed_in_memory`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::io::{Read, Write};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use xchg_core::relay::{self, Duplex, Memory};
use xchg_core::{Broker, Brokered, Ended, Key, Limits, Offer, Outcome, Realm, Side};

/// Each connection holds so much that is written and not yet read: whoever is faster waits for the
/// other.
const CAPACITY: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::new(Limits::default());
    let events = broker.subscribe(16);

    // Each peer keeps one end of its connection; the other end is what the broker pairs.
    let (downloader, download) = relay::memory(CAPACITY);
    let (uploader, upload) = relay::memory(CAPACITY);
    let nobody_yet = arrive(&broker, Side::Download, download)?;
    let relay = arrive(&broker, Side::Upload, upload)?.ok_or("both are here")?;
    assert!(nobody_yet.is_none());

    let sent: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_be_bytes).collect();
    let receiving = thread::spawn(move || receive(&downloader));
    (&uploader).write_all(&sent)?;
    // That was all from this side. The other direction is still open, for the answer.
    uploader.half_close()?;
    let mut answer = String::new();
    (&uploader).read_to_string(&mut answer)?;
    println!("downloader answers: {answer}");

    let received = receiving.join().map_err(|_| "the downloader panicked")??;
    assert!(received == sent, "every byte arrived");
    assert_eq!(answer, "thanks for 4000000 bytes");

    let ended = relay.join().map_err(|_| "the relay panicked")?;
    assert_eq!((ended.outcome, ended.bytes), (Outcome::Completed, 4_000_000));
    println!("outcome: {}, {} bytes", ended.outcome.as_str(), ended.bytes);
    println!("events: {}", events.try_iter().count());
    Ok(())
}

/// Offers one side. The first to come waits; the second gets the relay, on a thread of its own.
fn arrive(
    broker: &Broker<Memory>,
    side: Side,
    conn: Memory,
) -> Result<Option<JoinHandle<Ended>>, Box<dyn Error>> {
    let key = Key::parse(b"holiday")?;
    match broker.offer(Offer::new(Realm::Plain, key, side, conn), Instant::now()) {
        Brokered::Waiting { .. } => {
            println!("{}: waits for its counterpart", side.as_str());
            Ok(None)
        }
        Brokered::Paired(pair) => {
            println!("{}: paired at once, exchange {} begins", side.as_str(), pair.exchange.id());
            Ok(Some(thread::spawn(|| relay::run(pair.exchange, pair.upload, pair.download))))
        }
        Brokered::Refused { why, .. } => Err(why.into()),
    }
}

fn receive(downloader: &Memory) -> std::io::Result<Vec<u8>> {
    let mut received = Vec::new();
    { downloader }.read_to_end(&mut received)?;
    write!({ downloader }, "thanks for {} bytes", received.len())?;
    downloader.half_close()?;
    Ok(received)
}
