//! The server in an application: it follows the exchanges, ends one of them, and shuts down in good
//! order.
//!
//! The peers are plain sockets that speak the classic dialect: a command, a key of eight bytes, and
//! the payload.
//!
//! `cargo run --release --example embed_server`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use xchg_server::{Config, Event, Limits, Listen, ListenAddress, Outcome, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind(Config {
        listen: vec!["127.0.0.1:0".parse::<Listen>()?],
        workers: 1,
        limits: Limits { waiting: 100, ..Limits::default() },
        drain_timeout: Some(Duration::from_secs(30)),
        ..Config::default()
    })?
    .start()?;
    let ListenAddress::Tcp(address) = server.addresses()[0] else {
        unreachable!("it is what was asked for")
    };
    let events = server.subscribe(100);

    // The uploader may come first: what it sends and its end are kept in its socket.
    let mut uploader = connect(address, b"Preport\0\0")?;
    uploader.write_all(b"all is well\n")?;
    uploader.shutdown(Shutdown::Write)?;
    let mut downloader = connect(address, b"Greport\0\0")?;
    let mut text = String::new();
    downloader.read_to_string(&mut text)?;
    println!("downloaded: {}", text.trim_end());
    // The exchange lasts until the downloader closes: only then is it known that all arrived.
    drop(downloader);
    show(events.recv()?);
    show(events.recv()?);

    // One that nobody feeds is ended by hand. Its peers see a reset, and never a short file.
    let _silent = connect(address, b"Psilence\0")?;
    let mut downloader = connect(address, b"Gsilence\0")?;
    let Event::Started(exchange) = events.recv()? else {
        return Err("an exchange starts before it ends".into());
    };
    exchange.cancel();
    assert_eq!(exchange.wait().outcome, Outcome::Cancelled);
    let lost = downloader.read(&mut [0]).expect_err("a reset");
    println!("its downloader sees: {}", lost.kind());
    show(events.recv()?);

    let counts = server.counts();
    println!("completed {}, failed {}, {} bytes", counts.completed, counts.failed, counts.bytes);
    // Refuses newcomers, lets go of who waits, and ends with the last exchange.
    server.drain();
    assert_eq!(server.join().cut, 0);
    assert!(TcpStream::connect(address).is_err());
    println!("the server has ended");
    Ok(())
}

fn connect(address: SocketAddr, greeting: &[u8; 9]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(greeting)?;
    Ok(stream)
}

/// Keys may be secrets: what a handle shows of one is its fingerprint.
fn show(event: Event) {
    match event {
        Event::Started(exchange) => println!("{}: started, {:?}", exchange.id(), exchange.key()),
        Event::Ended(exchange, ended) => {
            println!("{}: {}, {} bytes", exchange.id(), ended.outcome.as_str(), ended.bytes);
        }
        _ => {}
    }
}
