//! The page, and what was transferred, in a real headless Chromium.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use crate::browser::Browser;
use crate::common::{InProcess, config, eventually, payload};
use crate::outside_proxies;
use crate::web::{Client, get, head, put};
use serde_json::json;
use tempfile::TempDir;
use xchg_server::{Access, Config};

const FILE_BYTES: usize = 200_000_000;

/// A browser that has opened the page of a server.
struct Setting {
    browser: Browser,
    server: InProcess,
    /// Where the browser finds the server.
    address: SocketAddr,
    folder: TempDir,
}

impl Setting {
    fn new() -> Self {
        let server = InProcess::start(config());
        let address = server.address();
        Self::at(server, address)
    }

    fn at(server: InProcess, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [profile, downloads] = ["profile", "downloads"].map(|name| folder.path().join(name));
        std::fs::create_dir(&downloads).unwrap();
        let browser = Browser::start(&profile, &downloads);
        let setting = Self { browser, server, address, folder };
        setting.browser.open(&setting.page());
        setting
    }

    fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Has the page send a file of `sent`.
    fn send_file(&self, sent: &[u8], key: &str) {
        let file = self.folder.path().join("large.bin");
        std::fs::write(&file, sent).unwrap();
        self.browser.type_into("#file", file.to_str().unwrap());
        self.browser.submit("send", key);
        self.server.await_waiting(1);
    }

    /// Has the page send a text.
    fn send_text(&self, text: &str, key: &str) {
        self.browser.run(&format!(
            "document.querySelector('input[value=text]').click(); document.getElementById('text').value = {}",
            json!(text)
        ));
        self.browser.submit("send", key);
    }

    /// Opens the page in another tab, as a link with `key` does.
    fn invited(&self, key: &str) {
        let tab = self.browser.open_tab();
        self.browser.switch_to(&tab);
        self.browser.open(&format!("{}#{key}", self.page()));
    }

    fn downloaded(&self, name: &str) -> PathBuf {
        self.folder.path().join("downloads").join(name)
    }
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn a_large_file_goes_from_one_tab_to_another() {
    let sent = payload(5, FILE_BYTES);
    let setting = Setting::new();
    let browser = &setting.browser;
    setting.send_file(&sent, "tabs");
    let sender = browser.tab();

    setting.invited("tabs");
    browser.submit("receive", "tabs");
    browser.await_true("!document.getElementById('save').hidden");
    browser.click("save");
    let saved = setting.downloaded("large.bin");
    eventually("the file is saved whole", || {
        std::fs::metadata(&saved).is_ok_and(|data| data.len() == FILE_BYTES as u64)
    });
    assert!(std::fs::read(&saved).unwrap() == sent, "the file arrives whole");

    browser.switch_to(&sender);
    browser.await_status("send", "Received");
    setting.server.await_counts("the exchange has ended", |counts| counts.completed == 1);
    assert_eq!(setting.server.counts().bytes, FILE_BYTES as u64);
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn a_text_goes_to_a_receiver_that_came_first() {
    let setting = Setting::new();
    let browser = &setting.browser;
    let sender = browser.tab();
    setting.invited("note");
    let receiver = browser.tab();
    browser.submit("receive", "note");
    setting.server.await_waiting(1);

    browser.switch_to(&sender);
    let text = "Zeilen\nund <b>ümläute</b> & \"quotes\"";
    setting.send_text(text, "note");
    browser.await_status("send", "Received");
    browser.switch_to(&receiver);
    browser.await_status("receive", "Received");
    let shown = browser.run("return document.getElementById('received-text').textContent");
    assert_eq!(shown, json!(text));
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn whoever_cancels_leaves_at_once_and_can_try_again() {
    let setting = Setting::new();
    let browser = &setting.browser;
    let sender = browser.tab();
    setting.send_text("again", "key");
    setting.server.await_waiting(1);
    browser.click("send-cancel");
    browser.await_status("send", "Cancelled");
    setting.server.await_waiting(0);
    browser.click("send-retry");
    setting.server.await_waiting(1);

    setting.invited("elsewhere");
    browser.submit("receive", "elsewhere");
    setting.server.await_waiting(2);
    browser.click("receive-cancel");
    browser.await_status("receive", "Cancelled");
    setting.server.await_waiting(1);
    browser.click("receive-again");
    browser.submit("receive", "key");
    browser.await_status("receive", "Received");
    browser.switch_to(&sender);
    browser.await_status("send", "Received");
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn refusals_are_shown() {
    let setting = Setting::new();
    let browser = &setting.browser;
    let _sender = Client::waiting(setting.server.address(), &put("sent", b"x"));
    setting.send_text("second", "sent");
    browser.await_status("send", "Another sender");
    let _receiver = Client::saying(setting.server.address(), &get("asked"));
    setting.server.await_waiting(2);
    browser.submit("receive", "asked");
    browser.await_status("receive", "The number of receivers");
    // What the page itself can tell is told without asking.
    browser.submit("send", "help");
    browser.await_true(
        "document.getElementById('send-problem').textContent.includes('name of a page')",
    );
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn whoever_loses_the_other_side_is_told() {
    let setting = Setting::new();
    let browser = &setting.browser;
    setting.send_file(&payload(6, 60_000_000), "lost");
    let mut receiver = Client::narrow(setting.server.address());
    receiver.send(&get("lost"));
    assert_eq!(receiver.head().status, 200);
    drop(receiver);
    browser.await_status("send", "The receiver");
    // The browser must not have sent it again on its own: that upload would wait, and nobody would
    // know.
    setting.server.await_waiting(0);
    assert_eq!(setting.server.counts().failed, 1);

    browser.submit("receive", "cut");
    setting.server.await_waiting(1);
    let upload = Client::saying(
        setting.server.address(),
        (head("PUT /cut", "Content-Length: 1000\r\n") + "part").as_bytes(),
    );
    setting.server.await_counts("the exchange has begun", |counts| counts.exchanging == 1);
    drop(upload);
    browser.await_status("receive", "The connection was lost");
}

#[test]
#[ignore = "needs nginx, chromium and chromedriver"]
fn the_page_works_behind_a_proxy() {
    let heading = "nginx, as an HTTP proxy";
    let server = outside_proxies::server(heading);
    let (configure, run) = (outside_proxies::nginx("http"), outside_proxies::run_nginx);
    let proxy = outside_proxies::Proxy::start(&server, heading, configure, run);
    let setting = Setting::at(server, proxy.address);
    let browser = &setting.browser;
    let here = setting.server.address();

    let file = payload(6, 60_000_000);
    setting.send_file(&file, "file");
    assert!(Client::saying(here, &get("file")).download() == file);
    browser.await_status("send", "Received");

    browser.click("send-again");
    browser.submit("send", "lost");
    setting.server.await_waiting(1);
    let mut receiver = Client::narrow(here);
    receiver.send(&get("lost"));
    assert_eq!(receiver.head().status, 200);
    drop(receiver);
    browser.await_status("send", "The receiver");
    setting.server.await_waiting(0);

    browser.click("send-again");
    setting.send_text("behind a proxy", "text");
    setting.server.await_waiting(1);
    assert_eq!(Client::saying(here, &get("text")).download(), b"behind a proxy");
    browser.await_status("send", "Received");

    let _sender = Client::waiting(here, &put("sent", b"x"));
    browser.click("send-again");
    setting.send_text("second", "sent");
    browser.await_status("send", "Another sender");
}

/// Serves `body` as `media_type`, without any policy, to whoever asks.
fn unguarded(media_type: &'static str, body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).unwrap_or(0) == 0 {
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).ok();
        }
    });
    address
}

/// What a script that runs in an origin leaves behind in it.
const SCRIPT: &str = "localStorage.setItem('ran', 'yes')";

#[test]
#[ignore = "needs chromium and chromedriver"]
fn what_is_transferred_never_runs_in_the_servers_origin() {
    let html = format!("<!doctype html><title>t</title><script>{SCRIPT}</script>");
    let xhtml = format!(
        "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>t</title><script>{SCRIPT}</script></head><body/></html>"
    );
    let svg = format!("<svg xmlns='http://www.w3.org/2000/svg'><script>{SCRIPT}</script></svg>");
    let setting = Setting::new();
    let browser = &setting.browser;
    let ran = "return localStorage.getItem('ran')";
    for (index, (media_type, body)) in [
        ("text/html", &html),
        ("application/xhtml+xml", &xhtml),
        ("image/svg+xml", &svg),
        ("text/xml", &xhtml),
        ("application/xml", &svg),
    ]
    .into_iter()
    .enumerate()
    {
        // The script does run where nobody prevents it: else the rest would prove nothing.
        browser.open(&format!("http://{}/", unguarded(media_type, body.clone())));
        assert_eq!(browser.run(ran), json!("yes"), "{media_type}, unguarded");

        for (part, said) in [
            media_type.to_owned(),
            media_type.to_uppercase(),
            format!(" {media_type} ; charset=utf-8"),
            "application/x-unheard-of".to_owned(),
            String::new(),
        ]
        .into_iter()
        .enumerate()
        {
            let key = format!("active-{index}-{part}");
            let field =
                if said.is_empty() { String::new() } else { format!("Content-Type: {said}\r\n") };
            let length = format!("{field}Content-Length: {}\r\n", body.len());
            let request = head(&format!("PUT /{key}"), &length) + body;
            let mut upload = Client::waiting(setting.server.address(), request.as_bytes());
            browser.open(&format!("{}{key}", setting.page()));
            upload.is_received();
            browser.open(&setting.page());
            assert_eq!(browser.run(ran), json!(null), "{said:?}");
        }
    }
}

/// The page loads without a token. Once its person was asked for it, the browser shows it by
/// itself, whatever the page does.
#[test]
#[ignore = "needs chromium and chromedriver"]
fn a_browser_shows_the_token_that_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "sesame name=anna").unwrap();
    let server =
        InProcess::start(Config { access: Access::Token, token_file: Some(tokens), ..config() });
    let address = server.address();
    let bearer = |request: Vec<u8>| {
        let request = String::from_utf8(request).unwrap();
        let request = request.replacen("\r\n", "\r\nAuthorization: Bearer sesame\r\n", 1);
        Client::saying(address, request.as_bytes())
    };
    let setting = Setting::at(server, address);
    // As somebody types it who is asked.
    let mut first = bearer(put("first", b"hello"));
    setting.browser.open(&format!("http://whoever:sesame@{address}/first"));
    first.uploaded();
    setting.browser.open(&setting.page());
    setting.send_text("by the page", "key");
    assert_eq!(bearer(get("key")).download(), b"by the page");
    setting.invited("key");
    setting.browser.submit("receive", "key");
    setting.server.await_waiting(1);
    bearer(put("key", b"to the page")).uploaded();
    setting.browser.await_status("receive", "Received");
}
