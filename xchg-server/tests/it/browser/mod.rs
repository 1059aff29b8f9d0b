//! A real headless Chromium, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A browser, and the driver that commands it.
pub(crate) struct Browser {
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
    pub(crate) fn start(folder: &Path, downloads: &Path) -> Self {
        Self::start_with(folder, downloads, false)
    }

    /// The same, that takes any certificate.
    pub(crate) fn start_trusting_all(folder: &Path, downloads: &Path) -> Self {
        Self::start_with(folder, downloads, true)
    }

    fn start_with(folder: &Path, downloads: &Path, trusts_all: bool) -> Self {
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
        let mut browser = Self { driver, port, session: String::new() };
        let profile = format!("--user-data-dir={}", folder.display());
        let options = json!({
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
                "--disable-background-networking", "--host-resolver-rules=MAP *.example 127.0.0.1", "--disable-component-update", "--disable-sync", profile],
            "prefs": {"download.default_directory": downloads, "download.prompt_for_download": false},
        });
        let capabilities = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome",
            "acceptInsecureCerts": trusts_all, "goog:chromeOptions": options}}});
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

    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", Some(&json!({"url": url})));
    }

    pub(crate) fn open_tab(&self) -> String {
        let tab = self.ask("POST", "/window/new", Some(&json!({"type": "tab"})));
        tab["handle"].as_str().unwrap().to_owned()
    }

    pub(crate) fn tab(&self) -> String {
        self.ask("GET", "/window", None).as_str().unwrap().to_owned()
    }

    pub(crate) fn switch_to(&self, tab: &str) {
        self.ask("POST", "/window", Some(&json!({"handle": tab})));
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": []})))
    }

    pub(crate) fn await_true(&self, condition: &str) {
        let state = || self.run("return document.querySelector('main').innerText").to_string();
        let deadline = std::time::Instant::now() + Duration::from_secs(120);
        while self.run(&format!("return {condition}")) != json!(true) {
            assert!(std::time::Instant::now() < deadline, "{condition}: {}", state());
            std::thread::yield_now();
        }
    }

    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.ask(
            "POST",
            "/element",
            Some(&json!({"using": "css selector", "value": selector})),
        );
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.ask("POST", &format!("/element/{id}/value"), Some(&json!({"text": text})));
    }
    pub(crate) fn click(&self, id: &str) {
        self.run(&format!("document.getElementById('{id}').click()"));
    }

    /// Fills in the form of a side, which is `send` or `receive`, and submits it.
    pub(crate) fn submit(&self, side: &str, key: &str) {
        self.run(&format!(
            "document.getElementById('{side}-key').value = '{key}'; document.getElementById('{side}-form').requestSubmit()"
        ));
    }

    /// Waits until the status of a side begins with `words`.
    pub(crate) fn await_status(&self, side: &str, words: &str) {
        self.await_true(&format!(
            "document.getElementById('{side}-status').textContent.startsWith('{words}')"
        ));
    }
}
