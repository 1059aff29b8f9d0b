//! The end of a server: who may ask for it, who is let go, and that what runs finishes whole.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::common::{Exit, InProcess, Peer, Process, assert_lost, config, eventually, payload};
use rustix::process::Signal;
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode, Token};
use xchg_core::{Outcome, Side};
use xchg_server::{Config, Ending, Terminate};

const RUNNING: usize = 3;

/// Three exchanges in their midst, and three peers that wait.
struct Scene {
    running: Vec<(Peer, Peer)>,
    native: [Peer; 2],
    classic: Peer,
}

impl Scene {
    fn set(address: SocketAddr) -> Self {
        let running = (0..RUNNING).map(|index| running(address, &format!("run {index}"))).collect();
        let native = Side::BOTH
            .map(|side| Peer::native(address, side, &format!("{} waits", side.as_str())).waits());
        let classic = Peer::classic(address, b'G', "waits");
        eventually("the scene is set", || {
            let status = Peer::status(address);
            (status.exchanging, status.waiting) == (3, 3)
        });
        Self { running, native, classic }
    }

    /// Expects that who waited has been let go, and lets the exchanges finish.
    fn play_out(self, address: SocketAddr) {
        for peer in self.native {
            assert_eq!(peer.refused(), RefusalCode::Draining);
        }
        self.classic.let_go();
        eventually("the doors are closed", || TcpStream::connect(address).is_err());
        let file = payload(1, 1_000_000);
        for (uploader, downloader) in self.running {
            std::thread::scope(|scope| {
                scope.spawn(|| drop(uploader.send_all(&file)));
                assert!(downloader.whole() == file);
            });
        }
    }

    /// Expects that the exchanges were cut.
    fn expect_cut(self) {
        for (mut uploader, mut downloader) in self.running {
            assert_lost(uploader.rest());
            assert_lost(downloader.rest());
        }
    }
}

/// A matched pair that has moved a part.
fn running(address: SocketAddr, key: &str) -> (Peer, Peer) {
    let mut uploader = Peer::native(address, Side::Upload, key).waits();
    let mut downloader = Peer::native(address, Side::Download, key);
    downloader.matched();
    uploader.matched();
    uploader.send(b"part");
    assert_eq!(downloader.read(4), b"part");
    (uploader, downloader)
}

fn terminate(address: SocketAddr, token: Option<&str>) -> Peer {
    let mut greeting = Greeting::new(Command::Terminate);
    greeting.token = token.map(|token| Token::parse(token.as_bytes()).unwrap());
    Peer::saying(address, &greeting.encode())
}

/// How the server ended.
fn ending(server: &InProcess) -> Ending {
    let (sender, ended) = crossbeam_channel::bounded(1);
    let handle = (*server).clone();
    std::thread::spawn(move || sender.send(handle.join()));
    ended.recv_timeout(crate::common::DEADLINE).expect("the server must end")
}

#[test]
fn a_drain_lets_the_waiting_go_and_what_runs_finish() {
    let native: fn(&InProcess) = |server| match terminate(server.address(), None).answer() {
        Answer::Status(report) => {
            assert!(report.draining);
            assert_eq!((report.exchanging, report.waiting), (3, 3));
        }
        answer => panic!("{answer:?} instead of Status"),
    };
    let classic: fn(&InProcess) =
        |server| assert_eq!(Peer::classic(server.address(), b'F', "").whole(), b"");
    for ask in [native, classic, |server| server.drain()] {
        let server = InProcess::default();
        let scene = Scene::set(server.address());
        ask(&server);
        scene.play_out(server.address());
        assert_eq!(ending(&server).cut, 0);
        let counts = server.counts();
        assert_eq!((counts.completed, counts.failed, counts.waiting), (3, 0, 0));
    }
}

#[test]
fn who_was_connected_before_a_drain_and_asks_after_it_is_refused() {
    let server = InProcess::default();
    let mut late = Peer::connect(server.address());
    let _runs = running(server.address(), "keeps it up");
    eventually("it is accepted", || server.stats().connections == 3);
    server.drain();
    server.await_counts("it drains", |counts| counts.draining);
    late.send(&Greeting::new(Command::Offer(crate::common::offer(Side::Upload, "late"))).encode());
    assert_eq!(late.refused(), RefusalCode::Draining);
}

#[test]
fn a_server_without_exchanges_ends_at_once() {
    let server = InProcess::default();
    let silent = Peer::connect(server.address());
    server.drain();
    server.drain();
    assert_eq!(ending(&server).cut, 0);
    assert_eq!(ending(&server).cut, 0, "everybody who asks is told");
    drop(silent);
}

#[test]
fn who_is_amid_a_greeting_when_the_server_ends_is_sent_no_empty_payload() {
    let server = InProcess::default();
    let mut downloader = Peer::saying(server.address(), b"Ghalf");
    eventually("it is accepted", || server.stats().connections == 1);
    server.drain();
    assert_eq!(downloader.rest().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn cutting_resets_what_runs_and_counts_it() {
    let server = InProcess::default();
    let scene = Scene::set(server.address());
    server.cut();
    scene.expect_cut();
    assert_eq!(ending(&server).cut, RUNNING);
    for _ in 0..RUNNING {
        assert_eq!(server.next_outcome(), (Outcome::Cancelled, 4));
    }
}

#[test]
fn a_drain_that_takes_too_long_cuts() {
    let drain_timeout = Some(Duration::from_millis(100));
    let server = InProcess::start(Config { drain_timeout, ..config() });
    let scene = Scene::set(server.address());
    server.drain();
    scene.expect_cut();
    assert_eq!(ending(&server).cut, RUNNING);
}

#[test]
fn a_signal_drains_the_process() {
    for signal in [Signal::TERM, Signal::INT] {
        let (process, address) = Process::start(&[]);
        let scene = Scene::set(address);
        process.signal(signal);
        scene.play_out(address);
        let exit = process.wait();
        assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
        assert!(exit.stderr.contains("drained"), "{}", exit.stderr);
    }
}

#[test]
fn a_peer_terminates_the_process() {
    let (process, address) = Process::start(&["--workers", "1"]);
    assert!(matches!(terminate(address, None).answer(), Answer::Status(_)));
    assert_eq!(process.wait().status.code(), Some(0));
    let (process, address) = Process::start(&["--workers", "2"]);
    assert_eq!(Peer::classic(address, b'F', "").whole(), b"");
    assert_eq!(process.wait().status.code(), Some(0));
}

#[test]
fn a_second_signal_or_the_drain_timeout_cuts_and_says_how_many() {
    let says_so = |exit: Exit| {
        assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
        assert!(exit.stderr.contains("3 exchanges were cut"), "{}", exit.stderr);
    };
    let (process, address) = Process::start(&[]);
    let scene = Scene::set(address);
    process.signal(Signal::TERM);
    eventually("the doors are closed", || TcpStream::connect(address).is_err());
    process.signal(Signal::TERM);
    scene.expect_cut();
    says_so(process.wait());

    let (process, address) = Process::start(&["--drain-timeout", "0.1"]);
    let scene = Scene::set(address);
    process.signal(Signal::TERM);
    scene.expect_cut();
    says_so(process.wait());
}

/// An address of this machine that is not loopback, and does not leave it either.
fn own_address() -> Option<IpAddr> {
    // Connecting a datagram socket chooses the address and sends nothing.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn serving(terminate: Terminate) -> InProcess {
    let token = Some(Token::parse(b"the token").unwrap());
    let listen = vec!["0.0.0.0:0".parse().unwrap()];
    InProcess::start(Config { terminate, token, listen, ..config() })
}

fn is_forbidden(address: SocketAddr, token: Option<&str>) {
    assert_eq!(terminate(address, token).refused(), RefusalCode::Forbidden, "{token:?}");
}

fn is_allowed(server: &InProcess, address: SocketAddr, token: Option<&str>) {
    assert!(!server.counts().draining);
    assert!(matches!(terminate(address, token).answer(), Answer::Status(_)), "{token:?}");
    assert_eq!(ending(server).cut, 0);
}

fn at(server: &InProcess, ip: impl Into<IpAddr>) -> SocketAddr {
    (ip.into(), server.address().port()).into()
}

#[test]
fn the_token_is_what_counts_where_a_token_is_asked_for() {
    let server = serving(Terminate::Token);
    let address = at(&server, Ipv4Addr::LOCALHOST);
    for wrong in [None, Some("the tokem"), Some("the toke"), Some("the token."), Some("t")] {
        is_forbidden(address, wrong);
    }
    Peer::classic(address, b'F', "").let_go();
    is_allowed(&server, address, Some("the token"));
}

#[test]
fn nobody_terminates_where_that_is_forbidden() {
    let server = serving(Terminate::Never);
    let address = at(&server, Ipv4Addr::LOCALHOST);
    for token in [None, Some("the token")] {
        is_forbidden(address, token);
    }
    Peer::classic(address, b'F', "").let_go();
    assert!(!Peer::status(address).draining);
}

#[test]
fn peers_on_this_machine_may_terminate_by_default() {
    let server = serving(Config::default().terminate);
    is_allowed(&server, at(&server, Ipv4Addr::LOCALHOST), None);
}

#[test]
fn peers_elsewhere_need_the_token_by_default() {
    let Some(own) = own_address() else {
        return println!("skipped: this machine has no address but loopback's");
    };
    let server = serving(Config::default().terminate);
    let address = at(&server, own);
    for token in [None, Some("wrong")] {
        is_forbidden(address, token);
    }
    Peer::classic(address, b'F', "").let_go();
    let status = Peer::saying(address, &Greeting::new(Command::Status).encode());
    assert_eq!(status.refused(), RefusalCode::Forbidden);
    let mut greeting = Greeting::new(Command::Status);
    greeting.token = Some(Token::parse(b"the token").unwrap());
    assert!(matches!(Peer::saying(address, &greeting.encode()).answer(), Answer::Status(_)));
    is_allowed(&server, address, Some("the token"));
}

#[test]
fn anybody_terminates_where_that_is_allowed() {
    let Some(own) = own_address() else {
        return println!("skipped: this machine has no address but loopback's");
    };
    let server = serving(Terminate::Any);
    let address = at(&server, own);
    let status = Greeting::new(Command::Status).encode();
    assert!(matches!(Peer::saying(address, &status).answer(), Answer::Status(_)));
    assert_eq!(Peer::classic(address, b'F', "").whole(), b"");
    assert_eq!(ending(&server).cut, 0);
}
