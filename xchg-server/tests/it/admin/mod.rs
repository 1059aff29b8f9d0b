//! The admin listener.

mod counts;
mod https;
mod outside;
mod packaged;
mod pages;
mod programs;
mod strangers;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common::{DEADLINE, InProcess, config, loopback, tcp};
use xchg_server::{Config, ListenAddress};

/// A server with an admin listener on loopback, and the address of that.
fn serve(config: Config) -> (InProcess, SocketAddr) {
    let server = InProcess::start(Config { admin: vec![loopback().address], ..config });
    let admin = tcp(&server.admin_addresses()[0]);
    (server, admin)
}

fn start() -> (InProcess, SocketAddr) {
    serve(config())
}

/// What a request gets.
#[derive(Debug)]
struct Page {
    status: u16,
    /// With its line ends.
    head: String,
    body: String,
}

impl Page {
    /// What `connection` says to a request of these bytes, to its end.
    fn of(mut connection: impl Read + Write, request: &[u8]) -> Self {
        connection.write_all(request).unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.contains("\r\nTransfer-Encoding: chunked");
        let body = if is_chunked && !request.starts_with(b"HEAD") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Self { status, head: head.to_owned(), body }
    }

    /// The metrics with their labels, and what they are.
    fn metrics(&self) -> BTreeMap<String, f64> {
        assert_eq!(self.status, 200, "{self:?}");
        let lines = self.body.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }
}

/// A body without its framing. Its end must be there.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (len, rest) = body.split_once("\r\n").unwrap();
        let len = usize::from_str_radix(len, 16).unwrap();
        let (part, rest) = rest.split_at(len);
        whole += part;
        body = rest.strip_prefix("\r\n").unwrap();
        if len == 0 {
            assert_eq!(body, "");
            return whole;
        }
    }
}

fn request(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

fn connect(admin: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(admin).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    connection
}

fn ask(admin: SocketAddr, method: &str, path: &str) -> Page {
    ask_with(admin, method, path, "")
}

/// Asks with header fields, lines with their ends.
fn ask_with(admin: SocketAddr, method: &str, path: &str, fields: &str) -> Page {
    Page::of(connect(admin), &request(method, path, fields))
}

fn ask_unix(path: &Path, method: &str, page: &str) -> Page {
    let connection = UnixStream::connect(path).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    Page::of(connection, &request(method, page, ""))
}

fn metrics(admin: SocketAddr) -> BTreeMap<String, f64> {
    ask(admin, "GET", "/metrics").metrics()
}

fn unix(path: &Path) -> ListenAddress {
    ListenAddress::Unix(path.to_owned())
}
