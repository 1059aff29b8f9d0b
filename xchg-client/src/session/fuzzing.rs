//! Any bytes as messages and as records.

use super::Error;
use super::Intake;
use super::keys::Schedule;
use super::message::{
    Message, decode_entries, decode_numbers, decode_points, decode_proofs, encode_entry,
    encode_point, encode_proof,
};
use super::record::{Opener, Record, Sealer};
use crate::Side;
use crate::files::names::{Rules, check, link_stays_inside};
use crate::files::{Kind, Manifest};

/// Takes `data` for a record's plaintext: what can be read is written the same, and what is made
/// safe is safe.
pub fn messages(mut data: &[u8]) {
    while let Ok((message, length)) = Message::decode(data) {
        let mut written = Vec::new();
        message.encode(&mut written);
        assert_eq!(written, data[..length]);
        match message {
            Message::Entries(bytes) => entries(bytes),
            Message::Have(bytes) => lists(bytes, decode_points(bytes), |(entry, bytes), out| {
                encode_point(entry, bytes, out);
            }),
            Message::Proof(bytes) => lists(bytes, decode_proofs(bytes), |(entry, hash), out| {
                encode_proof(entry, &hash, out);
            }),
            Message::Resume(bytes) => lists(bytes, decode_numbers(bytes), |number, out| {
                out.extend_from_slice(&number.to_be_bytes());
            }),
            _ => {}
        }
        data = &data[length..];
    }
}

fn entries(bytes: &[u8]) {
    let mut manifest = Manifest::new();
    let mut written = Vec::new();
    for entry in decode_entries(bytes) {
        let Ok(entry) = entry else { return };
        let before = manifest.clone();
        encode_entry(&entry, &mut written);
        assert!(bytes.starts_with(&written));
        if manifest.push(entry).is_err() {
            assert_eq!(manifest, before, "what is refused leaves no trace");
            return;
        }
        assert_eq!(manifest.encoded_bytes(), written.len());
    }
    if check(&manifest).is_err() {
        return;
    }
    for rules in [Rules::default(), Rules::windows()] {
        for entry in manifest.entries() {
            let replaced = rules.replaced(&entry.name).expect("what cannot be replaced is refused");
            assert_eq!(rules.problem(&replaced), None);
            if let Kind::Symlink { target } = &entry.kind {
                assert!(link_stays_inside(entry.depth, target));
            }
        }
    }
}

fn lists<T>(
    bytes: &[u8],
    items: impl Iterator<Item = Result<T, Error>>,
    encode: impl Fn(T, &mut Vec<u8>),
) {
    let mut written = Vec::new();
    for item in items {
        let Ok(item) = item else { return };
        encode(item, &mut written);
    }
    assert_eq!(written, bytes);
}

/// Takes `data` for what a stranger sends as records, which never opens; and, but for its first
/// four bytes, for the plaintext of two records, of which a byte is altered at the place that these
/// four say.
///
/// # Panics
/// If anything opens that was not sealed.
pub fn records(data: &[u8]) {
    let traffic = || Schedule::derive(b"shared", b"upload", b"download").traffic(Side::Upload);
    assert!(open(&mut Opener::new(traffic()), &mut &*data).is_err(), "nobody sealed it");

    let Some((place, plaintext)) = data.split_first_chunk::<4>() else { return };
    if plaintext.is_empty() || plaintext.len() > Record::new().room() {
        return;
    }
    let mut sealed = Vec::new();
    let mut sealer = Sealer::new(traffic());
    for last in [false, true] {
        let mut record = Record::new();
        record.put(plaintext);
        sealed.extend_from_slice(sealer.seal(&mut record, last));
    }
    let [mask, place @ ..] = *place;
    let place = place.into_iter().fold(0, |place, byte| place << 8 | usize::from(byte));
    let place = place % sealed.len();
    sealed[place] ^= mask;
    let whole = if mask == 0 { 2 } else { place / (sealed.len() / 2) };
    let mut opener = Opener::new(traffic());
    let mut rest = &sealed[..];
    for number in 0..2 {
        let opened = open(&mut opener, &mut rest);
        assert_eq!(opened.is_ok(), number < whole, "record {number}, altered at {place}");
        let Ok(record) = opened else { return };
        assert_eq!((record.body(), record.is_last()), (plaintext, number == 1));
    }
}

/// Takes the next record of `wire`.
fn open(opener: &mut Opener, wire: &mut &[u8]) -> Result<Record, Error> {
    let mut record = Record::new();
    if !record.take(wire)? {
        return Err(Error::Lost);
    }
    opener.open(&mut record)?;
    Ok(record)
}
