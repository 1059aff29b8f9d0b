//! Two tabs of the page in a real headless Chromium, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{InProcess, config, eventually, payload};
use serde_json::{Value, json};

const FILE_BYTES: usize = 200_000_000;

/// A browser, and the driver that commands it.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session. A test that has failed has said why already.
        if !std::thread::panicking() {
            self.ask("DELETE", "", None);
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

impl Browser {
    /// Starts a browser whose profile is in `folder`, and which saves files to `downloads`.
    fn start(folder: &Path, downloads: &Path) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut log = BufReader::new(driver.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("started successfully on port") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "chromedriver says where it listens");
        }
        let port = line.trim().trim_end_matches('.').rsplit(' ').next().unwrap().parse().unwrap();
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        let mut browser = Browser { driver, port, session: String::new() };
        let profile = format!("--user-data-dir={}", folder.display());
        let options = json!({
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", profile],
            "prefs": {"download.default_directory": downloads, "download.prompt_for_download": false},
        });
        let capabilities = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let answer = browser.request("POST", "/session", Some(&capabilities));
        browser.session = answer["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Sends a command to the session.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.request(method, &format!("/session/{}{path}", self.session), body)
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        // The driver keeps the connection open whatever it is told.
        let mut answer = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(answer.read_line(&mut line).unwrap() > 0, "an HTTP answer");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).unwrap();
        let mut answer: Value = serde_json::from_slice(&body).expect("a WebDriver answer");
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{method} {path}: {value}");
        value
    }

    fn open(&self, url: &str) {
        self.ask("POST", "/url", Some(&json!({"url": url})));
    }

    fn open_tab(&self) -> String {
        let tab = self.ask("POST", "/window/new", Some(&json!({"type": "tab"})));
        tab["handle"].as_str().unwrap().to_owned()
    }

    fn tab(&self) -> String {
        self.ask("GET", "/window", None).as_str().unwrap().to_owned()
    }

    fn switch_to(&self, tab: &str) {
        self.ask("POST", "/window", Some(&json!({"handle": tab})));
    }

    fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": []})))
    }

    fn await_true(&self, condition: &str) {
        let state = || self.run("return document.querySelector('main').innerText").to_string();
        let deadline = std::time::Instant::now() + Duration::from_secs(120);
        while self.run(&format!("return {condition}")) != json!(true) {
            assert!(std::time::Instant::now() < deadline, "{condition}: {}", state());
            std::thread::yield_now();
        }
    }

    fn type_into(&self, selector: &str, text: &str) {
        let element = self.ask(
            "POST",
            "/element",
            Some(&json!({"using": "css selector", "value": selector})),
        );
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.ask("POST", &format!("/element/{id}/value"), Some(&json!({"text": text})));
    }
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn a_large_file_goes_from_one_tab_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let [profile, downloads, file] =
        ["profile", "downloads", "large.bin"].map(|name| folder.path().join(name));
    std::fs::create_dir(&downloads).unwrap();
    let sent = payload(5, FILE_BYTES);
    std::fs::write(&file, &sent).unwrap();
    let server = InProcess::start(config());
    let page = format!("http://{}/", server.address());

    let browser = Browser::start(&profile, &downloads);
    browser.open(&page);
    browser.type_into("#file", file.to_str().unwrap());
    browser.run("document.getElementById('send-key').value = 'tabs'; document.getElementById('send-form').requestSubmit()");
    server.await_waiting(1);
    let sender = browser.tab();

    let receiver = browser.open_tab();
    browser.switch_to(&receiver);
    browser.open(&format!("{page}#tabs"));
    browser.run(
        "document.getElementById('receive-key').value = 'tabs'; document.getElementById('receive-form').requestSubmit()",
    );
    browser.await_true("!document.getElementById('save').hidden");
    browser.run("document.getElementById('save').click()");
    let saved = downloads.join("large.bin");
    eventually("the file is saved whole", || {
        std::fs::metadata(&saved).is_ok_and(|data| data.len() == FILE_BYTES as u64)
    });
    assert!(std::fs::read(&saved).unwrap() == sent, "the file arrives whole");

    browser.switch_to(&sender);
    browser.await_true("document.getElementById('send-status').innerText.startsWith('Received')");
    server.await_counts("the exchange has ended", |counts| counts.completed == 1);
    assert_eq!(server.counts().bytes, FILE_BYTES as u64);
}
