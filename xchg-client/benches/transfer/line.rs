//! A line that is long: whatever passes it arrives later. In user space, so that it needs no rights
//! and no kernel module.
//!
//! It delays bytes, not packets: nothing is lost on it, and how fast it is shows the programs'
//! round trips, not what TCP makes of distance. What it cannot delay is the connection's own
//! handshake; the first bytes take a round trip longer instead.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces that are under way at most, each of up to [`PIECE_BYTES`]: 32 MiB, enough for 320 MiB/s
/// over 100 ms.
const PIECES: usize = 512;
const PIECE_BYTES: usize = 64 << 10;

/// Listens, and passes on every connection to `server`, which is a `round_trip` away. Its threads
/// end with the process.
pub(crate) fn to(server: SocketAddr, round_trip: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // A server that is gone closes the connection, as it would without a line.
            drop(connect(near, server, round_trip));
        }
    });
    Ok(address)
}

fn connect(near: TcpStream, server: SocketAddr, round_trip: Duration) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    for end in [&near, &far] {
        end.set_nodelay(true)?;
    }
    let connected = Instant::now() + round_trip;
    pass(near.try_clone()?, far.try_clone()?, round_trip / 2, connected);
    pass(far, near, round_trip / 2, connected);
    Ok(())
}

/// Passes on what comes `from` one end, nothing of it sent before `connected`.
fn pass(mut from: TcpStream, to: TcpStream, delay: Duration, connected: Instant) {
    let (under_way, arrives) = sync_channel(PIECES);
    thread::spawn(move || deliver(&arrives, to));
    thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let due = Instant::now().max(connected) + delay;
            if under_way.send((due, piece[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

fn deliver(arrives: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    let mut last = Instant::now();
    for (due, piece) in arrives {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        last = due;
        if to.write_all(&piece).is_err() {
            return;
        }
    }
    // The end comes no earlier than what was before it.
    thread::sleep(last.saturating_duration_since(Instant::now()));
    drop(to.shutdown(Shutdown::Write));
}
