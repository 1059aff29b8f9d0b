//! Where a server is: `HOST`, `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`, or the URL of its page.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

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
    /// A socket in the file system, on systems that have them.
    Unix(PathBuf),
}

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 4980;

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        let wrong = |why| Error::Address { text: text.into(), why };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong("write unix:PATH")),
                _ if cfg!(not(unix)) => Err(wrong("this system has no unix sockets")),
                path => Ok(Address::Unix(path.into())),
            };
        }
        if text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
            return Err(wrong("xchg-client speaks no TLS; name the server itself, as HOST:PORT"));
        }
        // What a browser shows as the address of the server's page.
        let (text, default_port) = match text.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => {
                (rest.strip_suffix('/').unwrap_or(rest), HTTP_PORT)
            }
            _ => (text, DEFAULT_PORT),
        };
        let (host, port) = split(text).map_err(wrong)?;
        if host.is_empty() {
            return Err(wrong("the host is missing; write HOST or HOST:PORT"));
        }
        if host.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
            return Err(wrong(
                "write HOST, HOST:PORT or http://HOST:PORT/, without a user or a path",
            ));
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("a port is a number from 1 to 65535")),
            },
        };
        Ok(Address::Tcp { host: host.into(), port })
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
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
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
            ("https://host", "speaks no TLS"),
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
