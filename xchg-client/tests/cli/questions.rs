//! Questions about what is offered.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::rendezvous::Rendezvous;
use crate::support::{Client, command};
use crate::terminal::Terminal;

#[test]
fn an_offer_is_shown_and_may_be_declined() {
    for (answer, code) in [("maybe", 5), ("y", 0), ("", 0)] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        fs::write(here.path().join("stocks.txt"), "seven").unwrap();
        let server = Rendezvous::start();
        let upload = server.run(here.path(), &["upload", "stocks.txt"]);
        let arguments = ["download", "stocks.txt", "--server", &server.address];
        let mut terminal = Terminal::run(&command(there.path(), &arguments));
        terminal.wait_for("offered: 1 file, 5 B in all");
        terminal.wait_for("Accept? [Y/n/v]");
        terminal.press(&format!("{answer}\r"));
        if answer == "maybe" {
            terminal.wait_for("answer y or n");
            terminal.wait_for("Accept? [Y/n/v]");
            terminal.press("n\r");
        }
        assert_eq!(terminal.finish().0, Some(code));
        upload.finish().expect(code, if code == 0 { "has it" } else { "the person there said no" });
        assert_eq!(there.path().join("stocks.txt").exists(), code == 0);
    }
}

#[test]
fn leaving_the_question_about_an_offer_is_an_interruption_there_and_a_no_here() {
    let folder = tempdir().unwrap();
    let server = Rendezvous::start();
    let upload = server.run(folder.path(), &["upload", "--text", "hello", "--key", "note"]);
    let arguments = ["download", "note", "--quiet", "--server", &server.address];
    let mut terminal = Terminal::run(&command(folder.path(), &arguments));
    // Also who wants to hear of nothing must know what the question is about.
    terminal.wait_for("offered: a text, 5 B");
    terminal.wait_for("Accept? [Y/n]");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(130), "{shown}");
    upload.finish().expect(5, "the person there said no");
}

#[test]
fn a_text_cannot_do_anything_to_the_terminal() {
    let folder = tempdir().unwrap();
    let server = Rendezvous::start();
    let text = "two\nlines, \u{1b}[31mred\u{7}";
    let upload = server.run(folder.path(), &["upload", "--text", text, "--key", "note"]);
    let arguments = ["download", "note", "--yes", "--server", &server.address];
    let (code, shown) = Terminal::run(&command(folder.path(), &arguments)).finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("two\r\nlines, \\u{1b}[31mred\\u{7}"), "{shown}");
    assert!(!shown.contains("\u{1b}[31m") && !shown.contains('\u{7}'), "{shown}");
    upload.finish().expect(0, "");
}

/// An upload of everything in `here`, and a download into `there` at a terminal.
fn offered(here: &Path, there: &Path, download: &[&str]) -> (Rendezvous, Client, Terminal) {
    let server = Rendezvous::start();
    let names = crate::support::names(here);
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let upload = server.run(here, &[&["upload", "--key", "k"], &names[..]].concat());
    let arguments = [&["download", "k", "--server", &server.address], download].concat();
    let terminal = Terminal::run(&command(there, &arguments));
    (server, upload, terminal)
}

#[test]
fn all_that_is_offered_can_be_seen_before_it_is_accepted() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let photos = here.path().join("photos");
    fs::create_dir_all(photos.join(".ssh")).unwrap();
    for number in 0..30 {
        fs::write(photos.join(format!("{number:02}")), "x").unwrap();
    }
    fs::write(photos.join(".ssh/authorized_keys"), "mine").unwrap();
    std::os::unix::fs::symlink("00", photos.join("link")).unwrap();
    fs::create_dir(there.path().join("photos")).unwrap();
    let (_server, upload, mut terminal) = offered(here.path(), there.path(), &[]);
    terminal.wait_for("offered: 31 files, 2 folders, 1 link, 34 B in all");
    terminal.wait_for("hidden: photos/.ssh; photos/.ssh/authorized_keys");
    terminal.wait_for("links: photos/link -> 00");
    terminal.wait_for("new in folders that exist: photos/");
    terminal.wait_for("; and 28 more");
    terminal.wait_for("Accept? [Y/n/v]");
    terminal.press("v\r");
    terminal.wait_for("photos/  (exists)");
    terminal.wait_for("photos/.ssh/  (hidden, new in a folder that exists)");
    terminal.wait_for("photos/.ssh/authorized_keys, 4 B  (hidden)");
    terminal.wait_for("Enter for more, q to stop:");
    terminal.press("\r");
    terminal.wait_for("photos/link -> 00  (new in a folder that exists)");
    terminal.wait_for("Accept? [Y/n/v]");
    terminal.press("y\r");
    assert_eq!(terminal.finish().0, Some(0));
    upload.finish().expect(0, "");
    assert!(there.path().join("photos/.ssh/authorized_keys").exists());
}

#[test]
fn what_to_do_with_names_that_are_taken_is_asked() {
    for (answer, code, renamed) in [("o", 0, false), ("r", 0, true), ("a", 5, false)] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        for name in ["f", "g"] {
            fs::write(here.path().join(name), "new").unwrap();
            fs::write(there.path().join(name), "older").unwrap();
        }
        let (_server, upload, mut terminal) = offered(here.path(), there.path(), &[]);
        terminal.wait_for("taken names: f; g");
        terminal.wait_for("[o]verwrite, [r]ename, [v]iew, [a]bort? ");
        terminal.press("\r");
        terminal.wait_for("answer o, r, v or a");
        terminal.press("v\r");
        terminal.wait_for("g, 3 B  (name is taken)");
        terminal.wait_for("[a]bort? ");
        terminal.press(&format!("{answer}\r"));
        let (ended, shown) = terminal.finish();
        assert_eq!(ended, Some(code), "{shown}");
        upload.finish().expect(code, "");
        let kept = fs::read(there.path().join("f")).unwrap() == b"older";
        assert_eq!(kept, answer != "o");
        assert_eq!(there.path().join("f (1)").exists(), renamed);
    }
}

#[test]
fn a_file_of_the_same_length_that_is_another_is_asked_about_too() {
    for (answer, code, kept) in [("o", 0, "new"), ("r", 0, "old"), ("a", 5, "old")] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        for (folder, content) in [(&here, "new"), (&there, "old")] {
            fs::write(folder.path().join("f"), content).unwrap();
            fs::write(folder.path().join("same"), "same").unwrap();
        }
        let (_server, upload, mut terminal) = offered(here.path(), there.path(), &[]);
        terminal.wait_for("Accept? [Y/n/v]");
        terminal.press("y\r");
        terminal.wait_for("[o]verwrite, [r]ename, [v]iew, [a]bort? ");
        terminal.press("v\r");
        terminal.wait_for("f, 3 B  (name is taken)");
        terminal.wait_for("[a]bort? ");
        terminal.press(&format!("{answer}\r"));
        let (ended, shown) = terminal.finish();
        assert_eq!(ended, Some(code), "{shown}");
        upload.finish().expect(code, "");
        assert_eq!(fs::read_to_string(there.path().join("f")).unwrap(), kept);
        assert_eq!(there.path().join("f (1)").exists(), answer == "r");
        assert!(!there.path().join("same (1)").exists(), "what is the same stays");
    }
}

#[test]
fn where_nobody_is_asked_taken_names_are_counted_and_the_options_named() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    for name in ["f", "g", "h"] {
        fs::write(here.path().join(name), "new").unwrap();
        fs::write(there.path().join(name), "older").unwrap();
    }
    let server = Rendezvous::start();
    let mut upload = server.run(here.path(), &["upload", "--key", "k", "f", "g", "h"]);
    let download = server.run(there.path(), &["download", "k"]).finish();
    upload.wait_for("the other side cannot take it: `f` exists already, and 2 more");
    let download = download.expect(1, "`f` exists already, and 2 more");
    download.expect(1, "use --overwrite or --rename");
}

#[test]
fn where_nobody_is_asked_nothing_is_added_to_a_folder_that_exists_without_leave() {
    for (options, code) in [
        (&[][..], 5),
        (&["--json"], 5),
        (&["--overwrite"], 5),
        (&["--yes"], 5),
        (&["--merge"], 0),
        (&["--merge", "--yes", "--json"], 0),
    ] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        fs::create_dir(here.path().join("d")).unwrap();
        fs::create_dir(there.path().join("d")).unwrap();
        fs::write(here.path().join("d/new"), "x").unwrap();
        let server = Rendezvous::start();
        let mut upload = server.run(here.path(), &["upload", "d"]);
        let download = server.run(there.path(), &[&["download", "d"], options].concat()).finish();
        let part = "`d` exists, and 1 new name would be there; use --merge";
        download.expect(code, if code == 5 { part } else { "done" });
        upload.wait_for(if code == 5 { "there already" } else { "done" });
        assert_eq!(there.path().join("d/new").exists(), code == 0);
    }
}

#[test]
fn an_uploader_sees_what_it_offers_then_that_it_waits_then_what_has_arrived() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    fs::create_dir(here.path().join("d")).unwrap();
    for name in ["a", "b"] {
        // Longer than all the buffers on the way.
        fs::File::create(here.path().join("d").join(name)).unwrap().set_len(64 << 20).unwrap();
    }
    let server = Rendezvous::start();
    let args = ["upload", "d", "--key", "k", "--server", &server.address];
    let mut upload = Terminal::run(&command(here.path(), &args));
    upload.wait_for("offering d/: 2 files, 1 folder, 128.00 MiB in all");
    upload.wait_for("waiting for a downloader of k");
    let args = ["download", "k", "--server", &server.address, "--limit-rate", "8M"];
    let mut download = Terminal::run(&command(there.path(), &args));
    download.wait_for("Accept? [Y/n/v]");
    upload.wait_for("waiting for the other side to accept");
    download.press("y\r");
    download.wait_for("1 of 2: a");
    upload.wait_for("% of 128.00 MiB");
    upload.wait_for("1 of 2: a");
    // Stops the downloader, whose buffers and ours fill then.
    download.signal(rustix::process::Signal::STOP);
    upload.wait_for("stalled for 5 s");
    download.signal(rustix::process::Signal::CONT);
    upload.wait_for("/s, ");
    upload.press("\x03");
    let (code, shown) = upload.finish();
    assert_eq!(code, Some(130), "{shown}");
}

#[test]
fn a_file_that_a_plain_download_would_replace_is_asked_about_before_the_server() {
    use crate::server::{Server, nowhere, receipt};
    for (answer, code) in [("o", 0), ("r", 0), ("a", 5), ("\x03", 130)] {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("k.txt"), "older").unwrap();
        let server = (code == 0).then(|| {
            Server::run(|mut peer| {
                peer.match_native();
                peer.send_payload(b"new");
                assert_eq!(peer.read(9), receipt(0, 3));
            })
        });
        let address = server.as_ref().map_or_else(nowhere, |server| server.address.clone());
        let args = ["download", "--plain", "k.txt", "--server", &address];
        let mut terminal = Terminal::run(&command(folder.path(), &args));
        terminal.wait_for("k.txt exists");
        terminal.wait_for("[o]verwrite, [r]ename, [a]bort? ");
        terminal.press(&format!("{answer}\r"));
        let (ended, shown) = terminal.finish();
        assert_eq!(ended, Some(code), "{shown}");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("k.txt").as_deref(), Some(if answer == "o" { "new" } else { "older" }));
        assert_eq!(read("k (1).txt").is_some(), answer == "r");
        server.into_iter().for_each(Server::finish);
    }
}

#[test]
fn a_folder_that_is_named_is_made_and_goes_again_if_nothing_comes() {
    for plain in [&[][..], &["--plain"]] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        fs::write(here.path().join("f"), "x").unwrap();
        let server = Rendezvous::start();
        let download = |wait| [&["download", "f", "-o", "a/b/", "--wait", wait], plain].concat();
        server.run(there.path(), &download("0")).finish().expect(3, "no uploader of f is waiting");
        assert_eq!(crate::support::names(there.path()), [""; 0]);
        let upload = server.run(here.path(), &[&["upload", "f"], plain].concat());
        server.run(there.path(), &download("-1")).finish().expect(0, "");
        upload.finish().expect(0, "");
        assert_eq!(fs::read(there.path().join("a/b/f")).unwrap(), b"x");
    }
}
