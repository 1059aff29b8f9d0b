//! Asks a running server over HTTP, as the commands do that look at one.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

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

    fn from_str(text: &str) -> Result<Place, String> {
        let place = |door, path: &str| {
            let path = (!matches!(path, "" | "/")).then(|| path.to_owned());
            Ok(Place { text: text.to_owned(), door, path })
        };
        let mistaken =
            || format!("`{text}` is no http://HOST[:PORT][/PATH], ADDR:PORT or unix:PATH");
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("a path must follow `unix:`".to_owned()),
                path => place(Door::Unix(path.into()), ""),
            };
        }
        if text.starts_with("https://") {
            return Err("https is not spoken by this command: ask from the server's own machine, by http:// or unix:PATH".to_owned());
        }
        let (rest, default_port) = match text.strip_prefix("http://") {
            Some(rest) => (rest, ":80"),
            None => (text, ""),
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
        match is_clean(&authority) && is_clean(path) && !authority.contains('@') {
            true => place(Door::Tcp(authority), path),
            false => Err(mistaken()),
        }
    }
}

impl Place {
    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Asks for what was named there, or else for `path`.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) fn ask(&self, path: &str, token: Option<&str>) -> Result<Answer, String> {
        let path = self.path.as_deref().unwrap_or(path);
        let failed = |error: io::Error| format!("{} cannot be asked: {error}", self.text);
        let by = Instant::now() + TIMEOUT;
        match &self.door {
            Door::Tcp(authority) => {
                let stream = connect(authority).map_err(failed)?;
                let ends = |left| {
                    stream.set_read_timeout(Some(left))?;
                    stream.set_write_timeout(Some(left))
                };
                exchange(&stream, request(authority, path, token), by, ends)
            }
            Door::Unix(path_of_socket) => {
                let stream = UnixStream::connect(path_of_socket).map_err(failed)?;
                let ends = |left| {
                    stream.set_read_timeout(Some(left))?;
                    stream.set_write_timeout(Some(left))
                };
                exchange(&stream, request("localhost", path, token), by, ends)
            }
        }
        .and_then(|bytes| parse(&bytes))
        .map_err(failed)
    }
}

fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn request(host: &str, path: &str, token: Option<&str>) -> String {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}\r\n")
}

/// Sends the request, and reads what comes to its end. `ends` bounds how long each call may take.
fn exchange<'a, S>(
    stream: &'a S,
    request: String,
    by: Instant,
    ends: impl Fn(Duration) -> io::Result<()>,
) -> io::Result<Vec<u8>>
where
    &'a S: Read + Write,
{
    let mut stream = stream;
    ends(TIMEOUT)?;
    stream.write_all(request.as_bytes())?;
    let (mut bytes, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        let left = by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        ends(left)?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 5 seconds"));
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
            ("127.0.0.1:4990", "127.0.0.1:4990", None),
            ("[::1]:4990", "[::1]:4990", None),
        ] {
            let place = parse(text).unwrap();
            assert_eq!(place.door, Door::Tcp(door.to_owned()), "{text}");
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
            "https://localhost",
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
