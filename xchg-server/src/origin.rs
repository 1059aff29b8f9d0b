//! Whom a connection counts for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a connection came from, or the unix sockets of this machine.
///
/// Sixteen bytes without alignment, since every connection has one: an IPv4 address is the IPv6
/// address that stands for it, and unix sockets are the unspecified one, from which nothing comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(Ipv6Addr);

impl Origin {
    /// The unix sockets of this machine.
    pub(crate) const UNIX: Origin = Origin(Ipv6Addr::UNSPECIFIED);

    /// The address of a peer.
    pub(crate) fn of(address: IpAddr) -> Origin {
        match address {
            IpAddr::V4(address) => Origin(address.to_ipv6_mapped()),
            IpAddr::V6(address) => Origin(address),
        }
    }

    /// The address; `None` for unix sockets.
    pub(crate) fn address(self) -> Option<IpAddr> {
        (self != Origin::UNIX).then(|| self.0.to_canonical())
    }

    /// Whether the peer is on this machine.
    pub(crate) fn is_local(self) -> bool {
        self.address().is_none_or(|address| address.is_loopback())
    }

    /// Whom the peer is counted with: an IPv4 address, or the /64 that an IPv6 host has to itself.
    ///
    /// No two of them are the same number: the prefix under which IPv4 addresses stand here,
    /// 0:0:ffff:0, is one that no IPv6 host has (RFC 4291 section 2.5.5.2).
    pub(crate) fn source(self) -> xchg_core::Origin {
        const IPV4: u64 = 0xffff_0000_0000;
        xchg_core::Origin(match self.address() {
            None => 0,
            Some(IpAddr::V4(address)) => IPV4 | u64::from(address.to_bits()),
            Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) => {
                IPV4 | u64::from(Ipv4Addr::LOCALHOST.to_bits())
            }
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                [a, b, c, d].into_iter().fold(0, |bits, part| bits << 16 | u64::from(part))
            }
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::of(address.parse().unwrap())
    }

    #[test]
    fn peers_on_this_machine_are_told_by_their_address() {
        assert!(Origin::UNIX.is_local());
        for (address, is_local) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:192.0.2.1", false),
            ("::127.0.0.1", false),
            ("0.0.0.0", false),
            ("192.0.2.1", false),
            ("128.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(origin(address).is_local(), is_local, "{address}");
        }
    }

    #[test]
    fn addresses_of_one_host_are_one_source_and_others_another() {
        for (one, other, is_same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("127.0.0.1", "::1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.1", "::1:0:0:1", false),
        ] {
            assert_eq!(origin(one).source() == origin(other).source(), is_same, "{one} {other}");
        }
        assert_ne!(Origin::UNIX.source(), origin("127.0.0.1").source());
    }

    #[test]
    fn an_origin_reads_as_its_address() {
        assert_eq!(origin("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(origin("2001:db8::1").to_string(), "2001:db8::1");
        assert_eq!(Origin::UNIX.to_string(), "unix");
    }
}
