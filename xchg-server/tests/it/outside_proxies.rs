//! Real proxies in front: the configurations of docs/proxies.md; to wait for their timeouts, with
//! short ones.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{InProcess, Peer, config, eventually, loopback, payload, tcp};
use tempfile::TempDir;
use xchg_core::wire::{Command as Ask, Greeting, RefusalCode};
use xchg_core::{Limits, Side};
use xchg_server::Config;

const DOCS: &str = include_str!("../../../docs/proxies.md");
/// More than all buffers on the way hold together.
const PAYLOAD_BYTES: usize = 64_000_000;

/// How long impatient proxies let nothing happen.
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
    /// Starts `command` with the configuration that `configure` makes of the section under
    /// `heading`, in front of the listener for it.
    pub(crate) fn start(
        server: &InProcess,
        heading: &str,
        configure: impl Fn(&str, &Path) -> String,
        command: impl Fn(&Path) -> Command,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let sample = sample(heading)
            .replace("PROXY", &address.port().to_string())
            .replace("XCHG", &tcp(&server.addresses()[1]).port().to_string());
        let file = folder.path().join("proxy.conf");
        std::fs::write(&file, configure(&sample, folder.path())).unwrap();
        let child = command(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let proxy = Self { child, address, _folder: folder };
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
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn nginx(kind: &str) -> impl Fn(&str, &Path) -> String {
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = if kind == "stream" && module.exists() {
        format!("load_module {};\n", module.display())
    } else {
        String::new()
    };
    let kind = kind.to_owned();
    move |sample, folder| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
            .concat();
        let temporary =
            if kind == "http" { temporary + "access_log off;\n" } else { String::new() };
        format!(
            "{load}daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/log;\nevents {{}}\n{kind} {{\n{temporary}{sample}}}\n",
            folder.display()
        )
    }
}

fn as_it_is(sample: &str, _: &Path) -> String {
    sample.to_owned()
}

/// Without what it would do for the machine that it runs on.
fn caddy(sample: &str, _: &Path) -> String {
    format!("{{\nadmin off\nauto_https off\n}}\n{sample}")
}

/// The configuration with the long timeouts of its proxy cut down to [`SILENCE`].
pub(crate) fn impatient(sample: &str) -> String {
    let silence = format!("{}s", SILENCE.as_secs());
    let lines = sample.lines().map(|line| {
        if line.contains("timeout") {
            line.replace("1h", &silence) + "\n"
        } else {
            line.to_owned() + "\n"
        }
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

fn run_caddy(file: &Path) -> Command {
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    // It keeps things at home.
    let home = file.parent().unwrap();
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(name, home);
    }
    command
}

fn curl(args: &[&str]) -> Child {
    Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "120"])
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

/// A server with the listener that the section under `heading` names beside the general one. It
/// says `102 Processing` far more often than the proxies' timeouts.
pub(crate) fn server(heading: &str) -> InProcess {
    let (_, rest) = section(heading).split_once("--listen '").unwrap();
    let (listen, _) = rest.split_once('\'').unwrap();
    server_at(&listen.replace("XCHG", "0"), config())
}

/// The same with another listener for the proxy, and other settings.
fn server_at(listen: &str, config: Config) -> InProcess {
    let listen = vec![loopback(), listen.parse().unwrap()];
    let processing_interval = Duration::from_millis(300);
    InProcess::start(Config { listen, processing_interval, ..config })
}

/// The site is everybody's, under whatever name the proxy has, also for other sites' pages.
fn check_name(proxy: &Proxy) {
    let fields =
        ["Host: files.example.org", "Origin: https://example.com", "Sec-Fetch-Site: cross-site"];
    let fields = fields.map(|field| ["--header", field]).concat();
    let version = output(curl(&[&fields[..], &[&proxy.url("version")]].concat()));
    assert!(!version.is_empty());
}

/// A file to send, and a place for what arrives: a pipe that nobody reads before the upload has
/// been received would keep it from being so.
struct Files {
    folder: TempDir,
    sent: Vec<u8>,
}

impl Files {
    fn new(len: usize) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap(), sent: payload(7, len) };
        std::fs::write(files.path("file"), &files.sent).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn upload(&self, url: &str, args: &[&str]) -> Child {
        curl(&[args, &["--upload-file", &self.path("file"), url]].concat())
    }

    fn download(&self, url: &str) -> Child {
        curl(&["--output", &self.path("copy"), url])
    }

    fn expect_arrived(&self) {
        assert!(std::fs::read(self.path("copy")).unwrap() == self.sent);
        std::fs::remove_file(self.path("copy")).unwrap();
    }
}

/// What an uploader was told, who must know that all was received.
fn is_received(upload: Child) -> String {
    let told = String::from_utf8(output(upload)).unwrap();
    assert!(told.ends_with("[INFO] All receiver(s) was/were received successfully.\n"), "{told}");
    told
}

/// The ways in which curl uploads.
const WAYS: [&[&str]; 5] = [
    &["-H", "Expect:"],
    &["-H", "Expect: 100-continue"],
    &["-H", "Transfer-Encoding: chunked"],
    &["-H", "Transfer-Encoding: chunked", "-H", "Expect:"],
    &["--http1.0"],
];

/// Exchanges through the proxy, with either coming first, and uploads in these ways.
fn check(server: &InProcess, proxy: &Proxy, ways: &[&[&str]]) {
    let files = Files::new(PAYLOAD_BYTES);
    let url = proxy.url("key");
    for args in ways {
        let upload = files.upload(&url, args);
        server.await_waiting(1);
        output(files.download(&url));
        is_received(upload);
        files.expect_arrived();

        let download = files.download(&url);
        server.await_waiting(1);
        is_received(files.upload(&url, args));
        output(download);
        files.expect_arrived();
    }
}

/// A classic client passes, whose end is its only word.
fn check_classic(proxy: &Proxy) {
    let download = Peer::classic(proxy.address, b'G', "classic");
    Peer::classic(proxy.address, b'P', "classic").send_with_end(b"nine bytes first");
    assert_eq!(download.whole(), b"nine bytes first");
}

/// Peers are who they are behind a proxy that tells: each has a place of its own, and none is on
/// this machine.
fn check_origins(listen: &str, start: impl Fn(&InProcess) -> Proxy) {
    let limits = Limits { waiting_per_origin: Some(1), ..Limits::default() };
    let server = server_at(listen, Config { limits, ..config() });
    let proxy = start(&server);
    let waits = |source: [u8; 4], key: &str| {
        let mut peer = Peer::connect_from((source, 0).into(), proxy.address);
        peer.send(format!("GET /{key} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        peer
    };
    let _first = waits([127, 0, 0, 2], "first");
    server.await_waiting(1);
    let mut over = waits([127, 0, 0, 2], "over");
    assert!(over.read(12).ends_with(b" 429"));
    let _second = waits([127, 0, 0, 3], "second");
    server.await_waiting(2);
    if listen.contains(",proxy") {
        let terminate = Greeting::new(Ask::Terminate).encode();
        assert_eq!(Peer::saying(proxy.address, &terminate).refused(), RefusalCode::Forbidden);
    }
}

/// Has something wait for three times as long as impatient proxies let anything be silent.
fn long_wait(server: &InProcess) {
    // A peer that waits on another key is the clock.
    let mut offer = crate::common::offer(Side::Upload, "clock");
    offer.wait = xchg_core::wire::Wait::AtMost(SILENCE * 3);
    Peer::offering(server.address(), offer).waits().refused();
    server.await_waiting(1);
}

/// A download and an upload of so many bytes survive a long wait through the proxy. Gives what the
/// uploader was told.
fn check_long_waits(server: &InProcess, proxy: &Proxy, len: usize) -> String {
    let files = Files::new(len);
    let download = files.download(&proxy.url("longdown"));
    server.await_waiting(1);
    long_wait(server);
    drop(Peer::classic(server.address(), b'P', "longdown").send_all(&files.sent));
    output(download);
    files.expect_arrived();

    let upload = files.upload(&proxy.url("long-up"), &[]);
    server.await_waiting(1);
    long_wait(server);
    assert!(Peer::classic(server.address(), b'G', "long-up").whole() == files.sent);
    is_received(upload)
}

/// The same through an impatient TCP proxy, which lets everything pass that is said meanwhile.
fn check_progress(server: &InProcess, proxy: &Proxy) {
    let told = check_long_waits(server, proxy, 10);
    assert!(told.matches("[INFO] Waiting").count() > 10, "{told}");
}

/// Whoever waits longer than the proxy allows fails, and leaves its place.
fn check_cut_waits(server: &InProcess, proxy: &Proxy) {
    for len in [10, PAYLOAD_BYTES] {
        let files = Files::new(len);
        fails(files.download(&proxy.url("key")), "a download that waits");
        server.await_waiting(0);
        fails(files.upload(&proxy.url("key"), &[]), "an upload that waits");
        server.await_waiting(0);
    }
}

/// The fields by which curl says how long an upload is, or does not.
const FRAMINGS: [&str; 2] = ["Expect:", "Transfer-Encoding: chunked"];

/// Whose counterpart is lost midway fails, whichever side it is.
fn check_lost(server: &InProcess, proxy: &Proxy, framings: &[&str]) {
    let files = Files::new(PAYLOAD_BYTES);
    let url = proxy.url("key");
    // Those of other exchanges, before.
    while server.events().try_recv().is_ok() {}
    for framing in framings {
        for lost in Side::BOTH {
            let mut upload = files.upload(&url, &["--limit-rate", "4M", "-H", framing]);
            server.await_waiting(1);
            let mut download = files.download(&url);
            let handle = server.next_exchange();
            eventually("a part has moved", || handle.moved_from(Side::Upload) > 1_000_000);
            let (killed, left) = match lost {
                Side::Upload => (&mut upload, download),
                Side::Download => (&mut download, upload),
            };
            kill(killed);
            fails(left, &format!("{framing}, {lost:?} lost"));
            // Which of the two, nobody can tell who sees only the proxy's connections.
            eventually("it has ended", || handle.ended().is_some());
            assert!(!handle.wait().outcome.is_completed(), "{handle:?}");
            server.await_counts("its key is free", |counts| counts.exchanging == 0);
        }
    }
}

/// What is refused is told with its status, and takes nothing.
fn check_refused(server: &InProcess, proxy: &Proxy) {
    let files = Files::new(PAYLOAD_BYTES);
    let url = proxy.url("key");
    let upload = files.upload(&url, &[]);
    server.await_waiting(1);
    // 22 is a status from 400 on.
    assert_eq!(fails(files.upload(&url, &["-H", "Expect:"]), "a second upload"), 22);
    assert_eq!(fails(curl(&["--range", "5-", &url]), "a part"), 22);
    assert_eq!(fails(curl(&["--user-agent", "WhatsApp/2", &url]), "a preview"), 22);
    server.await_waiting(1);
    output(files.download(&url));
    is_received(upload);
    files.expect_arrived();
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The exit code of a client that must fail.
fn fails(child: Child, who: &str) -> i32 {
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    let code = status.code().expect("it ends by itself");
    assert_ne!(code, 0, "{who}: {}", String::from_utf8_lossy(&stdout));
    code
}

/// All that holds behind an HTTP proxy, which `configure` and `command` run; `framings` are those
/// of uploads that may break off.
fn check_http(
    heading: &str,
    framings: &[&str],
    configure: impl Fn(&str, &Path) -> String,
    command: impl Fn(&Path) -> Command,
) {
    let server = server(heading);
    let proxy = Proxy::start(&server, heading, &configure, &command);
    check_name(&proxy);
    check(&server, &proxy, &WAYS);
    check_lost(&server, &proxy, framings);
    check_refused(&server, &proxy);
    check_long_waits(&server, &proxy, PAYLOAD_BYTES);
    let start = |server: &InProcess| Proxy::start(server, heading, &configure, &command);
    check_origins("127.0.0.1:0,dialects=http,public", start);
}

#[test]
#[ignore = "needs nginx and curl"]
fn http_passes_nginx() {
    let heading = "nginx, as an HTTP proxy";
    check_http(heading, &FRAMINGS, nginx("http"), run_nginx);
    let server = server(heading);
    let impatient = |sample: &str, folder: &Path| nginx("http")(&impatient(sample), folder);
    check_cut_waits(&server, &Proxy::start(&server, heading, impatient, run_nginx));
    // As many configure it: it then says no more of itself than that it closes.
    let silent = |sample: &str, folder: &Path| {
        let lines = sample.lines().filter(|line| !line.contains("X-Forwarded"));
        nginx("http")(&lines.collect::<Vec<_>>().join("\n"), folder)
    };
    check(&server, &Proxy::start(&server, heading, silent, run_nginx), &WAYS[..2]);
}

#[test]
#[ignore = "needs nginx and curl"]
fn http_passes_nginx_over_connections_that_are_kept() {
    check_http("nginx, with connections that are kept", &FRAMINGS, nginx("http"), run_nginx);
}

#[test]
#[ignore = "needs nginx with its stream module and curl"]
fn tcp_passes_nginx() {
    let heading = "nginx, as a TCP proxy";
    let server = server(heading);
    let proxy = Proxy::start(&server, heading, nginx("stream"), run_nginx);
    check_name(&proxy);
    check(&server, &proxy, &WAYS);
    check_classic(&proxy);
    let start = |server: &InProcess| Proxy::start(server, heading, nginx("stream"), run_nginx);
    check_origins("127.0.0.1:0,proxy", start);
    let impatient = |sample: &str, folder: &Path| nginx("stream")(&impatient(sample), folder);
    check_progress(&server, &Proxy::start(&server, heading, impatient, run_nginx));
    let silent = |sample: &str, folder: &Path| {
        nginx("stream")(&sample.replace("proxy_protocol on;", ""), folder)
    };
    let server = server_at("127.0.0.1:0,public", config());
    check(&server, &Proxy::start(&server, heading, silent, run_nginx), &WAYS[..1]);
}

#[test]
#[ignore = "needs haproxy and curl"]
fn http_passes_haproxy() {
    let heading = "HAProxy, as an HTTP proxy";
    check_http(heading, &FRAMINGS, as_it_is, run_haproxy);
    let server = server(heading);
    let impatient = |sample: &str, _: &Path| impatient(sample);
    check_cut_waits(&server, &Proxy::start(&server, heading, impatient, run_haproxy));
}

#[test]
#[ignore = "needs haproxy and curl"]
fn tcp_passes_haproxy() {
    let heading = "HAProxy, as a TCP proxy";
    let server = server(heading);
    let proxy = Proxy::start(&server, heading, as_it_is, run_haproxy);
    check_name(&proxy);
    check(&server, &proxy, &WAYS);
    check_classic(&proxy);
    let impatient = |sample: &str, _: &Path| impatient(sample);
    check_progress(&server, &Proxy::start(&server, heading, impatient, run_haproxy));
    for (option, listen) in [
        ("send-proxy-v2", "127.0.0.1:0,proxy"),
        ("send-proxy", "127.0.0.1:0,proxy"),
        (
            "send-proxy-v2 send-proxy-v2-ssl proxy-v2-options unique-id,crc32c check inter 50",
            "127.0.0.1:0,proxy",
        ),
        ("", "127.0.0.1:0,public"),
    ] {
        let configure = |sample: &str, _: &Path| sample.replace("send-proxy-v2", option);
        let start = |server: &InProcess| Proxy::start(server, heading, configure, run_haproxy);
        let server = server_at(listen, config());
        check(&server, &start(&server), &WAYS[..1]);
        if listen.ends_with("proxy") {
            check_origins(listen, start);
        }
        assert_eq!(server.stats().proxy_header_failures, 0, "{option}");
    }
}

#[test]
#[ignore = "needs caddy and curl"]
fn http_passes_caddy() {
    // Caddy 2.6 ends a download as if it was whole whose length it did not know.
    check_http("Caddy", &FRAMINGS[..1], caddy, run_caddy);
}
