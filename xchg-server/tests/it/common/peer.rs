//! Peers that speak raw bytes over the standard library's sockets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket};
use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Decoded, Greeting, Offer, RefusalCode, StatusReport,
    Waiting,
};
use xchg_core::{Key, Realm, Side};

use super::{DEADLINE, eventually};

/// A connection to a server, of whatever dialect.
pub(crate) struct Peer {
    stream: TcpStream,
    /// Received behind the last answer.
    heard: Vec<u8>,
}

impl Peer {
    /// Connects and says nothing.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// Connects from another address of this machine.
    pub(crate) fn connect_from(source: SocketAddr, address: SocketAddr) -> Self {
        let socket =
            Socket::new(socket2::Domain::for_address(source), socket2::Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(source)).unwrap();
        socket.connect(&SockAddr::from(address)).unwrap();
        Self::of(socket.into())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, heard: Vec::new() }
    }

    /// A classic peer that has said `command` and `key`.
    pub(crate) fn classic(address: SocketAddr, command: u8, key: &str) -> Self {
        Self::saying(address, &classic_greeting(command, key))
    }

    /// A native peer that has made its offer.
    pub(crate) fn native(address: SocketAddr, side: Side, key: &str) -> Self {
        Self::offering(address, offer(side, key))
    }

    pub(crate) fn offering(address: SocketAddr, offer: Offer) -> Self {
        Self::saying(address, &Greeting::new(Command::Offer(offer)).encode())
    }

    /// A peer that has sent `bytes`.
    pub(crate) fn saying(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut peer = Self::connect(address);
        peer.send(bytes);
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends `bytes` and the end.
    pub(crate) fn send_all(mut self, bytes: &[u8]) -> Self {
        self.send(bytes);
        self.half_close();
        self
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends `bytes` and the end in one segment, so that the other end cannot see the one without
    /// the other.
    pub(crate) fn send_with_end(&mut self, bytes: &[u8]) {
        SockRef::from(&self.stream).set_tcp_cork(true).unwrap();
        self.send(bytes);
        self.half_close();
    }

    /// Leaves so that the other end sees a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Blocks until all that was sent, and the end, have reached the other end's system.
    pub(crate) fn await_acknowledged(&self) {
        const FIN_WAIT_2: &str = "05";
        let port = format!(":{:04X}", self.stream.local_addr().unwrap().port());
        eventually("the end is acknowledged", || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let mut fields = sockets.lines().map(|line| line.split_whitespace().skip(1).step_by(2));
            fields.any(|mut line| {
                line.next().is_some_and(|local| local.ends_with(&port))
                    && line.next() == Some(FIN_WAIT_2)
            })
        });
    }

    /// A second hold on the connection, for another thread.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// The server's next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer must come")
    }

    /// The server's next answer, or how the connection was lost instead.
    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        loop {
            match Answer::decode(&self.heard).unwrap() {
                Decoded::Whole { message, len } => {
                    self.heard.drain(..len);
                    return Ok(message.expect("this build knows its own answers"));
                }
                Decoded::Partial => {
                    let mut bytes = [0; 4096];
                    match self.stream.read(&mut bytes)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => self.heard.extend_from_slice(&bytes[..n]),
                    }
                }
            }
        }
    }

    /// Expects `Waiting`.
    pub(crate) fn waits(mut self) -> Self {
        assert_eq!(self.answer(), Answer::Waiting(Waiting::default()));
        self
    }

    /// Skips what is said to the waiting, and gives the answer that ends it.
    pub(crate) fn verdict(&mut self) -> Answer {
        loop {
            match self.answer() {
                Answer::Waiting(_) | Answer::Heartbeat => {}
                answer => return answer,
            }
        }
    }

    /// Expects `Matched`, and gives what the counterpart speaks and the payload's length.
    pub(crate) fn matched(&mut self) -> (CounterpartDialect, Option<u64>) {
        match self.verdict() {
            Answer::Matched(matched) => (matched.dialect, matched.length),
            answer => panic!("{answer:?} instead of Matched"),
        }
    }

    /// Expects `Refused` and the end of the connection; gives the code.
    pub(crate) fn refused(mut self) -> RefusalCode {
        match self.verdict() {
            Answer::Refused { code, text } => {
                assert!(!text.is_empty(), "a refusal says why");
                assert_eq!(self.rest().unwrap(), b"", "Refused is the last word");
                code
            }
            answer => panic!("{answer:?} instead of Refused"),
        }
    }

    /// Asks the server how it is.
    pub(crate) fn status(address: SocketAddr) -> StatusReport {
        let mut peer = Self::saying(address, &Greeting::new(Command::Status).encode());
        match peer.answer() {
            Answer::Status(report) => report,
            answer => panic!("{answer:?} instead of Status"),
        }
    }

    /// Reads so many bytes.
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads to the end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Expects to be let go in a way that cannot be taken for the end of an empty payload.
    pub(crate) fn let_go(mut self) {
        assert_lost(self.rest());
    }

    /// Reads to the end, and closes.
    pub(crate) fn whole(mut self) -> Vec<u8> {
        self.rest().unwrap()
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.heard.is_empty() {
            self.stream.read(buf)
        } else {
            let n = self.heard.as_slice().read(buf)?;
            self.heard.drain(..n);
            Ok(n)
        }
    }
}

/// A classic greeting: the command, and the key padded with NULs.
pub(crate) fn classic_greeting(command: u8, key: &str) -> [u8; 9] {
    let mut greeting = [0; 9];
    greeting[0] = command;
    greeting[1..=key.len()].copy_from_slice(key.as_bytes());
    greeting
}

/// An offer in the plain realm that waits for ever.
pub(crate) fn offer(side: Side, key: &str) -> Offer {
    Offer::new(Realm::Plain, side, Key::parse(key.as_bytes()).unwrap())
}

/// Expects that the connection was reset, rather than closed or silent.
pub(crate) fn assert_lost<T: std::fmt::Debug>(result: io::Result<T>) {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    let kind = result.expect_err("the connection must be reset").kind();
    assert!(matches!(kind, ConnectionReset | BrokenPipe), "{kind:?}");
}
