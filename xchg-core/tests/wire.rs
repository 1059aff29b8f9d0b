//! The native handshake's codec: what it writes it reads, however it is cut, and no bytes upset it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fmt::Debug;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Decoded, Greeting, MAX_BODY_LEN, Matched, Offer,
    RefusalCode, StatusReport, Token, Wait, Waiting,
};
use xchg_core::{Error, Key, Realm, Side};

fn realm() -> impl Strategy<Value = Realm> {
    prop::sample::select(&[Realm::Plain, Realm::Sealed])
}

fn offer() -> impl Strategy<Value = Offer> {
    let wait = prop_oneof![
        Just(Wait::Forever),
        (0..=i64::MAX.unsigned_abs())
            .prop_map(|millis| Wait::AtMost(Duration::from_millis(millis))),
    ];
    let key = || vec(any::<u8>(), 1..=Key::MAX_LEN).prop_map(|key| Key::parse(&key).unwrap());
    let side = prop::sample::select(&Side::BOTH);
    (realm(), side, key(), wait, any::<Option<u64>>(), any::<Option<u32>>(), any::<bool>())
        .prop_map(|(realm, side, key, wait, length, buffer_bytes, has_twin)| {
            let (key, twin) = match (has_twin, realm) {
                (false, _) => (key, None),
                (true, Realm::Sealed) => (key.meeting_key(), Some(key)),
                (true, _) => (key.clone(), Some(key.meeting_key())),
            };
            let mut offer = Offer::new(realm, side, key);
            (offer.wait, offer.length, offer.buffer_bytes) = (wait, length, buffer_bytes);
            offer.twin = twin;
            offer
        })
}

fn greeting() -> impl Strategy<Value = Greeting> {
    let command = prop_oneof![
        3 => offer().prop_map(Command::Offer),
        1 => Just(Command::Terminate),
        1 => Just(Command::Status),
    ];
    let token =
        vec(any::<u8>(), 1..=Token::MAX_LEN).prop_map(|token| Token::parse(&token).unwrap());
    (command, option::of(token)).prop_map(|(command, token)| {
        let mut greeting = Greeting::new(command);
        greeting.token = token;
        greeting
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let waiting = option::of(realm()).prop_map(|elsewhere| {
        let mut waiting = Waiting::default();
        waiting.elsewhere = elsewhere;
        Answer::Waiting(waiting)
    });
    let dialect = prop_oneof![
        Just(CounterpartDialect::Native),
        Just(CounterpartDialect::Classic),
        Just(CounterpartDialect::Http),
        (4..=u8::MAX).prop_map(CounterpartDialect::Other),
    ];
    let matched = (dialect, any::<Option<u64>>())
        .prop_map(|(dialect, length)| Answer::Matched(Matched::new(dialect, length)));
    let code = prop_oneof![
        Just(RefusalCode::Malformed),
        Just(RefusalCode::Busy),
        Just(RefusalCode::Forbidden),
        (8..=u16::MAX).prop_map(RefusalCode::Other),
    ];
    let text = ".{0,300}".prop_filter("short enough", |text| text.len() <= Answer::MAX_TEXT_LEN);
    let refused = (code, text).prop_map(|(code, text)| Answer::Refused { code, text });
    let status = any::<([u64; 5], bool)>().prop_map(
        |([waiting, exchanging, completed, failed, uptime_millis], draining)| {
            let report =
                StatusReport { waiting, exchanging, completed, failed, uptime_millis, draining };
            Answer::Status(report)
        },
    );
    prop_oneof![waiting, Just(Answer::Heartbeat), matched, refused, status]
}

type Decode<T> = fn(&[u8]) -> Result<Decoded<T>, Error>;

/// Checks that `bytes` read as `message` once they are all there, and not before, whatever follows
/// them.
fn assert_reads<T: PartialEq + Debug>(
    decode: Decode<T>,
    bytes: &[u8],
    message: T,
    what_follows: &[u8],
) {
    for cut in 0..bytes.len() {
        assert_eq!(decode(&bytes[..cut]).unwrap(), Decoded::Partial, "after {cut} bytes");
    }
    let stream = [bytes, what_follows].concat();
    assert_eq!(decode(&stream).unwrap(), Decoded::Whole { message, len: bytes.len() });
}

/// Checks that what is read from any bytes is bounded by them, and reads the same once it is
/// written again.
fn assert_sane<T: PartialEq + Debug>(decode: Decode<T>, bytes: &[u8], encode: fn(&T) -> Vec<u8>) {
    if let Ok(Decoded::Whole { message, len }) = decode(bytes) {
        assert!(len <= bytes.len() && len <= 8 + MAX_BODY_LEN);
        let again = encode(&message);
        let len = again.len();
        assert!(again.is_empty() || decode(&again).unwrap() == Decoded::Whole { message, len });
    }
}

fn encode_answer(answer: &Option<Answer>) -> Vec<u8> {
    answer.as_ref().map(Answer::encode).unwrap_or_default()
}

proptest! {
    #[test]
    fn a_greeting_reads_as_it_was_written_however_it_is_cut(
        greeting in greeting(),
        what_follows in vec(any::<u8>(), 0..20),
    ) {
        assert_reads(Greeting::decode, &greeting.encode(), greeting, &what_follows);
    }

    #[test]
    fn an_answer_reads_as_it_was_written_however_it_is_cut(
        answer in answer(),
        what_follows in vec(any::<u8>(), 0..20),
    ) {
        assert_reads(Answer::decode, &answer.encode(), Some(answer), &what_follows);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        assert_sane(Answer::decode, &bytes, encode_answer);
        assert_sane(Greeting::decode, &bytes, Greeting::encode);
        // Past the magic and the version.
        assert_sane(Greeting::decode, &[b"xchg\x01", &bytes[..]].concat(), Greeting::encode);
    }

    #[test]
    fn messages_with_bytes_changed_are_read_or_refused(
        (greeting, answer) in (greeting(), answer()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let changed = |mut bytes: Vec<u8>| {
            changes.iter().for_each(|(index, byte)| *index.get_mut(&mut bytes) = *byte);
            bytes
        };
        assert_sane(Greeting::decode, &changed(greeting.encode()), Greeting::encode);
        assert_sane(Answer::decode, &changed(answer.encode()), encode_answer);
    }
}

fn greeting_of(command: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&b"xchg\x01"[..], &[command], &len, body].concat()
}

fn answer_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &len[..], body].concat()
}

#[test]
fn a_malformed_greeting_is_refused_with_the_rule_it_breaks() {
    const FIXED: &[u8] = b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01k";
    let offer_with = |extension: &[u8]| greeting_of(1, &[FIXED, extension].concat());
    let cases = [
        (b"xch0".to_vec(), "does not speak the xchg protocol"),
        (b"P".to_vec(), "does not speak the xchg protocol"),
        (b"xchg\x00".to_vec(), "peer speaks version 0, this build 1"),
        (b"xchg\x01\x04\x08\x01".to_vec(), "at most 2048 bytes"),
        (greeting_of(0, b""), "unsupported command 0"),
        (greeting_of(5, b""), "unsupported command 5"),
        (greeting_of(1, b""), "an offer is cut short"),
        (greeting_of(1, &FIXED[..5]), "an offer is cut short"),
        (greeting_of(2, &FIXED[..9]), "an offer is cut short"),
        (greeting_of(2, &FIXED[..10]), "an offer is cut short"),
        (greeting_of(1, &[b"\x02", &FIXED[1..]].concat()), "unsupported realm 2"),
        (greeting_of(1, &[b"\x00\x80", &FIXED[2..]].concat()), "wait is -1 or at least 0"),
        (greeting_of(1, &[&FIXED[..9], b"\x00"].concat()), "key is 0 bytes long"),
        (offer_with(b"\x00"), "head is cut short"),
        (offer_with(b"\x00\x09\x00\x02\x00"), "value is cut short"),
        (offer_with(b"\x00\x01\x00\x00"), "a token has 1 to 255 bytes"),
        (offer_with(b"\x00\x02\x00\x01\x00"), "wrong size"),
        (offer_with(b"\x00\x03\x00\x08\0\0\0\0\0\0\0\0"), "wrong size"),
        (greeting_of(3, &[b"\x00\x01\x01\x00", &[7; 256][..]].concat()), "a token has 1 to 255"),
    ];
    for (bytes, why) in cases {
        let error = Greeting::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{bytes:02x?}: {error}, not {why}");
    }
}

#[test]
fn a_malformed_answer_is_refused_with_the_rule_it_breaks() {
    let cases = [
        (b"\x01\x08\x01".to_vec(), "at most 2048 bytes"),
        (answer_of(1, b"\x00\x05\x00\x00"), "wrong size"),
        (answer_of(1, b"\x00"), "head is cut short"),
        (answer_of(3, b""), "lacks the counterpart's dialect"),
        (answer_of(3, b"\x00\x04\x00\x02\x01\x01"), "wrong size"),
        (answer_of(3, b"\x00\x04\x00\x01\x01\x00\x02\x00\x01\x00"), "wrong size"),
        (answer_of(4, b"\x00"), "lacks its code"),
        (answer_of(5, &[0; 40]), "41 bytes"),
        (answer_of(5, &[0; 42]), "41 bytes"),
    ];
    for (bytes, why) in cases {
        let error = Answer::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{bytes:02x?}: {error}, not {why}");
    }
}

#[test]
fn a_wait_in_finer_units_is_rounded_down_and_an_endless_one_is_cut() {
    let max = i64::MAX.unsigned_abs();
    for (wait, read) in [
        (Duration::from_micros(1_999), Duration::from_millis(1)),
        (Duration::from_millis(max), Duration::from_millis(max)),
        (Duration::MAX, Duration::from_millis(max)),
    ] {
        let mut offer = Offer::new(Realm::Plain, Side::Upload, Key::parse(b"k").unwrap());
        offer.wait = Wait::AtMost(wait);
        let bytes = Greeting::new(Command::Offer(offer)).encode();
        let Decoded::Whole { message, .. } = Greeting::decode(&bytes).unwrap() else {
            panic!("it is whole")
        };
        assert!(
            matches!(message.command, Command::Offer(offer) if offer.wait == Wait::AtMost(read))
        );
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let text = format!("{}{}", "x".repeat(Answer::MAX_TEXT_LEN - 1), "é and more");
    let bytes = Answer::Refused { code: RefusalCode::Busy, text }.encode();
    let read = Answer::decode(&bytes).unwrap();
    let Decoded::Whole { message: Some(Answer::Refused { text, .. }), len } = read else {
        panic!("{read:?}")
    };
    assert_eq!((text, len), ("x".repeat(Answer::MAX_TEXT_LEN - 1), bytes.len()));
}

#[test]
fn a_text_that_is_no_utf_8_is_read_with_replacements() {
    let read = Answer::decode(&answer_of(4, b"\x00\x03a\xffb")).unwrap();
    let text = "a\u{fffd}b".to_owned();
    let message = Some(Answer::Refused { code: RefusalCode::Busy, text });
    assert_eq!(read, Decoded::Whole { message, len: 8 });
}

#[test]
fn a_token_is_not_shown() {
    let mut greeting = Greeting::new(Command::Terminate);
    greeting.token = Some(Token::parse(b"swordfish").unwrap());
    assert!(!format!("{greeting:?}").contains("swordfish"));
    assert!(Token::parse(b"").is_err() && Token::parse(&[7; Token::MAX_LEN + 1]).is_err());
}
