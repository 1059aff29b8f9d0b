//! Replays the test vectors of PROTOCOL.md section S10: what is written there is what this build
//! does.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::{CryptoRng, RngCore};

use super::download::{self, Download};
use super::keys::Schedule;
use super::message::{self, Message};
use super::record::{Opener, RECORDS_PER_KEY, Record, Sealer};
use super::upload::{self, Upload};
use super::{ContentHash, Handshake, Intake, Next, Role, Secret, Start};
use crate::files::{Entry, Kind, Manifest, Modified};
use crate::{Key, Side};

const SPECIFICATION: &str = include_str!("../../../PROTOCOL.md");

/// The vectors of the specification by name. Words in `<>` are for the reader.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let (_, section) = SPECIFICATION.split_once("### S10.").unwrap();
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
    Schedule::derive(&take("shared"), &take("upload hello"), &take("download hello"))
}

/// The bytes of the vector `name`, to begin with.
fn take(name: &str) -> Vec<u8> {
    vectors().remove(name).unwrap_or_else(|| panic!("no {name}"))
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
    let mut sealer = Sealer::new(schedule().traffic(Side::Upload));
    let mut record = Record::with_capacity(64);
    for _ in 0..=RECORDS_PER_KEY {
        record.clear();
        record.put(&[0x21, 0, 0, 0]);
        wire.extend_from_slice(sealer.seal(&mut record, false));
    }
    record.clear();
    wire.extend_from_slice(sealer.seal(&mut record, true));
    let at = |number: usize| &wire[number * 24..];
    check("record 0", &at(0)[..24]);
    check("record 1", &at(1)[..24]);
    check("record 65535", &at(65535)[..24]);
    check("record 65536", &at(65536)[..24]);
    check("record 65537", at(65537));

    let mut opener = Opener::new(schedule().traffic(Side::Upload));
    let mut record = Record::new();
    let mut rest = &wire[..];
    for number in 0..=RECORDS_PER_KEY + 1 {
        record.clear();
        assert!(record.take(&mut rest).unwrap());
        opener.open(&mut record).unwrap();
        let is_last = number > RECORDS_PER_KEY;
        let body = if is_last { &[][..] } else { &[0x21, 0, 0, 0] };
        assert_eq!((record.body(), record.is_last()), (body, is_last));
    }
}

#[test]
fn entries() {
    let modified = Modified { seconds: 1_750_000_000, nanos: 500_000_000 };
    let entry =
        |kind, depth, name: &str, mode| Entry { mode, modified, ..Entry::new(kind, depth, name) };
    let target = "../a.txt".into();
    let old = Modified { seconds: -1, nanos: 0 };
    let cases = [
        ("file", entry(Kind::File { size: 5 }, 1, "a.txt", 0o644)),
        ("directory", entry(Kind::Directory, 0, "docs", 0o755)),
        ("link", entry(Kind::Symlink { target }, 2, "b", 0o777)),
        (
            "bytes",
            Entry { name: b"\xe9"[..].into(), ..entry(Kind::File { size: 0 }, 0, "", 0o644) },
        ),
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
    let (mut point, mut proof) = (Vec::new(), Vec::new());
    message::encode_point(3, 1_000_000, &mut point);
    message::encode_proof(3, &blake3::hash(b"hello"), &mut proof);
    let cases = [
        ("Offer", Message::Offer { entries: 2, bytes: 5, encoded_bytes: 51 }),
        ("Entries", Message::Entries(&vectors["entry directory"])),
        ("Begin", Message::Begin { entry: 1, offset: 0 }),
        ("Data", Message::Data(b"hello")),
        ("End", Message::End { size: 5, hash: blake3::hash(b"hello").into() }),
        ("Proof", Message::Proof(&proof)),
        ("Have", Message::Have(&point)),
        ("Prove", Message::Prove),
        ("Resume", Message::Resume(&[0, 0, 0, 3])),
        ("Accept", Message::Accept),
        ("Decline", Message::Decline("no, thanks")),
        ("Unable", Message::Unable("no room")),
        ("Receipt", Message::Receipt { entries: 2, bytes: 5 }),
        ("Progress", Message::Progress { bytes: 1_000_000 }),
        ("Alive", Message::Alive),
        ("Error", Message::Error { cancelled: true, text: "cancelled" }),
    ];
    for (name, message) in cases {
        let bytes = message.encoded();
        check(name, &bytes);
        assert_eq!(Message::decode(&bytes).unwrap(), (message, bytes.len()));
    }
}

/// Gives the number of the trace wherever a random one is asked for.
struct Known([u8; 32]);

impl Known {
    fn of(name: &str) -> Self {
        let mut scalar: [u8; 32] = take(name).try_into().unwrap();
        scalar.reverse();
        Self(scalar)
    }
}

impl CryptoRng for Known {}
impl RngCore for Known {
    fn next_u32(&mut self) -> u32 {
        unreachable!("scalars are drawn as bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("scalars are drawn as bytes")
    }

    /// Little-endian, of which spake2 takes 64 bytes, modulo the group's order.
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        bytes[..32].copy_from_slice(&self.0);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// Both peers' handshakes of the trace, uploader's first, each with the other's hello.
fn trace_handshake() -> [Handshake; 2] {
    let secret = Secret::new("swordfish");
    let start = |side, scalar| Handshake::start_with(side, b"holiday", &secret, Known::of(scalar));
    let mut upload = start(Side::Upload, "trace x");
    let mut download = start(Side::Download, "trace y");
    check("trace upload hello", upload.hello());
    check("trace download hello", download.hello());
    assert!(upload.take(&mut download.hello()).unwrap());
    assert!(download.take(&mut upload.hello()).unwrap());
    [upload, download]
}

fn trace_schedules() -> [Schedule; 2] {
    trace_handshake().map(|handshake| handshake.finish().unwrap())
}

#[test]
fn the_handshake_of_the_trace() {
    for schedule in trace_schedules() {
        for (side, word) in [(Side::Upload, "upload"), (Side::Download, "download")] {
            check(&format!("trace {word} confirmation"), &schedule.confirmation(side));
            check(&format!("trace {word} traffic 0"), schedule.traffic(side).as_bytes());
        }
    }
    // What lies between is seen by nobody; it is for whoever looks for a mistake.
    for handshake in trace_handshake() {
        check("trace shared", &handshake.shared());
    }
}

/// Runs a role on what the trace says that the other peer sends; it must send what the trace says.
fn replay<R: Role>(mut role: R, act: impl Fn(&mut R, R::Effect)) {
    let (word, other) = match R::SIDE {
        Side::Upload => ("upload", "download"),
        Side::Download => ("download", "upload"),
    };
    let [schedule, _] = trace_schedules();
    let (mut sealer, mut opener) =
        (Sealer::new(schedule.traffic(R::SIDE)), Opener::new(schedule.traffic(!R::SIDE)));
    let (mut sent, mut heard) = (0, 0);
    loop {
        match role.poll().unwrap() {
            Next::Do(effect) => act(&mut role, effect),
            Next::Room => role.give(Record::new()),
            Next::Send { mut record, last } => {
                check(&format!("trace {word} record {sent}"), sealer.seal(&mut record, last));
                sent += 1;
            }
            Next::Wait if !role.is_confirmed() => role.confirm(),
            Next::Wait => {
                let wire = take(&format!("trace {other} record {heard}"));
                let mut record = Record::new();
                assert!(record.take(&mut &wire[..]).unwrap());
                opener.open(&mut record).unwrap();
                if (word, heard) == ("download", 0) {
                    check("trace upload plaintext 0", record.body());
                }
                role.hear(record);
                heard += 1;
            }
            Next::Done => break,
        }
    }
    assert!(sent == 2 && sealer.has_ended());
    // The downloader is done before it has heard the uploader's last record, which is empty.
    assert_eq!(heard, if R::SIDE == Side::Upload { 2 } else { 1 });
}

const CONTENT: &[u8] = b"hello\n";

#[test]
fn an_upload() {
    let mut manifest = Manifest::new();
    let entry = Entry {
        modified: Modified { seconds: 1_750_000_000, nanos: 0 },
        ..Entry::new(Kind::File { size: CONTENT.len() as u64 }, 0, "hello.txt")
    };
    manifest.push(entry).unwrap();
    let manifest = Arc::new(manifest);
    replay(Upload::new(), |role, effect| match effect {
        upload::Effect::Collect => role.offer(Arc::clone(&manifest)),
        upload::Effect::Open(_) => role.opened(),
        upload::Effect::Read { .. } => {
            role.room().copy_from_slice(CONTENT);
            role.read(CONTENT.len()).unwrap();
        }
        upload::Effect::Close { .. } => role.closed(),
        upload::Effect::Tell(_) => {}
        upload::Effect::Hash(_) => panic!("nothing is there"),
    });
}

#[test]
fn a_download() {
    replay(Download::new(), |role, effect| match effect {
        download::Effect::Consider => {
            let offer = role.take_offer();
            assert_eq!(offer.entries()[0].name.as_bytes(), b"hello.txt");
            role.accept(Arc::new(offer), Vec::new());
        }
        download::Effect::Prepare { .. } => role.prepared(),
        download::Effect::Begin { .. } => role.begun(Start::At(ContentHash::new())),
        download::Effect::Write { .. } => assert_eq!(role.data(), CONTENT),
        download::Effect::End { .. } => {}
        download::Effect::Finish => role.finished(),
        download::Effect::Hash(_) | download::Effect::Differs(_) => panic!("nothing is here"),
    });
}
