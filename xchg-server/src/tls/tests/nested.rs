//! A layer within a layer is a layer: here TLS within TLS, in a stream that knows of one.

use std::io::{self, ErrorKind, Read, Write};

use rustls::ClientConnection;
use xchg_core::relay::{Sink, Source};

use super::super::Session;
use super::Folder;
use super::pipe::{Pipe, Width, pipe};
use super::session::client;
use crate::engine::net::{Layer, Readiness};
use crate::engine::stream::Stream;
use crate::tls::Store;

/// Bytes within `inner`, which is within `outer`.
#[derive(Debug)]
struct Nested {
    outer: Session,
    inner: Session,
    is_ending: bool,
}

/// A layer as the socket of another.
struct Outer<'a>(&'a mut Session);

impl Read for Outer<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Outer<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // It takes more only once all that it took before is sent.
        if self.0.has_unsent() { Err(ErrorKind::WouldBlock.into()) } else { self.0.write(buf) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Layer for Nested {
    fn take_in(&mut self, socket: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
        if !self.outer.is_readable() {
            self.outer.take_in(socket, &mut [])?;
        }
        if !(self.outer.is_settled() && self.outer.is_readable()) {
            return Ok(0);
        }
        match self.inner.take_in(&mut Outer(&mut self.outer), buf) {
            // It is the outer layer that has no more; the socket may.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            taken => taken,
        }
    }

    fn is_settled(&self) -> bool {
        self.outer.is_settled() && self.inner.is_settled()
    }

    fn peer_name(&self) -> Option<String> {
        self.outer.peer_name().or_else(|| self.inner.peer_name())
    }

    fn is_readable(&self) -> bool {
        self.inner.is_readable()
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write(buf)
    }

    fn end(&mut self) {
        self.inner.end();
        self.is_ending = true;
    }

    fn has_unsent(&self) -> bool {
        self.outer.has_unsent() || (self.outer.is_settled() && self.inner.has_unsent())
    }

    fn give_out(&mut self, socket: &mut dyn Write) -> io::Result<usize> {
        if self.outer.has_unsent() {
            return self.outer.give_out(socket);
        }
        let n = self.inner.give_out(&mut Outer(&mut self.outer))?;
        if self.is_ending && !self.inner.has_unsent() {
            self.outer.end();
        }
        Ok(n)
    }
}

/// The client's end of the same.
struct Client {
    outer: ClientConnection,
    inner: ClientConnection,
    pipe: Pipe,
    heard: Vec<u8>,
    has_end: bool,
}

impl Client {
    fn turn(&mut self) {
        let Self { outer, inner, pipe, .. } = self;
        while outer.wants_read() && outer.read_tls(pipe).is_ok_and(|n| n > 0) {
            outer.process_new_packets().unwrap();
            while inner.wants_read() && inner.read_tls(&mut outer.reader()).is_ok_and(|n| n > 0) {
                inner.process_new_packets().unwrap();
                let mut bytes = [0; 4096];
                while let Ok(n) = inner.reader().read(&mut bytes) {
                    self.heard.extend_from_slice(&bytes[..n]);
                    if n == 0 {
                        self.has_end = true;
                        break;
                    }
                }
            }
        }
        if !outer.is_handshaking() {
            while inner.wants_write() && inner.write_tls(&mut outer.writer()).is_ok() {}
        }
        while outer.wants_write() && outer.write_tls(pipe).is_ok() {}
    }
}

#[test]
fn a_stream_within_two_layers_is_heard_and_told_whole() {
    let folder = Folder::new();
    let store = Store::open(folder.files()).unwrap();
    let session = || Session::new(store.config()).unwrap();
    for at_once in [1, 100, 5_000, usize::MAX] {
        let (ours, theirs) = pipe(Width { capacity: 10_000, at_once });
        let mut client = Client {
            outer: client(&folder),
            inner: client(&folder),
            pipe: theirs,
            heard: Vec::new(),
            has_end: false,
        };
        let mut server = Stream::new(ours);
        let layer = Nested { outer: session(), inner: session(), is_ending: false };
        server.wrap(Box::new(layer), &[]).unwrap();
        let all = Readiness { is_readable: true, is_writable: true, ..Readiness::default() };
        for _ in 0..100_000 {
            client.turn();
            server.note(all);
            if server.settle().is_ok() {
                break;
            }
        }
        let up: Vec<u8> = (0..30_000).map(|at: u32| ((at * at) >> 5).to_le_bytes()[0]).collect();
        let down: Vec<u8> = up.iter().rev().copied().collect();
        let (mut upped, mut downed, mut heard, mut has_ended) = (0, 0, Vec::new(), false);
        let mut buf = [0; 3_000];
        for _ in 0..1_000_000 {
            upped += client.inner.writer().write(&up[upped..]).unwrap();
            client.turn();
            server.on_ready(all);
            while let Ok(n @ 1..) = server.read(&mut buf) {
                heard.extend_from_slice(&buf[..n]);
            }
            if downed < down.len() {
                downed += server.write(&down[downed..]).unwrap_or(0);
            } else if !has_ended {
                has_ended = server.half_close().is_ok();
            }
            if heard.len() == up.len() && client.has_end {
                break;
            }
        }
        assert!(heard == up, "{} of {} up, {at_once} at once", heard.len(), up.len());
        assert!(client.heard == down, "{} of {} down", client.heard.len(), down.len());
        assert!(client.has_end && client.pipe.has_end(), "both ends are said");
    }
}
