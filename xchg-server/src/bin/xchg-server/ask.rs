//! Asks a running server over HTTP, as the commands do that look at one.

mod tls;

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustls::ClientConfig;

use tls::Credentials;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer that is taken: some ten times the list of 10,000 exchanges.
const MAX_BYTES: u64 = 16 << 20;

/// Where a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was written.
    text: String,
    door: Door,
    /// What is asked for there, if it was said.
    path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Door {
    /// A host and a port.
    Tcp(String),
    /// The same, where TLS is spoken.
    Tls(String),
    Unix(PathBuf),
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = |door, path: &str| {
            let path = (!matches!(path, "" | "/")).then(|| path.to_owned());
            Ok(Self { text: text.to_owned(), door, path })
        };
        let mistaken =
            || format!("`{text}` is no http(s)://HOST[:PORT][/PATH], ADDR:PORT or unix:PATH");
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("a path must follow `unix:`".to_owned()),
                path => place(Door::Unix(path.into()), ""),
            };
        }
        let (kind, rest, default_port) = if let Some(rest) = text.strip_prefix("https://") {
            (Door::Tls as fn(_) -> _, rest, ":443")
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Door::Tcp as fn(_) -> _, rest, ":80")
        } else {
            (Door::Tcp as fn(_) -> _, text, "")
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_clean = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        let host = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let authority = match host {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                authority.to_owned()
            }
            None if !authority.is_empty() && !default_port.is_empty() => {
                format!("{authority}{default_port}")
            }
            _ => return Err(mistaken()),
        };
        if is_clean(&authority) && is_clean(path) && !authority.contains('@') {
            place(kind(authority), path)
        } else {
            Err(mistaken())
        }
    }
}

impl Place {
    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// How a command asks, whatever the place.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// The server's access token, for an admin listener that asks for it
    #[arg(long, value_name = "TOKEN", env = "XCHG_TOKEN", hide_env_values = true)]
    token: Option<String>,

    #[command(flatten)]
    credentials: Credentials,
}

/// What asks at one place.
pub(crate) struct Asker<'a> {
    place: &'a Place,
    token: Option<&'a str>,
    /// Where TLS is spoken.
    tls: Option<Arc<ClientConfig>>,
}

impl How {
    /// What asks so at `place`.
    ///
    /// # Errors
    /// What is wrong with the files that TLS needs, in words.
    pub(crate) fn at<'a>(&'a self, place: &'a Place) -> Result<Asker<'a>, String> {
        let tls = match place.door {
            Door::Tls(_) => Some(self.credentials.config()?),
            Door::Tcp(_) | Door::Unix(_) => None,
        };
        Ok(Asker { place, token: self.token.as_deref(), tls })
    }
}

impl Asker<'_> {
    /// Asks for what was named with the place, or else for `path`.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) fn ask(&self, path: &str) -> Result<Answer, String> {
        let path = self.place.path.as_deref().unwrap_or(path);
        self.exchange(path)
            .and_then(|bytes| parse(&bytes))
            .map_err(|error| format!("{} cannot be asked: {error}", self.place.text))
    }

    fn exchange(&self, path: &str) -> io::Result<Vec<u8>> {
        let by = Instant::now() + TIMEOUT;
        let request = |host| request(host, path, self.token);
        match (&self.place.door, &self.tls) {
            (Door::Tls(authority), Some(config)) => {
                let (host, _) = authority.rsplit_once(':').unwrap_or((authority, ""));
                let host = host.trim_start_matches('[').trim_end_matches(']');
                tls::speak(connect(authority, by)?, host, config)
                    .and_then(|stream| exchange(stream, &request(authority)))
                    .map_err(|error| tls::explain(error, host))
            }
            (Door::Tcp(authority) | Door::Tls(authority), _) => {
                exchange(connect(authority, by)?, &request(authority))
            }
            (Door::Unix(path), _) => {
                let stream = UnixStream::connect(path)?;
                let bound = |stream: &UnixStream, left| {
                    stream.set_read_timeout(Some(left))?;
                    stream.set_write_timeout(Some(left))
                };
                exchange(Bounded { stream, by, bound }, &request("localhost"))
            }
        }
    }
}

fn connect(authority: &str, by: Instant) -> io::Result<Bounded<TcpStream>> {
    let bound = |stream: &TcpStream, left| {
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))
    };
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(Bounded { stream, by, bound }),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A stream all of whose calls end in time.
struct Bounded<S> {
    stream: S,
    by: Instant,
    /// Has a call take no longer than that.
    bound: fn(&S, Duration) -> io::Result<()>,
}

impl<S> Bounded<S> {
    fn in_time(&mut self, mut call: impl FnMut(&mut S) -> io::Result<usize>) -> io::Result<usize> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in 5 seconds");
        let left = self.by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        (self.bound)(&self.stream, left)?;
        call(&mut self.stream).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => late(),
            _ => error,
        })
    }
}

impl<S: Read> Read for Bounded<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.in_time(|stream| stream.read(buf))
    }
}

impl<S: Write> Write for Bounded<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.in_time(|stream| stream.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn request(host: &str, path: &str, token: Option<&str>) -> String {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}\r\n")
}

/// Sends the request, and reads what comes to its end.
fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let (mut bytes, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Without TLS's own end: whether all is here is said within, as a rule.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !bytes.is_empty() => {
                return Ok(bytes);
            }
            Err(error) => return Err(error),
        }
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("the answer is too long"));
        }
    }
}

/// Takes an answer apart, all of which must be there.
fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let malformed = || io::Error::other("what answers there speaks no HTTP, or breaks off");
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(len)) = head.parse(bytes) else { return Err(malformed()) };
    let status = head.code.ok_or_else(malformed)?;
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| String::from_utf8_lossy(field.value))
    };
    let body = &bytes[len..];
    let body = match (field("transfer-encoding"), field("content-length")) {
        (Some(_), _) => unchunked(body).ok_or_else(malformed)?,
        (None, Some(length)) => {
            let length: usize = length.trim().parse().map_err(|_| malformed())?;
            body.get(..length).ok_or_else(malformed)?.to_vec()
        }
        (None, None) => body.to_vec(),
    };
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let (start, len) = match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            _ => return None,
        };
        let len = usize::try_from(len).ok()?;
        let end = start.checked_add(len)?;
        whole.extend_from_slice(bytes.get(start..end)?);
        bytes = bytes.get(end..)?.strip_prefix(b"\r\n")?;
        if len == 0 {
            return Some(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_in_three_ways() {
        let parse = |text: &str| text.parse::<Place>();
        for (text, door, path) in [
            ("http://localhost", "localhost:80", None),
            ("http://localhost:4980/", "localhost:4980", None),
            ("http://127.0.0.1:4980/healthz", "127.0.0.1:4980", Some("/healthz")),
            ("http://[::1]:4990/readyz?x", "[::1]:4990", Some("/readyz?x")),
            ("http://[::1]", "[::1]:80", None),
            ("https://example.org", "example.org:443", None),
            ("https://[::1]:4980/healthz", "[::1]:4980", Some("/healthz")),
            ("127.0.0.1:4990", "127.0.0.1:4990", None),
            ("[::1]:4990", "[::1]:4990", None),
        ] {
            let place = parse(text).unwrap();
            let expected = if text.starts_with("https") { Door::Tls } else { Door::Tcp };
            assert_eq!(place.door, expected(door.to_owned()), "{text}");
            assert_eq!(place.path.as_deref(), path, "{text}");
            assert_eq!(place.as_str(), text);
        }
        let place = parse("unix:/run/xchg/admin.sock").unwrap();
        assert_eq!(place.door, Door::Unix("/run/xchg/admin.sock".into()));
        for text in [
            "",
            "unix:",
            "localhost",
            "localhost:http",
            "localhost:99999",
            ":80",
            "http://",
            "http:///healthz",
            "http://a b/",
            "http://user@host/",
            "http://host/a\r\nb",
            "https://",
            "https://user@host/",
            "https://localhost:port",
            "ftp://localhost:80",
            "[::1]",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_answer_is_taken_whole_or_not_at_all() {
        let whole = |text: &str| parse(text.as_bytes()).map(|answer| (answer.status, answer.body));
        let ok = |body: &str| Some((200, body.to_owned()));
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", ok("ok\n")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", ok("to the end")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", ok("ab")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\n", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0-OpenSSH_9.2\r\n", None),
            ("", None),
        ] {
            assert_eq!(whole(text).ok(), expected, "{text:?}");
        }
    }
}
