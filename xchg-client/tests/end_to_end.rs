//! The real program and the library through the real server, which runs on unix only.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "whatever fails here is a failed test")]

#[path = "support/rendezvous.rs"]
mod rendezvous;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rendezvous::Rendezvous;
use support::{DEADLINE, names};
use tempfile::{TempDir, tempdir};
use xchg_client::files::{Destination, Stream};
use xchg_client::{
    Cancel, Content, DownloadOptions, Error, Key, Matched, Observer, Security, UploadOptions, Wait,
    Waiting,
};

fn folder_with(name: &str, content: &[u8]) -> TempDir {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    folder
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 / 7 % 256).to_le_bytes()[0]).collect()
}

#[test]
fn a_file_arrives_whole_whoever_comes_first() {
    let server = Rendezvous::start();
    for (len, upload_first) in
        [(0, true), (0, false), (1, true), (1 << 20, false), ((9 << 20) + 17, true)]
    {
        let payload = payload(len);
        let here = folder_with("stocks.bin", &payload);
        let there = tempdir().unwrap();
        let upload = || server.run(here.path(), &["upload", "--plain", "stocks.bin"]);
        let download = || server.run(there.path(), &["download", "--plain", "stocks.bin"]);
        let (upload, download) = if upload_first {
            let mut upload = upload();
            upload.wait_for("waiting for a downloader");
            (upload, download())
        } else {
            let mut download = download();
            download.wait_for("waiting for an uploader");
            (upload(), download)
        };
        upload.finish().expect(0, "the downloader has it");
        download.finish().expect(0, "it is in stocks.bin");
        assert!(fs::read(there.path().join("stocks.bin")).unwrap() == payload, "{len} bytes");
        assert_eq!(names(there.path()), ["stocks.bin"]);
    }
}

#[test]
fn a_pipeline_goes_through() {
    let server = Rendezvous::start();
    let mut upload = server.run(Path::new("."), &["upload", "--plain", "-", "--key", "pipe"]);
    let download = server.run(Path::new("."), &["download", "--plain", "pipe", "-o", "-"]);
    let payload = payload(3 << 20);
    for part in payload.chunks(100_000) {
        upload.feed(part);
    }
    upload.end_input();
    upload.finish().expect(0, "the downloader has it");
    assert!(download.finish().expect(0, "done").stdout == payload);
}

#[test]
fn small_buffers_pace_and_limits_change_nothing_about_the_payload() {
    let server = Rendezvous::start();
    let payload = payload(30_000);
    let here = folder_with("f", &payload);
    let there = tempdir().unwrap();
    let options = ["--buffer-size", "2K", "--limit-rate", "200K"];
    let upload = server
        .run(here.path(), &[&["upload", "--plain", "f", "--pace", "1"], &options[..]].concat());
    let download =
        server.run(there.path(), &[&["download", "--plain", "f"], &options[..]].concat());
    upload.finish().expect(0, "");
    download.finish().expect(0, "");
    assert!(fs::read(there.path().join("f")).unwrap() == payload);
}

#[test]
fn nobody_within_the_wait_is_exit_code_3() {
    let server = Rendezvous::start();
    for wait in ["0", "0.05"] {
        let args = ["download", "--plain", "k", "-o", "-", "--wait", wait];
        server.run(Path::new("."), &args).finish().expect(3, "no uploader of k ");
    }
}

#[test]
fn terminate_releases_those_who_wait() {
    let server = Rendezvous::start();
    let mut waiting = server.run(Path::new("."), &["download", "--plain", "k", "-o", "-"]);
    waiting.wait_for("waiting");
    let finished = server.run(Path::new("."), &["status", "--json"]).finish().expect(0, "");
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!((&report["waiting"], &report["draining"]), (&1.into(), &false.into()));

    let finished = server.run(Path::new("."), &["terminate"]).finish().expect(0, "");
    assert!(finished.stdout.starts_with(b"released waiting peers: 1\n"), "{finished:?}");
    waiting.finish().expect(3, "draining");
    assert_eq!(server.handle.join().cut, 0);
}

#[test]
fn an_interrupted_download_fails_for_the_uploader_too() {
    let server = Rendezvous::start();
    let there = tempdir().unwrap();
    let mut upload = server.run(Path::new("."), &["upload", "--plain", "-", "--key", "k"]);
    let mut download = server.run(there.path(), &["download", "--plain", "k"]);
    upload.feed(b"so far");
    download.wait_for("matched");
    download.signal(rustix::process::Signal::INT);
    download.finish().expect(130, "interrupted");
    upload.finish().expect(1, "the downloader");
    assert_eq!(names(there.path()), [""; 0]);
}

#[test]
fn an_uploader_that_is_killed_is_no_shorter_file() {
    let server = Rendezvous::start();
    let there = tempdir().unwrap();
    let mut upload = server.run(Path::new("."), &["upload", "--plain", "-", "--key", "k"]);
    let mut download = server.run(there.path(), &["download", "--plain", "k"]);
    upload.feed(b"so far");
    download.wait_for("matched");
    upload.wait_for("matched");
    upload.signal(rustix::process::Signal::KILL);
    download.finish().expect(1, "lost the uploader");
    assert_eq!(names(there.path()), [""; 0]);
}

#[test]
fn classic_peers_exchange_with_ours() {
    let server = Rendezvous::start();
    let payload = payload(2 << 20);
    let here = folder_with("classic", &payload);

    let upload = server.run(here.path(), &["upload", "--plain", "classic"]);
    let mut classic = TcpStream::connect(&server.address).unwrap();
    classic.set_read_timeout(Some(DEADLINE)).unwrap();
    classic.write_all(b"Gclassic\0").unwrap();
    let mut received = Vec::new();
    classic.read_to_end(&mut received).unwrap();
    drop(classic);
    assert!(received == payload);
    upload.finish().expect(0, "the downloader's connection took it");

    let download = server.run(here.path(), &["download", "--plain", "classic", "-o", "copy"]);
    let mut classic = TcpStream::connect(&server.address).unwrap();
    classic.write_all(b"Pclassic\0").unwrap();
    classic.write_all(&payload).unwrap();
    drop(classic);
    download.finish().expect(0, "matched with an uploader (classic)");
    assert!(fs::read(here.path().join("copy")).unwrap() == payload);
}

/// Passes on what it hears.
struct Listening(mpsc::Sender<String>);

impl Observer for Listening {
    fn waiting(&mut self, _: &Waiting) {
        self.0.send("waiting".into()).unwrap();
    }

    fn matched(&mut self, matched: &Matched) {
        self.0.send(format!("matched {:?}", matched.length)).unwrap();
    }

    fn moved(&mut self, bytes: u64) {
        self.0.send(format!("{bytes} bytes")).unwrap();
    }
}

#[test]
fn the_library_transfers_between_any_reader_and_writer() {
    let server = Rendezvous::start();
    let key = Key::parse(b"library").unwrap();
    let client = server.client();
    let (sender, heard) = mpsc::channel();
    let mut received = Vec::new();
    let uploader = {
        let (client, key) = (client.clone(), key.clone());
        thread::spawn(move || {
            let stream = Stream::new(&b"in memory"[..]);
            let content = Content::Stream { name: "memory".into(), stream };
            let options = UploadOptions::new(key, Security::Plain, content);
            client.upload(options, &mut Listening(sender)).unwrap()
        })
    };
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), "waiting");
    let destination = Destination::Writer(&mut received);
    let options = DownloadOptions::new(key, Security::Plain, destination);
    let downloaded = client.download(options, &mut ()).unwrap();
    let uploaded = uploader.join().unwrap();
    assert_eq!((downloaded.bytes, uploaded.bytes), (9, 9));
    assert!(downloaded.is_confirmed && uploaded.is_confirmed);
    assert_eq!(heard.iter().collect::<Vec<_>>(), ["matched None", "9 bytes"]);
    assert_eq!(received, b"in memory");
}

#[test]
fn the_library_can_be_cancelled_while_it_waits() {
    let server = Rendezvous::start();
    let cancel = Cancel::new().unwrap();
    let client = server.client().cancel(cancel.clone());
    let (sender, heard) = mpsc::channel();
    let waits = thread::spawn(move || {
        let mut sink = std::io::sink();
        let destination = Destination::Writer(&mut sink);
        let key = Key::parse(b"k").unwrap();
        let options = DownloadOptions::new(key, Security::Plain, destination);
        client.download(options, &mut Listening(sender))
    });
    heard.recv_timeout(DEADLINE).unwrap();
    cancel.cancel();
    assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled)));
}

#[test]
fn a_refused_library_call_says_whether_to_try_again() {
    let server = Rendezvous::start();
    let mut sink = std::io::sink();
    let destination = Destination::Writer(&mut sink);
    let options = DownloadOptions::new(Key::parse(b"k").unwrap(), Security::Plain, destination)
        .wait(Wait::AtMost(std::time::Duration::ZERO));
    let error = server.client().download(options, &mut ()).unwrap_err();
    assert!(error.is_worth_a_retry(), "{error}");
    assert_eq!(server.client().status().unwrap().waiting, 0);
}
