//! Real magic-wormhole clients, with this server as their transit relay.
//!
//! `$XCHG_WORMHOLE_BIN` names the folder of `wormhole` and of `twist` with the mailbox server, such
//! as a virtual environment's `bin`.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{Authority, InProcess, config, eventually, payload};

const FILE_BYTES: usize = 50_000_000;

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("XCHG_WORMHOLE_BIN").expect("$XCHG_WORMHOLE_BIN is set");
    Path::new(&folder).join(name)
}

/// Starts a mailbox server on a port that the system chooses, and gives its URL.
fn start_mailbox(folder: &Path) -> (Running, String) {
    let mut child = Command::new(program("twist"))
        .args(["--log-format=text", "wormhole-mailbox", "--port", "tcp:0:interface=127.0.0.1"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("twist starts");
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let mut line = String::new();
    while !line.contains("starting on ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the mailbox server says where it listens");
    }
    let port = line.trim().rsplit(' ').next().unwrap().to_owned();
    // What it goes on to say must not fill the pipe.
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    (running, format!("ws://127.0.0.1:{port}/v1"))
}

fn wormhole(
    relay: SocketAddr,
    mailbox: &str,
    command: &str,
    args: &[&str],
    folder: &Path,
) -> Running {
    let child = Command::new(program("wormhole"))
        .args(["--relay-url", mailbox])
        .args(["--transit-helper", &format!("tcp:{relay}")])
        // No direct connection: the relay carries it.
        .args([command, "--no-listen", "--hide-progress"])
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("wormhole starts");
    Running(child)
}

fn finish(mut running: Running, who: &str) {
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = running.0.wait().unwrap();
    assert!(status.success(), "{who}: {said}");
}

/// Sends a file from one wormhole to another by way of `relay`.
fn send_through(server: &InProcess, relay: SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let inbox = tempfile::tempdir().unwrap();
    let sent = payload(1, FILE_BYTES);
    std::fs::write(folder.path().join("file"), &sent).unwrap();
    let (_mailbox, url) = start_mailbox(folder.path());

    let code = "7-relayed-wormhole";
    let sender = wormhole(relay, &url, "send", &["--code", code, "file"], folder.path());
    let receiver = wormhole(relay, &url, "receive", &["--accept-file", code], inbox.path());
    finish(receiver, "receiver");
    finish(sender, "sender");

    assert!(std::fs::read(inbox.path().join("file")).unwrap() == sent, "the file arrives whole");
    server.await_counts("the exchange has ended", |counts| counts.completed == 1);
    assert!(server.counts().bytes >= FILE_BYTES as u64, "the relay carried it");
}

#[test]
#[ignore = "needs magic-wormhole and its mailbox server in $XCHG_WORMHOLE_BIN"]
fn wormholes_go_through_the_relay() {
    let server = InProcess::start(config());
    send_through(&server, server.address());
}

#[test]
#[ignore = "needs stunnel, and magic-wormhole and its mailbox server in $XCHG_WORMHOLE_BIN"]
fn wormholes_go_through_the_relay_in_tls() {
    let authority = Authority::new();
    let server = InProcess::start(authority.certify(config()));
    let (_tunnel, relay) = start_tunnel(&authority, server.address());
    send_through(&server, relay);
    assert!(server.stats().tls_handshakes >= 2);
}

/// Starts a tunnel that speaks TLS to `server`, and gives the address at which it takes what goes
/// through.
fn start_tunnel(authority: &Authority, server: SocketAddr) -> (Running, SocketAddr) {
    // It cannot have the system choose a port; should another take this one meanwhile, the test
    // fails.
    let here = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!(
        "foreground = yes\npid =\n[relay]\nclient = yes\naccept = {here}\nconnect = {server}\n\
         CAfile = {}\nverifyChain = yes\ncheckHost = localhost\n",
        authority.path("root.pem").display()
    );
    std::fs::write(authority.path("stunnel.conf"), settings).unwrap();
    let child = Command::new("stunnel")
        .arg(authority.path("stunnel.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("stunnel starts");
    let tunnel = Running(child);
    eventually("the tunnel is open", || TcpStream::connect(here).is_ok());
    (tunnel, here)
}
