//! Replays the test vectors of PROTOCOL.md section S10: what is written there is what this build does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use rand_core::{CryptoRng, RngCore};

use super::keys::Schedule;
use super::link::{self, Link};
use super::message::{self, Message};
use super::record::{RECORDS_PER_KEY, Record, RecordReader, RecordWriter};
use super::{Error, Secret, Session, handshake};
use crate::files::{Entry, Kind, Modified, Outgoing, WalkOptions};
use crate::{Cancel, Key, Side};

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
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        check(name, &bytes);
        assert_eq!(Message::decode(&bytes).unwrap(), (message, bytes.len()));
    }
}

/// Gives the number of the trace wherever a random one is asked for.
struct Known([u8; 32]);

impl Known {
    fn of(name: &str) -> Known {
        let mut scalar: [u8; 32] = take(name).try_into().unwrap();
        scalar.reverse();
        Known(scalar)
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

/// The hellos of the trace, uploader's first, and what they agree upon.
fn trace_handshake() -> ([Vec<u8>; 2], [Schedule; 2]) {
    let secret = Secret::new("swordfish");
    let start = |side, scalar| handshake::start(side, b"holiday", &secret, Known::of(scalar));
    let (upload, ours) = start(Side::Upload, "trace x");
    let (download, theirs) = start(Side::Download, "trace y");
    let upload = handshake::finish(upload, Side::Upload, &ours, &theirs).unwrap();
    let download = handshake::finish(download, Side::Download, &theirs, &ours).unwrap();
    ([ours, theirs], [upload, download])
}

#[test]
fn the_handshake_of_the_trace() {
    let (hellos, schedules) = trace_handshake();
    for (side, word, hello) in
        [(Side::Upload, "upload", &hellos[0]), (Side::Download, "download", &hellos[1])]
    {
        check(&format!("trace {word} hello"), hello);
        for schedule in &schedules {
            check(&format!("trace {word} confirmation"), &schedule.confirmation(side));
            check(&format!("trace {word} traffic 0"), schedule.traffic(side).as_bytes());
        }
    }
    // What lies between is seen by nobody; it is for whoever looks for a mistake.
    let secret = Secret::new("swordfish");
    let (upload, _) = handshake::start(Side::Upload, b"holiday", &secret, Known::of("trace x"));
    check("trace shared", &upload.finish(&hellos[1][3..][..33]).unwrap());
}

/// A stream of which everything that is written is kept.
struct Logged(UnixStream, Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One peer's session, after the hellos of the trace.
fn trace_session(
    stream: UnixStream,
    side: Side,
    schedule: Schedule,
) -> (Session<UnixStream, Logged>, Arc<Mutex<Vec<u8>>>) {
    let log = Arc::default();
    let session = Session {
        side,
        reader: stream.try_clone().unwrap(),
        writer: Logged(stream, Arc::clone(&log)),
        schedule,
        has_secret: true,
        is_confirmed: Arc::default(),
        abort: Box::new(|| {}),
    };
    (session, log)
}

/// What the downloader of the trace says, and hears.
fn trace_download(link: &mut Link<'_>) -> Result<(), Error> {
    link.await_confirmation()?;
    let mut plaintext = Vec::new();
    for _ in 0..5 {
        link.next()?.expect("all comes with the offer").encode(&mut plaintext);
    }
    check("trace upload plaintext 0", &plaintext);
    link.put(&Message::Accept)?;
    link.flush()?;
    link.put(&Message::Receipt { entries: 1, bytes: 6 })?;
    link.finish()?;
    assert_eq!(link.next()?, None);
    Ok(())
}

#[test]
fn a_whole_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.txt");
    fs::write(&path, "hello\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000);
    File::open(&path).unwrap().set_modified(time).unwrap();
    let mut outgoing = Outgoing::collect(&[&path], WalkOptions::default()).unwrap();

    let (ours, theirs) = UnixStream::pair().unwrap();
    let (_, [upload, download]) = trace_handshake();
    let (upload, sent) = trace_session(ours, Side::Upload, upload);
    let (download, answered) = trace_session(theirs, Side::Download, download);
    let cancel = Cancel::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| link::run(download, &mut (), &cancel, trace_download).unwrap());
        super::upload(upload, &mut outgoing, &mut (), &cancel).unwrap();
    });
    for (word, log, records) in [("upload", sent, 2), ("download", answered, 2)] {
        let bytes = log.lock().unwrap();
        let mut said = &bytes[32..];
        check(&format!("trace {word} confirmation"), &bytes[..32]);
        for number in 0..records {
            let length = 4 + u32::from_be_bytes([0, said[1], said[2], said[3]]) as usize + 16;
            check(&format!("trace {word} record {number}"), &said[..length]);
            said = &said[length..];
        }
        assert!(said.is_empty());
    }
}
