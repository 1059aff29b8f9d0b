//! Real proxies in front: the configurations of docs/proxies.md, with timeouts short enough to wait for.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{InProcess, Peer, config, eventually, loopback, payload, tcp};
use tempfile::TempDir;
use xchg_server::Config;

const DOCS: &str = include_str!("../../../docs/proxies.md");
const PAYLOAD_BYTES: usize = 3_000_000;

/// How long the proxies of the test let nothing happen.
const SILENCE: Duration = Duration::from_secs(3);

/// A proxy that does not outlive the test.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Proxy {
    /// Starts `command` with the configuration that `configure` makes of the section under `heading`, in front of the listener for it.
    pub(crate) fn start(
        server: &InProcess,
        heading: &str,
        configure: impl Fn(&str, &Path) -> String,
        command: impl Fn(&Path) -> Command,
    ) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let sample = sample(heading)
            .replace("PROXY", &address.port().to_string())
            .replace("XCHG", &tcp(&server.addresses()[1]).port().to_string());
        let file = folder.path().join("proxy.conf");
        std::fs::write(&file, configure(&sample, folder.path())).unwrap();
        let child = command(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let proxy = Proxy { child, address, _folder: folder };
        eventually("the proxy listens", || TcpStream::connect(proxy.address).is_ok());
        proxy
    }

    fn url(&self, key: &str) -> String {
        format!("http://{}/{key}", self.address)
    }
}

/// What follows a heading of docs/proxies.md.
fn section(heading: &str) -> &'static str {
    DOCS.split_once(&format!("## {heading}\n")).expect("the docs have the heading").1
}

/// The configuration under a heading of docs/proxies.md.
fn sample(heading: &str) -> &'static str {
    let (_, rest) = section(heading).split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0
}

/// An address that was free a moment ago: proxies cannot be asked which port they were given.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn nginx(kind: &str) -> impl Fn(&str, &Path) -> String {
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = match kind == "stream" && module.exists() {
        true => format!("load_module {};\n", module.display()),
        false => String::new(),
    };
    let kind = kind.to_owned();
    move |sample, folder| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
            .concat();
        let temporary =
            if kind == "http" { temporary + "access_log off;\n" } else { String::new() };
        let sample = impatient(sample);
        format!(
            "{load}daemon off;\npid {0}/pid;\nerror_log {0}/log;\nevents {{}}\n{kind} {{\n{temporary}{sample}}}\n",
            folder.display()
        )
    }
}

fn haproxy(sample: &str, _: &Path) -> String {
    impatient(sample)
}

/// The configuration with the long timeouts of its proxy cut down to [`SILENCE`].
pub(crate) fn impatient(sample: &str) -> String {
    let silence = format!("{}s", SILENCE.as_secs());
    let lines = sample.lines().map(|line| match line.contains("timeout") {
        true => line.replace("60s", &silence).replace("1h", &silence) + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

pub(crate) fn run_nginx(file: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-c").arg(file);
    command
}

pub(crate) fn run_haproxy(file: &Path) -> Command {
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

fn curl(args: &[&str]) -> Child {
    Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "60"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl starts")
}

fn output(child: Child) -> Vec<u8> {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    stdout
}

/// A server with the listener that the section under `heading` names beside the general one. It says `102 Processing` far more often than
/// the proxies' timeouts.
fn server(heading: &str) -> InProcess {
    let (_, rest) = section(heading).split_once("--listen '").unwrap();
    let (listen, _) = rest.split_once('\'').unwrap();
    let listen = vec![loopback(), listen.replace("XCHG", "0").parse().unwrap()];
    let processing_interval = Duration::from_millis(300);
    InProcess::start(Config { listen, processing_interval, ..config() })
}

/// The site is everybody's, under whatever name the proxy has, also for other sites' pages.
fn check_name(proxy: &Proxy) {
    let fields =
        ["Host: files.example.org", "Origin: https://example.com", "Sec-Fetch-Site: cross-site"];
    let fields = fields.map(|field| ["--header", field]).concat();
    let version = output(curl(&[&fields[..], &[&proxy.url("version")]].concat()));
    assert!(!version.is_empty());
}

/// Exchanges through the proxy: upload first, then download first.
fn check(server: &InProcess, proxy: &Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let sent = payload(7, PAYLOAD_BYTES);
    std::fs::write(&file, &sent).unwrap();
    let file = file.to_str().unwrap();

    let upload = curl(&["--upload-file", file, &proxy.url("first")]);
    server.await_waiting(1);
    assert!(output(curl(&[&proxy.url("first")])) == sent);
    let told = String::from_utf8(output(upload)).unwrap();
    assert!(told.ends_with("[INFO] All receiver(s) was/were received successfully.\n"), "{told}");

    // To a file: a pipe that nobody reads before the upload has been received would keep it from being so.
    let copy = folder.path().join("copy");
    let download = curl(&["--output", copy.to_str().unwrap(), &proxy.url("second")]);
    server.await_waiting(1);
    output(curl(&["--upload-file", file, &proxy.url("second")]));
    output(download);
    assert!(std::fs::read(copy).unwrap() == sent);
}

/// A classic client passes, whose end is its only word.
fn check_classic(proxy: &Proxy) {
    let download = Peer::classic(proxy.address, b'G', "classic");
    Peer::classic(proxy.address, b'P', "classic").send_with_end(b"nine bytes first");
    assert_eq!(download.whole(), b"nine bytes first");
}

/// Has something wait for three times as long as the proxies let anything be silent.
fn long_wait(server: &InProcess) {
    // A peer that waits on another key is the clock.
    let mut offer = crate::common::offer(xchg_core::Side::Upload, "clock");
    offer.wait = xchg_core::wire::Wait::AtMost(SILENCE * 3);
    Peer::offering(server.address(), offer).waits().refused();
    server.await_waiting(1);
}

/// A download survives a long wait through the proxy.
fn check_long_download(server: &InProcess, proxy: &Proxy) {
    let download = curl(&[&proxy.url("longdown")]);
    server.await_waiting(1);
    long_wait(server);
    Peer::classic(server.address(), b'P', "longdown").send_with_end(b"after all");
    assert_eq!(output(download), b"after all");
}

/// An upload survives a long wait through the proxy, with more under way than the buffers hold.
fn check_long_upload(server: &InProcess, proxy: &Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let sent = payload(8, PAYLOAD_BYTES);
    std::fs::write(&file, &sent).unwrap();
    let upload = curl(&["--upload-file", file.to_str().unwrap(), &proxy.url("long-up")]);
    server.await_waiting(1);
    long_wait(server);
    assert!(Peer::classic(server.address(), b'G', "long-up").whole() == sent);
    let told = String::from_utf8(output(upload)).unwrap();
    assert!(told.ends_with("[INFO] All receiver(s) was/were received successfully.\n"), "{told}");
}

#[test]
#[ignore = "needs nginx and curl"]
fn http_passes_nginx() {
    let heading = "nginx, as an HTTP proxy";
    let server = server(heading);
    let proxy = Proxy::start(&server, heading, nginx("http"), run_nginx);
    check_name(&proxy);
    check(&server, &proxy);
    check_long_download(&server, &proxy);
    check_long_upload(&server, &proxy);
}

#[test]
#[ignore = "needs nginx with its stream module and curl"]
fn tcp_passes_nginx() {
    let heading = "nginx, as a TCP proxy";
    let server = server(heading);
    let proxy = Proxy::start(&server, heading, nginx("stream"), run_nginx);
    check_name(&proxy);
    check(&server, &proxy);
    check_long_download(&server, &proxy);
    check_long_upload(&server, &proxy);
    check_classic(&proxy);
}

#[test]
#[ignore = "needs haproxy and curl"]
fn tcp_passes_haproxy() {
    let heading = "HAProxy";
    let server = server(heading);
    let proxy = Proxy::start(&server, heading, haproxy, run_haproxy);
    check_name(&proxy);
    check(&server, &proxy);
    check_long_download(&server, &proxy);
    check_long_upload(&server, &proxy);
    check_classic(&proxy);
}

#[test]
#[ignore = "needs haproxy and curl"]
fn downloads_pass_haproxy_in_http_mode() {
    let heading = "HAProxy";
    let server = server(heading);
    let http = |sample: &str, _: &Path| impatient(&sample.replace("mode tcp", "mode http"));
    let proxy = Proxy::start(&server, heading, http, run_haproxy);
    check_long_download(&server, &proxy);
}
