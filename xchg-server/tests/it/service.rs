//! A service manager, played by the test: it hears what the server tells, and passes it sockets.

use std::collections::HashMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;
use xchg_core::Side;
use xchg_server::{Config, Error, OpenSocket, Server};

use crate::common::{Brake, DEADLINE, InProcess, Peer, Process, config, eventually, tcp};

/// A socket such as `NOTIFY_SOCKET` names.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, folder }
    }

    fn name(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    /// What the next datagram assigns.
    fn hear(&self) -> HashMap<String, String> {
        let mut bytes = [0; 4096];
        let len = self.socket.recv(&mut bytes).expect("the server must say something");
        let text = str::from_utf8(&bytes[..len]).unwrap();
        let assigned = |line: &str| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(assigned).collect()
    }

    /// The next value of the variable.
    fn next(&self, name: &str) -> String {
        loop {
            if let Some(value) = self.hear().remove(name) {
                return value;
            }
        }
    }
}

#[test]
fn the_manager_hears_when_the_server_serves_how_it_stands_and_that_it_stops() {
    let manager = Manager::new();
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", manager.name());
    let (process, address) = Process::serve(command);
    let first = manager.hear();
    assert_eq!(first["READY"], "1");
    eventually("the log says that it listens", || process.stderr().contains("listening"));
    assert!(first["STATUS"].starts_with("Serving: 0 waiting"), "{first:?}");
    let mut uploader = Peer::native(address, Side::Upload, "runs").waits();
    let mut downloader = Peer::native(address, Side::Download, "runs");
    downloader.matched();
    uploader.matched();
    // A word may have been under way.
    while !manager.next("STATUS").starts_with("Serving: 0 waiting, 1 exchanging;") {}
    process.signal(Signal::TERM);
    assert_eq!(manager.next("STOPPING"), "1");
    let draining = manager.hear();
    assert!(draining["STATUS"].starts_with("Draining: 0 waiting, 1 exchanging"), "{draining:?}");
    assert!(draining["EXTEND_TIMEOUT_USEC"].parse::<u64>().unwrap() >= 20_000_000);
    drop((uploader, downloader));
    assert_eq!(process.wait().status.code(), Some(0));
}

#[test]
fn a_manager_that_is_not_there_is_a_mistake_and_one_that_leaves_is_none() {
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", "/nowhere/notify");
    let exit = Process::run(command);
    assert_eq!(exit.status.code(), Some(2));
    assert!(exit.stderr.contains("NOTIFY_SOCKET"), "{}", exit.stderr);

    let manager = Manager::new();
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", manager.name());
    let (process, address) = Process::serve(command);
    assert_eq!(manager.next("READY"), "1");
    drop(manager);
    exchange(address);
    process.signal(Signal::TERM);
    let exit = process.wait();
    assert_eq!(exit.status.code(), Some(0));
    assert!(exit.stderr.contains("cannot tell the service manager"), "{}", exit.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_manager_may_be_in_no_file_system() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("xchg-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let manager = Manager { socket, folder: tempfile::tempdir().unwrap() };
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", format!("@{name}"));
    let _process = Process::serve(command);
    assert_eq!(manager.next("READY"), "1");
}

#[test]
#[ignore = "needs strace, and the right to trace"]
fn a_manager_that_watches_hears_nothing_good_of_a_worker_that_does_not_turn() {
    let manager = Manager::new();
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    command.env("NOTIFY_SOCKET", manager.name()).env("WATCHDOG_USEC", "100000");
    let (process, _) = Process::serve(command);
    assert_eq!(manager.hear()["WATCHDOG"], "1", "it is told with the first word");
    assert_eq!(manager.next("WATCHDOG"), "1");
    let brake = Brake::on(&process, "xchg-worker-1");
    let ill = loop {
        let said = manager.hear();
        if !said["STATUS"].starts_with("Serving") {
            break said;
        }
        assert_eq!(said["WATCHDOG"], "1");
    };
    assert_eq!(ill["STATUS"], "worker 1 has not turned for 5 seconds");
    assert!(!ill.contains_key("WATCHDOG"));
    drop(brake);
    assert_eq!(manager.next("WATCHDOG"), "1");
}

fn exchange(address: SocketAddr) {
    let downloader = Peer::classic(address, b'G', "any");
    drop(Peer::classic(address, b'P', "any").send_all(b"payload"));
    assert_eq!(downloader.whole(), b"payload");
}

/// The binary with `socket` as the first descriptor that is passed.
fn passed(socket: impl Into<OwnedFd>) -> Command {
    let mut command = Process::shell(
        "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=xchg",
    );
    command.stdin(socket.into());
    command
}

#[test]
fn a_socket_that_is_passed_is_served_and_outlives_the_server() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Who comes before there is a server waits for it.
    let early = Peer::classic(address, b'G', "early");
    let (process, told) = Process::serve(passed(socket.try_clone().unwrap()));
    assert_eq!(told, address);
    drop(Peer::classic(address, b'P', "early").send_all(b"bird"));
    assert_eq!(early.whole(), b"bird");

    let mut uploader = Peer::native(address, Side::Upload, "runs").waits();
    let mut downloader = Peer::native(address, Side::Download, "runs");
    downloader.matched();
    uploader.matched();
    process.signal(Signal::TERM);
    eventually("it drains", || process.stderr().contains("draining"));
    eventually("it listens no more", || listeners(&process) == 0);
    // It is not refused: the next server will hear it.
    let between = Peer::classic(address, b'G', "between");
    drop(uploader.send_all(b"to its end"));
    assert_eq!(downloader.whole(), b"to its end");
    assert_eq!(process.wait().status.code(), Some(0));
    let _next = Process::serve(passed(socket));
    drop(Peer::classic(address, b'P', "between").send_all(b"two servers"));
    assert_eq!(between.whole(), b"two servers");
}

/// How many of the process's descriptors are sockets that listen at TCP.
fn listeners(process: &Process) -> usize {
    let table = std::fs::read_to_string(process.proc("net/tcp")).unwrap();
    let listening: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.get(3) == Some(&"0A"))
        .map(|columns| format!("socket:[{}]", columns[9]))
        .collect();
    let descriptors = std::fs::read_dir(process.proc("fd")).unwrap();
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| listening.iter().any(|socket| target.to_str() == Some(socket)))
        .count()
}

#[test]
fn a_passed_socket_has_the_options_of_its_address() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut command = passed(socket);
    command.args(["--listen", &format!("127.0.0.1:0;{address},dialects=native")]);
    let mut process = Process::spawn(command);
    let own: SocketAddr = process.line().parse().unwrap();
    assert_eq!(process.line(), address.to_string());
    exchange(own);
    Peer::native(address, Side::Download, "native").waits();
    let told = Peer::classic(address, b'G', "classic").rest().unwrap_or_default();
    let told = String::from_utf8(told).unwrap();
    assert!(
        told.is_empty() || told.contains("speaks: native."),
        "classic peers are served elsewhere only: {told}"
    );
}

#[test]
fn a_passed_unix_socket_keeps_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let mut process = Process::spawn(passed(socket.try_clone().unwrap()));
    assert_eq!(process.line(), format!("unix:{}", path.display()));
    process.signal(Signal::TERM);
    assert_eq!(process.wait().status.code(), Some(0));
    UnixStream::connect(&path).expect("the manager still listens");
}

#[test]
fn what_is_passed_wrongly_is_named() {
    let fails = |mut command: Command, args: &[&str], parts: &[&str]| {
        command.args(args);
        let exit = Process::run(command);
        assert_eq!(exit.status.code(), Some(2), "{}", exit.stderr);
        for part in parts {
            assert!(exit.stderr.contains(part), "{part:?} is not in {}", exit.stderr);
        }
    };
    let file = File::open("/dev/null").unwrap();
    fails(passed(file), &[], &["LISTEN_FDS", "descriptor 3", "ListenStream="]);
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    fails(passed(datagrams), &[], &["LISTEN_FDS", "descriptor 3", "ListenStream="]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    fails(passed(socket), &["--listen", "127.0.0.1:0"], &["listen", &address, "no entry"]);
}

#[test]
fn sockets_of_an_embedder_serve_every_worker() {
    for (sockets, workers) in [(1, 1), (1, 3), (3, 2)] {
        let first =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        first.set_reuse_port(true).unwrap();
        first.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let bound = first.local_addr().unwrap();
        let mut open = vec![OpenSocket::new(first).unwrap()];
        while open.len() < sockets {
            let next =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            next.set_reuse_port(true).unwrap();
            next.bind(&bound).unwrap();
            open.push(OpenSocket::new(next).unwrap());
        }
        let listen = vec![open[0].address().clone().into()];
        let server = Server::bind_with(Config { listen, workers, ..config() }, open).unwrap();
        let handle = server.start().unwrap();
        let address = tcp(&handle.addresses()[0]);
        (0..8).for_each(|_| exchange(address));
        handle.drain();
        handle.join();
        eventually("nobody listens", || TcpStream::connect(address).is_err());
    }
}

#[test]
fn an_embedder_that_passes_something_else_is_told() {
    let wrong = |result: Result<_, Error>, part: &str| match result {
        Err(Error::Config { setting: "listen", why }) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    };
    wrong(OpenSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()), "takes no connections");
    wrong(OpenSocket::new(UnixStream::pair().unwrap().0), "neither");
    wrong(OpenSocket::new(File::open("/dev/null").unwrap()), "no address");
}

#[test]
fn whoever_waits_for_a_drain_hears_of_it() {
    let server = InProcess::default();
    assert!(!server.wait_for_drain(std::time::Duration::ZERO));
    let handle = (*server).clone();
    let waits = std::thread::spawn(move || handle.wait_for_drain(DEADLINE));
    server.drain();
    assert!(waits.join().unwrap());
    server.join();
    assert!(server.wait_for_drain(std::time::Duration::ZERO), "and after the end");
}
