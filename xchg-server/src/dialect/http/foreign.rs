//! Requests that a web page of somebody else makes, in the browser of a person for whom alone the
//! server is.
//!
//! Other people's connections do not reach a loopback address, but their pages do: they run on this
//! machine. What gives them away is what browsers, and no page, put into a request: `Origin` and
//! `Sec-Fetch-Site` (Fetch Metadata, section 2.3); and `Host`, where a page's own name was made to
//! lead here (DNS rebinding), so that the browser takes server and page for one site.
//!
//! **Loopback is for one person, whose browser runs everybody's pages.** What keeps strangers from
//! a loopback address does not keep their pages from it, and these could up- and download for the
//! person, or read the answers by a name that leads here. So a listener there refuses what browsers
//! mark as another site's (`dialect/http/foreign.rs`), also links that were clicked: a page can
//! click them. A proxy makes such an address everybody's, and only the operator knows: hence
//! `public`. A connection has the number of its listener, in a byte that was free.

use std::net::{IpAddr, Ipv6Addr};

use super::head::Request;
use super::respond::ResponseHead;
use super::status::Status;
use crate::WebOrigin;

/// What gives a request away that somebody else's page may have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It knows the server by a name that is not this machine's.
    Name,
    /// Its browser names another site.
    Site,
}

impl Request {
    /// Prepares a request for a listener that is not for web pages of sites but this server's own
    /// and `allowed`.
    ///
    /// # Errors
    /// One of those may have made it; the words refuse it.
    pub(crate) fn screen(&mut self, allowed: &[WebOrigin]) -> Result<(), Vec<u8>> {
        let text = match self.foreign(allowed) {
            None => {
                let origin = self.origin.as_deref();
                if !allowed.iter().any(|one| one.is_any() || origin.is_some_and(|it| one.is(it))) {
                    // What asks so and names no site that is let in is told of none.
                    self.asks_private_network = false;
                }
                return Ok(());
            }
            Some(Foreign::Name) => {
                "This server is for the machine that it runs on, and not known there by the name in the address. \
                 Use localhost. Behind a proxy, add `,public` to its address in --listen."
            }
            Some(Foreign::Site) => {
                "A page of another site asks, and this server is for the machine that it runs on. Type the address \
                 yourself; or let that site in by --allow-origin, as in --allow-origin https://example.org."
            }
        };
        Err(self.forbidden(text))
    }

    /// What shows that a page may have made the request which is neither the server's own nor of a
    /// site in `allowed`.
    pub(crate) fn foreign(&self, allowed: &[WebOrigin]) -> Option<Foreign> {
        if allowed.iter().any(WebOrigin::is_any) {
            return None;
        }
        let is_named_in =
            |one: &WebOrigin| self.host.eq_ignore_ascii_case(one.authority().as_bytes());
        if !is_local(&self.host) && !allowed.iter().any(is_named_in) {
            return Some(Foreign::Name);
        }
        self.is_foreign(allowed).then_some(Foreign::Site)
    }

    /// Whether the page of another site makes it than this server's own and those `allowed`.
    pub(super) fn is_foreign(&self, allowed: &[WebOrigin]) -> bool {
        // Without TLS here, a proxy may speak it with the browser.
        let is_own = |origin| is_of(origin, &self.host, self.is_secured);
        !allowed.iter().any(WebOrigin::is_any)
            && !self.is_from(allowed)
            && (self.is_cross_site || !self.origin.as_deref().is_none_or(is_own))
    }

    /// Whether the browser says that the page of a site that is `allowed` makes it.
    fn is_from(&self, allowed: &[WebOrigin]) -> bool {
        let is_allowed = |origin| allowed.iter().any(|one| one.is(origin));
        self.origin.as_deref().is_some_and(is_allowed)
    }

    /// Unlike other texts it is not for the page that asked.
    fn forbidden(&self, text: &str) -> Vec<u8> {
        let to = self.reply_to.closing();
        ResponseHead::new(to.version, Status::Forbidden)
            .field("Content-Type", "text/plain")
            .field("X-Content-Type-Options", "nosniff")
            .field("Cache-Control", "no-store")
            .body(to, format!("[ERROR] {text}\n").as_bytes())
    }
}

/// Whether that is the site of `host`, which browsers know as `https` if they speak TLS with it: at
/// the port of another scheme, which they leave out of both, another server may be.
fn is_of(origin: &[u8], host: &[u8], is_secured: bool) -> bool {
    let end = origin.windows(3).position(|part| part == b"://");
    end.is_some_and(|end| {
        (!is_secured || origin[..end].eq_ignore_ascii_case(b"https"))
            && origin[end + 3..].eq_ignore_ascii_case(host)
    })
}

/// Whether only this machine is called so, whatever the port (RFC 6761 section 6.3). Requests that
/// name no host come from no browser.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return false;
    }
    let literal = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => name.parse().map(IpAddr::V4),
    };
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    match literal {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.is_empty() || name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for host in [
            "",
            "localhost",
            "localhost:4980",
            "LocalHost:1",
            "localhost.",
            "localhost.:80",
            "a.localhost",
            "a.b.localhost:4980",
            "127.0.0.1",
            "127.0.0.1:4980",
            "127.1.2.3:1",
            "[::1]",
            "[::1]:4980",
            "[::ffff:127.0.0.1]:1",
            "[0:0:0:0:0:0:0:1]",
        ] {
            assert!(is_local(host.as_bytes()), "{host}");
        }
        for host in [
            "h",
            "example.org",
            "example.org:4980",
            "localhost.example.org",
            "notlocalhost",
            "127.0.0.1.example.org",
            "0.0.0.0:4980",
            "[::]",
            "192.168.0.1",
            "10.0.0.1:4980",
            "[fe80::1]",
            "[::ffff:192.0.2.1]",
            "128.0.0.1",
            "127.1",
            "user@localhost",
            "localhost:80@example.org",
            "localhost:x",
            "::1",
            "[::1",
            "[127.0.0.1]",
            "localhost ",
            ":80",
            ".",
        ] {
            assert!(!is_local(host.as_bytes()), "{host}");
        }
        assert!(!is_local(b"\xff.localhost"));
    }
}
