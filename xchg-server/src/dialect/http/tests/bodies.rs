//! Bodies: any payload comes through any framing, however it is cut, and no bytes do harm.

use std::num::NonZeroU64;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// How a body came out: its payload, what was left of the input, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    payload: Vec<u8>,
    rest: Vec<u8>,
    end: Step,
}

/// Decodes `input` as the engine does, reading it in pieces of the given sizes.
fn decode(mut decoder: BodyDecoder, input: &[u8], pieces: &[usize]) -> Decoded {
    let mut sizes = pieces.iter().copied().cycle();
    let (mut payload, mut buffer, mut unread) = (Vec::new(), Vec::new(), input);
    loop {
        match decoder.next(&buffer) {
            Step::Skip(n) => {
                assert!(n > 0);
                buffer.drain(..n);
            }
            Step::Pass(n) if !buffer.is_empty() => {
                assert!(n > 0);
                let n = buffer.len().min(usize::try_from(n).expect("a test's body"));
                payload.extend(buffer.drain(..n));
                decoder.passed(n as u64);
            }
            Step::NeedMore | Step::Pass(_) if !unread.is_empty() => {
                assert!(buffer.is_empty());
                let (piece, tail) = unread.split_at(sizes.next().unwrap_or(1).min(unread.len()));
                buffer.extend_from_slice(piece);
                unread = tail;
            }
            end => {
                buffer.extend_from_slice(unread);
                return Decoded { payload, rest: buffer, end };
            }
        }
    }
}

fn chunked(input: &str) -> Decoded {
    decode(BodyDecoder::chunked(), input.as_bytes(), &[input.len().max(1)])
}

#[test]
fn chunked_bodies_are_read_strictly() {
    for (input, payload, rest) in [
        ("0\r\n\r\nGET", "", "GET"),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", ""),
        ("A\r\n0123456789\r\n00\r\n\r\nx", "0123456789", "x"),
        ("1;name=\"value\"\r\na\r\n0;x\r\n\r\n", "a", ""),
        ("1\r\na\r\n0\r\nTrailer: dropped\r\nAnother: one\r\n\r\nx", "a", "x"),
    ] {
        let expected = Decoded { payload: payload.into(), rest: rest.into(), end: Step::End };
        assert_eq!(chunked(input), expected, "{input:?}");
    }
    for (input, error) in [
        ("\r\n", BodyError::ChunkLength),
        ("g\r\n", BodyError::ChunkLength),
        ("+1\r\n", BodyError::ChunkLength),
        ("0x1\r\n", BodyError::ChunkLength),
        ("1 \r\n", BodyError::ChunkLength),
        (" 1\r\n", BodyError::ChunkLength),
        ("-1\r\n", BodyError::ChunkLength),
        ("1,2\r\n", BodyError::ChunkLength),
        ("8000000000000000\r\n", BodyError::ChunkLength),
        ("10000000000000000\r\n", BodyError::ChunkLength),
        ("00000000000000001\r\n", BodyError::ChunkLength),
        ("1\n", BodyError::ChunkLength),
        ("1\rx", BodyError::LineBreak),
        ("1;x\ny\r\n", BodyError::LineBreak),
        ("1;x\ry", BodyError::LineBreak),
        ("1\r\nab\r\n", BodyError::LineBreak),
        ("1\r\na\n", BodyError::LineBreak),
        ("1\r\na\r\r", BodyError::LineBreak),
        ("0\r\n\n", BodyError::LineBreak),
        ("0\r\nA: b\n\r\n", BodyError::LineBreak),
        ("0\r\n\rx", BodyError::LineBreak),
    ] {
        assert_eq!(chunked(input).end, Step::Bad(error), "{input:?}");
    }
}

#[test]
fn what_is_dropped_of_a_chunked_body_is_bounded() {
    let extension = |len: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(len));
    assert_eq!(chunked(&extension(256)).end, Step::End);
    assert_eq!(chunked(&extension(257)).end, Step::Bad(BodyError::ChunkExtension));
    let trailer = |lines: usize| format!("0\r\n{}\r\n", "12345678\r\n".repeat(lines));
    assert_eq!(chunked(&trailer(1024)).end, Step::End);
    assert_eq!(chunked(&trailer(1025)).end, Step::Bad(BodyError::Trailer));
}

#[test]
fn a_length_is_passed_without_being_looked_at() {
    let mut body = BodyDecoder::with_length(1 << 40);
    assert_eq!(body.next(b""), Step::Pass(1 << 40));
    body.passed((1 << 40) - 1);
    assert_eq!(body.next(b"ab"), Step::Pass(1));
    body.passed(1);
    assert_eq!(body.next(b"b"), Step::End);
    assert_eq!(BodyDecoder::with_length(0).next(b"GET"), Step::End);
}

const BOUNDARY: &str = "xx-Boundary";

/// A part of a form: its header and its content.
type Part = (&'static str, Vec<u8>);

const FILE: &str =
    "Content-Disposition: form-data; name=\"f\"; filename=\"a;b.txt\"\r\nContent-Type: a/b\r\n";
const FIELD: &str = "Content-Disposition: form-data; name=\"filename\"\r\n";

fn form(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (head, content) in parts {
        bytes.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n").as_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    bytes
}

fn form_body(framing: &str) -> Box<MultipartBody> {
    let mut upload = upload(&format!(
        "POST /k HTTP/1.1\r\nHost: h\r\nX-Piping: kept\r\n{framing}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    ));
    match upload.open().0 {
        Body::Form(body) => body,
        Body::Framed(_) => panic!("a form"),
    }
}

/// Decodes a form in pieces; what is left of the input when the body has ended comes second.
fn decode_form(
    mut body: Box<MultipartBody>,
    input: &[u8],
    pieces: &[usize],
) -> Result<(Vec<u8>, usize, Option<Description>), BodyError> {
    let mut sizes = pieces.iter().copied().cycle();
    let (mut payload, mut unread) = (Vec::new(), input);
    while !body.has_ended() {
        let size = sizes.next().unwrap_or(1).min(unread.len());
        let taken = body.decode(&unread[..size], &mut payload)?;
        assert!(payload.is_empty() || body.description().is_some());
        assert!(taken == size || body.has_ended());
        unread = &unread[taken..];
        if unread.is_empty() {
            body.decode(b"", &mut payload)?;
            break;
        }
    }
    Ok((payload, unread.len(), body.description().cloned()))
}

fn whole_form(input: &[u8]) -> Result<Vec<u8>, BodyError> {
    let framing = format!("Content-Length: {}", input.len());
    decode_form(form_body(&framing), input, &[7]).map(|(payload, _, _)| payload)
}

#[test]
fn the_first_file_of_a_form_is_the_payload() {
    let file = |content: &str| (FILE, content.as_bytes().to_vec());
    let field = |content: &str| (FIELD, content.as_bytes().to_vec());
    for (parts, payload) in [
        (vec![file("content")], "content"),
        (vec![file("")], ""),
        (vec![file("\r\n--xx\r\n--\r\n")], "\r\n--xx\r\n--\r\n"),
        (vec![file("one"), file("two"), field("three")], "one"),
        (vec![field("one"), field("two"), file("three")], "three"),
        (vec![field("only")], "only"),
        (vec![field("first"), field("second")], "first"),
        (vec![("", b"bare".to_vec())], "bare"),
    ] {
        assert_eq!(whole_form(&form(&parts)), Ok(payload.into()), "{parts:?}");
    }
    let mut preamble = b"ignored\r\nlines\r\n".to_vec();
    preamble.extend(form(&[file("a")]));
    preamble.extend_from_slice(b"ignored too");
    assert_eq!(whole_form(&preamble), Ok(b"a".to_vec()));
    let padded = format!("--{BOUNDARY} \t\r\n{FILE}\r\na\r\n--{BOUNDARY}--");
    assert_eq!(whole_form(padded.as_bytes()), Ok(b"a".to_vec()));
}

#[test]
fn the_part_describes_the_payload() {
    let input = form(&[(FIELD, b"a".to_vec()), (FILE, b"b".to_vec())]);
    let body = form_body(&format!("Content-Length: {}", input.len()));
    let (_, _, description) = decode_form(body, &input, &[3]).expect("a form");
    let value = |text: &str| FieldValue::parse(text.as_bytes());
    let expected = Description {
        media_type: value("a/b"),
        disposition: value("form-data; name=\"f\"; filename=\"a;b.txt\""),
        x_piping: value("kept").into_iter().collect(),
    };
    assert_eq!(description, Some(expected));
}

#[test]
fn forms_that_are_none_are_refused() {
    let long_field = form(&[(FIELD, vec![b'a'; 64 * 1024 + 1])]);
    let long_head = format!("--{BOUNDARY}\r\nA: {}\r\n\r\n", "a".repeat(9 * 1024));
    for (input, error) in [
        (&b""[..], BodyError::NoFile),
        (b"text", BodyError::NoFile),
        (b"--xx-Boundary--\r\n", BodyError::NoFile),
        (&long_field, BodyError::NoFile),
        (b"--xx-Boundary\r\n\r\ncut", BodyError::NoFile),
        (b"--xx-BoundaryX\r\n\r\na\r\n--xx-Boundary--", BodyError::Boundary),
        (b"--xx-Boundary\n\r\na\r\n--xx-Boundary--", BodyError::Boundary),
        (b"--xx-Boundary-\r\n", BodyError::Boundary),
        (b"--xx-Boundary\r\nA: b\nC: d\r\n\r\n", BodyError::PartHead),
        (b"--xx-Boundary\r\nno colon\r\n\r\n", BodyError::PartHead),
        (b"--xx-Boundary\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n", BodyError::PartHead),
        (b"--xx-Boundary\r\nA: b\r\n folded\r\n\r\n", BodyError::PartHead),
        (long_head.as_bytes(), BodyError::PartHead),
    ] {
        let start = input[..input.len().min(60)].escape_ascii();
        assert_eq!(whole_form(input), Err(error), "{start}");
    }
}

/// Payloads that are likely to look like framing.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..30),
        proptest::sample::select(vec!["\r\n", "--", "\r\n--xx-Boundar", "0\r\n\r\n", "\r", "x"])
            .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(1..40usize, 1..6)
}

/// `payload` in chunks of the given sizes, by our own encoder.
fn encode(payload: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut encoder, mut bytes, mut rest) = (ChunkedEncoder::new(), Vec::new(), payload);
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        let len = NonZeroU64::new(chunk.len() as u64).expect("chunks have bytes");
        bytes.extend_from_slice(encoder.head(len).as_ref());
        bytes.extend_from_slice(chunk);
        rest = tail;
    }
    bytes.extend_from_slice(encoder.last());
    bytes
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(payload in payload(), sizes in pieces(), reads in pieces()) {
        let mut bytes = encode(&payload, &sizes);
        bytes.extend_from_slice(b"GET /");
        let decoded = decode(BodyDecoder::chunked(), &bytes, &reads);
        prop_assert_eq!(decoded, Decoded { payload, rest: b"GET /".to_vec(), end: Step::End });
    }

    #[test]
    fn any_bytes_decode_alike_however_they_are_read(
        bytes in vec(prop_oneof![any::<u8>(), proptest::sample::select(b"0123\r\n\r\n;a".to_vec())], 0..60),
        reads in pieces(),
    ) {
        let at_once = decode(BodyDecoder::chunked(), &bytes, &[bytes.len().max(1)]);
        let in_pieces = decode(BodyDecoder::chunked(), &bytes, &reads);
        prop_assert_eq!((&at_once.payload, at_once.end), (&in_pieces.payload, in_pieces.end));
    }

    #[test]
    fn a_form_gives_its_first_file_however_it_is_read(
        before in vec(payload(), 0..3),
        content in payload(),
        after in vec(payload(), 0..3),
        chunks in pieces(),
        reads in pieces(),
    ) {
        let mut parts: Vec<Part> = before.into_iter().map(|field| (FIELD, field)).collect();
        parts.push((FILE, content.clone()));
        parts.extend(after.into_iter().map(|file| (FILE, file)));
        let delimiter = format!("\r\n--{BOUNDARY}");
        let holds_it = |part: &Part| memchr::memmem::find(&part.1, delimiter.as_bytes()).is_some();
        prop_assume!(!parts.iter().any(holds_it));
        let plain = form(&parts);

        let body = form_body(&format!("Content-Length: {}", plain.len()));
        let (payload, rest, _) = decode_form(body, &[&plain[..], b"next"].concat(), &reads)
            .expect("a form");
        prop_assert_eq!((&payload, rest), (&content, 4));

        let body = form_body("Transfer-Encoding: chunked");
        let (payload, rest, _) = decode_form(body, &encode(&plain, &chunks), &reads).expect("a form");
        prop_assert_eq!((payload, rest), (content, 0));
    }

    #[test]
    fn any_bytes_are_a_form_or_none_however_they_are_read(
        bytes in vec(prop_oneof![
            vec(any::<u8>(), 0..4),
            proptest::sample::select(vec!["\r\n", "--", "\r\n--xx-Boundary", FILE, FIELD])
                .prop_map(|piece| piece.as_bytes().to_vec()),
        ], 0..20),
        reads in pieces(),
    ) {
        let bytes = bytes.concat();
        let framing = format!("Content-Length: {}", bytes.len());
        let at_once = decode_form(form_body(&framing), &bytes, &[bytes.len().max(1)]);
        let in_pieces = decode_form(form_body(&framing), &bytes, &reads);
        prop_assert_eq!(at_once, in_pieces);
    }
}
