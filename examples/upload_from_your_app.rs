//! The client library in an application: it uploads bytes from memory, shows how far it is, and
//! stops when asked to.
//!
//! Server and counterpart are inside this program too, so that it runs by itself.
//!
//! `cargo run --release --example upload_from_your_app`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::io;
use std::thread;

use xchg_client::files::{Destination, Stream};
use xchg_client::{
    Address, Cancel, Client, Content, DownloadOptions, Downloaded, Key, Observer, Security,
    UploadOptions,
};
use xchg_server::{Config, Listen, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let listen = vec!["127.0.0.1:0".parse::<Listen>()?];
    let server = Server::bind(Config { listen, ..Config::default() })?.start()?;
    let address: Address = server.addresses()[0].to_string().parse()?;

    let report = vec![b'x'; 10 << 20];
    let counterpart = receive(address.clone(), Key::parse(b"report")?);
    let mut bar = Bar { moved: 0, shown: 0, length: report.len() as u64 };
    let options = plain("report", Stream::new(io::Cursor::new(report)))?;
    let uploaded = Client::new(address.clone()).upload(options, &mut bar)?;
    println!("the counterpart has confirmed all {} bytes", uploaded.bytes);
    counterpart.join().expect("it does not panic")?;

    // An endless upload, until somebody presses the button.
    let cancel = Cancel::new()?;
    let counterpart = receive(address.clone(), Key::parse(b"endless")?);
    let mut button = Button { press_after: 1 << 20, cancel: cancel.clone() };
    let options = plain("endless", Stream::new(io::repeat(b'x')))?;
    match Client::new(address).cancel(cancel).upload(options, &mut button) {
        Err(xchg_client::Error::Cancelled) => println!("cancelled"),
        other => return Err(format!("not cancelled, but {other:?}").into()),
    }
    // A part is never taken for the whole.
    let error = counterpart.join().expect("it does not panic").expect_err("the upload was cut");
    println!("the counterpart says: {error}");

    server.drain();
    server.join();
    Ok(())
}

/// Bytes that curl or a browser could take as well: not encrypted.
fn plain(key: &str, stream: Stream) -> Result<UploadOptions, Box<dyn Error>> {
    let content = Content::Stream { name: key.into(), stream };
    Ok(UploadOptions::new(Key::parse(key.as_bytes())?, Security::Plain, content))
}

/// Shows the progress in steps of ten per cent.
struct Bar {
    moved: u64,
    shown: u64,
    length: u64,
}

impl Observer for Bar {
    fn moved(&mut self, bytes: u64) {
        // Called after every slice: do little here.
        self.moved += bytes;
        let percent = self.moved * 100 / self.length;
        if percent / 10 > self.shown / 10 {
            self.shown = percent;
            println!("{percent:>3} %");
        }
    }
}

/// Somebody who loses patience. The token can be used from any thread, such as that of a user
/// interface.
struct Button {
    press_after: u64,
    cancel: Cancel,
}

impl Observer for Button {
    fn moved(&mut self, bytes: u64) {
        self.press_after = self.press_after.saturating_sub(bytes);
        if self.press_after == 0 {
            self.cancel.cancel();
        }
    }
}

/// Stands for the person at the other end: takes what comes and keeps none of it.
fn receive(
    address: Address,
    key: Key,
) -> thread::JoinHandle<Result<Downloaded, xchg_client::Error>> {
    thread::spawn(move || {
        let mut sink = io::sink();
        let destination = Destination::Writer(&mut sink);
        let options = DownloadOptions::new(key, Security::Plain, destination);
        Client::new(address).download(options, &mut ())
    })
}
