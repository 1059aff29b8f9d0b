//! A tiny xchg server on a unix socket: the native handshake, a broker, and a relay on a thread for
//! each exchange.
//!
//! `cargo run --release --example embed_unix_socket`
//!
//! What `xchg-server` has beside this: deadlines for greetings and waits, heartbeats, peers that
//! leave while they wait, and no thread for anybody.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use xchg_core::relay::{self, Duplex, Socket};
use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Decoded, Greeting, Matched, RefusalCode, Waiting,
};
use xchg_core::{Broker, Brokered, Counts, Key, Limits, Offer, Realm, Refusal, Side, wire};

type Failure = Box<dyn Error + Send + Sync>;

/// The broker may hold the connection and the server still write to it.
type Conn = Arc<Socket<UnixStream>>;

fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("xchg.sock");
    let listener = UnixListener::bind(&path)?;

    let bytes = vec![7; 3_000_000];
    let counts = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, 3));
        let downloader = scope.spawn(|| download(&path));
        upload(&path, &bytes)?;
        let received = joined(downloader.join())?;
        assert!(received == bytes, "every byte arrived");
        println!("downloader: has {} bytes", received.len());
        // The third peer comes for nothing: the server drains while it waits.
        let refused = arrive(&path, Side::Upload, b"nobody knows this");
        println!("uploader: {}", refused.err().ok_or("it should be refused")?);
        joined(server.join())
    })?;
    assert_eq!((counts.completed, counts.bytes), (1, 3_000_000));
    println!("server: {} exchange completed, {} bytes", counts.completed, counts.bytes);
    Ok(())
}

/// Serves so many peers, then drains.
fn serve(listener: &UnixListener, peers: usize) -> Result<Counts, Failure> {
    let broker = Broker::new(Limits::default());
    for stream in listener.incoming().take(peers) {
        if let Err(failure) = greet(Arc::new(Socket(stream?)), &broker) {
            println!("server: a peer is gone: {failure}");
        }
    }
    let (released, drained) = broker.drain();
    for offer in released {
        refuse(&offer.conn, Refusal::Closed, RefusalCode::Draining)?;
    }
    drained.wait_until(None);
    Ok(broker.counts())
}

/// Reads what a peer wants, and pairs it or lets it wait.
fn greet(conn: Conn, broker: &Broker<Conn>) -> Result<(), Failure> {
    let greeting = read_message(&conn.0, Greeting::decode)?;
    let Command::Offer(wire::Offer { realm, side, key, .. }) = greeting.command else {
        let text = "this server only pairs peers".into();
        return say(&conn, &Answer::Refused { code: RefusalCode::Unsupported, text });
    };
    match broker.offer(Offer::new(realm, key, side, conn.clone()), Instant::now()) {
        Brokered::Waiting { .. } => say(&conn, &Answer::Waiting(Waiting::default())),
        Brokered::Refused { conn, why } => refuse(&conn, why, RefusalCode::Busy),
        Brokered::Paired(pair) => {
            let matched = Answer::Matched(Matched::new(CounterpartDialect::Native, None));
            say(&pair.upload, &matched)?;
            say(&pair.download, &matched)?;
            thread::spawn(|| relay::run(pair.exchange, pair.upload, pair.download));
            Ok(())
        }
    }
}

fn refuse(conn: &Conn, why: Refusal, code: RefusalCode) -> Result<(), Failure> {
    say(conn, &Answer::Refused { code, text: why.to_string() })
}

fn say(conn: &Conn, answer: &Answer) -> Result<(), Failure> {
    Ok((&conn.0).write_all(&answer.encode())?)
}

fn upload(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let stream = arrive(path, Side::Upload, b"holiday")?;
    (&stream).write_all(bytes)?;
    // The end of the bytes. The stream stays open for what the downloader may have to say.
    Ok(Socket(&stream).half_close()?)
}

fn download(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    arrive(path, Side::Download, b"holiday")?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Connects, greets and waits. What comes out is the exchange's stream.
fn arrive(path: &Path, side: Side, key: &[u8]) -> Result<UnixStream, Failure> {
    let mut stream = UnixStream::connect(path)?;
    let offer = wire::Offer::new(Realm::Plain, side, Key::parse(key)?);
    stream.write_all(&Greeting::new(Command::Offer(offer)).encode())?;
    loop {
        match read_message(&stream, Answer::decode)? {
            Some(Answer::Matched(_)) => return Ok(stream),
            Some(Answer::Refused { text, .. }) => return Err(text.into()),
            _ => {}
        }
    }
}

/// Reads one message and no byte more: what follows belongs to the exchange.
fn read_message<T>(
    mut stream: &UnixStream,
    decode: fn(&[u8]) -> Result<Decoded<T>, xchg_core::Error>,
) -> Result<T, Failure> {
    let mut bytes = Vec::new();
    loop {
        if let Decoded::Whole { message, .. } = decode(&bytes)? {
            return Ok(message);
        }
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
}

fn joined<T>(result: thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    result.map_err(|_| "a thread panicked")?
}
