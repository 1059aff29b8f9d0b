//! The client library in an application: a folder goes to another person, end to end encrypted, and
//! is resumed after a break.
//!
//! Server and counterpart are inside this program too, so that it runs by itself.
//!
//! `cargo run --release --example sealed_transfer`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::thread;

use xchg_client::files::{Destination, Manifest, Survey};
use xchg_client::terminal::escape;
use xchg_client::{
    Cancel, Client, Code, Content, Decision, DownloadOptions, Observer, UploadOptions, Uploaded,
};
use xchg_server::{Config, Listen, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let listen = vec!["127.0.0.1:0".parse::<Listen>()?];
    let server = Server::bind(Config { listen, ..Config::default() })?.start()?;
    let client = Client::new(server.addresses()[0].to_string().parse()?);

    let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let album = here.path().join("album");
    fs::create_dir(&album)?;
    fs::write(album.join("1.jpg"), vec![1; 500_000])?;
    fs::write(album.join("2.jpg"), vec![2; 20_000_000])?;

    // Two people tell each other a code. Its number is the key, and its words are the secret, which
    // the server never sees.
    let code = Code::random()?;

    // The first attempt is interrupted on the receiving side, in the midst of the second picture.
    let sending = send(client.clone(), code.clone(), &album);
    let cancel = Cancel::new()?;
    let mut person = Person { cancel_at: 8_000_000, cancel: cancel.clone() };
    let error = client.clone().cancel(cancel).download(receive(&code, there.path()), &mut person);
    println!("here: {}", error.expect_err("it was interrupted"));
    let error = sending.join().expect("it does not panic").expect_err("it was interrupted");
    println!("there: {error}; can be resumed: {}", error.is_cut_short());

    // The second one sends the rest.
    let sending = send(client.clone(), code.clone(), &album);
    let received = client.download(receive(&code, there.path()), &mut ())?;
    let sent = sending.join().expect("it does not panic")?;
    println!("there: all {} bytes have arrived and are on the disk", sent.bytes);
    println!("here: less than that was sent again: {}", received.moved < received.bytes);
    let same = fs::read(there.path().join("album/2.jpg"))? == fs::read(album.join("2.jpg"))?;
    println!("the picture is the same: {same}");

    server.drain();
    server.join();
    Ok(())
}

fn receive<'a>(code: &Code, folder: &Path) -> DownloadOptions<'a> {
    let destination = Destination::Directory(folder.into());
    DownloadOptions::new(code.key(), code.secret(), destination)
}

/// Stands for the person at the other end.
fn send(
    client: Client,
    code: Code,
    folder: &Path,
) -> thread::JoinHandle<Result<Uploaded, xchg_client::Error>> {
    let content = Content::paths([folder]);
    let options = UploadOptions::new(code.key(), code.secret(), content);
    thread::spawn(move || client.upload(options, &mut ()))
}

/// Looks at what is offered, and loses patience.
struct Person {
    cancel_at: u64,
    cancel: Cancel,
}

impl Observer for Person {
    fn decide(&mut self, manifest: &Manifest, _: &Survey) -> Decision {
        for index in 0..manifest.entries().len() {
            // Names are the other person's words, and may be anything.
            println!("offered: {}", escape(&manifest.path(index)));
        }
        Decision::Accept
    }

    fn moved(&mut self, bytes: u64) {
        self.cancel_at = self.cancel_at.saturating_sub(bytes);
        if self.cancel_at == 0 {
            self.cancel.cancel();
        }
    }
}
