//! Scripted servers: they say what a test wants them to say, right or wrong.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use socket2::Socket;
use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Decoded, Greeting, Matched, Offer, RefusalCode, Waiting,
};

use crate::support::DEADLINE;

/// A server of one connection.
pub(crate) struct Server {
    pub(crate) address: String,
    done: Receiver<()>,
}

/// That connection, after its greeting.
pub(crate) struct Peer {
    pub(crate) greeting: Greeting,
    pub(crate) socket: Socket,
}

impl Server {
    /// Runs `script` with the first peer that comes.
    pub(crate) fn run(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self::on(listener.into(), address, |socket| script(Peer::greeted(socket)))
    }

    /// Runs `script` with the first connection, before it has said anything.
    pub(crate) fn on(
        listener: Socket,
        address: String,
        script: impl FnOnce(Socket) + Send + 'static,
    ) -> Self {
        let (sender, done) = mpsc::channel();
        thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket.set_write_timeout(Some(DEADLINE)).unwrap();
            script(socket);
            sender.send(())
        });
        Self { address, done }
    }

    /// Waits for the script's end, and fails if the script did.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.done.recv_timeout(DEADLINE).expect("the server's script should have come to its end");
    }
}

/// An address at which nothing listens.
pub(crate) fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

impl Peer {
    /// Reads the greeting.
    pub(crate) fn greeted(mut socket: Socket) -> Self {
        let mut bytes = Vec::new();
        loop {
            if let Decoded::Whole { message, len } = Greeting::decode(&bytes).unwrap() {
                assert_eq!(len, bytes.len(), "nothing follows a greeting (rule 7)");
                return Self { greeting: message, socket };
            }
            let mut more = [0; 256];
            let count = socket.read(&mut more).unwrap();
            assert!(count > 0, "cut after {bytes:?}");
            bytes.extend_from_slice(&more[..count]);
        }
    }

    pub(crate) fn offer(&self) -> &Offer {
        match &self.greeting.command {
            Command::Offer(offer) => offer,
            other => panic!("{other:?} is no offer"),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub(crate) fn answer(&mut self, answer: &Answer) {
        self.send(&answer.encode());
    }

    pub(crate) fn wait(&mut self) {
        self.answer(&Answer::Waiting(Waiting::default()));
    }

    pub(crate) fn match_with(&mut self, dialect: CounterpartDialect, length: Option<u64>) {
        self.answer(&Answer::Matched(Matched::new(dialect, length)));
    }

    pub(crate) fn match_native(&mut self) {
        self.match_with(CounterpartDialect::Native, None);
    }

    pub(crate) fn refuse(&mut self, code: RefusalCode, text: &str) {
        self.answer(&Answer::Refused { code, text: text.into() });
    }

    /// Sends a whole framed payload.
    pub(crate) fn send_payload(&mut self, payload: &[u8]) {
        self.send(&framed(payload));
    }

    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads chunks to the end mark.
    pub(crate) fn read_payload(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        loop {
            let head = self.read(8);
            let len = u64::from_be_bytes(head.try_into().unwrap());
            if len == 0 {
                return payload;
            }
            payload.extend(self.read(usize::try_from(len).unwrap()));
        }
    }

    /// Reads to the connection's end: what came, and whether the end was a clean one.
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let ended = self.socket.read_to_end(&mut bytes);
        (bytes, ended.is_ok())
    }

    /// Loses the other peer.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// One chunk and the end mark.
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let head = (payload.len() as u64).to_be_bytes();
    [&head[..], payload, &[0; 8]].concat()
}

/// A receipt of PROTOCOL.md rule 13.
pub(crate) fn receipt(status: u8, bytes: u64) -> Vec<u8> {
    [&[status], &bytes.to_be_bytes()[..]].concat()
}
