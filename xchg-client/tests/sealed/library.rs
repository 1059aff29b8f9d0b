//! The library's own calls, and counterparts of them that are the program.

use std::io;
use std::num::NonZeroU64;
use std::thread;

use tempfile::tempdir;
use xchg_client::files::{Destination, Manifest, Stream, Survey};
use xchg_client::{
    Cancel, Content, Decision, DownloadOptions, Error, Key, Observer, Retry, UploadOptions,
};
use xchg_client::{Secret, Security, session};

use crate::{Rendezvous, folder_with, noise, waiting};

struct Declines;

impl Observer for Declines {
    fn decide(&mut self, manifest: &Manifest, _: &Survey) -> Decision {
        assert_eq!(manifest.path(0), "f");
        Decision::Decline("not today\u{1b}[2J".into())
    }
}

fn key() -> Key {
    Key::parse(b"f").unwrap()
}

#[test]
fn a_declined_offer_is_exit_code_5() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let upload = waiting(&server, here.path(), &["upload", "f", "--retry"]);
    let destination = Destination::Directory(there.path().into());
    let options = DownloadOptions::new(key(), Security::Unauthenticated, destination);
    let declined = server.client().download(options, &mut Declines);
    assert!(matches!(declined, Err(Error::DeclinedHere)));
    upload.finish().expect(5, "the other side declined: not today\\u{1b}[2J");
}

#[test]
fn bytes_from_memory_go_to_memory() {
    let server = Rendezvous::start();
    let content = noise(1, 1_000_000);
    let stream = Stream::new(io::Cursor::new(content.clone()));
    let content_sent = Content::Stream { name: "f".into(), stream };
    let options = UploadOptions::new(key(), Secret::new("swordfish"), content_sent);
    let client = server.client();
    let sending = thread::spawn(move || client.upload(options, &mut ()));
    let mut arrived = Vec::new();
    let destination = Destination::Writer(&mut arrived);
    let options = DownloadOptions::new(key(), Secret::new("swordfish"), destination);
    let received = server.client().download(options, &mut ()).unwrap();
    assert_eq!((received.bytes, received.moved), (1_000_000, 1_000_000));
    assert_eq!(sending.join().unwrap().unwrap().bytes, 1_000_000);
    assert!(arrived == content);
}

/// Cancels as soon as it hears of the moment that it is for.
struct CancelsAt(Cancel, &'static str);

impl CancelsAt {
    fn heard(&self, moment: &str) {
        if moment == self.1 {
            self.0.cancel();
        }
    }
}

impl Observer for CancelsAt {
    fn waiting(&mut self, _: &xchg_client::Waiting) {
        self.heard("waiting");
    }

    fn retrying(&mut self, _: &Error, _: std::time::Duration) {
        self.heard("retrying");
    }

    fn moved(&mut self, _: u64) {
        self.heard("moved");
    }
}

#[test]
fn a_cancellation_ends_an_endless_transfer_and_a_wait() {
    let server = Rendezvous::start();
    for moment in ["waiting", "moved"] {
        // What was cancelled before is not waited for by the next.
        while server.client().status().unwrap().waiting > 0 {
            thread::yield_now();
        }
        let cancel = Cancel::new().unwrap();
        let client = server.client().cancel(cancel.clone());
        let content = Content::Stream { name: "f".into(), stream: Stream::new(io::repeat(7)) };
        // Little is under way when it is cancelled, however slow this machine is.
        let options = UploadOptions::new(key(), Security::Unauthenticated, content)
            .rate_limit(NonZeroU64::new(1_000_000));
        let sending = thread::spawn(move || client.upload(options, &mut CancelsAt(cancel, moment)));
        if moment == "moved" {
            let mut sink = io::sink();
            let destination = Destination::Writer(&mut sink);
            let options = DownloadOptions::new(key(), Security::Unauthenticated, destination);
            let received = server.client().download(options, &mut ());
            let told = received.unwrap_err();
            let Error::Session(session::Error::CutStream { source }) = told else {
                panic!("{told:?}")
            };
            assert!(matches!(*source, session::Error::PeerCancelled), "{source:?}");
        }
        assert!(matches!(sending.join().unwrap(), Err(Error::Cancelled)), "{moment}");
    }
}

#[test]
fn a_pause_before_another_offer_is_cancelled_too() {
    let server = Rendezvous::start();
    let folder = folder_with("f", b"x");
    let cancel = Cancel::new().unwrap();
    let client = server.client().cancel(cancel.clone());
    let content = Content::paths([folder.path().join("f")]);
    let hour = std::time::Duration::from_secs(3600);
    let options =
        UploadOptions::new(key(), Security::Unauthenticated, content).retry(Retry::new(hour, hour));
    let sending = thread::spawn(move || client.upload(options, &mut CancelsAt(cancel, "retrying")));
    while server.client().status().unwrap().waiting == 0 {
        thread::yield_now();
    }
    server.handle.cut();
    assert!(matches!(sending.join().unwrap(), Err(Error::Cancelled)));
}
