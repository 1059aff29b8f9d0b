//! For whom a proxy passes a request on, as its fields say: `X-Forwarded-For` and `X-Real-IP`,
//! which are what proxies say in fact, and `Forwarded` (RFC 7239).
//!
//! Each proxy adds, behind what it was told, from where it was told that. So what is to be believed
//! stands at the end: the last address that is none of a trusted proxy. Most proxies set one of the
//! fields and pass on the others as a stranger made them up; so if fields name different peers,
//! none is believed.

use std::net::{IpAddr, SocketAddr};

use httparse::Header;

use super::fields;
use crate::Network;

/// The most that proxies are asked about, in all fields together.
const MAX_HOPS: usize = 64;

/// For whom a request was passed on: from hop to hop, for each of the fields that are there. A hop
/// without an address is one that hides it, or nothing that can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded(Vec<Vec<Option<IpAddr>>>);

impl Forwarded {
    pub(super) fn of(headers: &[Header<'_>]) -> Self {
        let list = |name| members(headers, name).map(address).collect();
        let elements = members(headers, "forwarded").filter_map(for_whom).map(address).collect();
        let fields = [list("x-forwarded-for"), list("x-real-ip"), elements];
        Self(fields.into_iter().filter(|hops: &Vec<_>| !hops.is_empty()).collect())
    }

    /// Who is behind the `trusted` proxies. `None` if nothing says that there is a proxy,
    /// `Some(None)` if it hides the address, or the fields disagree.
    pub(crate) fn peer(&self, trusted: &[Network]) -> Option<Option<IpAddr>> {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        // In front of the first who is not trusted nothing is to be believed. If all are, the first
        // of them is the peer.
        let behind = |hops: &Vec<Option<IpAddr>>| {
            let stranger = hops.iter().rev().find(|hop| !hop.is_some_and(is_trusted));
            (stranger.is_some(), *stranger.or(hops.first()).expect("a field without hops is none"))
        };
        let mut peers: Vec<_> = self.0.iter().map(behind).collect();
        if peers.iter().any(|(is_stranger, _)| *is_stranger) {
            peers.retain(|(is_stranger, _)| *is_stranger);
        }
        let (_, first) = *peers.first()?;
        Some(first.filter(|_| peers.iter().all(|(_, peer)| *peer == first)))
    }
}

/// The members of the lists in all fields of that name, in order; of more than there should be, the
/// last.
fn members<'a>(headers: &'a [Header<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let all = || {
        let members =
            fields::all(headers, name).flat_map(|value| value.split(|&byte| byte == b','));
        members.map(fields::trim).filter(|member| !member.is_empty())
    };
    all().skip(all().count().saturating_sub(MAX_HOPS))
}

/// What an element of `Forwarded` says behind `for=`, if it does.
fn for_whom(element: &[u8]) -> Option<&[u8]> {
    let mut pairs = fields::pairs(element);
    pairs.find_map(|(name, value)| name.eq_ignore_ascii_case(b"for").then_some(value))
}

/// An address, with or without a port: `192.0.2.7`, `192.0.2.7:1234`, `2001:db8::7`,
/// `[2001:db8::7]`, `[2001:db8::7]:1234`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whom these fields name to a server that trusts 10.0.0.0/8 and 2001:db8::/32.
    fn peer(fields: &[(&str, &str)]) -> Option<Option<String>> {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let headers: Vec<_> =
            fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        Forwarded::of(&headers).peer(&trusted).map(|peer| peer.map(|peer| peer.to_string()))
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxys_is_the_peers() {
        const LIST: &str = "X-Forwarded-For";
        for (fields, expected) in [
            (&[(LIST, "192.0.2.7")][..], "192.0.2.7"),
            (&[(LIST, "192.0.2.7, 10.0.0.1")], "192.0.2.7"),
            (&[(LIST, "127.0.0.1, 192.0.2.7 ,10.0.0.1,\t10.9.9.9")], "192.0.2.7"),
            (
                &[(LIST, "192.0.2.1"), ("x-forwarded-for", "192.0.2.7"), (LIST, "10.0.0.1")],
                "192.0.2.7",
            ),
            (&[(LIST, "10.0.0.7, 10.0.0.1")], "10.0.0.7"),
            (&[(LIST, "192.0.2.7:1234")], "192.0.2.7"),
            (&[(LIST, "::ffff:192.0.2.7")], "192.0.2.7"),
            (&[(LIST, "2001:db9::7, [2001:db8::1]:80, [2001:db8::1]")], "2001:db9::7"),
            (&[("X-Real-IP", "192.0.2.7")], "192.0.2.7"),
            (&[("Forwarded", "for=192.0.2.7;proto=https;by=10.0.0.1, for=10.0.0.2")], "192.0.2.7"),
            (&[("Forwarded", "By=10.0.0.1; For=\"[2001:db9::7]:80\", proto=http")], "2001:db9::7"),
            // Fields that agree, as far as each can tell.
            (&[(LIST, "192.0.2.7"), ("X-Real-IP", "192.0.2.7")], "192.0.2.7"),
            (&[(LIST, "192.0.2.7, 10.0.0.5"), ("X-Real-IP", "10.0.0.5")], "192.0.2.7"),
        ] {
            assert_eq!(peer(fields), Some(Some(expected.to_owned())), "{fields:?}");
        }
    }

    #[test]
    fn who_is_hidden_or_doubtful_has_no_address() {
        for fields in [
            &[("X-Forwarded-For", "unknown")][..],
            &[("X-Forwarded-For", "192.0.2.7, unknown, 10.0.0.1")],
            &[("X-Forwarded-For", "192.0.2.7, 192.0.2.300")],
            &[("Forwarded", "for=192.0.2.7, for=_hidden")],
            &[("X-Forwarded-For", "192.0.2.7"), ("X-Real-IP", "192.0.2.8")],
            &[("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=127.0.0.1")],
            &[("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=unknown")],
        ] {
            assert_eq!(peer(fields), Some(None), "{fields:?}");
        }
        for fields in [
            &[][..],
            &[("X-Forwarded-For", "")],
            &[("X-Forwarded-For", " , ")],
            &[("Forwarded", "proto=https")],
            &[("X-Forwarded-Proto", "https"), ("Via", "1.1 proxy")],
        ] {
            assert_eq!(peer(fields), None, "{fields:?}");
        }
    }

    #[test]
    fn of_more_hops_than_there_should_be_the_last_count() {
        let many = "192.0.2.1,".repeat(1_000) + "192.0.2.7";
        assert_eq!(peer(&[("X-Forwarded-For", &many)]), Some(Some("192.0.2.7".to_owned())));
        let trusted = "192.0.2.7,".to_owned() + &"10.0.0.1,".repeat(MAX_HOPS);
        assert_eq!(peer(&[("X-Forwarded-For", &trusted)]), Some(Some("10.0.0.1".to_owned())));
    }

    proptest! {
        /// Whatever a stranger sends, its proxy adds the stranger's address, which is the one that
        /// counts, or none.
        #[test]
        fn nobody_passes_for_somebody_else(
            list in proptest::collection::vec("[ -~]{0,30}", 0..3),
            forwarded in proptest::option::of("(for=)?[ -~]{0,30}"),
            real in proptest::option::of("[0-9.]{0,10}"),
        ) {
            let mut fields: Vec<_> = list.iter().map(|value| ("x-forwarded-for", &**value)).collect();
            fields.extend(forwarded.iter().map(|value| ("forwarded", &**value)));
            fields.extend(real.iter().map(|value| ("x-real-ip", &**value)));
            fields.push(("X-Forwarded-For", "192.0.2.7"));
            let peer = peer(&fields).expect("a proxy has said something");
            prop_assert!(peer.is_none_or(|peer| peer == "192.0.2.7"));
        }
    }
}
