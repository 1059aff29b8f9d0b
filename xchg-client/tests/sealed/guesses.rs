//! Strangers who guess at a secret: whatever they do, and however often, they learn of no more
//! guesses than are allowed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::tempdir;
use xchg_client::files::Destination;
use xchg_client::session::Secret;
use xchg_client::{
    Client, Content, DownloadOptions, Error, Key, Observer, Retry, Side, UploadOptions,
};
use xchg_core::wire::{Decoded, Greeting};

use crate::support;
use crate::{Rendezvous, folder_with, waiting};

/// What a client says of a counterpart that was found, in bytes: `Matched`, native.
const MATCHED: [u8; 8] = [3, 0, 5, 0, 4, 0, 1, 1];

const CONFIRMATION_BYTES: usize = 32;

/// What a stranger does in one exchange. It does not know the secret.
#[derive(Debug, Clone, Copy)]
enum Stranger {
    /// Leaves before the hello is whole.
    InHello(usize),
    /// Takes the confirmation, and says so much of one before it leaves.
    AfterConfirmation(usize),
    /// Takes the confirmation, and resets the connection.
    Resets,
}

fn stranger() -> impl Strategy<Value = Stranger> {
    prop_oneof![
        (0..41_usize).prop_map(Stranger::InHello),
        (0..=CONFIRMATION_BYTES).prop_map(Stranger::AfterConfirmation),
        Just(Stranger::Resets),
    ]
}

/// A server where nobody but strangers waits. It counts the confirmations that they get.
struct Trap {
    listener: TcpListener,
    confirmations: AtomicU32,
    is_over: AtomicBool,
}

impl Trap {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, confirmations: AtomicU32::new(0), is_over: AtomicBool::new(false) }
    }

    fn client(&self) -> Client {
        Client::new(self.listener.local_addr().unwrap().to_string().parse().unwrap())
    }

    /// Meets every client with the next stranger, and all further ones with one that takes the
    /// confirmation and leaves.
    fn run(&self, strangers: &[Stranger], client_side: Side) {
        let last = std::iter::repeat(Stranger::AfterConfirmation(0));
        for stranger in strangers.iter().copied().chain(last) {
            let (stream, _) = self.listener.accept().unwrap();
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            // However the client takes it.
            self.meet(stream, stranger, client_side).ok();
        }
    }

    fn meet(&self, mut stream: TcpStream, stranger: Stranger, client: Side) -> io::Result<()> {
        read_greeting(&mut stream)?;
        stream.write_all(&MATCHED)?;
        let hello = hello(!client);
        if let Stranger::InHello(bytes) = stranger {
            return stream.write_all(&hello[..bytes]);
        }
        stream.write_all(&hello)?;
        read_hello(&mut stream)?;
        stream.read_exact(&mut [0; CONFIRMATION_BYTES])?;
        self.confirmations.fetch_add(1, Ordering::AcqRel);
        match stranger {
            Stranger::AfterConfirmation(bytes) => {
                stream.write_all(&[7; CONFIRMATION_BYTES][..bytes])?;
                stream.shutdown(Shutdown::Write)?;
                io::copy(&mut stream, &mut io::sink()).map(|_| ())
            }
            _ => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        drop(TcpStream::connect(self.listener.local_addr().unwrap()).unwrap());
    }
}

fn read_greeting(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        bytes.extend(byte);
        if let Decoded::Whole { .. } = Greeting::decode(&bytes).unwrap() {
            return Ok(());
        }
    }
}

fn read_hello(stream: &mut TcpStream) -> io::Result<()> {
    let mut header = [0; 3];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
    stream.read_exact(&mut body)
}

/// A hello of `side`, with the base point: whoever sends it knows no secret.
fn hello(side: Side) -> Vec<u8> {
    let letter = if side == Side::Upload { b'A' } else { b'B' };
    let mut hello = vec![2, 0, 38, letter, 0x58];
    hello.extend([0x66; 31]);
    hello.extend([0, 1, 0, 1, 2]);
    hello
}

/// Runs a client of `side` against these strangers until it gives up.
fn give_up(side: Side, strangers: &[Stranger], guesses: u32) -> (Error, u32) {
    let trap = Trap::new();
    let client = trap.client();
    let error = thread::scope(|scope| {
        scope.spawn(|| trap.run(strangers, side));
        let error = transfer(&client, side, guesses);
        trap.end();
        error
    });
    (error, trap.confirmations.load(Ordering::Acquire))
}

fn transfer(client: &Client, side: Side, guesses: u32) -> Error {
    let key = Key::parse(b"k").unwrap();
    let secret = Secret::new("swordfish");
    let guesses = NonZeroU32::new(guesses).unwrap();
    let retry = Retry::new(Duration::ZERO, Duration::ZERO);
    let observer: &mut dyn Observer = &mut ();
    match side {
        Side::Upload => {
            let content = Content::Text { name: "f".into(), text: "x".into() };
            let options = UploadOptions::new(key, secret, content).guesses(guesses).retry(retry);
            client.upload(options, observer).unwrap_err()
        }
        Side::Download => {
            let there = tempdir().unwrap();
            let destination = Destination::Directory(there.path().into());
            let options =
                DownloadOptions::new(key, secret, destination).guesses(guesses).retry(retry);
            client.download(options, observer).unwrap_err()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn strangers_get_no_more_confirmations_than_guesses_are_allowed(
        strangers in proptest::collection::vec(stranger(), 0..8),
        guesses in 1..4_u32,
    ) {
        for side in [Side::Upload, Side::Download] {
            let (error, confirmations) = give_up(side, &strangers, guesses);
            let is_guess = matches!(&error, Error::Session(error) if error.is_guess());
            prop_assert!(is_guess, "{:?}: {:?}", side, error);
            prop_assert_eq!(confirmations, guesses);
        }
    }
}

#[test]
fn a_stranger_who_hangs_up_has_spent_the_guess_and_the_person_is_told() {
    let here = folder_with("f", b"x");
    for (command, side) in [("upload", Side::Upload), ("download", Side::Download)] {
        let trap = Trap::new();
        let address = trap.listener.local_addr().unwrap().to_string();
        let args: &[&str] = match side {
            Side::Upload => &["f", "--key", "k:swordfish"],
            Side::Download => &["k:swordfish"],
        };
        let args = [&[command, "--retry", "--server", &address], args].concat();
        let finished = thread::scope(|scope| {
            scope.spawn(|| trap.run(&[], side));
            let finished = support::Client::start(here.path(), &args).finish();
            trap.end();
            finished
        });
        let finished = finished.expect(4, "which counts as a guess");
        assert!(finished.stderr.concat().contains("--guesses N"), "{finished:?}");
        assert_eq!(trap.confirmations.load(Ordering::Acquire), 1);
    }
}

#[test]
fn a_downloader_may_allow_several_guesses_too() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let mut download =
        waiting(&server, there.path(), &["download", "k:swordfish", "--guesses", "2"]);
    let wrong = server.run(here.path(), &["upload", "f", "--key", "k:marlin"]);
    wrong.finish().expect(4, "secrets differ");
    download.wait_for("the two secrets differ");
    server.run(here.path(), &["upload", "f", "--key", "k:swordfish"]).finish().expect(0, "");
    download.finish().expect(0, "");
}
