//! Real web clients: curl, wget and Python's requests, in all their ways to upload and download.
//!
//! `$XCHG_PYTHON` names a Python that has requests; without it, `python3` is taken.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{InProcess, Peer, config, eventually, payload};
use tempfile::TempDir;
use xchg_core::{Outcome, Side};
use xchg_server::Config;

/// Sends the file named by the third argument to the URL in the second, in the way that the first
/// one says.
const PYTHON_UPLOAD: &str = "
import requests, sys
way, url, path = sys.argv[1:]
def chunks(file):
    while piece := file.read(50_000):
        yield piece
with open(path, 'rb') as file:
    if way == 'bytes': answer = requests.put(url, data=file.read(), timeout=60)
    if way == 'file': answer = requests.put(url, data=file, timeout=60)
    if way == 'chunks': answer = requests.put(url, data=chunks(file), timeout=60)
    if way == 'form': answer = requests.post(url, files={'file': file}, timeout=60)
answer.raise_for_status()
assert answer.text.endswith('received successfully.\\n'), answer.text
";

/// Saves what is behind the URL in the first argument to the file named by the second.
const PYTHON_DOWNLOAD: &str = "
import requests, sys
url, path = sys.argv[1:]
with requests.get(url, stream=True, timeout=60) as answer, open(path, 'wb') as file:
    answer.raise_for_status()
    for piece in answer.iter_content(65536):
        file.write(piece)
";

/// A client that does not outlive the test.
pub(crate) struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_owned();
        Self(Some(command.spawn().unwrap_or_else(|error| panic!("{name:?}: {error}"))))
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
    }

    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    /// What it said, if it is content.
    pub(crate) fn succeed(self, who: &str) -> String {
        let Output { status, stdout, stderr } = self.output();
        assert!(status.success(), "{who}: {status}, {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// Its exit code, which must tell a failure.
    pub(crate) fn fail(self, who: &str) -> i32 {
        let output = self.output();
        let code = output.status.code().expect("it exits by itself");
        assert_ne!(code, 0, "{who} takes a failure for a success: {output:?}");
        code
    }
}

/// A server, a file to send, and a place for what arrives.
pub(crate) struct Setting {
    pub(crate) server: InProcess,
    folder: TempDir,
    pub(crate) bytes: Vec<u8>,
}

impl Setting {
    pub(crate) fn new(len: usize) -> Self {
        let setting = Self {
            server: InProcess::default(),
            folder: tempfile::tempdir().unwrap(),
            bytes: payload(1, len),
        };
        std::fs::write(setting.file(), &setting.bytes).unwrap();
        setting
    }

    /// Has the file hold other bytes, as many.
    pub(crate) fn change_file(&mut self, seed: u64) {
        self.bytes = payload(seed, self.bytes.len());
        std::fs::write(self.file(), &self.bytes).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    pub(crate) fn arrived(&self) -> PathBuf {
        self.folder.path().join("arrived")
    }

    fn url(&self) -> String {
        format!("http://{}/key", self.server.address())
    }

    /// A client's command, with `FILE`, `OUT` and `URL` in its arguments replaced. `<FILE` at the
    /// end is its standard input.
    fn command(&self, line: &str) -> Command {
        let (line, stdin) = match line.strip_suffix(" <FILE") {
            Some(line) => (line, Stdio::from(File::open(self.file()).unwrap())),
            None => (line, Stdio::null()),
        };
        let mut words = line.split(' ').map(|word| {
            word.replace("FILE", self.file().to_str().unwrap())
                .replace("OUT", self.arrived().to_str().unwrap())
                .replace("URL", &self.url())
        });
        let mut command = match &words.next().unwrap()[..] {
            "curl" => {
                let mut command = Command::new("curl");
                command.args(["--silent", "--show-error", "--max-time", "60"]);
                command
            }
            "wget" => {
                let mut command = Command::new("wget");
                command.args(["--quiet", "--tries=1", "--timeout=60"]);
                command
            }
            "aria2c" => {
                let mut command = Command::new("aria2c");
                command.args(["--quiet", "--no-conf", "--max-tries=1", "--file-allocation=none"]);
                command.arg(format!("--dir={}", self.folder.path().display()));
                command
            }
            python => {
                let script =
                    if python == "python-upload" { PYTHON_UPLOAD } else { PYTHON_DOWNLOAD };
                let mut command =
                    Command::new(std::env::var_os("XCHG_PYTHON").unwrap_or("python3".into()));
                command.args(["-c", script]);
                command
            }
        };
        command.args(words).stdin(stdin);
        command
    }

    pub(crate) fn start(&self, line: &str) -> Running {
        Running::start(self.command(line))
    }

    /// Uploads and downloads as the two lines say, with either coming first.
    fn exchange(&self, upload_line: &str, download_line: &str, upload_first: bool) {
        let ways = format!("{upload_line} | {download_line}");
        let (first, second) =
            if upload_first { (upload_line, download_line) } else { (download_line, upload_line) };
        let first = self.start(first);
        self.server.await_waiting(1);
        let second = self.start(second);
        let (upload, download) = if upload_first { (first, second) } else { (second, first) };
        download.succeed(&ways);
        upload.succeed(&ways);
        assert!(std::fs::read(self.arrived()).unwrap() == self.bytes, "{ways}");
        std::fs::remove_file(self.arrived()).unwrap();
        let bytes = self.bytes.len() as u64;
        assert_eq!(self.server.next_outcome(), (Outcome::Completed, bytes), "{ways}");
    }

    /// Kills one of the two midway, and gives the other's exit code, which must not be 0.
    fn kill_midway(&self, upload_line: &str, download_line: &str, lost: Side) -> i32 {
        let ways = format!("{upload_line} | {download_line}, {lost:?} killed");
        let mut upload = self.start(upload_line);
        self.server.await_waiting(1);
        let mut download = self.start(download_line);
        let handle = self.server.next_exchange();
        eventually("a part has moved", || handle.moved_from(Side::Upload) > 50_000);
        let code = match lost {
            Side::Upload => {
                upload.kill();
                download.fail(&ways)
            }
            Side::Download => {
                download.kill();
                upload.fail(&ways)
            }
        };
        let (outcome, bytes) = self.server.next_outcome();
        assert_eq!(outcome, Outcome::Lost(lost), "{ways}");
        assert!(bytes < self.bytes.len() as u64, "{ways}");
        code
    }
}

const CURL_UPLOADS: [&str; 8] = [
    "curl -T FILE URL",
    "curl -T - URL <FILE",
    "curl -F file=@FILE URL",
    "curl --data-binary @FILE URL",
    "curl --http1.0 -T FILE URL",
    // Without an answer to what it expects, it would wait longer than it may take.
    "curl --expect100-timeout 90 -H Expect:100-continue -T FILE URL",
    "curl --limit-rate 20M -T FILE URL",
    "curl -X POST -H Expect: -T FILE URL",
];

const CURL_DOWNLOADS: [&str; 3] =
    ["curl -o OUT URL", "curl --http1.0 -o OUT URL", "curl --limit-rate 20M -o OUT URL"];

#[test]
#[ignore = "needs curl"]
fn curl_exchanges_with_curl() {
    let setting = Setting::new(5_000_000);
    for upload in CURL_UPLOADS {
        for download in CURL_DOWNLOADS {
            setting.exchange(upload, download, true);
            setting.exchange(upload, download, false);
        }
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_sends_and_gets_nothing_and_little() {
    for len in [0, 1] {
        let setting = Setting::new(len);
        for upload in CURL_UPLOADS {
            setting.exchange(upload, CURL_DOWNLOADS[0], true);
            setting.exchange(upload, CURL_DOWNLOADS[1], false);
        }
    }
}

#[test]
#[ignore = "needs curl, wget and Python with requests"]
fn wget_and_requests_exchange_with_curl_and_one_another() {
    let setting = Setting::new(3_000_000);
    let uploads = [
        "wget -O - --method=PUT --body-file=FILE URL",
        "wget -O - --post-file=FILE URL",
        "python-upload bytes URL FILE",
        "python-upload file URL FILE",
        "python-upload chunks URL FILE",
        "python-upload form URL FILE",
        "curl -T FILE URL",
        "curl -T - URL <FILE",
    ];
    for upload in uploads {
        for download in ["wget -O OUT URL", "python-download URL OUT", "curl -o OUT URL"] {
            setting.exchange(upload, download, true);
            setting.exchange(upload, download, false);
        }
    }
}

/// The downloads are slow, so that uploads of any kind last.
#[test]
#[ignore = "needs curl, wget and Python with requests"]
fn whoever_is_left_when_the_other_is_killed_knows_it() {
    let setting = Setting::new(60_000_000);
    let slow = "curl --limit-rate 3M -o OUT URL";
    for (upload, download) in [
        ("curl -T FILE URL", slow),
        ("curl -T - URL <FILE", slow),
        ("curl -F file=@FILE URL", slow),
        ("curl --data-binary @FILE URL", slow),
        ("curl --http1.0 -T FILE URL", slow),
        ("curl -T FILE URL", "curl --http1.0 --limit-rate 3M -o OUT URL"),
        ("curl -T - URL <FILE", "curl --http1.0 --limit-rate 3M -o OUT URL"),
        ("curl -T FILE URL", "wget --limit-rate=3M -O OUT URL"),
        ("curl -T - URL <FILE", "wget --limit-rate=3M -O OUT URL"),
        ("wget -O - --method=PUT --body-file=FILE URL", slow),
        ("python-upload file URL FILE", slow),
        ("python-upload chunks URL FILE", slow),
        ("curl --limit-rate 3M -T FILE URL", "python-download URL OUT"),
        ("curl --limit-rate 3M -T - URL <FILE", "python-download URL OUT"),
        ("curl --limit-rate 3M -T FILE URL", "curl -o OUT URL"),
    ] {
        for lost in Side::BOTH {
            setting.kill_midway(upload, download, lost);
        }
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_shows_what_happens() {
    let setting = Setting::new(1000);
    let upload = setting.start("curl -T FILE URL");
    setting.server.await_waiting(1);
    setting.start("curl -o OUT URL").succeed("the download");
    assert_eq!(
        upload.succeed("the upload"),
        "[INFO] Waiting for 1 receiver(s)...\n[INFO] A receiver was connected.\n\
         [INFO] Start sending to 1 receiver(s)!\n[INFO] Sent successfully!\n\
         [INFO] All receiver(s) was/were received successfully.\n"
    );
}

#[test]
#[ignore = "needs curl"]
fn curl_tells_why_it_failed() {
    let setting = Setting::new(40_000_000);
    let mut download = setting.start("curl -o OUT URL");
    setting.server.await_waiting(1);
    let upload = setting.start("curl --limit-rate 3M -T FILE URL");
    let handle = setting.server.next_exchange();
    eventually("a part has moved", || handle.moved_from(Side::Upload) > 50_000);
    download.kill();
    let output = upload.output();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("[ERROR] A receiver aborted.\n"), "{said}");
}

#[test]
#[ignore = "needs curl"]
fn refused_requests_are_failures_where_curl_is_told_so() {
    let setting = Setting::new(20_000_000);
    let _waiting = Peer::native(setting.server.address(), Side::Upload, "key").waits();
    // 22 is a status from 400 on.
    assert_eq!(setting.start("curl --fail -T FILE URL").fail("a second sender"), 22);
    let output = setting.start("curl -T FILE URL").output();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("[ERROR] Another sender has been connected on '/key'."), "{said}");
    assert_eq!(setting.start("curl --fail -X DELETE URL").fail("another method"), 22);
}

#[test]
#[ignore = "needs curl"]
fn a_killed_curl_frees_the_path() {
    let mut setting = Setting::new(20_000_000);
    let processing_interval = Duration::from_millis(200);
    setting.server = InProcess::start(Config { processing_interval, ..config() });
    for line in ["curl -T FILE URL", "curl -T - URL <FILE", "curl -o OUT URL"] {
        let mut waiting = setting.start(line);
        setting.server.await_waiting(1);
        waiting.kill();
        setting.server.await_waiting(0);
    }
    setting.exchange("curl -T FILE URL", "curl -o OUT URL", true);
}

#[test]
#[ignore = "needs curl"]
fn curl_exchanges_with_classic_and_native_peers() {
    let setting = Setting::new(2_000_000);
    let address = setting.server.address();
    for upload in CURL_UPLOADS {
        let upload_to = |mut peer: Peer, is_native: bool| {
            let upload = setting.start(upload);
            if is_native {
                peer.matched();
            }
            assert!(peer.rest().unwrap() == setting.bytes, "{upload:?}", upload = upload.0);
            drop(peer);
            upload.succeed("curl");
        };
        upload_to(Peer::classic(address, b'G', "key"), false);
        upload_to(Peer::native(address, Side::Download, "key"), true);
    }
    for download in CURL_DOWNLOADS {
        let started = setting.start(download);
        setting.server.await_waiting(1);
        drop(Peer::classic(address, b'P', "key").send_all(&setting.bytes));
        started.succeed(download);
        assert!(is_same(&setting.arrived(), &setting.bytes), "{download}");
    }
}

fn is_same(path: &Path, bytes: &[u8]) -> bool {
    std::fs::read(path).unwrap() == bytes
}

#[test]
#[ignore = "needs curl"]
fn curl_sends_to_several_at_once() {
    let setting = Setting::new(3 << 20);
    for upload in ["curl -T FILE URL?n=3", "curl -T - URL?n=3 <FILE", "curl -F file=@FILE URL?n=3"]
    {
        let upload = setting.start(upload);
        setting.server.await_waiting(1);
        let downloads: Vec<_> =
            (0..3).map(|n| setting.start(&format!("curl -o OUT{n} URL?n=3"))).collect();
        downloads.into_iter().for_each(|download| drop(download.succeed("download")));
        let told = upload.succeed("upload");
        assert!(told.contains("[INFO] Start sending to 3 receiver(s)!"), "{told}");
        for n in 0..3 {
            let arrived = format!("{}{n}", setting.arrived().display());
            assert!(std::fs::read(arrived).unwrap() == setting.bytes, "receiver {n}");
        }
    }
}
