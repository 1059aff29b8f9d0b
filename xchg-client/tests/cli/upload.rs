//! Uploads after the match.

use std::fs::{self, File};
use std::path::Path;

use tempfile::tempdir;
use xchg_core::wire::{Answer, CounterpartDialect};

use crate::server::{Peer, Server, framed, nowhere, receipt};
use crate::support::Client;

/// Starts `xchg-client upload` of `payload`, as a file called `stocks.txt`, against `script`.
fn upload(
    payload: &[u8],
    options: &[&str],
    script: impl FnOnce(Peer) + Send + 'static,
) -> crate::support::Finished {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("stocks.txt"), payload).unwrap();
    let server = Server::run(script);
    let args =
        [&["upload", "--plain", "stocks.txt", "--server", &server.address], options].concat();
    let finished = Client::start(folder.path(), &args).finish();
    server.finish();
    finished
}

#[test]
fn a_file_is_one_chunk_and_done_with_its_receipt() {
    let payload: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_be_bytes()[3]).collect();
    let expected = framed(&payload);
    let finished = upload(&payload, &[], move |mut peer| {
        peer.wait();
        peer.match_native();
        assert!(peer.read(expected.len()) == expected);
        peer.send(&receipt(0, 3_000_000));
        assert_eq!(peer.read_to_end(), (vec![], true), "and then it closes");
    });
    let finished = finished.expect(0, "waiting for a downloader of stocks.txt");
    assert!(finished.stderr[4].ends_with("; the downloader has it"), "{finished:?}");
    assert!(finished.stdout.is_empty());
}

#[test]
fn an_empty_file_is_nothing_but_the_end_mark() {
    upload(b"", &[], |mut peer| {
        peer.match_native();
        assert_eq!(peer.read(8), [0; 8]);
        peer.send(&receipt(0, 0));
    })
    .expect(0, "done: 0 B");
}

#[test]
fn pace_and_limits_change_nothing_about_the_payload() {
    upload(
        &[7; 3000],
        &["--pace", "1", "--limit-rate", "100K", "--buffer-size", "1K"],
        |mut peer| {
            peer.match_native();
            assert_eq!(peer.read(3016), framed(&[7; 3000]));
            peer.send(&receipt(0, 3000));
        },
    )
    .expect(0, "done: 2.93 KiB");
}

#[test]
fn only_a_receipt_for_every_byte_is_a_success() {
    for (answer, part) in [
        (receipt(1, 2), "the downloader gave up after 2 bytes"),
        (receipt(0, 4), "receipt is for another number of bytes"),
        (receipt(0, 6), "receipt is for another number of bytes"),
        (receipt(7, 5), "receipt has an unknown status"),
        (receipt(0, 5)[..8].to_vec(), "lost the downloader after 5 bytes"),
        (vec![], "lost the downloader after 5 bytes"),
    ] {
        upload(b"seven", &[], move |mut peer| {
            peer.match_native();
            assert_eq!(peer.read_payload(), b"seven");
            peer.send(&answer);
        })
        .expect(1, part);
    }
}

#[test]
fn a_downloader_that_gives_up_early_is_heard_at_once() {
    upload(&[0; 1 << 20], &["--buffer-size", "1K", "--limit-rate", "20K"], |mut peer| {
        peer.match_native();
        peer.read(100);
        peer.send(&receipt(1, 92));
        peer.read_to_end();
    })
    .expect(1, "the downloader gave up after 92 bytes; its own message says why");
}

#[test]
fn a_receipt_before_the_end_is_no_success() {
    upload(&[0; 1 << 20], &["--buffer-size", "1K", "--limit-rate", "20K"], |mut peer| {
        peer.match_native();
        peer.read(100);
        peer.send(&receipt(0, 1 << 20));
        peer.read_to_end();
    })
    .expect(1, "its receipt came before the end mark");
}

#[test]
fn a_lost_downloader_is_an_error() {
    upload(&[0; 32 << 20], &[], |mut peer| {
        peer.match_native();
        peer.read(100);
        peer.reset();
    })
    .expect(1, "lost the downloader after ");
}

#[test]
fn other_dialects_get_the_bare_payload_and_a_half_close() {
    for dialect in [CounterpartDialect::Classic, CounterpartDialect::Http] {
        let finished = upload(b"seven", &[], move |mut peer| {
            peer.match_with(dialect, None);
            assert_eq!(peer.read_to_end(), (b"seven".to_vec(), true));
        });
        finished.expect(0, "; the downloader's connection took it");
    }
}

#[test]
fn a_reset_after_a_bare_payload_says_that_it_was_lost() {
    upload(b"seven", &[], |mut peer| {
        peer.match_with(CounterpartDialect::Http, None);
        peer.read_to_end();
        peer.reset();
    })
    .expect(1, "lost the downloader after 5 bytes");
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_never_whole_for_anybody() {
    for dialect in [CounterpartDialect::Native, CounterpartDialect::Http] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("log");
        // Longer than all the buffers on the way, so that the client is still at it.
        File::create(&path).unwrap().set_len(64 << 20).unwrap();
        let changed = path.clone();
        let server = Server::run(move |mut peer| {
            peer.match_with(dialect, None);
            peer.read(100);
            File::options().write(true).open(changed).unwrap().set_len(32 << 20).unwrap();
            let (bytes, _) = peer.read_to_end();
            let ended = peer.socket.take_error().unwrap();
            assert!(bytes.len() + 100 < 64 << 20, "{} bytes and {ended:?}", bytes.len());
        });
        let args = ["upload", "--plain", "log", "--server", &server.address];
        let part = "`log` has changed since the upload began";
        Client::start(folder.path(), &args).finish().expect(1, part);
        server.finish();
    }
}

#[test]
fn a_file_that_is_edited_while_the_upload_waits_is_sent_as_it_is_then_or_not_at_all() {
    for (edited, is_sent) in [("new", true), ("longer", false), ("n", false)] {
        for is_replaced in [true, false] {
            let folder = tempdir().unwrap();
            let path = folder.path().join("f");
            fs::write(&path, "old").unwrap();
            let beside = folder.path().join("beside");
            let server = Server::run(move |mut peer| {
                peer.wait();
                if is_replaced {
                    fs::write(&beside, edited).unwrap();
                    fs::rename(&beside, &path).unwrap();
                } else {
                    fs::write(&path, edited).unwrap()
                }
                peer.match_native();
                if is_sent {
                    assert_eq!(peer.read_payload(), edited.as_bytes());
                    peer.send(&receipt(0, 3));
                } else {
                    assert_eq!(peer.read_to_end().0, b"")
                }
            });
            let args = ["upload", "--plain", "f", "--server", &server.address];
            let (code, part) = if is_sent { (0, "done") } else { (1, "`f` has changed") };
            Client::start(folder.path(), &args).finish().expect(code, part);
            server.finish();
        }
    }
}

#[test]
fn a_file_that_changes_its_length_while_the_upload_waits_is_offered_anew() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "old").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let again = listener.try_clone().unwrap();
    let server = Server::on(listener.into(), address, move |socket| {
        let mut peer = Peer::greeted(socket);
        assert_eq!(peer.offer().length, Some(3));
        peer.wait();
        fs::write(&path, "longer").unwrap();
        peer.answer(&Answer::Heartbeat);
        assert_eq!(peer.read_to_end().0, b"", "it is withdrawn");
        let mut peer = Peer::greeted(again.accept().unwrap().0.into());
        assert_eq!(peer.offer().length, Some(6));
        peer.match_native();
        assert_eq!(peer.read_payload(), b"longer");
        peer.send(&receipt(0, 6));
    });
    let args = ["upload", "--plain", "log", "--server", &server.address];
    Client::start(folder.path(), &args).finish().expect(0, "done: 6 B");
    server.finish();
}

#[test]
fn a_file_that_grows_while_it_is_sent_is_sent_as_it_was_with_a_note() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let old = 64 << 20;
    File::create(&path).unwrap().set_len(old).unwrap();
    let server = Server::run(move |mut peer| {
        assert_eq!(peer.offer().length, Some(old));
        peer.match_native();
        peer.read(100);
        File::options().write(true).open(path).unwrap().set_len(old + 1).unwrap();
        let rest = usize::try_from(old).unwrap() + 16 - 100;
        assert!(peer.read(rest).iter().all(|&byte| byte == 0));
        peer.send(&receipt(0, old));
    });
    let args = ["upload", "--plain", "log", "--server", &server.address];
    let part = "note: log has grown meanwhile; what was there at first has been sent";
    Client::start(folder.path(), &args).finish().expect(0, part);
    server.finish();
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_are_shorter_than_they_say_are_read_to_their_ends() {
    // The first says that it has a page, the second nothing.
    for path in ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/version"] {
        let Ok(content) = fs::read(path) else { continue };
        let server = Server::run(move |mut peer| {
            peer.match_native();
            assert_eq!(peer.read_payload(), content);
            peer.send(&receipt(0, content.len() as u64));
        });
        let args = ["upload", "--plain", path, "--key", "k", "--server", &server.address];
        Client::start(Path::new("."), &args).finish().expect(0, "");
        server.finish();
    }
}

#[test]
fn stdin_is_sent_as_it_comes_and_needs_no_end_to_begin() {
    let (first, arrived) = std::sync::mpsc::channel();
    let server = Server::run(move |mut peer| {
        assert_eq!(peer.offer().length, None);
        peer.match_native();
        assert_eq!(peer.read(8 + 5), [&5_u64.to_be_bytes()[..], b"first"].concat());
        first.send(()).unwrap();
        assert_eq!(peer.read_payload(), b" and more");
        peer.send(&receipt(0, 14));
    });
    let args = ["upload", "--plain", "-", "--key", "k", "--server", &server.address];
    let mut client = Client::start(Path::new("."), &args);
    client.feed(b"first");
    arrived.recv_timeout(crate::support::DEADLINE).unwrap();
    client.feed(b" and more");
    client.end_input();
    client.finish().expect(0, "done: 14 B");
    server.finish();
}

#[test]
fn an_idle_stdin_does_not_hide_the_loss_of_the_downloader() {
    for (word, part) in [
        (receipt(1, 0), "the downloader gave up after 0 bytes"),
        (vec![], "lost the downloader after 0 bytes"),
    ] {
        let server = Server::run(move |mut peer| {
            peer.match_native();
            peer.send(&word);
        });
        let args = ["upload", "--plain", "-", "--key", "k", "--server", &server.address];
        let mut client = Client::start(Path::new("."), &args);
        client.wait_for("matched");
        client.finish().expect(1, part);
        server.finish();
    }
}

#[test]
fn an_idle_stdin_does_not_hide_a_reset_in_raw_framing() {
    let server = Server::run(move |mut peer| {
        peer.match_with(CounterpartDialect::Classic, None);
        peer.reset();
    });
    let args = ["upload", "--plain", "-", "--key", "k", "--server", &server.address];
    Client::start(Path::new("."), &args).finish().expect(1, "lost ");
    server.finish();
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_to_its_end() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let server = Server::run(|mut peer| {
        assert_eq!((peer.offer().length, peer.offer().key.as_bytes()), (None, &b"pipe"[..]));
        peer.match_native();
        assert_eq!(peer.read_payload(), b"from a pipe");
        peer.send(&receipt(0, 11));
    });
    let client =
        Client::start(folder.path(), &["upload", "--plain", "pipe", "--server", &server.address]);
    fs::write(&pipe, "from a pipe").unwrap();
    client.finish().expect(0, "done: 11 B");
    server.finish();
}

#[test]
fn what_cannot_be_sent_is_said_before_connecting() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    for (file, part) in [
        ("missing", "cannot read `missing`"),
        ("sub", "`sub` is a folder; name a file, or pack the folder: tar c"),
        ("sub/", "is a folder"),
        ("..", "`..` is a folder"),
    ] {
        let args = ["upload", "--plain", file, "--server", &nowhere()];
        Client::start(folder.path(), &args).finish().expect(1, part);
    }
}

#[test]
fn json_events_are_one_object_a_line() {
    let finished = upload(b"seven", &["--json"], |mut peer| {
        peer.wait();
        peer.match_native();
        peer.read_payload();
        peer.send(&receipt(0, 5));
    });
    let events: Vec<serde_json::Value> =
        finished.stderr.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["connecting", "waiting", "matched", "done"]);
    let expected = serde_json::json!({
        "event": "waiting", "side": "upload", "key": "stocks.txt", "elsewhere": null,
    });
    assert_eq!(events[1], expected);
    let expected = serde_json::json!({ "event": "matched", "counterpart": "native", "length": 5 });
    assert_eq!(events[2], expected);
    assert_eq!((&events[3]["bytes"], &events[3]["receipt"]), (&5.into(), &true.into()));
    assert!(events[3]["seconds"].is_f64());
    assert_eq!(finished.code, Some(0));
}

#[test]
fn progress_events_come_about_once_a_second() {
    let finished = upload(&[0; 3000], &["--json", "--limit-rate", "2000"], |mut peer| {
        peer.match_native();
        peer.read_payload();
        peer.send(&receipt(0, 3000));
    });
    let is_progress = |line: &&String| line.contains(r#""event":"progress""#);
    let count = finished.stderr.iter().filter(is_progress).count();
    assert!((1..=14).contains(&count), "neither none nor one for each of 15 slices: {finished:?}");
}

#[test]
fn quiet_says_nothing_but_errors() {
    let finished = upload(b"seven", &["--quiet"], |mut peer| {
        peer.wait();
        peer.match_native();
        peer.read_payload();
        peer.send(&receipt(0, 5));
    });
    assert_eq!((finished.code, finished.stderr), (Some(0), vec![]));
    upload(b"seven", &["-q"], |mut peer| peer.wait()).expect(3, "xchg-client: lost ");
}
