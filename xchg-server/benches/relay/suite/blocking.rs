//! The relay that anyone would write first, to compare with: a blocking thread for each connection.
//!
//! It speaks the classic dialect. The first of two peers is parked under its key and its thread
//! ends; the second one's thread copies the bytes through a buffer. It checks nothing, limits
//! nothing and notices no loss, so it shows what blocking calls alone cost. It runs in a process of
//! its own so that its costs can be told apart.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, thread};

type Waiting = Arc<Mutex<HashMap<[u8; 8], TcpStream>>>;

/// Size of the buffer that each exchange copies through, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Serves until the process is killed; says in `port_file` where.
pub(crate) fn serve(listener: &TcpListener, port_file: &Path) -> io::Result<()> {
    fs::write(port_file, listener.local_addr()?.to_string())?;
    let waiting = Waiting::default();
    for peer in listener.incoming() {
        let (peer, waiting) = (peer?, Arc::clone(&waiting));
        // A lost peer ends its own thread; the benchmark counts what then fails to arrive.
        thread::Builder::new().stack_size(128 << 10).spawn(move || greet(peer, &waiting).ok())?;
    }
    Ok(())
}

fn greet(mut peer: TcpStream, waiting: &Waiting) -> io::Result<()> {
    peer.set_nodelay(true)?;
    let mut greeting = [0; 9];
    peer.read_exact(&mut greeting)?;
    let [command, key @ ..] = greeting;
    let counterpart = {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.remove(&key) {
            Some(counterpart) => counterpart,
            None => {
                waiting.insert(key, peer);
                return Ok(());
            }
        }
    };
    if command == b'P' { relay(peer, counterpart) } else { relay(counterpart, peer) }
}

fn relay(mut upload: TcpStream, mut download: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match upload.read(&mut buffer)? {
            0 => return download.shutdown(Shutdown::Write),
            count => download.write_all(&buffer[..count])?,
        }
    }
}
