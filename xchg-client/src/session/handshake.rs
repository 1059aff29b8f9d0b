//! The handshake: two hellos, two confirmations (PROTOCOL.md section S2).
//!
//! Without a secret the password is empty, and everybody knows it: the same code then defeats a listener
//! only.

use std::io::{Read, Write};

use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::keys::{KEY_BYTES, Schedule};
use super::{Error, Secret};
use crate::Side;

/// The version of the session's protocol that this build speaks.
pub(super) const VERSION: u8 = 1;

/// Bytes of a hello's body at most; what follows SPAKE2's message is room for growth.
const MAX_HELLO_BODY: usize = 1024;
const HELLO_HEADER: usize = 3;
const SPAKE2_BYTES: usize = 33;

/// Runs the handshake as `side` and returns what it agreed upon.
///
/// Both peers speak first; the stream must hold the 36 bytes of one hello without its counterpart reading.
pub(super) fn run(
    reader: &mut impl Read,
    writer: &mut impl Write,
    side: Side,
    key: &[u8],
    secret: &Secret,
) -> Result<Schedule, Error> {
    let (exchange, message) = start(side, key, secret);
    let ours = hello(&message);
    send(writer, &ours)?;
    let theirs = read_hello(reader)?;
    let shared = exchange
        .finish(&theirs[HELLO_HEADER..][..SPAKE2_BYTES])
        .map(zeroize::Zeroizing::new)
        .map_err(|_| Error::Protocol("its first message holds no point, or is of our own side"))?;
    let schedule = match side {
        Side::Upload => Schedule::derive(&shared, &ours, &theirs),
        Side::Download => Schedule::derive(&shared, &theirs, &ours),
    };
    match confirm(reader, writer, side, &schedule) {
        Ok(()) => Ok(schedule),
        Err(error @ Error::WrongSecret) => Err(error),
        // There is nothing to guess.
        Err(error) if secret.is_none() => Err(error),
        Err(error) => Err(Error::Unconfirmed { source: Box::new(error) }),
    }
}

/// Sends our confirmation before judging theirs, so that both learn of a wrong secret. From the first byte that is sent, the other
/// peer may hold a guess against it.
fn confirm(
    reader: &mut impl Read,
    writer: &mut impl Write,
    side: Side,
    schedule: &Schedule,
) -> Result<(), Error> {
    send(writer, &schedule.confirmation(side))?;
    let mut theirs = [0; KEY_BYTES];
    receive(reader, &mut theirs)?;
    if schedule.confirms(!side, &theirs) { Ok(()) } else { Err(Error::WrongSecret) }
}

/// The identities bind side and key: neither can a hello be reflected, nor one meant for another key be used.
fn start(side: Side, key: &[u8], secret: &Secret) -> (Spake2<Ed25519Group>, Vec<u8>) {
    let password = Password::new(secret.as_bytes());
    let upload = Identity::new(&[b"xchg v1 upload\0", key].concat());
    let download = Identity::new(&[b"xchg v1 download\0", key].concat());
    match side {
        Side::Upload => Spake2::start_a(&password, &upload, &download),
        Side::Download => Spake2::start_b(&password, &upload, &download),
    }
}

fn hello(message: &[u8]) -> Vec<u8> {
    let body_bytes = u16::try_from(message.len()).expect("SPAKE2's message has 33 bytes");
    let mut hello = vec![VERSION];
    hello.extend_from_slice(&body_bytes.to_be_bytes());
    hello.extend_from_slice(message);
    hello
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

fn send(writer: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    writer
        .write_all(bytes)
        .and_then(|()| writer.flush())
        .map_err(|source| Error::stream("agreeing on keys", source))
}

fn receive(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), Error> {
    reader.read_exact(bytes).map_err(|source| Error::stream("agreeing on keys", source))
}
