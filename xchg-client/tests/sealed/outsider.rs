//! A client in another language, written from PROTOCOL.md alone, and the program: what the one
//! sends the other receives.
//!
//! `$XCHG_PYTHON` names a Python that has blake3 and cryptography; without it, `python3` is taken.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::tempdir;

use crate::support::names;
use crate::{Rendezvous, folder_with, noise, waiting};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sealed/outsider.py");

fn outsider(arguments: &[&str]) -> Child {
    let python = std::env::var_os("XCHG_PYTHON").unwrap_or("python3".into());
    let mut command = Command::new(python);
    command.arg(HERE).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// One that moves something under the key `k`.
fn transfer(server: &Rendezvous, command: &str, secret: &str, rest: &[&str]) -> Child {
    let (host, port) = server.address.rsplit_once(':').unwrap();
    outsider(&[&[command, host, port, "k", secret], rest].concat())
}

/// Checks that it ended well, and how much it says that it has moved.
#[track_caller]
fn moved(child: Child, expected: usize) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&stdout), format!("moved {expected}\n"));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[ignore = "needs Python with blake3 and cryptography"]
fn the_vectors_are_those_of_another_implementation() {
    let specification = concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md");
    let Output { status, stderr, .. } =
        outsider(&["vectors", specification]).wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

#[test]
#[ignore = "needs Python with blake3 and cryptography"]
fn what_an_outsider_uploads_is_downloaded() {
    let server = Rendezvous::start();
    for size in [0, 1, 65_536, 65_537, 2_000_000] {
        let content = noise(1, size);
        let (here, there) = (folder_with("f", &content), tempdir().unwrap());
        let download = server.run(there.path(), &["download", "k:swordfish"]);
        moved(transfer(&server, "upload", "swordfish", &[text(&here.path().join("f"))]), size);
        download.finish().expect(0, "it is in f");
        assert!(fs::read(there.path().join("f")).unwrap() == content);

        // And again: all is there already, and the outsider proves that it has it.
        let download = server.run(there.path(), &["download", "k:swordfish"]);
        moved(transfer(&server, "upload", "swordfish", &[text(&here.path().join("f"))]), 0);
        download.finish().expect(0, "");
        // A part of it, and something else in place of a part.
        for (part, kept) in [(content[..size / 2].to_vec(), size / 2), (vec![7; size / 2], 0)] {
            fs::remove_file(there.path().join("f")).unwrap();
            fs::write(there.path().join(".f.xchg-part"), part).unwrap();
            let download = server.run(there.path(), &["download", "k:swordfish"]);
            let upload = [text(&here.path().join("f")).to_owned()];
            moved(transfer(&server, "upload", "swordfish", &[&upload[0]]), size - kept);
            download.finish().expect(0, "");
            assert!(fs::read(there.path().join("f")).unwrap() == content);
        }
        assert_eq!(names(there.path()), ["f"]);
    }
}

#[test]
#[ignore = "needs Python with blake3 and cryptography"]
fn what_is_uploaded_is_downloaded_by_an_outsider() {
    let server = Rendezvous::start();
    for size in [0, 1, 60_000, 3_000_000] {
        let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
        let content = noise(2, size);
        fs::create_dir_all(here.path().join("top/inner")).unwrap();
        fs::write(here.path().join("top/a"), &content).unwrap();
        fs::write(here.path().join("top/inner/b"), "second").unwrap();
        let upload = ["upload", "top", "--key", "k:swordfish"];
        for had in [None, Some(size / 2), Some(size)] {
            let upload = waiting(&server, here.path(), &upload);
            let had_text = had.map(|had| had.to_string());
            let mut rest = vec![text(there.path())];
            rest.extend(had_text.as_deref());
            let download = transfer(&server, "download", "swordfish", &rest);
            moved(download, size - had.unwrap_or(0) + 6);
            upload.finish().expect(0, "the downloader has it");
            assert!(fs::read(there.path().join("top/a")).unwrap() == content);
            assert_eq!(fs::read(there.path().join("top/inner/b")).unwrap(), b"second");
        }
        // What the outsider has is something else: it asks, and takes all.
        if size > 1 {
            fs::write(there.path().join("top/a"), noise(3, size)).unwrap();
            let upload = waiting(&server, here.path(), &upload);
            let rest = [text(there.path()), "2"];
            moved(transfer(&server, "download", "swordfish", &rest), size + 6);
            upload.finish().expect(0, "");
            assert!(fs::read(there.path().join("top/a")).unwrap() == content);
        }
    }
}

#[test]
#[ignore = "needs Python with blake3 and cryptography"]
fn an_outsider_with_another_secret_is_told_and_so_is_the_person() {
    let server = Rendezvous::start();
    let (here, there) = (folder_with("f", b"x"), tempdir().unwrap());
    let upload = waiting(&server, here.path(), &["upload", "f", "--key", "k:swordfish"]);
    let download = transfer(&server, "download", "marlin", &[text(there.path())]);
    let told = String::from_utf8(download.wait_with_output().unwrap().stderr).unwrap();
    assert_eq!(told, "outsider: the secrets differ\n");
    upload.finish().expect(4, "the two secrets differ");
    assert_eq!(names(there.path()), [""; 0]);
}
