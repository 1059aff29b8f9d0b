//! The server as a part of other programs.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use crate::common::{DEADLINE, InProcess, Peer, config, eventually, tcp};
use xchg_core::{Event, Outcome};
use xchg_server::{Config, Ending, Error, Server, ServerHandle};

fn exchange(address: SocketAddr, key: &str) {
    let downloader = Peer::classic(address, b'G', key);
    drop(Peer::classic(address, b'P', key).send_all(key.as_bytes()));
    assert_eq!(downloader.whole(), key.as_bytes());
}

/// How the server ended, from another thread.
fn ending(handle: ServerHandle) -> Ending {
    let (sender, ended) = crossbeam_channel::bounded(1);
    thread::spawn(move || sender.send(handle.join()));
    ended.recv_timeout(DEADLINE).expect("the server must end")
}

#[test]
fn two_servers_in_a_process_have_nothing_in_common() {
    let (one, other) = (InProcess::default(), InProcess::default());
    let stranger = Peer::classic(one.address(), b'G', "key");
    one.await_waiting(1);
    exchange(other.address(), "key");
    assert_eq!(other.next_outcome(), (Outcome::Completed, 3));
    assert_eq!((one.counts().waiting, one.counts().completed), (1, 0));
    one.drain();
    stranger.let_go();
    assert_eq!(ending((*one).clone()).cut, 0);
    exchange(other.address(), "key");
}

#[test]
fn peers_may_connect_as_soon_as_the_server_is_bound() {
    let server = Server::bind(config()).unwrap();
    let address = tcp(&server.addresses()[0]);
    let early = Peer::classic(address, b'G', "early");
    let handle = server.start().unwrap();
    drop(Peer::classic(address, b'P', "early").send_all(b"bird"));
    assert_eq!(early.whole(), b"bird");
    handle.cut();
}

#[test]
fn a_bound_server_that_is_dropped_frees_its_port() {
    let server = Server::bind(config()).unwrap();
    let address = tcp(&server.addresses()[0]);
    drop(server);
    eventually("nobody listens", || TcpStream::connect(address).is_err());
}

#[test]
fn dropping_handles_stops_nothing() {
    let (address, last) = {
        let handle = Server::bind(config()).unwrap().start().unwrap();
        let clones = vec![handle.clone(); 10];
        let address = tcp(&clones[3].addresses()[0]);
        (address, clones[7].clone())
    };
    exchange(address, "still up");
    last.drain();
    assert_eq!(ending(last).cut, 0);
    eventually("nobody listens", || TcpStream::connect(address).is_err());
}

/// A program that serves one file and is done.
#[test]
fn a_subscriber_may_drain_the_server_from_its_thread() {
    let handle = Server::bind(config()).unwrap().start().unwrap();
    let address = tcp(&handle.addresses()[0]);
    let events = handle.subscribe(16);
    let drains = {
        let handle = handle.clone();
        thread::spawn(move || {
            for event in events {
                if let Event::Ended(exchange, ended) = event {
                    handle.drain();
                    return (exchange.key().as_bytes().to_vec(), ended.bytes);
                }
            }
            panic!("the events ended before the exchange")
        })
    };
    let waiting = Peer::classic(address, b'G', "others");
    eventually("it waits", || handle.counts().waiting == 1);
    exchange(address, "one");
    waiting.let_go();
    assert_eq!(ending(handle).cut, 0);
    assert_eq!(drains.join().unwrap(), (b"one".to_vec(), 3));
}

#[test]
fn a_subscriber_that_lags_or_leaves_harms_nobody() {
    let server = InProcess::default();
    let lags = server.subscribe(1);
    drop(server.subscribe(1));
    for round in 0..10 {
        exchange(server.address(), &format!("{round}"));
        assert_eq!(server.next_outcome().0, Outcome::Completed);
    }
    assert!(matches!(lags.try_recv(), Ok(Event::Started(_))));
    assert!(lags.try_recv().is_err(), "it holds what it asked for and no more");
}

#[test]
fn every_handle_may_wait_for_an_exchanges_end() {
    let server = InProcess::default();
    let downloader = Peer::classic(server.address(), b'G', "watched");
    server.await_waiting(1);
    let uploader = Peer::classic(server.address(), b'P', "watched");
    let exchange = server.next_exchange();
    let watchers: Vec<_> = (0..4)
        .map(|_| {
            let exchange = exchange.clone();
            thread::spawn(move || exchange.wait().bytes)
        })
        .collect();
    drop(uploader.send_all(b"seen"));
    assert_eq!(downloader.whole(), b"seen");
    for watcher in watchers {
        assert_eq!(watcher.join().unwrap(), 4);
    }
}

/// Set for the process that has few threads.
const FEW_THREADS: &str = "XCHG_TEST_FEW_THREADS";

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    if std::env::var_os(FEW_THREADS).is_some() {
        return fails_to_start();
    }
    if !rustix::process::getuid().is_root() {
        return println!("skipped: only root can count another user's threads alone");
    }
    // This very test as a user that nobody is, whose threads are counted: two of the test, some of
    // the workers. The binary is told by a descriptor, for its folder may be closed to others.
    let binary = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let output = Command::new("prlimit")
        .args(["--nproc=6", "/proc/self/fd/0", "--exact", "--nocapture"])
        .arg("embed::a_start_that_fails_leaves_nothing_behind")
        .stdin(binary)
        .env(FEW_THREADS, "")
        .uid(54_321)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}

fn fails_to_start() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let server = Server::bind(Config { workers: 8, ..config() }).unwrap();
    let address = tcp(&server.addresses()[0]);
    match server.start() {
        Err(Error::System { doing, source }) => {
            assert_eq!(doing, "starting a thread");
            assert_eq!(source.kind(), std::io::ErrorKind::WouldBlock);
        }
        other => panic!("{other:?}"),
    }
    eventually("the workers that were started are gone", || threads() == before);
    assert!(TcpStream::connect(address).is_err(), "and nothing listens");
}
