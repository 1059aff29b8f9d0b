//! Networks by their prefix, and which of them proxies are trusted in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network of IPv4 or IPv6 addresses, written as CIDR does: `10.0.0.0/8`, `2001:db8::/32`, or one
/// address alone.
///
/// An IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`), as sockets for both have it,
/// belongs to IPv4 networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// The addresses of this machine alone: `127.0.0.0/8` and `::1`.
    pub const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix_len: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_len: 128 },
    ];

    /// Whether every address of its version belongs to it.
    pub(crate) fn is_everything(&self) -> bool {
        self.prefix_len == 0
    }

    /// Whether `address` belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, own) = (address.to_canonical(), self.address);
        address.is_ipv4() == own.is_ipv4() && masked(address, self.prefix_len) == own
    }
}

/// The first of the addresses that share so many bits with `address`.
fn masked(address: IpAddr, prefix_len: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!(
                "`{text}` is no network; write such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
            ));
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = len.map_or(Some(most), |len| len.parse().ok().filter(|&len| len <= most));
        let Some(prefix_len) = prefix_len else {
            return Err(format!(
                "`{text}` has no length of a prefix behind the `/`: use 0 to {most}"
            ));
        };
        let first = masked(address, prefix_len);
        if first != address {
            return Err(format!(
                "`{text}` is an address within a network; write {first}/{prefix_len} for all of it, or {address}"
            ));
        }
        Ok(Self { address, prefix_len })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_belong_to_networks_by_their_first_bits() {
        for (text, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["11.0.0.0", "9.9.9.9", "::10.0.0.1"][..],
            ),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.6/31", &["192.0.2.6", "192.0.2.7"], &["192.0.2.5", "192.0.2.8"]),
            ("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::", "2001:db8::1"]),
            ("2001:db8::/32", &["2001:db8::1", "2001:db8:ffff::"], &["2001:db9::", "1.2.3.4"]),
            ("::/0", &["::", "2001:db8::1"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("::1", &["::1"], &["::", "::2", "127.0.0.1"]),
        ] {
            let network = network(text);
            for address in inside {
                assert!(network.contains(address.parse().unwrap()), "{address} in {text}");
            }
            for address in outside {
                assert!(!network.contains(address.parse().unwrap()), "{address} not in {text}");
            }
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        for (text, parts) in [
            ("", &["10.0.0.0/8"][..]),
            ("example.org", &["`example.org`", "10.0.0.0/8"]),
            ("10.0.0.1/8", &["`10.0.0.1/8`", "10.0.0.0/8", "or 10.0.0.1"]),
            ("2001:db8::1/32", &["2001:db8::/32"]),
            ("10.0.0.0/33", &["`10.0.0.0/33`", "0 to 32"]),
            ("10.0.0.0/", &["0 to 32"]),
            ("::/129", &["0 to 128"]),
            ("::/-1", &["0 to 128"]),
            ("10.0.0.0/8/8", &["0 to 32"]),
            ("10.0.0/8", &["no network"]),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{text}: {part:?} is not in {error:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_network_holds_what_it_was_made_of_and_reads_as_it_is_shown(
            address in any::<IpAddr>(),
            other in any::<IpAddr>(),
            len in 0_u8..=128,
        ) {
            let address = address.to_canonical();
            let prefix_len = if address.is_ipv4() { len % 33 } else { len };
            let network = Network { address: masked(address, prefix_len), prefix_len };
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            let whole = if address.is_ipv4() { 32 } else { 128 };
            if prefix_len == whole {
                prop_assert_eq!(network.contains(other), other.to_canonical() == address);
            }
        }
    }
}
