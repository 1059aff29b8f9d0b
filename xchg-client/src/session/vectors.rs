//! Replays the test vectors of PROTOCOL.md section S8: what is written there is what this build does.

use std::collections::BTreeMap;

use super::keys::Schedule;
use super::message::{self, Message};
use super::record::{RECORDS_PER_KEY, Record, RecordReader, RecordWriter};
use crate::files::{Entry, Kind, Modified};
use crate::{Key, Side};

const SPECIFICATION: &str = include_str!("../../../PROTOCOL.md");

/// The vectors of the specification by name. Words in `<>` are for the reader.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let (_, section) = SPECIFICATION.split_once("## S8.").unwrap();
    let lines = section.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("    ")?.split_once(" = ")?;
        let digits = value.split(" <").next().unwrap();
        let bytes = digits.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).unwrap();
            u8::from_str_radix(pair, 16).unwrap()
        });
        Some((name.trim(), bytes.collect()))
    });
    lines.collect()
}

fn check(name: &str, ours: &[u8]) {
    let hex: String = ours.iter().map(|byte| format!("{byte:02x}")).collect();
    let written = vectors().remove(name);
    assert_eq!(written.as_deref(), Some(ours), "{name} = {hex}");
}

fn schedule() -> Schedule {
    let mut vectors = vectors();
    let mut take = |name| vectors.remove(name).unwrap();
    let shared = take("shared");
    Schedule::derive(&shared, &take("upload hello"), &take("download hello"))
}

#[test]
fn the_server_key() {
    let key = Key::parse(b"holiday").unwrap().meeting_key();
    check("server key of \"holiday\"", key.as_bytes());
}

#[test]
fn the_key_schedule() {
    let schedule = schedule();
    for (side, word) in [(Side::Upload, "upload"), (Side::Download, "download")] {
        check(&format!("{word} confirmation"), &schedule.confirmation(side));
        let traffic = schedule.traffic(side);
        check(&format!("{word} traffic 0"), traffic.as_bytes());
        check(&format!("{word} traffic 1"), traffic.next().as_bytes());
    }
}

#[test]
fn records() {
    let mut wire = Vec::new();
    let mut writer = RecordWriter::new(&mut wire, schedule().traffic(Side::Upload));
    let mut record = Record::with_capacity(64);
    for _ in 0..RECORDS_PER_KEY {
        record.clear();
        record.put(&[0x21, 0, 0, 0]);
        writer.send(&mut record, false).unwrap();
    }
    record.clear();
    record.put(&[0x21, 0, 0, 0]);
    writer.send(&mut record, false).unwrap();
    record.clear();
    writer.send(&mut record, true).unwrap();
    let at = |number: usize| &wire[number * 24..];
    check("record 0", &at(0)[..24]);
    check("record 1", &at(1)[..24]);
    check("record 65535", &at(65535)[..24]);
    check("record 65536", &at(65536)[..24]);
    check("record 65537", at(65537));

    let mut reader = RecordReader::new(&wire[..], schedule().traffic(Side::Upload));
    let mut record = Record::new();
    for _ in 0..=RECORDS_PER_KEY {
        reader.receive(&mut record).unwrap();
        assert_eq!((record.body(), record.is_last()), (&[0x21, 0, 0, 0][..], false));
    }
    reader.receive(&mut record).unwrap();
    assert!(record.is_last() && record.body().is_empty());
}

#[test]
fn entries() {
    let entry = |kind, depth, name: &str, mode| Entry {
        kind,
        depth,
        name: name.into(),
        mode,
        modified: Modified { seconds: 1_750_000_000, nanos: 500_000_000 },
    };
    let target = "../a.txt".into();
    let old = Modified { seconds: -1, nanos: 0 };
    let cases = [
        ("file", entry(Kind::File { size: 5 }, 1, "a.txt", 0o644)),
        ("directory", entry(Kind::Directory, 0, "docs", 0o755)),
        ("link", entry(Kind::Symlink { target }, 2, "b", 0o777)),
        ("text", entry(Kind::Text { size: 2 }, 0, "note", 0o600)),
        ("stream", Entry { modified: old, ..entry(Kind::Stream, 0, "\u{e9}", 0o644) }),
    ];
    for (name, entry) in cases {
        let mut bytes = Vec::new();
        message::encode_entry(&entry, &mut bytes);
        check(&format!("entry {name}"), &bytes);
        assert_eq!(bytes.len(), entry.encoded_bytes());
        let decoded: Result<Vec<Entry>, _> = message::decode_entries(&bytes).collect();
        assert_eq!(decoded.unwrap(), [entry]);
    }
}

#[test]
fn messages() {
    let vectors = vectors();
    let mut point = Vec::new();
    message::encode_point(3, 1_000_000, &blake3::hash(b"hello"), &mut point);
    let cases = [
        ("Offer", Message::Offer { entries: 2, bytes: 5, encoded_bytes: 51 }),
        ("Entries", Message::Entries(&vectors["entry directory"])),
        ("Begin", Message::Begin { entry: 1, offset: 0 }),
        ("Data", Message::Data(b"hello")),
        ("End", Message::End { size: 5, hash: blake3::hash(b"hello").into() }),
        ("Resume", Message::Resume(&point)),
        ("Accept", Message::Accept),
        ("Decline", Message::Decline("no, thanks")),
        ("Receipt", Message::Receipt { entries: 2, bytes: 5 }),
        ("Progress", Message::Progress { bytes: 1_000_000 }),
        ("Alive", Message::Alive),
        ("Error", Message::Error { cancelled: true, text: "cancelled" }),
    ];
    for (name, message) in cases {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        check(name, &bytes);
        assert_eq!(Message::decode(&bytes).unwrap(), (message, bytes.len()));
    }
}
