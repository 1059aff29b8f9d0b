//! The handshake's first half: two hellos, from which both peers derive their keys (PROTOCOL.md section S2).
//!
//! Without a secret the password is empty, and everybody knows it: the same code then defeats a listener
//! only.

use std::io::{Read, Write};

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use rand_core::{CryptoRng, OsRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use super::keys::Schedule;
use super::message::Fields;
use super::{Error, Secret};
use crate::Side;

/// The version of the session's protocol that this build speaks. It is also the form of its hello.
pub(super) const VERSION: u8 = 2;

/// All versions that this build speaks.
const VERSIONS: [u8; 1] = [VERSION];

/// Bytes of a hello's body at most; what follows SPAKE2's message is extensions.
const MAX_HELLO_BODY: usize = 1024;
const HELLO_HEADER: usize = 3;
const SPAKE2_BYTES: usize = 33;

/// The type of the extension that lists the sender's versions.
const EXTENSION_VERSIONS: u16 = 0x0001;

/// Exchanges hellos as `side` and returns what that agreed upon.
///
/// Both peers speak first; the stream must hold the 41 bytes of one hello without its counterpart reading.
pub(super) fn run(
    reader: &mut impl Read,
    writer: &mut impl Write,
    side: Side,
    key: &[u8],
    secret: &Secret,
) -> Result<Schedule, Error> {
    let (exchange, ours) = start(side, key, secret, OsRng);
    writer
        .write_all(&ours)
        .and_then(|()| writer.flush())
        .map_err(|source| Error::stream("agreeing on keys", source))?;
    let theirs = read_hello(reader)?;
    finish(exchange, side, &ours, &theirs)
}

/// What one peer keeps until the other's hello comes, and its own hello.
pub(super) fn start(
    side: Side,
    key: &[u8],
    secret: &Secret,
    random: impl CryptoRng + RngCore,
) -> (Spake2<Ed25519Group>, Vec<u8>) {
    // The identities bind side and key: neither can a hello be reflected, nor one meant for another key be used.
    let password = Password::new(secret.as_bytes());
    let upload = Identity::new(&[b"xchg v2 upload\0", key].concat());
    let download = Identity::new(&[b"xchg v2 download\0", key].concat());
    let (exchange, message) = match side {
        Side::Upload => Spake2::start_a_with_rng(&password, &upload, &download, random),
        Side::Download => Spake2::start_b_with_rng(&password, &upload, &download, random),
    };
    (exchange, hello(&message))
}

/// Derives the keys from both hellos, each as it was on the wire.
pub(super) fn finish(
    exchange: Spake2<Ed25519Group>,
    side: Side,
    ours: &[u8],
    theirs: &[u8],
) -> Result<Schedule, Error> {
    let message = judge(theirs)?;
    let shared = exchange
        .finish(message)
        .map(Zeroizing::new)
        .map_err(|_| Error::Protocol("its first message is of our own side"))?;
    Ok(match side {
        Side::Upload => Schedule::derive(&shared, ours, theirs),
        Side::Download => Schedule::derive(&shared, theirs, ours),
    })
}

fn hello(message: &[u8]) -> Vec<u8> {
    let short = |length: usize| u16::try_from(length).expect("a hello is short").to_be_bytes();
    let extension = 2 + 2 + VERSIONS.len();
    let mut hello = vec![VERSION];
    hello.extend_from_slice(&short(message.len() + extension));
    hello.extend_from_slice(message);
    hello.extend_from_slice(&EXTENSION_VERSIONS.to_be_bytes());
    hello.extend_from_slice(&short(VERSIONS.len()));
    hello.extend_from_slice(&VERSIONS);
    hello
}

/// SPAKE2's message in a whole hello, if all of the hello is as it should be.
fn judge(hello: &[u8]) -> Result<&[u8], Error> {
    let (message, extensions) = hello[HELLO_HEADER..]
        .split_at_checked(SPAKE2_BYTES)
        .ok_or(Error::Protocol("its first message has a wrong length"))?;
    let theirs = versions(extensions)?;
    if !theirs.contains(&VERSION) {
        return Err(Error::Version { theirs: theirs.iter().copied().max().unwrap_or(0) });
    }
    if !is_usable_point(&message[1..]) {
        return Err(Error::Protocol("its first message holds no point that could be used"));
    }
    Ok(message)
}

/// The versions that a hello lists.
fn versions(extensions: &[u8]) -> Result<&[u8], Error> {
    let mut fields = Fields::of(extensions);
    let mut versions = None;
    while !fields.is_empty() {
        let (kind, length) = (fields.u16()?, fields.u16()?);
        let value = fields.take(length.into())?;
        if kind == EXTENSION_VERSIONS {
            versions = Some(value);
        }
    }
    versions.ok_or(Error::Protocol("its first message lists no versions"))
}

/// Whether `bytes` are the one encoding of a point, and the point is of the order that all of SPAKE2's honest messages have. Others
/// would tell the peer that sent them something about our secret number, or make the result a known one.
fn is_usable_point(bytes: &[u8]) -> bool {
    let compressed = CompressedEdwardsY::from_slice(bytes);
    let point = compressed.ok().and_then(|encoded| Some((encoded, encoded.decompress()?)));
    point.is_some_and(|(encoded, point)| {
        point.compress() == encoded && point.is_torsion_free() && !point.is_identity()
    })
}

fn read_hello(reader: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut header = [0; HELLO_HEADER];
    receive(reader, &mut header)?;
    let [version, length @ ..] = header;
    if version != VERSION {
        return Err(Error::Version { theirs: version });
    }
    let body_bytes = usize::from(u16::from_be_bytes(length));
    if !(SPAKE2_BYTES..=MAX_HELLO_BODY).contains(&body_bytes) {
        return Err(Error::Protocol("its first message has a wrong length"));
    }
    let mut hello = header.to_vec();
    hello.resize(HELLO_HEADER + body_bytes, 0);
    receive(reader, &mut hello[HELLO_HEADER..])?;
    Ok(hello)
}

fn receive(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), Error> {
    reader.read_exact(bytes).map_err(|source| Error::stream("agreeing on keys", source))
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, EIGHT_TORSION};

    use super::*;

    #[test]
    fn points_that_honest_peers_never_send_are_refused() {
        let base = ED25519_BASEPOINT_COMPRESSED;
        assert!(is_usable_point(base.as_bytes()));
        for (number, torsion) in EIGHT_TORSION.into_iter().enumerate() {
            assert!(!is_usable_point(torsion.compress().as_bytes()), "of small order {number}");
            let mixed = base.decompress().unwrap() + torsion;
            assert_eq!(is_usable_point(mixed.compress().as_bytes()), number == 0, "mixed {number}");
        }
        // p + 1 for the ordinate 1, and a sign for an abscissa 0: other encodings of the neutral element.
        let mut above = [0xff; 32];
        (above[0], above[31]) = (0xee, 0x7f);
        let mut negative_zero = [0; 32];
        (negative_zero[0], negative_zero[31]) = (1, 0x80);
        // Every ordinate below 19 has a second encoding, above p.
        let doubles = (0..19).map(|ordinate: u8| {
            let mut double = [0xff; 32];
            (double[0], double[31]) = (0xed + ordinate % 19, 0x7f);
            double
        });
        let others = [above, negative_zero, [2; 32]];
        for bytes in doubles.take_while(|double| double[0] >= 0xed).chain(others) {
            assert!(!is_usable_point(&bytes), "{bytes:x?}");
        }
        assert!(!is_usable_point(&[0; 31]));
    }

    #[test]
    fn versions_are_found_among_other_extensions() {
        for (extensions, expected) in [
            (&[0, 1, 0, 2, 9, 2][..], Some(&[9, 2][..])),
            (&[0, 7, 0, 1, 5, 0, 1, 0, 1, 3], Some(&[3])),
            (&[0, 1, 0, 1, 3, 0, 1, 0, 1, 2], Some(&[2])),
            (&[0, 1, 0, 0], Some(&[])),
            (&[0, 7, 0, 0], None),
            (&[], None),
            (&[0, 1, 0, 2, 9], None),
            (&[0, 1, 0], None),
        ] {
            assert_eq!(versions(extensions).ok(), expected, "{extensions:?}");
        }
    }

    #[test]
    fn a_peer_that_speaks_none_of_our_versions_is_told_from_nonsense() {
        let point = ED25519_BASEPOINT_COMPRESSED;
        let hello = |versions: &[u8]| {
            let header = [VERSION, 0, 0];
            let length = u8::try_from(versions.len()).unwrap();
            [&header, &b"B"[..], point.as_bytes(), &[0, 1, 0, length], versions].concat()
        };
        assert!(judge(&hello(&[VERSION])).is_ok());
        assert!(judge(&hello(&[VERSION + 1, VERSION])).is_ok());
        assert!(matches!(judge(&hello(&[7, 9, 8])), Err(Error::Version { theirs: 9 })));
        assert!(matches!(judge(&hello(&[])), Err(Error::Version { theirs: 0 })));
    }
}
