//! An exchange is over when the receiver has everything, whatever both speak and however they are
//! connected; a receiver that then stays connected holds up nobody.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common::{DEADLINE, InProcess, classic_greeting, config, loopback, offer, payload, tcp};
use crate::web::{get, head};
use xchg_core::wire::{Command, Greeting};
use xchg_core::{Outcome, Side};
use xchg_server::Config;

trait Stream: Read + Write + Send {
    fn half_close(&self);
}

impl Stream for TcpStream {
    fn half_close(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn half_close(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Tcp,
    Unix,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    Classic,
    Native,
    Http,
    HttpClosing,
    Http10,
}

const DIALECTS: [Speaks; 5] =
    [Speaks::Classic, Speaks::Native, Speaks::Http, Speaks::HttpClosing, Speaks::Http10];

struct At<'a> {
    tcp: SocketAddr,
    unix: &'a Path,
}

impl At<'_> {
    fn connect(&self, way: Way) -> Box<dyn Stream> {
        match way {
            Way::Tcp => {
                let stream = TcpStream::connect(self.tcp).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                Box::new(stream)
            }
            Way::Unix => {
                let stream = UnixStream::connect(self.unix).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                Box::new(stream)
            }
        }
    }
}

fn native(side: Side) -> Vec<u8> {
    Greeting::new(Command::Offer(offer(side, "stays"))).encode()
}

fn download_greeting(speaks: Speaks, receivers: usize) -> Vec<u8> {
    let path = if receivers > 1 { format!("stays?n={receivers}") } else { "stays".to_owned() };
    match speaks {
        Speaks::Classic => classic_greeting(b'G', "stays").to_vec(),
        Speaks::Native => native(Side::Download),
        Speaks::Http => get(&path),
        Speaks::HttpClosing => head(&format!("GET /{path}"), "Connection: close\r\n").into_bytes(),
        Speaks::Http10 => format!("GET /{path} HTTP/1.0\r\n\r\n").into_bytes(),
    }
}

/// What an uploader sends before its payload.
fn upload_greeting(speaks: Speaks, receivers: usize, len: usize) -> Vec<u8> {
    let path = if receivers > 1 { format!("stays?n={receivers}") } else { "stays".to_owned() };
    let length = format!("Content-Length: {len}\r\n");
    match speaks {
        Speaks::Classic => classic_greeting(b'P', "stays").to_vec(),
        Speaks::Native => native(Side::Upload),
        Speaks::Http => head(&format!("PUT /{path}"), &length).into_bytes(),
        Speaks::HttpClosing => {
            head(&format!("PUT /{path}"), &format!("{length}Connection: close\r\n")).into_bytes()
        }
        Speaks::Http10 => format!("PUT /{path} HTTP/1.0\r\n{length}\r\n").into_bytes(),
    }
}

/// Reads all of a response or a stream, but not the end of the connection.
fn receives(stream: &mut dyn Stream, file: &[u8]) {
    let (mut heard, mut buf) = (Vec::new(), vec![0; 1 << 16]);
    let is_whole = |heard: &[u8]| {
        // In one piece, for it is no larger than what the server reads at once.
        let is_chunked = heard.windows(26).any(|window| window == b"Transfer-Encoding: chunked");
        let last: &[u8] = if is_chunked { b"\r\n0\r\n\r\n" } else { b"" };
        heard.ends_with(&[file, last].concat())
    };
    while !is_whole(&heard) {
        match stream.read(&mut buf) {
            Ok(0) => panic!("it ended after {} bytes", heard.len()),
            Ok(n) => heard.extend_from_slice(&buf[..n]),
            Err(error) => panic!("{error} after {} bytes", heard.len()),
        }
    }
}

/// Expects that an uploader is let go, in the way of its dialect.
fn is_let_go(stream: &mut dyn Stream, speaks: Speaks) {
    let (mut heard, mut buf) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        assert!(!text.contains("[ERROR]"), "{text}");
        if speaks == Speaks::Http && text.ends_with("received successfully.\n\r\n0\r\n\r\n") {
            return;
        }
        match stream.read(&mut buf) {
            Ok(0) if matches!(speaks, Speaks::HttpClosing | Speaks::Http10) => {
                return assert!(text.contains("received successfully"), "{text}");
            }
            Ok(0) => return assert_ne!(speaks, Speaks::Http, "{text}"),
            Ok(n) => heard.extend_from_slice(&buf[..n]),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "{speaks:?} is not let go");
                panic!("{error} after {text}");
            }
        }
    }
}

fn exchanges(server: &InProcess, at: &At<'_>, way: Way, dialects: (Speaks, Speaks), n: usize) {
    let (uploads, downloads) = dialects;
    // Small enough to come as one chunk, and more than a segment.
    let file = payload(n as u64, 50_000);
    let mut receivers: Vec<_> = (0..n)
        .map(|_| {
            let mut stream = at.connect(way);
            stream.write_all(&download_greeting(downloads, n)).unwrap();
            stream
        })
        .collect();
    server.await_waiting(n as u64);
    let mut uploader = at.connect(way);
    uploader.write_all(&upload_greeting(uploads, n, file.len())).unwrap();
    uploader.write_all(&file).unwrap();
    if matches!(uploads, Speaks::Classic | Speaks::Native) {
        uploader.half_close();
    }
    receivers.iter_mut().for_each(|receiver| receives(&mut **receiver, &file));
    is_let_go(&mut *uploader, uploads);
    assert_eq!(server.next_outcome(), (Outcome::Completed, file.len() as u64));
    // They are still there.
    drop(receivers);
}

#[test]
fn a_receiver_that_has_everything_and_stays_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = vec![loopback(), format!("unix:{}", path.display()).parse().unwrap()];
    let server = InProcess::start(Config { listen, ..config() });
    let at = At { tcp: tcp(&server.addresses()[0]), unix: &path };
    for way in [Way::Tcp, Way::Unix] {
        for uploads in DIALECTS {
            for downloads in DIALECTS {
                // Between native peers the downloader's receipt is awaited, which says more.
                if (uploads, downloads) != (Speaks::Native, Speaks::Native) {
                    exchanges(&server, &at, way, (uploads, downloads), 1);
                }
            }
        }
        for uploads in [Speaks::Http, Speaks::HttpClosing, Speaks::Http10] {
            for downloads in [Speaks::Http, Speaks::HttpClosing, Speaks::Http10] {
                exchanges(&server, &at, way, (uploads, downloads), 3);
            }
        }
    }
    // Nor a shutdown, while one of them is still connected.
    let mut stays = at.connect(Way::Tcp);
    stays.write_all(&get("stays")).unwrap();
    server.await_waiting(1);
    let mut uploader = at.connect(Way::Tcp);
    uploader.write_all(&upload_greeting(Speaks::Classic, 1, 4)).unwrap();
    uploader.write_all(b"last").unwrap();
    uploader.half_close();
    receives(&mut *stays, b"last");
    is_let_go(&mut *uploader, Speaks::Classic);
    server.drain();
    assert_eq!(server.join().cut, 0);
}
