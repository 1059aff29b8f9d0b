//! Real programs that speak TLS: curl, openssl and a browser; and much of it, in bytes and in
//! peers.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::browser::Browser;
use crate::common::{
    Authority, InProcess, Peer, Process, TlsStream, classic_greeting, config, eventually, payload,
    tls,
};
use xchg_core::Outcome;

fn curl(authority: &Authority, args: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", "--max-time", "60", "--cacert"]).arg(authority.path("root.pem"));
    command.args(args).stdin(Stdio::null()).output().expect("curl starts")
}

fn succeed(output: Output, who: &str) -> Vec<u8> {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{who}: {status}, {}", String::from_utf8_lossy(&stderr));
    stdout
}

#[test]
#[ignore = "needs curl"]
fn curl_exchanges_with_itself_and_with_a_plain_peer() {
    let authority = Authority::new();
    let server = InProcess::start(authority.certify(config()));
    let port = server.address().port();
    let (secured, bare) =
        (format!("https://localhost:{port}/k"), format!("http://localhost:{port}/k"));
    let sent = payload(3, 20_000_000);
    std::fs::write(authority.path("sent"), &sent).unwrap();
    let file = authority.path("sent").display().to_string();
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let limit = ["--tls-max", &version[6..]];
        for (up, down) in [(&secured, &secured), (&secured, &bare), (&bare, &secured)] {
            thread::scope(|scope| {
                let (authority, file) = (&authority, &file);
                scope.spawn(move || {
                    let args = [&[version], &limit[..], &["-T", file, up]].concat();
                    let said = succeed(curl(authority, &args), "upload");
                    let said = String::from_utf8(said).unwrap();
                    assert!(said.ends_with("received successfully.\n"), "{said}");
                });
                let args = [&[version], &limit[..], &[down]].concat();
                let heard = succeed(curl(authority, &args), "download");
                assert!(heard == sent, "{version}, {up} to {down}: {} bytes", heard.len());
            });
            assert_eq!(server.next_outcome(), (Outcome::Completed, sent.len() as u64));
        }
    }
}

#[test]
#[ignore = "needs openssl"]
fn openssl_is_heard_to_its_end_in_both_versions() {
    let authority = Authority::new();
    let server = InProcess::start(authority.certify(config()));
    let address = server.address().to_string();
    let root = authority.path("root.pem").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let peer = |hello: &[u8], at_end: &str| {
            let mut child = Command::new("openssl")
                .args(["s_client", version, "-quiet", at_end, "-verify_return_error"])
                .args(["-connect", &address])
                .args(["-CAfile", &root, "-servername", "localhost"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("openssl starts");
            child.stdin.as_mut().unwrap().write_all(hello).unwrap();
            child
        };
        // The one sends all and says so; the other's input stays open.
        let download = peer(&classic_greeting(b'G', "openssl"), "-ign_eof");
        server.await_waiting(1);
        let mut upload = peer(&classic_greeting(b'P', "openssl"), "-no_ign_eof");
        upload.stdin.take().unwrap().write_all(b"by openssl").unwrap();
        let heard = download.wait_with_output().unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&heard), "by openssl", "{version}");
        upload.kill().ok();
        upload.wait().unwrap();
        assert_eq!(server.next_outcome().1, 10);
    }
}

#[test]
#[ignore = "needs chromium and chromedriver"]
fn the_page_works_over_https() {
    let authority = Authority::new();
    let server = InProcess::start(authority.certify(config()));
    let page = format!("https://localhost:{}/", server.address().port());
    let downloads = authority.path("downloads");
    std::fs::create_dir(&downloads).unwrap();
    let browser = Browser::start_trusting_all(&authority.path("profile"), &downloads);
    browser.open(&page);
    let sent = payload(4, 30_000_000);
    let file = authority.path("page.bin");
    std::fs::write(&file, &sent).unwrap();
    browser.type_into("#file", file.to_str().unwrap());
    browser.submit("send", "page");
    server.await_waiting(1);
    let url = format!("{page}page");
    let heard = succeed(curl(&authority, &[&url]), "curl");
    assert!(heard == sent, "{} bytes", heard.len());
    assert_eq!(server.next_outcome(), (Outcome::Completed, sent.len() as u64));
    browser.await_status("send", "Received");
}

/// Sends `len` bytes of a stream that is made as it goes.
fn send(stream: &mut impl Write, len: u64) {
    let mut block = payload(1, 1_048_573);
    let mut left = len;
    for number in 0_u64.. {
        block[..8].copy_from_slice(&number.to_le_bytes());
        let part = block.len().min(usize::try_from(left).unwrap());
        if part == 0 {
            return;
        }
        stream.write_all(&block[..part]).unwrap();
        left -= part as u64;
    }
}

fn receive(stream: &mut impl Read, len: u64) {
    let mut expected = payload(1, 1_048_573);
    let mut buffer = vec![0; expected.len()];
    let mut left = len;
    for number in 0_u64.. {
        expected[..8].copy_from_slice(&number.to_le_bytes());
        let part = expected.len().min(usize::try_from(left).unwrap());
        if part == 0 {
            break;
        }
        stream.read_exact(&mut buffer[..part]).unwrap();
        assert!(buffer[..part] == expected[..part], "it differs {left} bytes before its end");
        left -= part as u64;
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "nothing follows");
}

fn process(authority: &Authority, args: &[&str]) -> (Process, std::net::SocketAddr) {
    let path = |name: &str| authority.path(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    Process::start(&[&["--tls-cert", &certificate, "--tls-key", &key], args].concat())
}

fn finish(mut stream: TlsStream) {
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).ok();
}

#[test]
#[ignore = "needs 4 GiB to be sent and checked, each way"]
fn four_gib_are_whole_in_each_direction() {
    const LEN: u64 = (4 << 30) + 12_345;
    let authority = Authority::new();
    let client = authority.client();
    let (server, address) = process(&authority, &["--workers", "1"]);
    let hello = |side| classic_greeting(side, "big");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut upload = tls(address, &client);
            upload.write_all(&hello(b'P')).unwrap();
            send(&mut upload, LEN);
            finish(upload);
        });
        receive(&mut Peer::saying(address, &hello(b'G')).stream(), LEN);
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut upload = Peer::saying(address, &hello(b'P'));
            send(&mut upload.stream(), LEN);
            upload.half_close();
            upload.rest().ok();
        });
        let mut download = tls(address, &client);
        download.write_all(&hello(b'G')).unwrap();
        receive(&mut download, LEN);
    });
    assert!(server.kib("status", "VmHWM") < 32 << 10, "{} KiB", server.kib("status", "VmHWM"));
}

#[test]
#[ignore = "needs ten thousand descriptors"]
fn who_waits_in_tls_takes_little_memory() {
    const PEERS: u64 = 8_000;
    /// A certificate's session keys, and what a waiting peer takes without TLS.
    const MOST_BYTES: u64 = 9 << 10;
    let authority = Authority::new();
    let client = authority.client();
    let (server, address) = process(&authority, &["--workers", "1"]);
    let waits = |key: u64| {
        let mut stream = tls(address, &client);
        stream.write_all(&classic_greeting(b'G', &format!("{key:x}"))).unwrap();
        // What the server's handshake ends with is read, so that it is all sent.
        stream.flush().unwrap();
        stream
    };
    let mut held: Vec<_> = (0..500).map(waits).collect();
    let resident_with = |waiting: u64| {
        eventually("all wait", || Peer::status(address).waiting == waiting);
        server.kib("status", "VmRSS") * 1024
    };
    let before = resident_with(500);
    held.extend((500..500 + PEERS).map(waits));
    let each = (resident_with(500 + PEERS) - before) / PEERS;
    println!("{each} bytes a waiting peer in TLS");
    assert!(each <= MOST_BYTES, "{each} bytes");
}
