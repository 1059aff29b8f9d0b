//! Where a server is: `HOST`, `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`, or the URL of its page.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::terminal::escape;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A host, looked up when connecting, and a port.
    Tcp {
        /// A name, or an IP address without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A host and a port, where the server is spoken to in TLS.
    Tls {
        /// A name, or an IP address without brackets: what the server's certificate is for.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A socket in the file system, on systems that have them.
    Unix(PathBuf),
}

/// Why a text is no address, nor a link with one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address: {why}", text = escape(text))]
pub struct InvalidAddress {
    pub(crate) text: String,
    pub(crate) why: &'static str,
}

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 4980;

/// What an address may begin with, the port where it names none, and whether TLS is spoken there.
const SCHEMES: [(&str, u16, bool); 4] = [
    // What a browser shows as the address of the server's page.
    ("http://", 80, false),
    ("https://", 443, true),
    ("xchg://", DEFAULT_PORT, false),
    ("xchgs://", DEFAULT_PORT, true),
];

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let wrong = |why| InvalidAddress { text: text.into(), why };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong("write unix:PATH")),
                _ if cfg!(not(unix)) => Err(wrong("this system has no unix sockets")),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let (text, default_port, tls) = SCHEMES
            .iter()
            .find_map(|&(scheme, port, tls)| {
                let (start, rest) = text.split_at_checked(scheme.len())?;
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                start.eq_ignore_ascii_case(scheme).then_some((rest, port, tls))
            })
            .unwrap_or((text, DEFAULT_PORT, false));
        let (host, port) = split(text).map_err(wrong)?;
        if host.is_empty() {
            return Err(wrong("the host is missing; write HOST or HOST:PORT"));
        }
        if host.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
            return Err(wrong(
                "write HOST, HOST:PORT, http://HOST:PORT/ or https://HOST:PORT/, without a user or a path",
            ));
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("a port is a number from 1 to 65535")),
            },
        };
        let host = host.into();
        Ok(if tls { Self::Tls { host, port } } else { Self::Tcp { host, port } })
    }
}

/// Parts host and port. Only in brackets can an IPv6 address have a port behind it.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the closing bracket is missing")?;
        if !is_ipv6(host) {
            return Err("only an IPv6 address belongs in brackets");
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("write [IPV6]:PORT"),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some(_) if is_ipv6(text) => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err("write an IPv6 address as [IPV6]:PORT"),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// Whether `host` is an IPv6 address, with or without a zone such as `%eth0`.
fn is_ipv6(host: &str) -> bool {
    host.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Tls { host, port } if host.contains(':') => {
                write!(f, "https://[{host}]:{port}")
            }
            Self::Tls { host, port } => write!(f, "https://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_a_port_or_a_unix_path() {
        for (text, shown) in [
            ("example.org", "example.org:4980"),
            ("example.org:80", "example.org:80"),
            ("127.0.0.1", "127.0.0.1:4980"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("::1", "[::1]:4980"),
            ("[::1]", "[::1]:4980"),
            ("[::1]:81", "[::1]:81"),
            ("[fe80::1%eth0]:81", "[fe80::1%eth0]:81"),
            ("http://example.org:4980/", "example.org:4980"),
            ("HTTP://[::1]:81", "[::1]:81"),
            ("http://example.org", "example.org:80"),
            ("xchg://example.org", "example.org:4980"),
            ("https://example.org", "https://example.org:443"),
            ("HTTPS://example.org:4980/", "https://example.org:4980"),
            ("xchgs://example.org", "https://example.org:4980"),
            ("Xchgs://[::1]:81", "https://[::1]:81"),
            ("unix:/run/xchg.sock", "unix:/run/xchg.sock"),
            ("unix:relative:with:colons", "unix:relative:with:colons"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse::<Address>().unwrap(), address, "{shown} means the same");
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "host is missing"),
            (":4980", "host is missing"),
            ("host:", "1 to 65535"),
            ("host:0", "1 to 65535"),
            ("host:65536", "1 to 65535"),
            ("host:http", "1 to 65535"),
            ("host:-1", "1 to 65535"),
            ("http://", "host is missing"),
            ("http://host/key", "without a user or a path"),
            ("https://host/key", "without a user or a path"),
            ("https://", "host is missing"),
            ("xchgs://:1", "host is missing"),
            ("ftp://host", "1 to 65535"),
            ("host/path", "without a user or a path"),
            ("me@host", "without a user or a path"),
            ("a host", "without a user or a path"),
            ("[::1", "bracket is missing"),
            ("[::1]80", "[IPV6]:PORT"),
            ("[host]:80", "only an IPv6 address"),
            ("1:2:3", "[IPV6]:PORT"),
            ("unix:", "unix:PATH"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
