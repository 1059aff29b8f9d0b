//! Every system call of the workers and of the log's writer fails in turn, with errors that a
//! filter, a full disk, or a lack of memory or descriptors gives it. strace stands in for the
//! kernel: it attaches to these threads and leaves them again.
//!
//! Left out are calls whose failure has no meaning: `close`, after which the descriptor is closed
//! whatever it returns, but not where strace makes it fail; `futex`, sleeps and memory's (`mmap`,
//! `munmap`, `madvise`, `brk`), whose errors the runtime cannot survive. The thread for signals is
//! signal-hook's, which panics if its pipe fails; `vital::spawn` sees to that.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::ScopedJoinHandle;

use crate::common::{DEADLINE, Peer, Process, eventually, payload};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const ERRORS: [&str; 6] = ["EPERM", "ENOSYS", "EIO", "ENOSPC", "EMFILE", "ENOMEM"];

/// Calls without which an exchange goes on, perhaps more slowly.
const DISPENSABLE: [&str; 7] = ["splice", "tee", "pipe2", "fcntl", "setsockopt", "ioctl", "write"];

/// Calls whose failure may end an exchange, or keep it from beginning.
const NEEDED: [&str; 7] =
    ["recvfrom", "sendto", "sendmsg", "shutdown", "epoll_ctl", "accept4", "getsockopt"];

/// As often a needed call fails before it works again.
const FAILURES: usize = 20;

/// strace, attached to the threads of a server.
struct Tracer {
    strace: Child,
    folder: TempDir,
}

impl Tracer {
    /// Makes `call` fail as `inject` says, from now on.
    fn attach(server: &Process, call: &str, inject: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut threads = Vec::new();
        // They give themselves their names.
        eventually("the threads are there", || {
            threads = threads_of(server);
            threads.len() == 3
        });
        let strace = Command::new("strace")
            .args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{inject}")])
            .arg("-o")
            .arg(folder.path().join("calls"))
            .args(["-p", &threads.join(",")])
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let tracer = Self { strace, folder };
        eventually("strace is attached", || {
            let said = std::fs::read_to_string(tracer.folder.path().join("stderr")).unwrap();
            said.matches(" attached").count() == threads.len()
        });
        tracer
    }

    fn calls(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    /// How often the call has failed.
    fn failures(&self) -> usize {
        std::fs::read_to_string(self.calls()).unwrap().matches("(INJECTED)").count()
    }

    /// Lets the server go, and gives how often the call has failed.
    fn detach(mut self) -> usize {
        kill_process(Pid::from_child(&self.strace), Signal::INT).unwrap();
        eventually("strace has gone", || self.strace.try_wait().unwrap().is_some());
        self.failures()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Fails only if it has ended already. The kernel lets its threads go.
        self.strace.kill().ok();
        self.strace.wait().ok();
    }
}

/// The workers of a server, and the thread that writes its log.
fn threads_of(server: &Process) -> Vec<String> {
    let tasks = std::fs::read_dir(server.proc("task")).unwrap().map(|task| task.unwrap().path());
    let wanted = tasks.filter(|task| {
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        name.starts_with("xchg-worker-") || name.trim() == "xchg-log"
    });
    wanted.map(|task| task.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// How the receivers of an exchange fared.
#[derive(Debug, PartialEq, Eq)]
enum Fared {
    Whole,
    /// They have noticed that something is missing.
    Failed,
}

/// A connection that fails rather than waits for ever.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Sends a file, and its end unless the greeting tells that.
fn uploads(address: SocketAddr, greeting: &[u8], file: &[u8], ends: bool) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(greeting)?;
    stream.write_all(file)?;
    if ends {
        stream.shutdown(Shutdown::Write)?;
    }
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn downloads(address: SocketAddr, greeting: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(greeting)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}

/// Nothing may hang, even if it fails.
fn not_timed_out<T>(result: io::Result<T>, about: &str) -> io::Result<T> {
    if let Err(error) = &result {
        let hangs = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        assert!(!hangs, "{about}: {error}");
    }
    result
}

/// A classic exchange. Whatever ends without an error is taken for the whole.
fn classic(address: SocketAddr, key: &str, file: &[u8]) -> Fared {
    std::thread::scope(|scope| {
        let upload = scope
            .spawn(|| uploads(address, &crate::common::classic_greeting(b'P', key), file, true));
        let heard = downloads(address, &crate::common::classic_greeting(b'G', key));
        let heard = not_timed_out(heard, "a classic downloader");
        not_timed_out(upload.join().unwrap(), "a classic uploader").ok();
        match heard {
            Ok(heard) => {
                assert!(heard == file, "{} bytes are taken for {}", heard.len(), file.len());
                Fared::Whole
            }
            Err(_) => Fared::Failed,
        }
    })
}

/// An http exchange with so many receivers. The length in the head tells what is whole.
fn http(address: SocketAddr, key: &str, file: &[u8], receivers: usize) -> Fared {
    let rest = format!("/{key}?n={receivers} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let put = format!("PUT {rest}Content-Length: {}\r\n\r\n", file.len());
    let get = format!("GET {rest}\r\n");
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| uploads(address, put.as_bytes(), file, false));
        let receivers: Vec<ScopedJoinHandle<'_, _>> = (0..receivers)
            .map(|_| {
                scope.spawn(|| not_timed_out(downloads(address, get.as_bytes()), "a receiver"))
            })
            .collect();
        let heard: Vec<_> = receivers.into_iter().map(|it| it.join().unwrap()).collect();
        not_timed_out(upload.join().unwrap(), "an http uploader").ok();
        let is_whole = |heard: &io::Result<Vec<u8>>| match heard {
            Ok(heard) => {
                let (head, body) = body_of(heard);
                let is_whole = head.contains("Content-Length") && body.len() == file.len();
                assert!(!is_whole || !head.starts_with("HTTP/1.1 200") || body == file);
                is_whole && head.starts_with("HTTP/1.1 200")
            }
            Err(_) => false,
        };
        if heard.iter().all(is_whole) { Fared::Whole } else { Fared::Failed }
    })
}

fn body_of(response: &[u8]) -> (String, &[u8]) {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = response.split_at(end.map_or(response.len(), |end| end + 4));
    (String::from_utf8_lossy(head).into_owned(), body)
}

/// Exchanges of all kinds, small and in bulk, one after another.
fn exchanges(address: SocketAddr, round: usize) -> Vec<Fared> {
    let (small, bulk) = (payload(1, 1_000), payload(2, 3_000_000));
    let key = |what: &str| format!("{what}{round}");
    vec![
        classic(address, &key("s"), &small),
        classic(address, &key("b"), &bulk),
        http(address, &key("hs"), &small, 1),
        http(address, &key("hb"), &bulk, 1),
        http(address, &key("two"), &bulk, 2),
    ]
}

fn all_whole(fared: &[Fared], about: &str) {
    assert!(fared.iter().all(|it| *it == Fared::Whole), "{about}: {fared:?}");
}

fn start(args: &[&str]) -> (Process, SocketAddr) {
    Process::start(&[&["--workers", "2", "--log-level", "debug"], args].concat())
}

/// Sees that the server is as it was, and ends it.
fn is_as_before(server: Process, address: SocketAddr, about: &str) {
    all_whole(&exchanges(address, 99), about);
    eventually("nobody is left", || {
        let status = Peer::status(address);
        (status.waiting, status.exchanging) == (0, 0)
    });
    server.signal(Signal::TERM);
    let exit = server.wait();
    assert_eq!(exit.status.code(), Some(0), "{about}: {}", exit.stderr);
    assert!(!exit.stderr.contains("panicked"), "{about}: {}", exit.stderr);
}

#[test]
#[ignore = "needs strace"]
fn exchanges_are_whole_where_a_call_fails_that_they_can_do_without() {
    for call in DISPENSABLE {
        let (server, address) = start(&[]);
        for (round, error) in ERRORS.into_iter().enumerate() {
            let about = format!("{call}: {error}");
            println!("{about}");
            let tracer = Tracer::attach(&server, call, &format!("error={error}"));
            all_whole(&exchanges(address, round), &about);
            assert!(tracer.detach() > 0, "{about} never came up");
        }
        is_as_before(server, address, call);
    }
}

#[test]
#[ignore = "needs strace"]
fn exchanges_are_whole_or_fail_where_a_call_fails_that_they_need() {
    for call in NEEDED {
        // Where one side fails before it has a place, the other waits in vain.
        let (server, address) = start(&["--wait-timeout", "2"]);
        for (round, error) in ERRORS.into_iter().enumerate() {
            let about = format!("{call}: {error}");
            println!("{about}");
            let tracer = Tracer::attach(&server, call, &format!("error={error}"));
            std::thread::scope(|scope| {
                let exchanges = scope.spawn(|| exchanges(address, round));
                eventually(&about, || tracer.failures() >= FAILURES || exchanges.is_finished());
                assert!(tracer.detach() > 0, "{about} never came up");
                exchanges.join().unwrap();
            });
        }
        is_as_before(server, address, call);
    }
}

#[test]
#[ignore = "needs strace"]
fn a_lost_uploader_is_told_by_a_reset_whatever_options_of_sockets_do() {
    let (server, address) = start(&[]);
    for error in ERRORS {
        let mut uploader = Peer::classic(address, b'P', "lost");
        uploader.send(b"part");
        let mut downloader = Peer::classic(address, b'G', "lost");
        assert_eq!(downloader.read(4), b"part");
        let tracer = Tracer::attach(&server, "setsockopt", &format!("error={error}"));
        uploader.reset();
        crate::common::assert_lost(downloader.rest());
        assert!(tracer.detach() > 0, "{error} never came up");
    }
    is_as_before(server, address, "setsockopt");
}

#[test]
#[ignore = "needs strace"]
fn polling_may_fail_for_a_moment() {
    let (server, address) = start(&[]);
    for (round, error) in ERRORS.into_iter().enumerate() {
        let tracer = Tracer::attach(&server, "epoll_wait", &format!("error={error}:when=1..20"));
        all_whole(&exchanges(address, round), error);
        assert!(tracer.detach() > 0, "{error} never came up");
    }
    is_as_before(server, address, "epoll_wait");
}

#[test]
#[ignore = "needs strace"]
fn a_worker_that_cannot_poll_any_more_ends_the_process() {
    let (server, address) = start(&[]);
    let waits = Peer::native(address, xchg_core::Side::Download, "waits").waits();
    let _tracer = Tracer::attach(&server, "epoll_wait", "error=EIO");
    let exit = server.wait();
    assert_eq!(exit.status.code(), Some(101), "{}", exit.stderr);
    assert!(exit.stderr.contains("polling fails"), "{}", exit.stderr);
    assert!(exit.stderr.contains("a thread panicked"), "{}", exit.stderr);
    drop(waits);
}
