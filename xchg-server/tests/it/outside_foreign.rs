//! Another site's page in a real headless Chromium, beside a server that is for this machine only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use crate::browser::Browser;
use crate::common::{InProcess, Peer};
use serde_json::{Value, json};
use xchg_core::Side;

/// Serves an empty page to whoever asks, for as long as the tests run.
fn serve_page() -> SocketAddr {
    const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\
        Connection: close\r\n\r\n<main></main>";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut visitor in listener.incoming().flatten() {
            // A browser connects ahead, and may say nothing.
            std::thread::spawn(move || {
                visitor.read(&mut [0; 4096]).and_then(|_| visitor.write_all(PAGE)).ok();
            });
        }
    });
    address
}

#[test]
#[ignore = "needs chromium"]
fn another_sites_page_reaches_nothing_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let server = InProcess::default();
    let port = server.address().port();
    let uploader = Peer::native(server.address(), Side::Upload, "key").waits();
    let browser = Browser::start(&folder.path().join("profile"), folder.path());

    let text = |browser: &Browser| browser.run("return document.body.innerText").to_string();
    // Its own name leads here. The browser takes server and page for one.
    browser.open(&format!("http://evil.example:{port}/"));
    assert!(text(&browser).contains("not known there by the name"), "{}", text(&browser));
    let same = "const say = async (method, body) => (await fetch('/key', {method, body})).status;
        return (async () => [await say('GET'), await say('PUT', 'x'), await say('FOO')])()";
    assert_eq!(browser.run(same), json!([403, 403, 403]));

    // It asks across sites: an answer cannot be read, and need not be for harm.
    for host in ["evil.example", "localhost"] {
        browser.open(&format!("http://{host}:{}/", serve_page().port()));
        let refused = server.stats().refused;
        let across = format!(
            "const url = 'http://127.0.0.1:{port}/';
            const ask = (key, more) => fetch(url + key, more).then(answer => answer.type, () => 'failed');
            const image = new Promise(done => {{
                const image = new Image();
                image.onload = image.onerror = () => done('tried');
                image.src = url + 'key';
            }});
            return Promise.all([
                ask('key', {{mode: 'no-cors'}}),
                ask('new', {{mode: 'no-cors', method: 'POST', body: 'x'}}),
                ask('new', {{method: 'PUT', body: 'x'}}),
                ask('new', {{method: 'FOO'}}),
                ask('version', {{}}),
                image,
            ])"
        );
        let tried: Value = browser.run(&across);
        assert_eq!(
            tried,
            json!(["opaque", "opaque", "failed", "failed", "failed", "tried"]),
            "{host}"
        );
        assert!(server.stats().refused >= refused + 6, "{host}: all of them came here");
        // A link is followed as if it had been clicked.
        browser.open(&format!("http://{host}:{}/", serve_page().port()));
        browser.run(&format!("location.href = 'http://127.0.0.1:{port}/key'"));
        crate::common::eventually("the link is followed", || {
            text(&browser).contains("A page of another site")
        });
    }
    assert_eq!((server.counts().waiting, server.counts().exchanging), (1, 0));
    drop(uploader);
}
