//! Any bytes as messages and as records, from strangers and from peers.

use std::sync::Arc;
use std::time::Duration;

use super::download::{self, Download};
use super::keys::{KEY_BYTES, Schedule};
use super::message::{
    Message, decode_entries, decode_numbers, decode_points, decode_proofs, encode_entry,
    encode_point, encode_proof,
};
use super::record::{Opener, Record, Sealer};
use super::upload::{self, Upload};
use super::{ContentHash, Error, Intake, Next, Point, Role, Secret, Session, Start};
use crate::Side;
use crate::files::names::{Rules, check, link_stays_inside};
use crate::files::{Entry, Kind, Manifest};

/// Takes `data` for a record's plaintext: what can be read is written the same, and what is made
/// safe is safe.
pub fn messages(mut data: &[u8]) {
    while let Ok((message, length)) = Message::decode(data) {
        assert_eq!(message.encoded(), data[..length]);
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

/// Takes `data` for the first bytes of a stranger: in whatever pieces they come, a session makes
/// the same of them, and nothing but a whole hello makes it say more than its own.
///
/// # Panics
/// If that is not so.
pub fn hellos(data: &[u8]) {
    let outcome = |most: usize| {
        let (secret, now) = (Secret::new("secret"), Duration::ZERO);
        let mut session = Session::new(Download::new(), b"key", &secret, now);
        let hello_bytes = session.transmit().len();
        let mut error = None;
        for piece in data.chunks(most) {
            match session.on_bytes(piece) {
                Ok(taken) => assert_eq!(taken, piece.len(), "no role is asked yet"),
                Err(failed) => {
                    error = Some(format!("{failed:?}"));
                    break;
                }
            }
        }
        let confirmation = &session.transmit()[hello_bytes..];
        assert!(error.as_deref() == Some("WrongSecret") || confirmation.len() <= KEY_BYTES);
        (error, confirmation.len())
    };
    let whole = outcome(data.len().max(1));
    assert_eq!(whole, outcome(1));
    assert_eq!(whole, outcome(7));
}

/// Takes `data` for what a peer says that knows the secret and nothing else: to a downloader, or if
/// the first byte is odd an uploader, in records of which each has its length before it in 2 bytes.
/// Whatever it is, the role ends or waits, keeps no more than it was told, and what it says can be
/// read.
///
/// # Panics
/// If that is not so.
pub fn roles(data: &[u8]) {
    let Some((&first, records)) = data.split_first() else { return };
    if first.is_multiple_of(2) {
        let mut contents: Vec<Vec<u8>> = Vec::new();
        play(Download::new(), records, |role, effect| act_download(&mut contents, role, effect));
        let kept: usize = contents.iter().map(Vec::len).sum();
        assert!(kept <= data.len() + contents.len() * HERE.len());
    } else {
        play(Upload::new(), records, act_upload);
    }
}

/// What a downloader has of each entry already, and all that an uploader has of each.
const HERE: &[u8] = b"here";
const THERE: &[u8] = b"here and there";

fn act_download(
    contents: &mut Vec<Vec<u8>>,
    role: &mut Download,
    effect: download::Effect,
) -> Result<(), Error> {
    match effect {
        download::Effect::Consider => {
            let offer = role.take_offer();
            let points = offer.entries().iter().enumerate().filter_map(|(entry, kind)| {
                let is_long = kind.kind.size().is_some_and(|size| size >= HERE.len() as u64);
                let is_file = matches!(kind.kind, Kind::File { .. });
                (is_file && is_long).then_some(Point { entry, bytes: HERE.len() as u64 })
            });
            let points = points.collect();
            contents.resize(offer.entries().len(), HERE.to_vec());
            role.accept(Arc::new(offer), points);
        }
        download::Effect::Hash(_) => role.hashed(Some(blake3::hash(HERE).into())),
        download::Effect::Prepare { .. } => role.prepared(),
        download::Effect::Begin { point: Point { entry, .. }, resumes } => {
            let mut hash = ContentHash::new();
            contents[entry].clear();
            if resumes {
                contents[entry].extend_from_slice(HERE);
                hash.update(HERE);
            }
            role.begun(Start::At(hash));
        }
        download::Effect::Write { entry } => contents[entry].extend_from_slice(role.data()),
        download::Effect::Finish => role.finished(),
        download::Effect::Differs(_) | download::Effect::End { .. } => {}
    }
    Ok(())
}

fn act_upload(role: &mut Upload, effect: upload::Effect) -> Result<(), Error> {
    match effect {
        upload::Effect::Collect => {
            let mut manifest = Manifest::new();
            for name in ["a", "b"] {
                manifest.push(Entry::new(Kind::File { size: THERE.len() as u64 }, 0, name))?;
            }
            role.offer(Arc::new(manifest));
        }
        upload::Effect::Hash(Point { bytes, .. }) => {
            let mut hash = ContentHash::new();
            hash.update(&THERE[..usize::try_from(bytes).expect("no more than was offered")]);
            role.hashed(hash)?;
        }
        upload::Effect::Open(_) => role.opened(),
        upload::Effect::Read { .. } => {
            let room = role.room();
            let read = room.len();
            // As much is asked for as is left.
            room.copy_from_slice(&THERE[THERE.len() - read..]);
            role.read(read)?;
        }
        upload::Effect::Close { .. } => role.closed(),
        upload::Effect::Tell(_) => {}
    }
    Ok(())
}

fn play<R: Role>(
    mut role: R,
    mut records: &[u8],
    mut act: impl FnMut(&mut R, R::Effect) -> Result<(), Error>,
) {
    role.confirm();
    let mut has_ended = false;
    let mut sent = |record: &Record, last: bool| {
        assert!(!has_ended, "nothing follows the last record");
        has_ended = last;
        let mut said = record.body();
        while !said.is_empty() {
            let (_, length) = Message::decode(said).expect("it can be read");
            said = &said[length..];
        }
    };
    loop {
        let done = match role.poll() {
            Ok(Next::Do(effect)) => act(&mut role, effect),
            Ok(Next::Room) => {
                role.give(Record::new());
                Ok(())
            }
            Ok(Next::Send { record, last }) => {
                sent(&record, last);
                Ok(())
            }
            Ok(Next::Wait) => {
                let Some((length, rest)) = records.split_first_chunk() else { return };
                let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
                let (body, rest) = rest.split_at(length);
                records = rest;
                role.hear(Record::of(body, rest.is_empty()));
                Ok(())
            }
            Ok(Next::Done) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            if let Some(record) = role.last_words(&error) {
                sent(&record, true);
            }
            return;
        }
    }
}
