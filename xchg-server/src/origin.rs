//! Whom a connection counts for.
//!
//! **Whom a proxy names is never on this machine.** A connection that comes through a proxy counts
//! for whom that names (`dialect/proxy.rs`, `http/forwarded.rs`), and takes its rights as well: so
//! loopback addresses in such a place are other values of `Origin` than those that a socket has,
//! and one test sees to it that no header makes the latter. A listener expects the header from
//! everybody or from nobody: where both were served, a peer could name itself. The parser is our
//! own: of a header only the peer's address counts here, the crates that read all of it (ppp,
//! proxy-header) are neither fuzzed nor say that more bytes never change what they have read, and
//! it is a hundred lines. Of several fields that proxies set each in their own way, none is above
//! the others, for a proxy that sets one passes on the others as a stranger made them up: if they
//! disagree, nobody is believed.
//!
//! **A thread knows how it shows addresses.** Many lines, at many places, name a peer, and a single
//! one that forgot `log_addresses` would give the address away. So an `Origin` shows itself as its
//! thread is set to (`origin::show`), and no place can forget it.

use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{LogAddresses, Network};

/// The address of the peer, whether it connected itself or a proxy did for it; or the unix sockets
/// of this machine.
///
/// Sixteen bytes without alignment, since every connection has one: an IPv4 address is the IPv6
/// address that stands for it, and unix sockets are the unspecified one, from which nothing comes.
/// The loopback addresses that proxies name are under [`ELSEWHERE`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(Ipv6Addr);

/// The first 96 bits of what is no peer on this machine, though it may have a loopback address: it
/// came through a proxy. No host has such an address (RFC 4291 section 2.4 reserves `::/8`).
const ELSEWHERE: u128 = 0xfffe;

/// Such a peer that has no address.
const UNNAMED: Origin = Origin(Ipv6Addr::from_bits(ELSEWHERE << 32));

impl Origin {
    /// The unix sockets of this machine.
    pub(crate) const UNIX: Self = Self(Ipv6Addr::UNSPECIFIED);

    /// The address of a peer.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped()),
            IpAddr::V6(address) => Self(address),
        }
    }

    /// Somebody for whom a proxy came that says an `address`, or none. Never on this machine:
    /// loopback is the proxy's.
    pub(crate) fn behind_proxy(address: Option<IpAddr>) -> Self {
        address.map_or(UNNAMED, |address| Self::of(address).elsewhere())
    }

    /// The same, and not on this machine: somebody else stands behind this peer, or may.
    pub(crate) fn elsewhere(self) -> Self {
        let behind = |address: Ipv4Addr| {
            Self(Ipv6Addr::from_bits(ELSEWHERE << 32 | u128::from(address.to_bits())))
        };
        match self.address() {
            None => UNNAMED,
            Some(IpAddr::V4(address)) if address.is_loopback() => behind(address),
            Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) => behind(Ipv4Addr::LOCALHOST),
            Some(_) => self,
        }
    }

    fn is_elsewhere(self) -> bool {
        self.0.to_bits() >> 32 == ELSEWHERE
    }

    /// The address; `None` for unix sockets, and for whom a proxy does not name.
    pub(crate) fn address(self) -> Option<IpAddr> {
        let [.., high, low] = self.0.segments();
        match self {
            Self::UNIX | UNNAMED => None,
            _ if self.is_elsewhere() => {
                Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into())
            }
            _ => Some(self.0.to_canonical()),
        }
    }

    /// Whether the peer is on this machine.
    pub(crate) fn is_local(self) -> bool {
        !self.is_elsewhere() && self.address().is_none_or(|address| address.is_loopback())
    }

    /// Whether the peer itself connected from one of these networks, or by a unix socket: only who
    /// may is let through to that.
    pub(crate) fn is_in(self, networks: &[Network]) -> bool {
        !self.is_elsewhere()
            && self.address().is_none_or(|address| networks.iter().any(|one| one.contains(address)))
    }

    /// Whom the peer is counted with: an IPv4 address, or the /64 that an IPv6 host has to itself.
    ///
    /// No two of them are the same number: the prefix under which IPv4 addresses stand here,
    /// 0:0:ffff:0, is one that no IPv6 host has (RFC 4291 section 2.5.5.2).
    pub(crate) fn source(self) -> xchg_core::Origin {
        const IPV4: u64 = 0xffff_0000_0000;
        const ELSEWHERE: u64 = 0xfffe_0000_0000;
        xchg_core::Origin(match self.address() {
            None if self == Self::UNIX => 0,
            None => ELSEWHERE,
            Some(IpAddr::V4(address)) if self.is_elsewhere() => {
                ELSEWHERE | u64::from(address.to_bits())
            }
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

thread_local! {
    static SHOWN: Cell<LogAddresses> = const { Cell::new(LogAddresses::Full) };
}

/// Has this thread show addresses so from now on: whatever it logs of peers, and wherever it does.
pub(crate) fn show(how: LogAddresses) {
    SHOWN.set(how);
}

/// As logs show it: see [`show`].
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = SHOWN.get();
        match self.address() {
            _ if shown == LogAddresses::None => f.write_str("hidden"),
            Some(IpAddr::V4(address)) if shown == LogAddresses::Truncated => {
                write!(f, "{}/24", Ipv4Addr::from_bits(address.to_bits() & !0xff))
            }
            Some(IpAddr::V6(address)) if shown == LogAddresses::Truncated => {
                write!(f, "{}/48", Ipv6Addr::from_bits(address.to_bits() >> 80 << 80))
            }
            Some(address) => address.fmt(f),
            None if *self == Self::UNIX => f.write_str("unix"),
            None => f.write_str("proxy"),
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
    fn whoever_comes_through_a_proxy_is_not_on_this_machine() {
        let behind = |address: &str| Origin::behind_proxy(Some(address.parse().unwrap()));
        let everywhere = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        for (address, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.1.2.3", "127.1.2.3"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::1", "127.0.0.1"),
            ("::", "proxy"),
            ("::fffe:7f00:1", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            let behind = behind(address);
            assert!(!behind.is_local(), "{address}");
            assert_eq!(behind.to_string(), shown, "{address}");
            assert_eq!(behind.elsewhere(), behind, "{address}");
            assert_ne!(behind.source(), Origin::UNIX.source(), "{address}");
            assert_ne!(behind.source(), origin("127.0.0.1").source(), "{address}");
            assert!(!shown.starts_with("127") || !behind.is_in(&everywhere), "{address}");
        }
        assert_eq!(behind("192.0.2.1"), origin("192.0.2.1"));
        assert_eq!(Origin::UNIX.elsewhere(), Origin::behind_proxy(None));
        assert_ne!(Origin::behind_proxy(None).source(), behind("127.0.0.1").source());
    }

    #[test]
    fn networks_hold_who_connects_from_there_and_unix_sockets() {
        assert!(Origin::UNIX.is_in(&[]));
        assert!(!Origin::behind_proxy(None).is_in(&Network::LOOPBACK));
        for (address, is_in) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("192.0.2.1", false)]
        {
            assert_eq!(origin(address).is_in(&Network::LOOPBACK), is_in, "{address}");
        }
    }

    #[test]
    fn logs_show_as_much_of_an_address_as_they_shall() {
        let shown = |how| {
            show(how);
            let all = ["192.0.2.77", "::ffff:192.0.2.77", "2001:db8:1:2::3", "::1"].map(origin);
            let all: Vec<_> = all.iter().chain([&Origin::UNIX]).map(ToString::to_string).collect();
            all.join(" ")
        };
        let full = "192.0.2.77 192.0.2.77 2001:db8:1:2::3 ::1 unix";
        assert_eq!(shown(LogAddresses::Full), full);
        let truncated = "192.0.2.0/24 192.0.2.0/24 2001:db8:1::/48 ::/48 unix";
        assert_eq!(shown(LogAddresses::Truncated), truncated);
        assert_eq!(shown(LogAddresses::None), ["hidden"; 5].join(" "));
        show(LogAddresses::Full);
    }

    #[test]
    fn an_origin_reads_as_its_address() {
        assert_eq!(origin("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(origin("2001:db8::1").to_string(), "2001:db8::1");
        assert_eq!(Origin::UNIX.to_string(), "unix");
    }
}
