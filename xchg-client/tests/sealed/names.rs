//! Keys, secrets and codes.

use std::fs;
use std::io::Read;
use std::net::TcpListener;

use tempfile::tempdir;
use xchg_client::{Code, Key};
use xchg_core::wire::{Command, Decoded, Greeting};

use crate::support::{Client, command, names};
use crate::{Rendezvous, event, exchange, folder_with, waiting};

#[test]
fn the_secret_may_be_in_the_environment() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let with_secret = |folder, args: &[&str]| {
        let mut command = command(folder, &[args, &["--server", &server.address]].concat());
        command.env("XCHG_SECRET", "swordfish");
        Client::spawn(command)
    };
    let upload = with_secret(here.path(), &["upload", "f"]);
    let download = server.run(there.path(), &["download", "f:swordfish"]);
    upload.finish().expect(0, "");
    download.finish().expect(0, "");
}

#[test]
fn the_server_does_not_see_a_key_that_has_a_secret() {
    let here = folder_with("f", b"x");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (name, secret) in [("holiday:swordfish", true), ("holiday", false)] {
        let args = ["upload", "f", "--no-retry", "--key", name, "--server", &address];
        let client = Client::start(here.path(), &args);
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let offer = loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            bytes.extend(byte);
            if let Decoded::Whole { message, .. } = Greeting::decode(&bytes).unwrap() {
                match message.command {
                    Command::Offer(offer) => break offer,
                    other => panic!("{other:?} instead of an offer"),
                }
            }
        };
        let key = Key::parse(b"holiday").unwrap();
        assert_eq!((offer.key == key, offer.twin), (false, (!secret).then_some(key)));
        let shows = bytes.windows(7).any(|seven| seven == b"holiday");
        assert_eq!(shows, !secret);
        drop(stream);
        drop(client);
    }
}

#[test]
fn who_gives_no_secret_is_told_once_what_that_means() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let part = "there is no secret, so that the server could read what is sent";
    let mut upload = waiting(&server, here.path(), &["upload", "f", "--key", "k"]);
    upload.wait_for(part);
    let received = server.run(there.path(), &["download", "k"]).finish().expect(0, part);
    let sent = upload.finish().expect(0, "");
    for finished in [&sent, &received] {
        assert_eq!(finished.stderr.concat().matches(part).count(), 1, "{finished:?}");
    }
    let upload = ["f", "--key", "k:swordfish"];
    let (sent, received) =
        exchange(&server, here.path(), &upload, there.path(), &["k:swordfish", "--overwrite"]);
    for finished in [sent.expect(0, ""), received.expect(0, "")] {
        assert!(!finished.stderr.concat().contains(part), "{finished:?}");
    }
}

#[test]
fn a_wrong_secret_is_told_to_both_and_spends_the_offer() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let upload = ["f", "--key", "k:swordfish"];
    let (sent, received) = exchange(&server, here.path(), &upload, there.path(), &["k:marlin"]);
    sent.expect(4, "the two secrets differ");
    received.expect(4, "the two secrets differ");
}

#[test]
fn an_uploader_may_allow_several_guesses() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let args = ["upload", "f", "--key", "k:swordfish", "--guesses", "3"];
    let mut upload = server.run(here.path(), &args);
    for guess in ["k:marlin", "k:tuna"] {
        server.run(there.path(), &["download", guess]).finish().expect(4, "secrets differ");
        upload.wait_for("the two secrets differ");
    }
    server.run(there.path(), &["download", "k:swordfish"]).finish().expect(0, "");
    upload.finish().expect(0, "the downloader has it");
}

#[test]
fn a_code_is_made_up_told_and_understood() {
    let server = Rendezvous::start();
    for options in [&["--json"][..], &[], &["--quiet"]] {
        let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
        let args = [&["upload", "f", "--code"], options].concat();
        let mut upload = server.run(here.path(), &args);
        let mut code = None;
        upload.find_line(|line| {
            let words = line.split(|c: char| !(c.is_alphanumeric() || c == '-'));
            code = words.filter_map(|word| Code::parse(word).ok()).next();
            code.is_some()
        });
        let code = code.unwrap().to_string();
        let download = server.run(there.path(), &["download", &code.to_uppercase()]);
        download.finish().expect(0, "it is in f");
        let sent = upload.finish();
        assert_eq!(fs::read(there.path().join("f")).unwrap(), b"x");
        if options == ["--json"] {
            let told = event(&sent, "code");
            let command = format!("xchg-client download {code} --server {}", server.address);
            assert_eq!((&told["code"], &told["command"]), (&code.into(), &command.into()));
        }
        assert_eq!(sent.code, Some(0));
    }
}

#[test]
fn a_code_is_drawn_for_a_camera_if_asked() {
    let server = Rendezvous::start();
    let here = folder_with("f", b"x");
    for options in [&["--code", "--qr"][..], &["--qr"]] {
        let mut upload = server.run(here.path(), &[&["upload", "f"], options].concat());
        upload.wait_for("the code is ");
        upload.wait_for("\u{2588}");
    }
}

#[test]
fn a_mistyped_code_is_refused_before_anybody_is_met() {
    let folder = tempdir().unwrap();
    let args = ["download", "12342-fabrik-lemon-orbit", "--server", "127.0.0.1:1"];
    Client::start(folder.path(), &args).finish().expect(2, "did you mean `fabric`?");
    let args = ["download", "--server", "127.0.0.1:1"];
    Client::start(folder.path(), &args).finish().expect(2, "name it: xchg-client download KEY");
}

#[test]
fn peers_in_different_realms_are_told_why_they_do_not_meet() {
    let server = Rendezvous::start();
    let here = folder_with("f", b"x");
    for (first, second, part) in [
        (&["download", "f", "--plain"][..], &["upload", "f", "--wait", "0.2"][..], "with --plain"),
        (
            &["upload", "f"],
            &["download", "f", "--plain", "-o", "-", "--wait", "0.2"],
            "without --plain",
        ),
    ] {
        let there = tempdir().unwrap();
        let folder = if first[0] == "upload" { here.path() } else { there.path() };
        let _first = waiting(&server, folder, first);
        let finished = server.run(here.path(), second).finish();
        finished
            .expect(3, part)
            .expect(3, "you will not meet unless both use --plain or neither does");
        let json = server.run(here.path(), &[second, &["--json"]].concat()).finish();
        let realm = if first.contains(&"--plain") { "plain" } else { "sealed" };
        assert_eq!(event(&json, "waiting")["elsewhere"], realm);
    }
}

#[test]
fn a_plain_peer_is_told_of_one_with_a_secret() {
    let server = Rendezvous::start();
    let here = folder_with("f", b"x");
    let mut first = server.run(here.path(), &["upload", "f", "--key", "f:swordfish"]);
    first.wait_for("waiting for a downloader of f with the same secret");
    let args = ["download", "f", "--plain", "-o", "-", "--wait", "0.2"];
    server.run(here.path(), &args).finish().expect(3, "waits for a sealed transfer");
}

#[test]
fn a_secret_that_one_side_lacks_is_told_to_both_whoever_comes_first() {
    let server = Rendezvous::start();
    let here = folder_with("f", b"x");
    let there = tempdir().unwrap();
    let commands = [("f:swordfish", "f"), ("f", "f:swordfish")];
    for (upload, download) in commands {
        for upload_first in [true, false] {
            let upload = (here.path(), ["upload", "f", "--key", upload]);
            let download = (there.path(), ["download", download, "-o", "g"]);
            let (first, second) =
                if upload_first { (upload, download) } else { (download, upload) };
            let first = waiting(&server, first.0, &first.1);
            let second = server.run(second.0, &second.1);
            for peer in [first, second] {
                peer.finish().expect(4, "the two secrets differ, or one side gave none");
            }
        }
    }
    assert_eq!(names(there.path()), [""; 0]);
}
