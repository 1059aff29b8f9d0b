//! What arrives, and how.

use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::tempdir;

use crate::support::{Client, command, names};
use crate::{Rendezvous, event, events, exchange, folder_with, noise, waiting};

#[test]
fn a_file_arrives_sealed_unless_said_otherwise() {
    let server = Rendezvous::start();
    for (len, options) in [(0, &[][..]), (1, &["--buffer-size", "64K"]), (3_000_001, &[])] {
        let content = noise(1, len);
        let (here, there) = (folder_with("stocks.bin", &content), tempdir().unwrap());
        let args = [&["stocks.bin"], options].concat();
        let (sent, received) = exchange(&server, here.path(), &args, there.path(), &args);
        sent.expect(0, "; the downloader has it");
        received.expect(0, "; it is in stocks.bin");
        assert!(fs::read(there.path().join("stocks.bin")).unwrap() == content);
        assert_eq!(names(there.path()), ["stocks.bin"]);
    }
}

#[test]
fn a_folder_keeps_modes_times_links_and_what_is_empty() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let top = here.path().join("trip");
    fs::create_dir_all(top.join("empty")).unwrap();
    fs::create_dir(top.join("days")).unwrap();
    fs::write(top.join("days/one"), noise(1, 70_000)).unwrap();
    fs::write(top.join("nothing"), "").unwrap();
    symlink("../nothing", top.join("days/link")).unwrap();
    let time = UNIX_EPOCH + Duration::from_millis(1_000_000_000_123);
    File::open(top.join("days/one")).unwrap().set_modified(time).unwrap();
    fs::set_permissions(top.join("days/one"), Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(top.join("empty"), Permissions::from_mode(0o700)).unwrap();
    File::open(top.join("days")).unwrap().set_modified(time).unwrap();

    let server = Rendezvous::start();
    let (sent, received) = exchange(&server, here.path(), &["trip"], there.path(), &["trip"]);
    sent.expect(0, "the downloader has it");
    let received = received.expect(0, "offered: 2 files, 3 folders, 1 link");
    received.expect(0, "it is in trip");
    let other = there.path().join("trip");
    assert!(fs::read(other.join("days/one")).unwrap() == noise(1, 70_000));
    assert_eq!(fs::read_link(other.join("days/link")).unwrap(), Path::new("../nothing"));
    for name in ["days/one", "days", "empty", "nothing"] {
        let facts = |root: &Path| {
            let metadata = fs::metadata(root.join(name)).unwrap();
            (metadata.mode(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
        };
        let (there, here) = (facts(&other), facts(&top));
        assert_eq!((there.0, there.2, there.3), (here.0, here.2, here.3), "{name}");
    }
    assert_eq!(names(&other), ["days", "empty", "nothing"]);
}

/// The program in `folder`, with this umask.
fn with_umask(umask: &str, folder: &Path, args: &[&str]) -> Client {
    let mut command = Command::new("sh");
    command.args(["-c", r#"umask "$0" && exec "$@""#, umask, env!("CARGO_BIN_EXE_xchg-client")]);
    command.args(args).current_dir(folder);
    Client::spawn(command)
}

#[test]
fn modes_obey_the_umask() {
    let server = Rendezvous::start();
    let here = tempdir().unwrap();
    let modes = [0o777, 0o666, 0o640, 0o600, 0o444];
    fs::create_dir(here.path().join("top")).unwrap();
    for mode in modes {
        for (name, is_folder) in [(format!("{mode:o}.d"), true), (format!("{mode:o}"), false)] {
            let path = here.path().join("top").join(name);
            if is_folder { fs::create_dir(&path) } else { fs::write(&path, "x") }.unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
    }
    for (umask, allowed) in [("077", 0o700), ("027", 0o750), ("022", 0o755), ("000", 0o775)] {
        let there = tempdir().unwrap();
        // A folder whose group is handed down.
        fs::set_permissions(there.path(), Permissions::from_mode(0o2755)).unwrap();
        let upload = server.run(here.path(), &["upload", "top"]);
        let args = ["download", "top", "--server", &server.address];
        with_umask(umask, there.path(), &args).finish().expect(0, "it is in top");
        upload.finish().expect(0, "");
        let arrived =
            |name: &str| fs::metadata(there.path().join("top").join(name)).unwrap().mode();
        for mode in modes {
            let file = arrived(&format!("{mode:o}")) & 0o7777;
            assert_eq!(file, mode & allowed, "{mode:o} under {umask}");
            let folder = arrived(&format!("{mode:o}.d")) & 0o7777;
            assert_eq!(folder, 0o2100 | mode & allowed, "{mode:o}.d under {umask}");
        }
        assert_eq!(names(&there.path().join("top")), names(&here.path().join("top")));
    }
}

#[test]
fn a_private_folder_that_is_there_stays_private() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    for top in [here.path(), there.path()].map(|folder| folder.join("top")) {
        fs::create_dir(top).unwrap();
    }
    fs::write(here.path().join("top/new"), "new").unwrap();
    fs::set_permissions(here.path().join("top"), Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(there.path().join("top"), Permissions::from_mode(0o700)).unwrap();
    let (sent, received) =
        exchange(&server, here.path(), &["top"], there.path(), &["top", "--merge"]);
    sent.expect(0, "");
    received.expect(0, "");
    assert_eq!(fs::metadata(there.path().join("top")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(names(&there.path().join("top")), ["new"]);
}

#[test]
fn a_link_that_leads_out_is_refused_or_followed() {
    let (here, there) = (folder_with("outside", b"found"), tempdir().unwrap());
    fs::create_dir(here.path().join("top")).unwrap();
    symlink("../outside", here.path().join("top/link")).unwrap();
    let server = Rendezvous::start();
    let refused = server.run(here.path(), &["upload", "top"]).finish();
    refused.expect(1, "top/link` is a link to `../outside`, which leads out of what is sent");
    let upload = ["top", "--outside-links", "follow"];
    let (sent, received) = exchange(&server, here.path(), &upload, there.path(), &["top"]);
    sent.expect(0, "");
    received.expect(0, "");
    assert_eq!(fs::read(there.path().join("top/link")).unwrap(), b"found");
}

#[test]
fn what_is_edited_while_the_upload_waits_is_sent_as_it_is_then() {
    let (here, there) = (folder_with("a", b"old"), tempdir().unwrap());
    fs::create_dir(here.path().join("top")).unwrap();
    fs::rename(here.path().join("a"), here.path().join("top/a")).unwrap();
    let server = Rendezvous::start();
    let upload = waiting(&server, here.path(), &["upload", "top"]);
    fs::write(here.path().join("top/a"), "edited").unwrap();
    fs::write(here.path().join("top/b"), "added").unwrap();
    server.run(there.path(), &["download", "top"]).finish().expect(0, "2 files");
    upload.finish().expect(0, "");
    assert_eq!(fs::read(there.path().join("top/a")).unwrap(), b"edited");
    assert_eq!(names(&there.path().join("top")), ["a", "b"]);
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let path = here.path().join("image");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"begin").unwrap();
    file.seek(SeekFrom::Start(20_000_000)).unwrap();
    file.write_all(&noise(1, 10_000)).unwrap();
    file.set_len(40_000_000).unwrap();
    let server = Rendezvous::start();
    let (sent, received) = exchange(&server, here.path(), &["image"], there.path(), &["image"]);
    sent.expect(0, "");
    received.expect(0, "");
    let arrived = there.path().join("image");
    assert!(fs::read(&arrived).unwrap() == fs::read(&path).unwrap());
    let taken = fs::metadata(&arrived).unwrap().blocks() * 512;
    assert!(taken < 1_000_000, "it takes {taken} bytes");
}

#[test]
fn several_files_go_under_one_key_into_a_folder() {
    let (here, there) = (folder_with("a", b"first"), tempdir().unwrap());
    fs::write(here.path().join("b"), "second").unwrap();
    fs::create_dir(there.path().join("in")).unwrap();
    let server = Rendezvous::start();
    let upload = ["a", "b", "--key", "both:secret"];
    let download = ["both:secret", "-o", "in", "--json"];
    let (sent, received) = exchange(&server, here.path(), &upload, there.path(), &download);
    sent.expect(0, "");
    assert_eq!(event(&received, "done")["path"], "in");
    assert_eq!(names(&there.path().join("in")), ["a", "b"]);
    assert_eq!(fs::read(there.path().join("in/b")).unwrap(), b"second");
}

#[test]
fn several_files_need_a_key_or_a_code() {
    let here = folder_with("a", b"");
    let server = Rendezvous::start();
    for args in [&["upload", "a", "b"][..], &["upload", "-"], &["upload", "--text", "hello"]] {
        server.run(here.path(), args).finish().expect(2, "--key KEY, or --code");
    }
    server.run(here.path(), &["upload", "a", "b", "--plain"]).finish().expect(2, "name one file");
}

#[test]
fn a_pipeline_goes_through_as_it_comes() {
    let server = Rendezvous::start();
    let here = tempdir().unwrap();
    let mut upload = server.run(here.path(), &["upload", "-", "--key", "pipe"]);
    let download = server.run(here.path(), &["download", "pipe", "-o", "-"]);
    let content = noise(2, 3 << 20);
    content.chunks(100_000).for_each(|part| upload.feed(part));
    upload.end_input();
    upload.finish().expect(0, "the downloader has it");
    assert!(download.finish().expect(0, "offered: a stream").stdout == content);
    assert_eq!(names(here.path()), [""; 0], "nothing is kept on the way");
}

#[test]
fn a_stream_becomes_a_file_under_the_keys_name() {
    let server = Rendezvous::start();
    let there = tempdir().unwrap();
    let mut upload = server.run(there.path(), &["upload", "-", "--key", "log.txt"]);
    upload.feed(b"lines");
    upload.end_input();
    server.run(there.path(), &["download", "log.txt"]).finish().expect(0, "it is in log.txt");
    upload.finish().expect(0, "");
    assert_eq!(fs::read(there.path().join("log.txt")).unwrap(), b"lines");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_the_kernel_makes_up_and_a_named_pipe_are_read_to_their_ends() {
    let server = Rendezvous::start();
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let pipe = here.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let upload = server.run(here.path(), &["upload", "pipe"]);
    fs::write(&pipe, "from a pipe").unwrap();
    server.run(there.path(), &["download", "pipe"]).finish().expect(0, "");
    upload.finish().expect(0, "");
    assert_eq!(fs::read(there.path().join("pipe")).unwrap(), b"from a pipe");
    let upload = ["/proc/version"];
    let (sent, received) = exchange(&server, here.path(), &upload, there.path(), &["version"]);
    sent.expect(0, "");
    received.expect(0, "");
    let expected = fs::read("/proc/version").unwrap();
    assert_eq!(fs::read(there.path().join("version")).unwrap(), expected);
}

#[test]
fn a_text_is_printed_or_kept() {
    let server = Rendezvous::start();
    let there = tempdir().unwrap();
    let text = "meet at nine\n\u{1b}[2Jor not";
    let upload = ["--text", text, "--key", "note"];
    let (sent, received) = exchange(&server, there.path(), &upload, there.path(), &["note"]);
    sent.expect(0, "");
    assert_eq!(received.expect(0, "a text, 23 B").stdout, text.as_bytes());
    assert_eq!(names(there.path()), [""; 0]);
    let download = ["note", "-o", "kept"];
    let (sent, received) = exchange(&server, there.path(), &upload, there.path(), &download);
    sent.expect(0, "");
    assert_eq!(received.expect(0, "it is in kept").stdout, b"");
    assert_eq!(fs::read(there.path().join("kept")).unwrap(), text.as_bytes());
}

#[test]
fn hostile_names_arrive_as_they_are_and_are_never_shown_so() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("a\u{202e}\u{7}b", b"x"), tempdir().unwrap());
    let upload = ["a\u{202e}\u{7}b", "--key", "k"];
    let (sent, received) = exchange(&server, here.path(), &upload, there.path(), &["k"]);
    let shown = [&sent.stderr[..], &received.stderr].concat().concat();
    assert!(!shown.contains(['\u{202e}', '\u{7}']), "{shown}");
    sent.expect(0, "");
    received.expect(0, "a\\u{202e}\\u{7}b");
    assert_eq!(names(there.path()), ["a\u{202e}\u{7}b"]);
}

#[test]
fn a_name_that_is_ours_is_refused_or_replaced_and_made_the_only_one() {
    let server = Rendezvous::start();
    let here = tempdir().unwrap();
    fs::create_dir(here.path().join("top")).unwrap();
    for name in ["f.xchg-part", "f.xchg-part_"] {
        fs::write(here.path().join("top").join(name), name).unwrap();
    }
    symlink("f.xchg-part", here.path().join("top/link")).unwrap();
    let there = tempdir().unwrap();
    let mut upload = server.run(here.path(), &["upload", "top"]);
    let part =
        "`top/f.xchg-part` cannot have its name: it is the name of an unfinished transfer's file";
    let advice = format!("{part}; download with --fix-names");
    server.run(there.path(), &["download", "top"]).finish().expect(1, &advice);
    upload.wait_for(part);
    assert_eq!(names(there.path()), [""; 0]);
    server.run(there.path(), &["download", "top", "--fix-names"]).finish().expect(0, "");
    upload.finish().expect(0, "");
    let top = there.path().join("top");
    assert_eq!(names(&top), ["f (1).xchg-part_", "f.xchg-part_", "link"]);
    assert_eq!(fs::read_to_string(top.join("link")).unwrap(), "f.xchg-part");
}

/// Names that some system cannot hold, and this one can.
#[cfg(target_os = "linux")]
#[test]
fn what_this_system_can_hold_arrives_under_its_own_name() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let odd: [&[u8]; 11] = [
        b"10:30:00.png",
        b"aux.c",
        b"Foo::Bar.3pm",
        b"notes.",
        b"trailing ",
        b"a\\b",
        b"what?*<>|\"",
        b"line\nfeed",
        b"caf\xe9.txt",
        b"-rf",
        b"README",
    ];
    let link_to = |name: &OsStr| {
        let mut link = OsString::from("l ");
        link.push(name);
        link
    };
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let top = here.path().join("top");
    fs::create_dir(&top).unwrap();
    for name in odd {
        let name = OsStr::from_bytes(name);
        fs::write(top.join(name), name.as_bytes()).unwrap();
        symlink(name, top.join(link_to(name))).unwrap();
    }
    fs::write(top.join("readme"), "readme").unwrap();
    let server = Rendezvous::start();
    for download in [&["top"][..], &["top", "--fix-names", "-o", "fixed"]] {
        if download.contains(&"fixed") {
            fs::create_dir(there.path().join("fixed")).unwrap();
        }
        let (sent, received) = exchange(&server, here.path(), &["top"], there.path(), download);
        sent.expect(0, "");
        received.expect(0, "it is in");
        let arrived = if download.contains(&"fixed") { "fixed/top" } else { "top" };
        let arrived = there.path().join(arrived);
        assert_eq!(fs::read_dir(&arrived).unwrap().count(), 2 * odd.len() + 1);
        for name in odd {
            let name = OsStr::from_bytes(name);
            assert_eq!(fs::read(arrived.join(name)).unwrap(), name.as_bytes());
            assert_eq!(fs::read_link(arrived.join(link_to(name))).unwrap(), Path::new(name));
        }
    }
    // Each of them alone, named by itself.
    for name in odd {
        let there = tempdir().unwrap();
        let mut upload =
            command(&top, &["upload", "--key", "k", "--server", &server.address, "--"]);
        upload.arg(OsStr::from_bytes(name));
        let upload = Client::spawn(upload);
        server.run(there.path(), &["download", "k"]).finish().expect(0, "");
        upload.finish().expect(0, "");
        assert_eq!(fs::read(there.path().join(OsStr::from_bytes(name))).unwrap(), name);
    }
}

#[test]
fn what_exists_is_kept_replaced_or_joined_by_another() {
    let server = Rendezvous::start();
    for (options, code, expected) in [
        (&[][..], 1, &[("f", "old")][..]),
        (&["-o", "f"], 1, &[("f", "old")]),
        (&["--overwrite"], 0, &[("f", "newer")]),
        (&["--rename"], 0, &[("f", "old"), ("f (1)", "newer")]),
        (&["-o", "g"], 0, &[("f", "old"), ("g", "newer")]),
    ] {
        let (here, there) = (folder_with("f", b"newer"), folder_with("f", b"old"));
        let download = [&["f"], options].concat();
        let mut upload = server.run(here.path(), &["upload", "f"]);
        let received = server.run(there.path(), &[&["download"], &download[..]].concat()).finish();
        let part = if code == 0 { "done" } else { "`f` exists already" };
        received.expect(code, part);
        upload.wait_for(part);
        let kept: Vec<_> = names(there.path())
            .into_iter()
            .map(|name| (name.clone(), fs::read_to_string(there.path().join(name)).unwrap()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, content)| (name.to_string(), content.to_string()))
            .collect();
        assert_eq!(kept, expected, "{options:?}");
    }
}

#[test]
fn events_tell_the_whole_story() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", &noise(3, 600_000)), tempdir().unwrap());
    let options = ["f", "--json", "--progress-interval", "0"];
    let args = [&["upload"], &options[..]].concat();
    let upload = waiting(&server, here.path(), &args);
    let received = server.run(there.path(), &[&["download"], &options[..]].concat()).finish();
    let sent = upload.finish();
    for finished in [&sent, &received] {
        let mut names: Vec<_> = events(finished)
            .iter()
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .collect();
        names.dedup();
        names.retain(|name| name != "waiting");
        let expected =
            ["connecting", "matched", "manifest", "decision", "progress", "entry-done", "done"];
        assert_eq!(names, expected);
        let manifest = serde_json::json!({
            "event": "manifest", "kind": "file", "entries": 1, "files": 1, "bytes": 600_000, "names": ["f"],
        });
        assert_eq!(event(finished, "manifest"), manifest);
        assert_eq!(
            event(finished, "entry-done"),
            serde_json::json!({
                "event": "entry-done", "index": 0, "path": "f",
            })
        );
        let last = event(finished, "progress");
        assert_eq!((&last["bytes"], &last["length"]), (&600_000.into(), &600_000.into()));
        let done = event(finished, "done");
        assert_eq!((&done["bytes"], &done["moved"]), (&600_000.into(), &600_000.into()));
        assert_eq!(done["receipt"], true);
    }
    assert_eq!(event(&received, "done")["path"], "f");
}

#[test]
fn quiet_says_nothing() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let args = ["f", "--quiet"];
    let (sent, received) = exchange(&server, here.path(), &args, there.path(), &args);
    assert_eq!((sent.code, received.code), (Some(0), Some(0)));
    assert_eq!((sent.stderr, received.stderr), (vec![], vec![]));
}

#[test]
fn a_limited_rate_changes_nothing_about_the_content() {
    let server = Rendezvous::start();
    let content = noise(4, 50_000);
    for limited in [0, 1] {
        let (here, there) = (folder_with("f", &content), tempdir().unwrap());
        let args = [&["f", "--limit-rate", "200K"][..], &["f"]];
        let (upload, download) = (args[limited], args[1 - limited]);
        let (sent, received) = exchange(&server, here.path(), upload, there.path(), download);
        sent.expect(0, "");
        received.expect(0, "");
        assert!(fs::read(there.path().join("f")).unwrap() == content);
    }
}
