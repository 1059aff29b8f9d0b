//! Ctrl-C and SIGTERM.

use std::fs::File;
use std::path::Path;

use rustix::process::Signal;
use tempfile::tempdir;
use xchg_core::wire::CounterpartDialect;

use crate::server::{Server, framed};
use crate::support::{Client, DEADLINE, command, names};

#[test]
fn a_waiting_peer_withdraws() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempdir().unwrap();
        let server = Server::run(|mut peer| {
            peer.wait();
            assert_eq!(peer.read_to_end().0, b"");
        });
        let mut client = Client::start(
            folder.path(),
            &["download", "--plain", "k", "--server", &server.address],
        );
        client.wait_for("waiting");
        client.signal(signal);
        client.finish().expect(130, "xchg-client: interrupted");
        server.finish();
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let (signalled, go_on) = std::sync::mpsc::channel();
    let server = Server::run(move |mut peer| {
        peer.wait();
        go_on.recv_timeout(DEADLINE).unwrap();
        peer.match_native();
        peer.send_payload(b"seven");
        peer.read(9);
    });
    // As a shell does with what it starts in the background.
    let program = command(
        Path::new("."),
        &["download", "--plain", "k", "-o", "-", "--server", &server.address],
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' INT; exec \"$@\"", "sh"]).arg(program.get_program());
    shell.args(program.get_args());
    let mut client = Client::spawn(shell);
    client.wait_for("waiting");
    client.signal(Signal::INT);
    signalled.send(()).unwrap();
    client.finish().expect(0, "done");
    server.finish();
}

#[test]
fn a_download_leaves_nothing_and_tells_the_uploader() {
    let folder = tempdir().unwrap();
    let inside = folder.path().to_owned();
    let (midway, wait) = std::sync::mpsc::channel();
    let server = Server::run(move |mut peer| {
        peer.match_native();
        // More than all the buffers on the way: the client is in the middle of it when this has
        // been sent.
        peer.send(&framed(&vec![0; 32 << 20])[..16 << 20]);
        assert_eq!(names(&inside).len(), 1, "a temporary file");
        midway.send(()).unwrap();
        let (said, _) = peer.read_to_end();
        assert!(said.is_empty() || said[0] == 1, "{said:?}");
    });
    let client =
        Client::start(folder.path(), &["download", "--plain", "k", "--server", &server.address]);
    wait.recv_timeout(DEADLINE).unwrap();
    client.signal(Signal::INT);
    client.finish().expect(130, "interrupted");
    server.finish();
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn an_upload_ends_in_a_reset_and_not_in_a_shorter_payload() {
    for (dialect, signal) in [
        (CounterpartDialect::Native, Signal::INT),
        (CounterpartDialect::Classic, Signal::INT),
        // Nobody can catch this one, and the kernel resets all the same.
        (CounterpartDialect::Classic, Signal::KILL),
    ] {
        let folder = tempdir().unwrap();
        File::create(folder.path().join("big")).unwrap().set_len(256 << 20).unwrap();
        let (midway, wait) = std::sync::mpsc::channel();
        let (dead, go_on) = std::sync::mpsc::channel::<()>();
        let server = Server::run(move |mut peer| {
            peer.match_with(dialect, None);
            peer.read(100);
            midway.send(()).unwrap();
            go_on.recv().unwrap_err();
            let (bytes, is_clean) = peer.read_to_end();
            assert!(!is_clean, "{} bytes", bytes.len());
        });
        let client = Client::start(
            folder.path(),
            &["upload", "--plain", "big", "--server", &server.address],
        );
        wait.recv_timeout(DEADLINE).unwrap();
        client.signal(signal);
        let code = client.finish().code;
        assert_eq!(code, (signal == Signal::INT).then_some(130));
        drop(dead);
        server.finish();
    }
}

#[test]
fn an_upload_of_an_idle_stdin_ends_at_once() {
    let server = Server::run(|mut peer| {
        peer.match_with(CounterpartDialect::Http, None);
        let (bytes, is_clean) = peer.read_to_end();
        assert_eq!((&bytes[..], is_clean), (&b""[..], false));
    });
    let args = ["upload", "--plain", "-", "--key", "k", "--server", &server.address];
    let mut client = Client::start(Path::new("."), &args);
    client.wait_for("matched");
    client.signal(Signal::TERM);
    client.finish().expect(130, "interrupted");
    server.finish();
}

#[test]
fn a_pause_is_interrupted_too() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("f"), [0; 4096]).unwrap();
    let (midway, wait) = std::sync::mpsc::channel();
    let server = Server::run(move |mut peer| {
        peer.match_native();
        peer.read(8 + 1024);
        midway.send(()).unwrap();
        peer.read_to_end();
    });
    let args = [
        "upload",
        "--plain",
        "f",
        "--pace",
        "3600000",
        "--buffer-size",
        "1K",
        "--server",
        &server.address,
    ];
    let client = Client::start(folder.path(), &args);
    wait.recv_timeout(DEADLINE).unwrap();
    client.signal(Signal::INT);
    client.finish().expect(130, "interrupted");
    server.finish();
}
