//! The header of the PROXY protocol, by which a proxy says whom a connection is for: version 1, a
//! line of text, and version 2, binary
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). It comes before anything else
//! on the connection, TLS included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Agreement;

/// What a header of version 1 begins with. One of version 2 begins with [`SIGNATURE`].
const TEXT: &[u8] = b"PROXY ";

/// The longest header of version 1 in bytes, CR LF included (section 2.1).
const MAX_TEXT_LEN: usize = 107;

/// What a header of version 2 begins with (section 2.2); then come version and command, family and
/// transport, and the length of the rest in two bytes.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_LEN: usize = SIGNATURE.len() + 4;

/// The longest header in bytes. The specification has no limit below 65,551; but addresses and all
/// extensions that it defines take a few hundred bytes, a client's certificate name included.
/// nginx, too, takes no more than 4,096.
pub(crate) const MAX_LEN: usize = 4096;

/// What the first bytes of a connection say of whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// More must come.
    Partial,
    /// A header of `len` bytes, behind which the peer's own begin.
    Whole { len: usize, peer: Peer },
    /// No header.
    Bad,
}

/// Whom a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A peer at this address.
    At(IpAddr),
    /// The proxy itself, which may see whether the server is well (`LOCAL`), or somebody whose
    /// address it does not say (`UNKNOWN`).
    Unsaid,
}

/// Reads the header at the start of `bytes`.
///
/// The answer for a beginning of some bytes is [`Header::Partial`] or the answer for all of them.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    match (Agreement::of(bytes, TEXT), Agreement::of(bytes, SIGNATURE)) {
        (Agreement::Full, _) => text(bytes),
        (_, Agreement::Full) => binary(bytes),
        (Agreement::SoFar, _) | (_, Agreement::SoFar) => Header::Partial,
        _ => Header::Bad,
    }
}

/// How far bytes agree with the beginning of a header, at a listener where none is due. That of
/// version 1 could be a classic upload's greeting with the key `ROXY TCP`; so it has to go on as a
/// header does.
pub(super) fn begins(bytes: &[u8]) -> Agreement {
    let beginnings: [&[u8]; 4] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", SIGNATURE];
    beginnings.map(|one| Agreement::of(bytes, one)).into_iter().max().unwrap_or(Agreement::None)
}

/// A line such as `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443`.
fn text(bytes: &[u8]) -> Header {
    let within = &bytes[..bytes.len().min(MAX_TEXT_LEN)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if within.len() < MAX_TEXT_LEN { Header::Partial } else { Header::Bad };
    };
    let line = within[..end].strip_suffix(b"\r").and_then(|line| str::from_utf8(line).ok());
    let peer = line.and_then(|line| {
        let mut words = line.split(' ').skip(1);
        let peer = match words.next()? {
            // Whatever follows is to be ignored.
            "UNKNOWN" => return Some(Peer::Unsaid),
            "TCP4" => [words.next()?, words.next()?].map(|word| word.parse().map(IpAddr::V4).ok()),
            "TCP6" => [words.next()?, words.next()?].map(|word| word.parse().map(IpAddr::V6).ok()),
            _ => return None,
        };
        let [Some(peer), Some(_)] = peer else { return None };
        let ports = [words.next()?, words.next()?];
        (ports.into_iter().all(is_port) && words.next().is_none()).then_some(Peer::At(peer))
    });
    peer.map_or(Header::Bad, |peer| Header::Whole { len: end + 1, peer })
}

/// Digits without a sign, which the standard library would take, and without leading zeros.
fn is_port(word: &str) -> bool {
    let is_plain = word == "0" || !word.starts_with(['0', '+']);
    is_plain && word.parse::<u16>().is_ok()
}

fn binary(bytes: &[u8]) -> Header {
    const VERSION: u8 = 0x20;
    const LOCAL: u8 = 0;
    const PROXY: u8 = 1;
    const TCP_OVER_IPV4: u8 = 0x11;
    const TCP_OVER_IPV6: u8 = 0x21;

    let command = match bytes.get(SIGNATURE.len()).map(|byte| (byte & 0xf0, byte & 0x0f)) {
        None => return Header::Partial,
        Some((VERSION, command @ (LOCAL | PROXY))) => command,
        Some(_) => return Header::Bad,
    };
    let Some([_, family, high, low]) = bytes.get(SIGNATURE.len()..HEAD_LEN) else {
        return Header::Partial;
    };
    let len = HEAD_LEN + usize::from(u16::from_be_bytes([*high, *low]));
    if len > MAX_LEN {
        return Header::Bad;
    }
    let Some(rest) = bytes.get(HEAD_LEN..len) else { return Header::Partial };
    // An address each for the peer and the proxy, then two ports, then extensions.
    let peer = match (command, *family) {
        (LOCAL, _) => Some(Peer::Unsaid),
        (_, TCP_OVER_IPV4) if rest.len() >= 12 => {
            rest.first_chunk().map(|&address: &[u8; 4]| Peer::At(Ipv4Addr::from(address).into()))
        }
        (_, TCP_OVER_IPV6) if rest.len() >= 36 => {
            rest.first_chunk().map(|&address: &[u8; 16]| Peer::At(Ipv6Addr::from(address).into()))
        }
        (_, TCP_OVER_IPV4 | TCP_OVER_IPV6) => None,
        // Unix sockets, datagrams, and what is not defined yet: no address that means anything
        // here.
        _ => Some(Peer::Unsaid),
    };
    peer.map_or(Header::Bad, |peer| Header::Whole { len, peer })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(address: &str) -> Option<Peer> {
        Some(Peer::At(address.parse().unwrap()))
    }

    /// Whom a whole header names with bytes behind it; `None` if it is none.
    fn peer(header: &[u8]) -> Option<Peer> {
        match parse(&[header, b"GET / HTTP/1.1\r\n"].concat()) {
            Header::Whole { len, peer } if len == header.len() => Some(peer),
            Header::Bad => None,
            other => panic!("{other:?} of {}", header.escape_ascii()),
        }
    }

    #[test]
    fn a_line_names_the_peer() {
        for (line, expected) in [
            (&b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"[..], at("192.0.2.7")),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", at("255.255.255.255")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", at("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", at("::ffff:192.0.2.7")),
            (b"PROXY UNKNOWN\r\n", Some(Peer::Unsaid)),
            (b"PROXY UNKNOWN ffff:f...f:ffff whatever it says 65535 65535\r\n", Some(Peer::Unsaid)),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n", None),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", None),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n", None),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n", None),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n", None),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 01 443\r\n", None),
            (b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n", None),
            (b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n", None),
            (b"PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n", None),
            (b"PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n", None),
            (b"PROXY TCP4 192.0.2.7 there 56324 443\r\n", None),
            (b"PROXY tcp4 192.0.2.7 198.51.100.1 56324 443\r\n", None),
            (b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n", None),
            (b"PROXY TCP4\r\n", None),
            (b"PROXY \r\n", None),
            (b"PROXY \xff\r\n", None),
            (b"proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", None),
        ] {
            assert_eq!(peer(line), expected, "{}", line.escape_ascii());
        }
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; MAX_TEXT_LEN - 16], b"\r\n"].concat();
        assert_eq!((long.len(), peer(&long)), (MAX_TEXT_LEN, Some(Peer::Unsaid)));
        let longer = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; MAX_TEXT_LEN - 15], b"\r\n"].concat();
        assert_eq!(peer(&longer), None);
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    #[test]
    fn a_binary_header_names_the_peer() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0, 80, 1, 187];
        let six: [u8; 36] = std::array::from_fn(|at| if at == 15 { 7 } else { u8::from(at < 2) });
        let extended = [&four[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (command, family, rest, expected) in [
            (0x21, 0x11, &four[..], at("192.0.2.7")),
            (0x21, 0x11, &extended, at("192.0.2.7")),
            (0x21, 0x21, &six, at("101::7")),
            (0x20, 0x00, &[], Some(Peer::Unsaid)),
            (0x20, 0x11, &four, Some(Peer::Unsaid)),
            (0x20, 0x11, &[1, 2], Some(Peer::Unsaid)),
            (0x21, 0x00, &[], Some(Peer::Unsaid)),
            (0x21, 0x31, &[0; 216], Some(Peer::Unsaid)),
            (0x21, 0x12, &four, Some(Peer::Unsaid)),
            (0x21, 0x11, &four[..11], None),
            (0x21, 0x21, &six[..35], None),
            (0x22, 0x11, &four, None),
            (0x11, 0x11, &four, None),
            (0x31, 0x11, &four, None),
            (0x21, 0x11, &[0; MAX_LEN - HEAD_LEN], at("0.0.0.0")),
            (0x21, 0x11, &[0; MAX_LEN - HEAD_LEN + 1], None),
        ] {
            let header = header(command, family, rest);
            assert_eq!(peer(&header), expected, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn other_bytes_are_none() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PUT",
            b"xchg\x01",
            b"\r\n\r\nx",
            b"\x16\x03\x01",
            b"PROXYx",
        ] {
            assert_eq!(parse(bytes), Header::Bad, "{}", bytes.escape_ascii());
        }
        assert_eq!(parse(b""), Header::Partial);
    }

    proptest! {
        #[test]
        fn an_address_comes_through_and_what_is_behind_it_is_left(
            address in any::<IpAddr>(),
            ports in any::<[u16; 2]>(),
            extensions in proptest::collection::vec(any::<u8>(), 0..300),
            behind in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let [from, to] = ports;
            let (name, family, octets) = match address {
                IpAddr::V4(address) => ("TCP4", 0x11, address.octets().to_vec()),
                IpAddr::V6(address) => ("TCP6", 0x21, address.octets().to_vec()),
            };
            let line = format!("PROXY {name} {address} {address} {from} {to}\r\n").into_bytes();
            let rest = [&octets[..], &octets, &from.to_be_bytes(), &to.to_be_bytes(), &extensions];
            for header in [line, header(0x21, family, &rest.concat())] {
                let bytes = [&header[..], &behind].concat();
                let expected = Header::Whole { len: header.len(), peer: Peer::At(address) };
                prop_assert_eq!(parse(&bytes), expected);
                for cut in 0..header.len() {
                    prop_assert_eq!(parse(&bytes[..cut]), Header::Partial);
                }
            }
        }
    }
}
