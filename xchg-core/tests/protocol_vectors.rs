//! Replays the test vectors of PROTOCOL.md section 4: they are its promise to whoever implements it
//! elsewhere.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Decoded, Greeting, Matched, Offer, RefusalCode,
    StatusReport, Token, Wait, Waiting,
};
use xchg_core::{Error, Key, Realm, Side};

#[derive(Debug, Clone)]
struct Vector {
    /// `greeting` or `answer`.
    kind: &'static str,
    name: &'static str,
    /// `says`, `reads` or `error`.
    verb: &'static str,
    what: &'static str,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let protocol = include_str!("../../PROTOCOL.md");
    let (_, section) = protocol.split_once("## 4. Test vectors").unwrap();
    let blocks = section.split("```").skip(1).step_by(2);
    let mut vectors: Vec<Vector> = Vec::new();
    for line in blocks.flat_map(|block| block.lines().skip(1)).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, vectors.last_mut()) {
            ("greeting" | "answer", _) => {
                let bytes = Vec::new();
                vectors.push(Vector { kind: word, name: rest, verb: "", what: "", bytes });
            }
            ("says" | "reads" | "error", Some(vector)) => {
                (vector.verb, vector.what) = (word, rest.trim_start());
            }
            ("bytes", Some(vector)) => vector.bytes.extend(hex(rest)),
            _ => panic!("no vector has such a line: {line}"),
        }
    }
    vectors
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn every_vector_is_written_and_read_as_the_protocol_says() {
    for vector in vectors() {
        match vector.kind {
            "greeting" => check(&vector, Greeting::decode, greeting, Greeting::encode),
            _ => check(&vector, Answer::decode, answer, |answer| {
                answer.as_ref().expect("what has no name cannot be said").encode()
            }),
        }
    }
}

#[test]
fn the_vectors_cover_every_message_and_every_reason_to_refuse() {
    let vectors = vectors();
    let names: BTreeSet<_> = vectors.iter().map(|vector| (vector.kind, vector.name)).collect();
    assert_eq!(names.len(), vectors.len(), "each has a name of its own");
    let said: BTreeSet<(&str, u8)> = vectors
        .iter()
        .filter(|vector| vector.verb == "says")
        .map(|vector| (vector.kind, vector.bytes[if vector.kind == "greeting" { 5 } else { 0 }]))
        .collect();
    let greetings = (1..=4).map(|command| ("greeting", command));
    let answers = (1..=5).map(|kind| ("answer", kind));
    assert_eq!(said, greetings.chain(answers).collect());
    let codes: BTreeSet<u8> = vectors
        .iter()
        .filter(|vector| vector.what.starts_with("refused"))
        .map(|vector| vector.bytes[4])
        .collect();
    assert!((1..=7).all(|code| codes.contains(&code)), "{codes:?}");
}

/// Replays one vector with the decoder and the encoder of its kind.
fn check<T: PartialEq + Debug>(
    vector: &Vector,
    decode: fn(&[u8]) -> Result<Decoded<T>, Error>,
    parse: fn(&str) -> T,
    encode: fn(&T) -> Vec<u8>,
) {
    let Vector { name, bytes, what, .. } = vector;
    if vector.verb == "error" {
        let error = decode(bytes).expect_err(name);
        assert_eq!(name_of(&error), *what, "{name}: {error}");
        return;
    }
    let len = bytes.len();
    for cut in 0..len {
        assert_eq!(decode(&bytes[..cut]).unwrap(), Decoded::Partial, "{name}, {cut} bytes of it");
    }
    let with_more = [bytes, &b"what follows"[..]].concat();
    for bytes in [bytes, &with_more] {
        let message = parse(what);
        assert_eq!(decode(bytes).unwrap(), Decoded::Whole { message, len }, "{name}");
    }
    let written = (vector.verb == "says").then(|| encode(&parse(what)));
    assert!(written.is_none_or(|written| written == *bytes), "{name} is written otherwise");
}

fn name_of(error: &Error) -> &'static str {
    match error {
        Error::NotNative => "not-native",
        Error::Version { .. } => "version",
        Error::Unsupported { .. } => "unsupported",
        Error::KeyLength { .. } => "key",
        Error::Malformed { .. } => "malformed",
        _ => "another",
    }
}

/// The fields of a message, by name.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    /// Takes `what` apart: a message's name, then `field=value`, of which a text goes to the end of
    /// the line.
    fn of(what: &'a str) -> (&'a str, Self) {
        let (what, text) = what.split_once(" text=").map_or((what, None), |(w, t)| (w, Some(t)));
        let mut words = what.split(' ');
        let name = words.next().unwrap();
        let fields = words.map(|word| word.split_once('=').unwrap());
        (name, Fields(fields.chain(text.map(|text| ("text", text))).collect()))
    }

    fn number<N: std::str::FromStr<Err: Debug>>(&self, name: &str) -> Option<N> {
        self.0.get(name).map(|value| value.parse().unwrap())
    }

    fn realm(&self, name: &str) -> Option<Realm> {
        self.0.get(name).map(|&value| match value {
            "plain" => Realm::Plain,
            "sealed" => Realm::Sealed,
            other => panic!("realm {other}"),
        })
    }
}

fn greeting(what: &str) -> Greeting {
    let (name, fields) = Fields::of(what);
    let offer = |side| {
        let key = Key::parse(&hex(fields.0["key"])).unwrap();
        let mut offer = Offer::new(fields.realm("realm").unwrap(), side, key);
        offer.wait = match fields.number::<i64>("wait").unwrap() {
            -1 => Wait::Forever,
            millis => Wait::AtMost(Duration::from_millis(millis.try_into().unwrap())),
        };
        offer.length = fields.number("length");
        offer.buffer_bytes = fields.number("buffer");
        offer.twin = fields.0.get("twin").map(|twin| Key::parse(&hex(twin)).unwrap());
        Command::Offer(offer)
    };
    let mut greeting = Greeting::new(match name {
        "upload" => offer(Side::Upload),
        "download" => offer(Side::Download),
        "terminate" => Command::Terminate,
        "status" => Command::Status,
        other => panic!("greeting {other}"),
    });
    greeting.token = fields.0.get("token").map(|token| Token::parse(&hex(token)).unwrap());
    greeting
}

fn answer(what: &str) -> Option<Answer> {
    let (name, fields) = Fields::of(what);
    let number = |name| fields.number(name).unwrap();
    Some(match name {
        "nothing" => return None,
        "waiting" => {
            let mut waiting = Waiting::default();
            waiting.elsewhere = fields.realm("elsewhere");
            Answer::Waiting(waiting)
        }
        "heartbeat" => Answer::Heartbeat,
        "matched" => Answer::Matched(Matched::new(
            match fields.0["dialect"] {
                "native" => CounterpartDialect::Native,
                "classic" => CounterpartDialect::Classic,
                "http" => CounterpartDialect::Http,
                other => panic!("dialect {other}"),
            },
            fields.number("length"),
        )),
        "refused" => {
            let text = fields.0["text"].to_owned();
            Answer::Refused { code: code(fields.number("code").unwrap()), text }
        }
        "status" => Answer::Status(StatusReport {
            waiting: number("waiting"),
            exchanging: number("exchanging"),
            completed: number("completed"),
            failed: number("failed"),
            uptime_millis: number("uptime"),
            draining: fields.0["draining"] == "01",
        }),
        other => panic!("answer {other}"),
    })
}

fn code(code: u16) -> RefusalCode {
    match code {
        1 => RefusalCode::Malformed,
        2 => RefusalCode::Version,
        3 => RefusalCode::Busy,
        4 => RefusalCode::TimedOut,
        5 => RefusalCode::Draining,
        6 => RefusalCode::Forbidden,
        7 => RefusalCode::Unsupported,
        other => RefusalCode::Other(other),
    }
}
