//! Agreeing on keys: a hello each way, and a confirmation each way (PROTOCOL.md section S2).
//!
//! Without a secret the password is empty, and everybody knows it: the same code then defeats a
//! listener only.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use rand_core::{CryptoRng, OsRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use super::keys::{KEY_BYTES, Schedule, VERSION};
use super::message::Fields;
use super::{Error, Intake, Secret};
use crate::Side;

/// All versions that this build speaks.
const VERSIONS: [u8; 1] = [VERSION];

/// Bytes of a hello's body at most; what follows SPAKE2's message is extensions.
const MAX_HELLO_BODY: usize = 1024;
const HELLO_HEADER: usize = 3;
const SPAKE2_BYTES: usize = 33;

/// The type of the extension that lists the sender's versions.
const EXTENSION_VERSIONS: u16 = 0x0001;

/// One peer's handshake, from its own hello until the other's is there.
///
/// Both peers speak at once: [`hello`](Self::hello) is to be sent before anything is received.
pub(crate) struct Handshake {
    side: Side,
    exchange: Spake2<Ed25519Group>,
    ours: Vec<u8>,
    /// As much of the other's hello as is known to come; the header first.
    theirs: Vec<u8>,
    received: usize,
}

impl Handshake {
    /// Begins as `side`. `key` is the one that the person named.
    pub(crate) fn start(side: Side, key: &[u8], secret: &Secret) -> Self {
        Self::start_with(side, key, secret, OsRng)
    }

    pub(super) fn start_with(
        side: Side,
        key: &[u8],
        secret: &Secret,
        random: impl CryptoRng + RngCore,
    ) -> Self {
        // The identities bind side and key: neither can a hello be reflected, nor one meant for
        // another key be used.
        let password = Password::new(secret.as_bytes());
        let upload = Identity::new(&[b"xchg v2 upload\0", key].concat());
        let download = Identity::new(&[b"xchg v2 download\0", key].concat());
        let (exchange, message) = match side {
            Side::Upload => Spake2::start_a_with_rng(&password, &upload, &download, random),
            Side::Download => Spake2::start_b_with_rng(&password, &upload, &download, random),
        };
        Self { side, exchange, ours: hello(&message), theirs: vec![0; HELLO_HEADER], received: 0 }
    }

    /// What this peer sends.
    pub(crate) fn hello(&self) -> &[u8] {
        &self.ours
    }

    /// What is between the hellos and the keys.
    #[cfg(test)]
    pub(super) fn shared(self) -> Vec<u8> {
        self.exchange.finish(judge(&self.theirs).unwrap()).unwrap()
    }

    /// Derives the keys, once the other's hello is whole.
    pub(crate) fn finish(self) -> Result<Schedule, Error> {
        let Self { side, exchange, ours, theirs, .. } = self;
        let message = judge(&theirs)?;
        let shared = exchange
            .finish(message)
            .map(Zeroizing::new)
            .map_err(|_| Error::Protocol("its first message is of our own side"))?;
        Ok(match side {
            Side::Upload => Schedule::derive(&shared, &ours, &theirs),
            Side::Download => Schedule::derive(&shared, &theirs, &ours),
        })
    }
}

/// Receives the other peer's hello.
impl Intake for Handshake {
    fn unfilled(&mut self) -> Result<&mut [u8], Error> {
        if let (HELLO_HEADER, &[form, high, low]) = (self.received, &self.theirs[..]) {
            let body_bytes = usize::from(u16::from_be_bytes([high, low]));
            if form != VERSION {
                return Err(Error::Version { theirs: form });
            }
            if !(SPAKE2_BYTES..=MAX_HELLO_BODY).contains(&body_bytes) {
                return Err(Error::Protocol("its first message has a wrong length"));
            }
            self.theirs.resize(HELLO_HEADER + body_bytes, 0);
        }
        Ok(&mut self.theirs[self.received..])
    }

    fn fill(&mut self, bytes: usize) {
        self.received += bytes;
    }
}

/// The other peer's proof that it knows the secret, as it is received.
#[derive(Default)]
pub(crate) struct Confirmation {
    tag: [u8; KEY_BYTES],
    received: usize,
}

impl Confirmation {
    /// Judges it, once it is whole: `side` sent it.
    pub(crate) fn judge(&self, schedule: &Schedule, side: Side) -> Result<(), Error> {
        if schedule.confirms(side, &self.tag) { Ok(()) } else { Err(Error::WrongSecret) }
    }
}

impl Intake for Confirmation {
    fn unfilled(&mut self) -> Result<&mut [u8], Error> {
        Ok(&mut self.tag[self.received..])
    }

    fn fill(&mut self, bytes: usize) {
        self.received += bytes;
    }
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
    let mut fields = Fields(extensions);
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

/// Whether `bytes` are the one encoding of a point, and the point is of the order that all of
/// SPAKE2's honest messages have. Others would tell the peer that sent them something about our
/// secret number, or make the result a known one.
fn is_usable_point(bytes: &[u8]) -> bool {
    let compressed = CompressedEdwardsY::from_slice(bytes);
    let point = compressed.ok().and_then(|encoded| Some((encoded, encoded.decompress()?)));
    point.is_some_and(|(encoded, point)| {
        point.compress() == encoded && point.is_torsion_free() && !point.is_identity()
    })
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
        // p + 1 for the ordinate 1, and a sign for an abscissa 0: other encodings of the neutral
        // element.
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
