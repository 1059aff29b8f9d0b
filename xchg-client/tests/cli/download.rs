//! Downloads after the match.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tempfile::{TempDir, tempdir};
use xchg_core::wire::CounterpartDialect;

use crate::server::{Peer, Server, framed, nowhere, receipt};
use crate::support::{Client, DEADLINE, Finished, command, names};

/// Runs `xchg-client download stocks.txt` in a new folder against `script`.
fn download(options: &[&str], script: impl FnOnce(Peer) + Send + 'static) -> (Finished, TempDir) {
    let folder = tempdir().unwrap();
    let server = Server::run(script);
    let args =
        [&["download", "--plain", "stocks.txt", "--server", &server.address], options].concat();
    let finished = Client::start(folder.path(), &args).finish();
    server.finish();
    (finished, folder)
}

#[test]
fn a_file_is_in_place_before_the_receipt_says_so() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("stocks.txt");
    let server = Server::run(move |mut peer| {
        peer.wait();
        peer.match_with(CounterpartDialect::Native, Some(5));
        peer.send(&framed(b"seven")[..13]);
        assert!(!path.exists(), "not before the end mark");
        peer.send(&[0; 8]);
        assert_eq!(peer.read(9), receipt(0, 5));
        assert_eq!(fs::read(path).unwrap(), b"seven");
    });
    let args = ["download", "--plain", "some/folder/stocks.txt", "--server", &server.address];
    let finished = Client::start(folder.path(), &args).finish().expect(0, "done: 5 B in ");
    assert!(finished.stderr[2].ends_with("; it is in stocks.txt"), "{finished:?}");
    assert_eq!(names(folder.path()), ["stocks.txt"]);
    server.finish();
}

#[cfg(unix)]
#[test]
fn a_new_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let (_, folder) = download(&[], |mut peer| {
        peer.match_native();
        peer.send_payload(b"seven");
        peer.read(9);
    });
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(folder.path().join("stocks.txt")), mode(other));
}

#[test]
fn a_payload_of_many_chunks_or_none_arrives_whole() {
    for chunks in [0, 1, 1000] {
        let expected: Vec<u8> = (0..chunks).flat_map(|n: u32| n.to_be_bytes()).collect();
        let (finished, folder) = download(&["--buffer-size", "1K"], move |mut peer| {
            peer.match_native();
            for chunk in 0..chunks {
                peer.send(&framed(&chunk.to_be_bytes())[..12]);
            }
            peer.send(&[0; 8]);
            assert_eq!(peer.read(9), receipt(0, u64::from(chunks) * 4));
        });
        finished.expect(0, "done");
        assert_eq!(fs::read(folder.path().join("stocks.txt")).unwrap(), expected);
    }
}

/// What an uploader may do wrong after the match.
#[test]
fn whatever_is_not_whole_is_an_error_and_leaves_nothing() {
    use CounterpartDialect::{Classic, Http, Native};
    let whole = framed(b"seven");
    for (dialect, length, stream, part) in [
        (Native, None, &whole[..0], "lost the uploader after 0 bytes"),
        (Native, None, &whole[..7], "lost the uploader after 0 bytes"),
        (Native, None, &whole[..10], "lost the uploader after 2 bytes"),
        (Native, None, &whole[..13], "lost the uploader after 5 bytes"),
        (Native, None, &whole[..20], "lost the uploader after 5 bytes"),
        (Native, Some(4), &whole, "announced 4 bytes and sent 5"),
        (Native, Some(6), &whole, "announced 6 bytes and sent 5"),
        (Native, None, &[255; 8], "a chunk is longer than 2^63 - 1 bytes"),
        (Http, Some(6), b"seven", "announced 6 bytes and sent 5"),
        (Classic, Some(4), b"seven", "announced 4 bytes and sent 5"),
    ] {
        let stream = stream.to_vec();
        let (finished, folder) = download(&[], move |mut peer| {
            peer.match_with(dialect, length);
            peer.send(&stream);
            peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
            let (said, _) = peer.read_to_end();
            assert!(said.first() != Some(&0), "no receipt for that: {said:?}");
        });
        finished.expect(1, part);
        assert_eq!(names(folder.path()), [""; 0], "{part}");
    }
}

#[test]
fn a_reset_is_an_error_in_every_dialect() {
    for dialect in [CounterpartDialect::Native, CounterpartDialect::Http] {
        let (finished, folder) = download(&[], move |mut peer| {
            peer.match_with(dialect, None);
            peer.send(&framed(b"seven")[..10]);
            peer.reset();
        });
        finished.expect(1, "lost the uploader after ");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn other_dialects_send_the_bare_payload_and_get_no_receipt() {
    for length in [Some(5), None] {
        let (finished, folder) = download(&[], move |mut peer| {
            peer.match_with(CounterpartDialect::Classic, length);
            peer.send(b"seven");
            peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(peer.read_to_end(), (vec![], true));
        });
        finished.expect(0, "done: 5 B");
        assert_eq!(fs::read(folder.path().join("stocks.txt")).unwrap(), b"seven");
    }
}

#[test]
fn nothing_is_overwritten_unasked_and_that_is_said_before_connecting() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("stocks.txt"), "old").unwrap();
    for options in [&[][..], &["-o", "stocks.txt"], &["-o", "."]] {
        let nowhere = nowhere();
        let args = [&["download", "--plain", "stocks.txt", "--server", &nowhere], options].concat();
        let part =
            "stocks.txt` exists already; use --overwrite or --rename, or another place with -o";
        Client::start(folder.path(), &args).finish().expect(1, part);
    }
    assert_eq!(fs::read(folder.path().join("stocks.txt")).unwrap(), b"old");
}

#[test]
fn a_file_that_appears_meanwhile_is_not_overwritten_either() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("stocks.txt");
    let (appears, partial) = (path.clone(), folder.path().join(".stocks.txt.xchg-part"));
    let server = Server::run(move |mut peer| {
        peer.match_native();
        let payload = framed(b"seven");
        peer.send(&payload[..10]);
        while fs::read(&partial).unwrap_or_default() != b"se" {
            std::thread::yield_now();
        }
        fs::write(appears, "somebody else's").unwrap();
        peer.send(&payload[10..]);
        assert_eq!(peer.read(9), receipt(1, 5));
    });
    let args = ["download", "--plain", "stocks.txt", "--server", &server.address];
    Client::start(folder.path(), &args).finish().expect(1, "`stocks.txt` exists");
    server.finish();
    assert_eq!(fs::read(path).unwrap(), b"somebody else's");
    assert_eq!(names(folder.path()), ["stocks.txt"]);
}

#[test]
fn downloads_of_one_name_go_on_at_once_if_they_may_be_renamed() {
    let start = |folder: &Path, options: &[&str], server: &Server| {
        let args = [&["download", "--plain", "f", "--server", &server.address], options].concat();
        Client::start(folder, &args)
    };
    for (options, receipt_of_second, kept) in
        [(&["--rename"][..], receipt(0, 6), &["f", "f (1)"][..]), (&[], receipt(1, 0), &["f"])]
    {
        let folder = tempdir().unwrap();
        let (second_is_done, go_on) = std::sync::mpsc::channel();
        let slow = Server::run(move |mut peer| {
            peer.match_native();
            let payload = framed(b"first");
            peer.send(&payload[..10]);
            go_on.recv_timeout(DEADLINE).unwrap();
            peer.send(&payload[10..]);
            assert_eq!(peer.read(9), receipt(0, 5));
        });
        let first = start(folder.path(), options, &slow);
        while !folder.path().join(".f.xchg-part").exists() {
            std::thread::yield_now();
        }
        let is_taken = options.is_empty();
        let fast = Server::run(move |mut peer| {
            peer.match_native();
            if !is_taken {
                peer.send_payload(b"second");
            }
            assert_eq!(peer.read(9), receipt_of_second);
        });
        let second = start(folder.path(), options, &fast).finish();
        let part = "another transfer is writing `f`; wait for it";
        second.expect(is_taken.into(), if is_taken { part } else { "it is in f" });
        second_is_done.send(()).unwrap();
        first.finish().expect(0, "done: 5 B");
        assert_eq!(names(folder.path()), kept);
        [slow, fast].into_iter().for_each(Server::finish);
    }
}

#[test]
fn overwrite_replaces_the_old_file_only_when_the_new_one_is_whole() {
    for (sent, code, content) in [(21, 0, &b"seven"[..]), (20, 1, b"old")] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("stocks.txt");
        fs::write(&path, "old").unwrap();
        let server = Server::run(move |mut peer| {
            peer.match_native();
            peer.send(&framed(b"seven")[..sent]);
            peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
            peer.read_to_end();
        });
        let args =
            ["download", "--plain", "stocks.txt", "--overwrite", "--server", &server.address];
        Client::start(folder.path(), &args).finish().expect(code, "");
        server.finish();
        assert_eq!(fs::read(path).unwrap(), content);
    }
}

#[test]
fn an_output_folder_takes_the_file_under_the_keys_name() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    let server = Server::run(|mut peer| {
        peer.match_native();
        peer.send_payload(b"seven");
        peer.read(9);
    });
    let args =
        ["download", "--plain", "../stocks.txt", "-o", "in", "--json", "--server", &server.address];
    let finished = Client::start(folder.path(), &args).finish();
    server.finish();
    assert_eq!(names(&folder.path().join("in")), ["stocks.txt"]);
    let done: serde_json::Value = serde_json::from_str(finished.stderr.last().unwrap()).unwrap();
    assert_eq!(done["path"], "in/stocks.txt");
}

#[test]
fn a_target_that_cannot_be_is_refused_before_connecting() {
    let folder = tempdir().unwrap();
    fs::create_dir_all(folder.path().join("in/stocks.txt")).unwrap();
    for (options, part) in [
        (&["-o", "missing/x"][..], "cannot use the destination `missing/x`"),
        (&["-o", "in", "--overwrite"], "`stocks.txt` is in the way: a file was offered"),
    ] {
        let nowhere = nowhere();
        let args = [&["download", "--plain", "stocks.txt", "--server", &nowhere], options].concat();
        Client::start(folder.path(), &args).finish().expect(1, part);
    }
}

#[test]
fn a_key_that_is_no_safe_name_demands_one() {
    for key in ["..", "a/..", "folder/", "bell\u{7}", "\u{202e}txt.exe"] {
        let part = "is no safe file name; name the file yourself: -o FILE";
        let args = ["download", "--plain", key, "--server", &nowhere()];
        Client::start(tempdir().unwrap().path(), &args).finish().expect(2, part);
    }
}

#[test]
fn too_little_space_is_said_to_both_before_anything_moves() {
    let length = u64::MAX / 4;
    let (finished, folder) = download(&[], move |mut peer| {
        peer.match_with(CounterpartDialect::Native, Some(length));
        assert_eq!(peer.read(9), receipt(1, 0));
    });
    finished.expect(1, &format!("for {length} bytes, "));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn stdout_takes_the_payload_and_nothing_else() {
    for options in [&["-o", "-"][..], &["-o", "-", "--json"], &["-o", "-", "--quiet"]] {
        let (finished, folder) = download(options, |mut peer| {
            peer.wait();
            peer.match_native();
            peer.send_payload(b"seven");
            assert_eq!(peer.read(9), receipt(0, 5));
        });
        assert_eq!((finished.code, &finished.stdout[..]), (Some(0), &b"seven"[..]));
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn a_gone_reader_of_stdout_ends_the_download_quietly() {
    let server = Server::run(|mut peer| {
        peer.match_native();
        peer.send_payload(b"seven");
        assert_eq!(peer.read(9), receipt(1, 0));
    });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let args = ["download", "--plain", "k", "-o", "-", "--server", &server.address];
    let mut command = command(Path::new("."), &args);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, b"matched with an uploader (native)\n");
    server.finish();
}

#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_stays_what_it_is() {
    use std::os::unix::fs::FileTypeExt;
    let (finished, _) = download(&["-o", "/dev/null", "--overwrite"], |mut peer| {
        peer.match_native();
        peer.send_payload(b"seven");
        assert_eq!(peer.read(9), receipt(0, 5));
    });
    finished.expect(0, "done: 5 B");
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_is_shown_text_and_no_binary() {
    use crate::rendezvous::Rendezvous;
    use crate::terminal::Terminal;
    let server = Rendezvous::start();
    let folder = tempdir().unwrap();
    for (content, code, shown) in [
        (&b"two\nlines\n"[..], 0, "two\r\nlines\r\n"),
        (b"\x1b]0;title\x07", 1, "it is binary, and would garble the terminal"),
    ] {
        for plain in [&["--plain"][..], &[]] {
            fs::write(folder.path().join("f"), content).unwrap();
            let mut upload = server.run(folder.path(), &[&["upload", "f"], plain].concat());
            upload.wait_for("waiting for");
            let download = ["download", "f", "-o", "-", "--server", &server.address];
            let accept = if plain.is_empty() { &["--yes"] } else { plain };
            let mut terminal =
                Terminal::run(&command(folder.path(), &[&download, accept].concat()));
            terminal.wait_for(shown);
            let (ended, after) = terminal.finish();
            assert_eq!(ended, Some(code), "{plain:?} {after}");
            assert!(!after.contains("title"), "{after}");
            upload.finish();
        }
    }
}
