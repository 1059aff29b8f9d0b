//! What is named on the command line: keys, codes and links.

use std::fs;
use std::path::Path;

use tempfile::tempdir;
use xchg_core::wire::RefusalCode;
use xchg_core::{Realm, Side};

use crate::server::{Server, nowhere, receipt};
use crate::support::{Client, command};

#[test]
fn a_link_names_server_key_and_realm() {
    for link in ["http://ADDRESS/two%20words", "HTTP://ADDRESS/#two%20words"] {
        let server = Server::run(|mut peer| {
            let offer = peer.offer();
            assert_eq!((offer.realm, offer.key.as_bytes()), (Realm::Plain, &b"two words"[..]));
            assert_eq!(offer.side, Side::Download);
            peer.match_native();
            peer.send_payload(b"seven");
            assert_eq!(peer.read(9), receipt(0, 5));
        });
        let link = link.replace("ADDRESS", &server.address);
        // The link's server, whatever else is said.
        let args = ["download", &link, "-o", "-", "--server", &nowhere()];
        let finished = Client::start(Path::new("."), &args).finish().expect(0, "done");
        assert_eq!(finished.stdout, b"seven");
        server.finish();
    }
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("f"), "seven").unwrap();
    let server = Server::run(|mut peer| {
        let offer = peer.offer();
        assert_eq!((offer.realm, offer.side), (Realm::Plain, Side::Upload));
        peer.refuse(RefusalCode::Busy, "full");
    });
    let link = format!("http://{}/notes", server.address);
    Client::start(folder.path(), &["upload", "f", "--key", &link]).finish().expect(3, "full");
    server.finish();
}

#[test]
fn what_is_clearly_no_key_is_refused_with_a_text() {
    for (args, why) in [
        (&["download", "https://host/"][..], "names no key"),
        (&["download", "http://host"], "it names no key"),
        (&["download", "http://host/k?n=3"], "for browsers and curl"),
        (&["download", "http://host/k", "--fix-names"], "a link is for a plain transfer"),
        (&["download", "http://host/k", "--merge"], "a link is for a plain transfer"),
        (&["upload", "f", "g", "--key", "http://host/k"], "a link is for a plain transfer"),
        (&["upload", "f", "--key", "http://host/k", "--ask-secret"], "a link is for a plain"),
        (&["download", "12343_fabric_lemon_orbit."], "`12343` is the number of no code"),
        (&["upload", "f", "--key", "12342-fabric-lemmon-orbit"], "did you mean `lemon`"),
    ] {
        Client::start(Path::new("."), args).finish().expect(2, why);
    }
    for key in ["help", "noscript", "version", "favicon.ico", "robots.txt", "healthz"] {
        for args in [&["download", "--plain", key][..], &["upload", "--plain", "f", "--key", key]] {
            Client::start(Path::new("."), args).finish().expect(2, "is a page of the server");
        }
        let path = Path::new(".");
        let args = ["upload", "--plain", key];
        Client::start(path, &args).finish().expect(2, "name another with --key");
    }
}

#[cfg(target_os = "linux")]
mod met {
    use super::*;
    use crate::rendezvous::Rendezvous;
    use crate::terminal::Terminal;

    #[test]
    fn one_name_meets_however_it_is_written() {
        for (upload, download) in [
            ("\u{e9}t\u{e9}", "e\u{301}te\u{301}"),
            ("12342-fabric-lemon-orbit", "\u{201c}12342_FABR lemo\u{2212}orbi.\u{201d}"),
        ] {
            let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
            fs::write(here.path().join("f"), "seven").unwrap();
            let server = Rendezvous::start();
            for plain in [&[][..], &["--plain"]] {
                if !plain.is_empty() && download.contains('_') {
                    continue;
                }
                let upload =
                    server.run(here.path(), &[&["upload", "f", "--key", upload], plain].concat());
                let download = [&["download", download, "-o", "-"], plain].concat();
                let download = server.run(there.path(), &download).finish();
                assert_eq!(download.expect(0, "").stdout, b"seven");
                upload.finish().expect(0, "");
            }
        }
    }

    #[test]
    fn a_person_who_names_no_key_gets_a_code() {
        for (args, secret, code) in [
            (&["upload", "f"][..], None, true),
            (&["upload", "f", "f2"], None, true),
            (&["upload", "--text", "hello"], None, true),
            (&["upload", "f", "--quiet"], None, true),
            (&["upload", "f", "--qr"], None, true),
            (&["upload", "f"], Some("swordfish"), false),
            (&["upload", "f", "--plain"], None, false),
            (&["upload", "f", "--json"], None, false),
            (&["upload", "f", "--key", "k"], None, false),
        ] {
            let folder = tempdir().unwrap();
            fs::write(folder.path().join("f"), "").unwrap();
            fs::write(folder.path().join("f2"), "").unwrap();
            let server = Server::run(|mut peer| peer.refuse(RefusalCode::Busy, "full"));
            let mut program = command(
                folder.path(),
                &[args, &["--no-retry", "--server", &server.address]].concat(),
            );
            if let Some(secret) = secret {
                program.env("XCHG_SECRET", secret);
            }
            let (ended, shown) = Terminal::run(&program).finish();
            assert_eq!(ended, Some(3), "{shown}");
            let words = shown.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            let has_code = words.into_iter().any(|word| xchg_client::Code::parse(word).is_ok());
            assert_eq!(has_code, code, "{args:?}: {shown}");
            server.finish();
        }
    }

    #[test]
    fn without_a_terminal_the_name_of_the_file_is_the_key_and_a_line_says_who_can_take_it() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("stocks.txt"), "").unwrap();
        for (args, part) in [
            (
                &["upload", "stocks.txt"][..],
                "whoever downloads stocks.txt from this server can take it; --code",
            ),
            (&["upload", "stocks.txt", "--plain"], "can take it; --key names another"),
        ] {
            let server = Server::run(|mut peer| peer.refuse(RefusalCode::Busy, "full"));
            let args = [args, &["--server", &server.address]].concat();
            Client::start(folder.path(), &args).finish().expect(3, part);
            server.finish();
        }
        let server = Server::run(|mut peer| peer.refuse(RefusalCode::Busy, "full"));
        let mut program =
            command(folder.path(), &["upload", "stocks.txt", "--server", &server.address]);
        program.env("XCHG_SECRET", "swordfish");
        let finished = Client::spawn(program).finish().expect(3, "full");
        assert!(!finished.stderr.concat().contains("can take it"), "{finished:?}");
        server.finish();
    }
}
