//! What goes wrong is told to both, and is gone on from.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::tempdir;

use crate::support::{Client, names};
use crate::{Rendezvous, event, folder_with, noise, waiting};

/// Slow enough to be interrupted midway.
const SLOW: [&str; 5] = ["--limit-rate", "500K", "--json", "--progress-interval", "0"];

fn has_moved(line: &str) -> bool {
    line.contains(r#""event":"progress""#)
}

#[test]
fn whoever_is_killed_or_interrupted_the_other_may_resume() {
    for (victim, signal) in [
        ("upload", Signal::KILL),
        ("upload", Signal::INT),
        ("download", Signal::KILL),
        ("download", Signal::TERM),
    ] {
        let server = Rendezvous::start();
        let content = noise(1, 2_000_000);
        let (here, there) = (folder_with("f", &content), tempdir().unwrap());
        let mut upload = server.run(here.path(), &[&["upload", "f"], &SLOW[..]].concat());
        let args = ["download", "f", "--json", "--progress-interval", "0"];
        let mut download = server.run(there.path(), &args);
        assert!(download.find_line(has_moved).is_some());
        assert!(upload.find_line(has_moved).is_some());
        let (victim, other) =
            if victim == "upload" { (upload, download) } else { (download, upload) };
        victim.signal(signal);
        let other = other.finish();
        let code = (signal != Signal::KILL).then_some(130);
        assert_eq!(victim.finish().code, code, "{signal:?}");
        assert_eq!(other.code, Some(6), "{signal:?}: {other:?}");
        assert_eq!(event(&other, "failed")["exit_code"], 6);
        assert_eq!(names(there.path()), [".f.xchg-part"]);

        // Neither end has anything left from before but the partial file.
        let upload = server.run(here.path(), &["upload", "f", "--json"]);
        let received = server.run(there.path(), &["download", "f", "--json"]).finish();
        let sent = upload.finish();
        assert_eq!((sent.code, received.code), (Some(0), Some(0)), "{sent:?} {received:?}");
        let done = event(&received, "done");
        assert!(done["moved"].as_u64() < done["bytes"].as_u64(), "{done}");
        assert_eq!(names(there.path()), ["f"]);
        assert!(fs::read(there.path().join("f")).unwrap() == content);
    }
}

#[test]
fn who_is_cut_short_is_told_to_run_the_same_command_again() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", &noise(1, 2_000_000)), tempdir().unwrap());
    let mut upload = server.run(here.path(), &[&["upload", "f"], &SLOW[..]].concat());
    let download = server.run(there.path(), &["download", "f"]);
    assert!(upload.find_line(has_moved).is_some());
    upload.kill();
    let part = "run the same command again, on both sides; what arrived is not sent again";
    download.finish().expect(6, part);
}

#[test]
fn who_is_interrupted_is_told_what_is_kept() {
    let server = Rendezvous::start();
    for options in [&[][..], &["--json"]] {
        let (here, there) = (folder_with("f", &noise(1, 2_000_000)), tempdir().unwrap());
        fs::create_dir(here.path().join("top")).unwrap();
        fs::rename(here.path().join("f"), here.path().join("top/f")).unwrap();
        fs::write(here.path().join("top/a"), "whole").unwrap();
        let mut upload = server.run(here.path(), &[&["upload", "top"], &SLOW[..]].concat());
        let args = [&["download", "top", "--no-retry"], options].concat();
        let download = server.run(there.path(), &args);
        assert!(upload.find_line(has_moved).is_some());
        while fs::metadata(there.path().join("top/.f.xchg-part")).map_or(0, |part| part.len()) == 0
        {
            assert!(upload.find_line(has_moved).is_some());
        }
        download.signal(Signal::INT);
        let ended = download.finish();
        if options.is_empty() {
            let ended = ended.expect(130, "kept: ").expect(130, "the last in top/.f.xchg-part");
            ended.expect(130, "; the same command goes on from there").expect(130, "interrupted");
        } else {
            let kept = event(&ended, "kept");
            assert_eq!((&kept["files"], &kept["partial"]), (&1.into(), &"top/.f.xchg-part".into()));
            let part = fs::metadata(there.path().join("top/.f.xchg-part")).unwrap().len();
            assert_eq!(kept["bytes"], part + 5);
        }
        assert_eq!(upload.finish().code, Some(6));
    }
}

#[test]
fn of_a_stream_nothing_is_left_and_nothing_is_promised() {
    for (victim, signal, output) in [
        ("upload", Signal::KILL, "f"),
        ("upload", Signal::INT, "f"),
        ("download", Signal::INT, "f"),
        ("download", Signal::KILL, "-"),
        ("upload", Signal::KILL, "-"),
    ] {
        let server = Rendezvous::start();
        let there = tempdir().unwrap();
        let args = [&["upload", "-", "--key", "s", "--no-retry"], &SLOW[..]].concat();
        let mut upload = server.run(there.path(), &args);
        let args = ["download", "s", "-o", output, "--no-retry"];
        let mut download = server.run(there.path(), &args);
        upload.feed(&noise(1, 1_000_000));
        assert!(upload.find_line(has_moved).is_some());
        let (victim, other) = match victim {
            "upload" => {
                download.wait_for("offered");
                (upload, download)
            }
            _ => (download, upload),
        };
        victim.signal(signal);
        let (victim, other) = (victim.finish(), other.finish());
        assert_eq!(victim.code, (signal != Signal::KILL).then_some(130), "{victim:?}");
        assert_eq!(other.code, Some(1), "{other:?}");
        let said = [&victim.stderr[..], &other.stderr].concat().concat();
        assert!(said.contains("a stream cannot be resumed, start both sides anew"), "{said}");
        assert!(!said.contains("kept") && !said.contains("not sent again"), "{said}");
        assert_eq!(names(there.path()), [""; 0], "{said}");
    }
}

#[test]
fn a_stream_that_cannot_be_taken_is_not_begun() {
    let server = Rendezvous::start();
    let there = folder_with("s", b"there");
    let mut upload = server.run(there.path(), &["upload", "-", "--key", "s", "--no-retry"]);
    upload.feed(b"all of it");
    upload.end_input();
    server.run(there.path(), &["download", "s"]).finish().expect(1, "`s` exists already");
    upload.wait_for("the other side cannot take it: `s` exists already");
    let taken = server.run(there.path(), &["download", "s", "-o", "-"]).finish();
    assert_eq!(taken.expect(0, "").stdout, b"all of it");
    upload.finish().expect(0, "");
}

#[test]
fn an_uploader_that_retries_waits_for_a_receiver_that_comes_back() {
    let server = Rendezvous::start();
    let content = noise(2, 2_000_000);
    let (here, there) = (folder_with("f", &content), tempdir().unwrap());
    let mut upload = server.run(here.path(), &[&["upload", "f", "--retry"], &SLOW[..]].concat());
    for _ in 0..2 {
        let args = ["download", "f", "--json", "--progress-interval", "0"];
        let mut download = server.run(there.path(), &args);
        assert!(download.find_line(has_moved).is_some());
        download.kill();
        assert!(upload.find_line(|line| line.contains(r#""event":"retrying""#)).is_some());
    }
    server.run(there.path(), &["download", "f"]).finish().expect(0, "were there already");
    assert_eq!(upload.finish().code, Some(0));
    assert!(fs::read(there.path().join("f")).unwrap() == content);
}

#[test]
fn a_downloader_that_retries_waits_for_an_uploader_that_comes_back() {
    let server = Rendezvous::start();
    let content = noise(3, 2_000_000);
    let (here, there) = (folder_with("f", &content), tempdir().unwrap());
    let args = ["download", "f", "--retry", "--json", "--progress-interval", "0"];
    let mut download = server.run(there.path(), &args);
    for _ in 0..2 {
        let mut upload = server.run(here.path(), &[&["upload", "f"], &SLOW[..]].concat());
        assert!(download.find_line(has_moved).is_some());
        upload.kill();
        assert!(download.find_line(|line| line.contains(r#""event":"retrying""#)).is_some());
    }
    server.run(here.path(), &["upload", "f"]).finish().expect(0, "were there already");
    assert_eq!(download.finish().code, Some(0));
    assert!(fs::read(there.path().join("f")).unwrap() == content);
}

#[test]
fn peers_that_retry_find_a_server_that_comes_back() {
    for plain in [&[][..], &["--plain"]] {
        let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
        // A port might be another test's before it is taken again.
        let address = format!("unix:{}", here.path().join("server").display());
        let server = Rendezvous::on(&address);
        let args = [&["upload", "f", "--retry"], plain].concat();
        let mut upload = waiting(&server, here.path(), &args);
        server.handle.cut();
        server.handle.join();
        upload.wait_for("trying again in 1 s");
        let server = Rendezvous::on(&address);
        upload.wait_for("waiting");
        server.run(there.path(), &[&["download", "f"], plain].concat()).finish().expect(0, "");
        upload.finish().expect(0, "the downloader has it");
    }
}

#[test]
fn a_plain_transfer_is_tried_again_while_nothing_has_moved() {
    let server = Rendezvous::start();
    let there = tempdir().unwrap();
    let offer = || {
        let mut stream = TcpStream::connect(&*server.address).unwrap();
        stream.write_all(b"Pk\0\0\0\0\0\0\0").unwrap();
        stream
    };
    let args = ["download", "k", "--plain", "-o", "arrived", "--retry"];
    let mut client = waiting(&server, there.path(), &args);
    // A classic uploader that leaves before a byte has moved, and one that does not.
    let leaves = offer();
    client.wait_for("matched");
    socket2::SockRef::from(&leaves).set_linger(Some(Duration::ZERO)).unwrap();
    drop(leaves);
    client.wait_for("lost the uploader after 0 bytes; trying again");
    client.wait_for("waiting");
    offer().write_all(b"seven").unwrap();
    client.finish().expect(0, "done: 5 B");
    assert_eq!(fs::read(there.path().join("arrived")).unwrap(), b"seven");
}

#[test]
fn without_retry_a_lost_place_is_a_failure_at_once() {
    let server = Rendezvous::start();
    let here = folder_with("f", b"x");
    let upload = waiting(&server, here.path(), &["upload", "f", "--no-retry"]);
    server.handle.cut();
    upload.finish().expect(3, "refuses (draining)");
}

#[test]
fn a_wrong_address_is_not_tried_again() {
    let here = folder_with("f", b"x");
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = ["upload", "f", "--retry", "--server", &port.to_string()];
    Client::start(here.path(), &args).finish().expect(1, "cannot reach");
}

#[test]
fn an_offer_outlives_downloaders_that_cannot_take_it() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("a", b"x"), folder_with("b", b"there"));
    fs::write(here.path().join("b"), "y").unwrap();
    fs::create_dir(there.path().join("a")).unwrap();
    for retry in ["--retry", "--no-retry"] {
        let mut upload = server.run(here.path(), &["upload", "a", "b", "--key", "k", retry]);
        for (options, theirs, ours) in [
            (&["-o", "one"][..], "more than one file", "name a folder to put it in"),
            (&[], "is in the way", "`a` is in the way"),
            (&["--overwrite"], "is in the way", "`a` is in the way"),
        ] {
            let args = [&["download", "k"], options].concat();
            server.run(there.path(), &args).finish().expect(1, ours);
            upload.wait_for(
                &format!("the other side cannot take it: {theirs}").replace(": is", ": `a` is"),
            );
            upload.wait_for("waiting for a downloader");
        }
        // What can be known alone takes nobody's time.
        let asked = server.client().status().unwrap();
        let mut options = vec![
            ("no/such/f", "cannot use the destination"),
            ("b/f", "cannot use the destination"),
        ];
        let sealed = tempdir().unwrap();
        fs::set_permissions(sealed.path(), std::os::unix::fs::PermissionsExt::from_mode(0o500))
            .unwrap();
        if fs::write(sealed.path().join("probe"), "").is_err() {
            // Root may write anywhere.
            options.push((sealed.path().to_str().unwrap(), "cannot use the destination"));
        }
        for (output, part) in options {
            server.run(there.path(), &["download", "k", "-o", output]).finish().expect(1, part);
        }
        let now = server.client().status().unwrap();
        assert_eq!((now.completed, now.failed), (asked.completed, asked.failed));
        fs::create_dir_all(there.path().join(retry)).unwrap();
        server
            .run(there.path(), &["download", "k", "-o", &format!("./{retry}")])
            .finish()
            .expect(0, "");
        upload.finish().expect(0, "has it");
        assert_eq!(names(&there.path().join(retry)), ["a", "b"]);
    }
}
