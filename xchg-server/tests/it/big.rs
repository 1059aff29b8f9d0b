//! Much data through a server process, whose memory must not grow with it.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::common::{Peer, Process, payload};
use xchg_core::Side;

const GIB: u64 = 1 << 30;

/// What a server may use at its peak, whatever it moves: the program itself and a few buffers.
const MAX_MEMORY_KIB: u64 = 32 << 10;

/// A stream that is cheap to make and to check: a random block, prime in length so that no buffer's
/// size divides it, stamped with its number.
struct Stream {
    block: Vec<u8>,
    number: u64,
    left: u64,
}

impl Stream {
    fn new(len: u64) -> Self {
        Self { block: payload(1, 1_048_573), number: 0, left: len }
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.block[..8].copy_from_slice(&self.number.to_le_bytes());
        let len = self.block.len().min(usize::try_from(self.left).unwrap());
        self.number += 1;
        self.left -= len as u64;
        (len > 0).then(|| &self.block[..len])
    }
}

fn send(mut peer: Peer, len: u64) {
    let mut stream = Stream::new(len);
    let mut socket = peer.stream();
    while let Some(block) = stream.next() {
        socket.write_all(block).unwrap();
    }
    peer.half_close();
    assert_eq!(peer.rest().unwrap(), b"");
}

fn receive(mut peer: Peer, len: u64) {
    let mut expected = Stream::new(len);
    let mut buffer = vec![0; 1 << 20];
    while let Some(block) = expected.next() {
        let received = &mut buffer[..block.len()];
        peer.read_exact(received).unwrap();
        assert!(received == block, "it differs {} bytes before its end", expected.left);
    }
    assert_eq!(peer.rest().unwrap(), b"", "nothing follows");
}

/// Moves `len` bytes from one peer to the other and checks each.
fn exchange(uploader: Peer, downloader: Peer, len: u64) {
    let sending = std::thread::spawn(move || send(uploader, len));
    receive(downloader, len);
    sending.join().unwrap();
}

fn classic(address: SocketAddr) -> (Peer, Peer) {
    (Peer::classic(address, b'P', "big"), Peer::classic(address, b'G', "big"))
}

fn native(address: SocketAddr) -> (Peer, Peer) {
    let mut uploader = Peer::native(address, Side::Upload, "big");
    let mut downloader = Peer::native(address, Side::Download, "big");
    uploader.matched();
    downloader.matched();
    (uploader, downloader)
}

/// Moves `len` bytes through a server of its own, and looks at its memory.
fn check(args: &[&str], pair: fn(SocketAddr) -> (Peer, Peer), len: u64) {
    let (process, address) = Process::start(args);
    let (uploader, downloader) = pair(address);
    exchange(uploader, downloader, len);
    let peak = process.kib("status", "VmHWM");
    assert!(peak < MAX_MEMORY_KIB, "the server used {peak} KiB");
}

/// Past 2^32 bytes, so that no counter of 32 bits goes unnoticed.
#[test]
fn five_gibibytes_arrive_whole_and_cost_no_memory() {
    check(&[], classic, 5 * GIB + 12_345);
}

#[test]
fn a_native_stream_costs_no_memory() {
    check(&[], native, GIB / 2 + 12_345);
}

#[test]
fn a_stream_that_is_copied_costs_no_memory() {
    check(&["--pipe-size", "0"], native, GIB / 8 + 12_345);
}
