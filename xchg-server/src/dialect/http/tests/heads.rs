//! Which requests are taken, which refused, and that reading them in pieces changes nothing.

use proptest::prelude::*;

use super::*;
use crate::dialect::http::head::MAX_HEAD_BYTES;
use crate::dialect::http::multipart::MAX_BOUNDARY_BYTES;

/// The status line of the refusal of `head`.
fn refusal(head: &str) -> String {
    match parse(head.as_bytes()) {
        Head::Bad(response) => {
            let response = text(&response);
            assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
            assert!(response.contains("\r\n\r\n[ERROR] "), "{response}");
            response[9..12].to_owned()
        }
        other => panic!("{head:?} gives {other:?}"),
    }
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    for (start, fields, status) in [
        // Two lengths, or one that is none.
        ("POST /k HTTP/1.1", "Content-Length: 3\r\nTransfer-Encoding: chunked", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 3", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 3\r\nContent-Length: 3", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 3\r\ncontent-length: 4", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 3, 3", "400"),
        ("POST /k HTTP/1.1", "Content-Length: +3", "400"),
        ("POST /k HTTP/1.1", "Content-Length: -3", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 0x3", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 3 3", "400"),
        ("POST /k HTTP/1.1", "Content-Length:", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 9223372036854775808", "400"),
        ("POST /k HTTP/1.1", "Content-Length: 99999999999999999999", "400"),
        // Codings that another parser may see, or not.
        ("POST /k HTTP/1.1", "Transfer-Encoding: gzip, chunked", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: chunked, chunked", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: chunked, identity", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: identity", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: xchunked", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: \"chunked\"", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: chunked;q=1", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: \u{b}chunked", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding:", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "400"),
        ("POST /k HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "400"),
        ("POST /k HTTP/1.0", "Transfer-Encoding: chunked", "400"),
        ("POST /k HTTP/1.0", "A: b", "411"),
        // Names and lines.
        ("POST /k HTTP/1.1", "Transfer-Encoding : chunked", "400"),
        ("POST /k HTTP/1.1", " Transfer-Encoding: chunked", "400"),
        ("POST /k HTTP/1.1", "A: b\r\n folded: c", "400"),
        ("POST /k HTTP/1.1", "A: b\r\n\tfolded", "400"),
        ("POST /k HTTP/1.1", "A: b\nContent-Length: 3", "400"),
        ("POST /k HTTP/1.1", "A: b\rContent-Length: 3", "400"),
        ("POST /k HTTP/1.1", "A: b\0", "400"),
        ("POST /k HTTP/1.1", "A: \u{1b}[31m", "400"),
        ("POST /k HTTP/1.1", "no colon", "400"),
        ("POST /k HTTP/1.1", ": nameless", "400"),
        ("POST /k HTTP/1.1", "A\u{e4}: b", "400"),
        // Fields that mean one thing.
        ("GET /k HTTP/1.1", "Host: other", "400"),
        ("POST /k HTTP/1.1", "Content-Type: a/b\r\nContent-Type: c/d", "400"),
        ("POST /k HTTP/1.1", "Expect: 200-maybe", "417"),
        // Bodies where none belongs.
        ("GET /k HTTP/1.1", "Content-Length: 1", "400"),
        ("GET /k HTTP/1.1", "Transfer-Encoding: chunked", "400"),
        ("HEAD / HTTP/1.1", "Content-Length: 1", "400"),
        ("OPTIONS /k HTTP/1.1", "Transfer-Encoding: chunked", "400"),
        // Request lines.
        ("GET  /k HTTP/1.1", "A: b", "400"),
        ("GET /k  HTTP/1.1", "A: b", "505"),
        ("GET\t/k HTTP/1.1", "A: b", "400"),
        ("GET /k", "A: b", "400"),
        ("GET /k HTTP/1.1 ", "A: b", "400"),
        ("GET /k HTTP/1.2", "A: b", "505"),
        ("GET /k HTTP/2.0", "A: b", "505"),
        ("GET /k http/1.1", "A: b", "505"),
        ("G(T /k HTTP/1.1", "A: b", "400"),
        ("GET k HTTP/1.1", "A: b", "400"),
        ("GET * HTTP/1.1", "A: b", "400"),
        ("GET /%zz HTTP/1.1", "A: b", "400"),
        ("GET /a#b HTTP/1.1", "A: b", "400"),
        ("CONNECT host:80 HTTP/1.1", "A: b", "405"),
    ] {
        let head = format!("{start}\r\nHost: h\r\n{fields}\r\n\r\n");
        assert_eq!(refusal(&head), status, "{head:?}");
    }
    assert_eq!(refusal("GET /k HTTP/1.1\r\n\r\n"), "400", "no Host");
    assert_eq!(refusal("GET /k HTTP/1.1\n"), "400", "a bare LF, at once");
    assert_eq!(refusal("GET /k\rX"), "400", "a bare CR, at once");
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let head = |size: usize| {
        let start = "GET /k HTTP/1.1\r\nHost: h\r\nA: ";
        format!("{start}{}\r\n\r\n", "a".repeat(size - start.len() - 4))
    };
    assert!(matches!(parse(head(MAX_HEAD_BYTES).as_bytes()), Head::Request { .. }));
    assert_eq!(refusal(&head(MAX_HEAD_BYTES + 1)), "431");
    assert!(matches!(
        parse(&head(MAX_HEAD_BYTES + 1).as_bytes()[..MAX_HEAD_BYTES - 1]),
        Head::Partial
    ));
    assert_eq!(refusal(&"\r\n".repeat(MAX_HEAD_BYTES)), "431");
    let many = format!("GET /k HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(refusal(&many), "431");
    assert_eq!(refusal(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "k".repeat(256))), "414");
}

#[test]
fn an_upload_says_where_its_payload_is() {
    let mut chunked =
        upload("POST /a%2Fb?n=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n");
    assert_eq!((chunked.key.as_bytes(), chunked.length()), (&b"a/b"[..], None));
    let (body, description) = chunked.open();
    assert!(matches!(body, Body::Framed(body) if body == BodyDecoder::chunked()));
    assert!(description.is_none() && chunked.reply_to.keep_alive);

    let mut sized = upload(
        "PUT http://h/k HTTP/1.1\r\nHost: other\r\nConnection: x, Close\r\ncontent-length: 0012\r\n\
         Expect: 100-Continue\r\nContent-Type: a/b\r\nX-Piping: 1\r\nx-piping: 2\r\n\r\n",
    );
    assert_eq!((sized.key.as_bytes(), sized.length()), (&b"k"[..], Some(12)));
    let (body, description) = sized.open();
    assert!(matches!(body, Body::Framed(body) if body == BodyDecoder::with_length(12)));
    assert!(sized.expects_continue && !sized.reply_to.keep_alive);
    assert_eq!(description.expect("it has a type").x_piping.len(), 2);

    let empty = upload("\r\nPOST /k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((empty.length(), empty.expects_continue), (Some(0), false));

    let old = upload("POST /k HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!((old.length(), old.expects_continue), (Some(3), false));
    assert!(!old.reply_to.keep_alive);

    let mut form = upload(
        "POST /k HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\
         Content-Type: Multipart/Form-Data; boundary=\"a b\"\r\n\r\n",
    );
    assert_eq!(form.length(), None);
    assert!(matches!(form.open(), (Body::Form(_), None)));
}

#[test]
fn a_download_names_its_key() {
    let new = download("GET /k?n=1&download HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(new.key.as_bytes(), b"k");
    assert_eq!(new.reply_to.version, Version::Http11);
    let old = download("GET /k HTTP/1.0\r\n\r\n");
    assert_eq!((old.reply_to.version, old.reply_to.keep_alive), (Version::Http10, false));
}

#[test]
fn waiting_requests_are_small() {
    assert!(size_of::<Upload>() <= 72, "{}", size_of::<Upload>());
    assert!(size_of::<Download>() <= 32, "{}", size_of::<Download>());
}

/// What is kept of an upload while it waits, in bytes.
fn kept_bytes(upload: &Upload) -> usize {
    /// What an allocator adds to a piece of memory, and a counted pointer to what it points to.
    const PIECE: usize = 16;
    let values = upload.description.iter().flat_map(|description| {
        let Description { media_type, disposition, x_piping } = &**description;
        media_type.iter().chain(disposition).chain(x_piping)
    });
    let values = values.map(|value| size_of::<FieldValue>() + value.as_bytes().len() + PIECE);
    size_of::<Peer>()
        + size_of::<Description>()
        + upload.key.as_bytes().len()
        + 3 * PIECE
        + values.sum::<usize>()
}

#[test]
fn an_upload_whose_head_is_too_much_to_keep_is_refused() {
    let of = |len: usize| "v".repeat(len);
    let many = "X-Piping: v\r\n".repeat(60);
    for (key_len, fields, status) in [
        (9, format!("X-Piping: {}\r\n", of(1024)), 200),
        (9, format!("X-Piping: {}\r\n", of(1025)), 431),
        (9, format!("Content-Type: {}\r\n", of(1025)), 431),
        (9, format!("Content-Disposition: {}\r\n", of(1025)), 431),
        (255, format!("X-Piping: {}\r\n", of(993)), 200),
        (255, format!("X-Piping: {}\r\n", of(994)), 431),
        (9, format!("X-Piping: {0}\r\nX-Piping: {0}\r\n", of(700)), 431),
        (9, format!("Content-Type: {0}\r\nContent-Disposition: {0}\r\n", of(700)), 431),
        (9, many, 431),
        // These are not kept.
        (9, format!("Idempotency-Key: {0}\r\nCookie: {0}\r\n", of(7000)), 200),
    ] {
        let key = "k".repeat(key_len);
        for method in ["PUT", "GET"] {
            let head = format!("{method} /{key} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            match action(&head) {
                Action::Upload(upload) => {
                    assert_eq!((method, status), ("PUT", 200));
                    assert!(kept_bytes(&upload) <= 2048, "{} bytes", kept_bytes(&upload));
                }
                Action::Download(_) => assert_eq!(method, "GET"),
                Action::Reply { bytes, .. } => {
                    assert_eq!((method, taken_apart(&bytes).0), ("PUT", status));
                    let name =
                        fields.rsplit_once(':').and_then(|(fields, _)| fields.rsplit('\n').next());
                    assert!(text(&bytes).contains(&format!("the header {}", name.unwrap_or(""))));
                }
                Action::Health(_) => panic!("{key} is none"),
            }
        }
    }
}

#[test]
fn boundaries_are_as_rfc_2046_has_them() {
    let long = "b".repeat(MAX_BOUNDARY_BYTES);
    let too_long = "b".repeat(MAX_BOUNDARY_BYTES + 1);
    for (parameter, accepted) in [
        ("boundary=b", true),
        ("charset=x; Boundary=\"it's (a+b_c,d-e./f:g=h?i)\"", true),
        (&format!("boundary={long}"), true),
        (&format!("boundary={too_long}"), false),
        ("boundary=", false),
        ("boundary=\"\"", false),
        ("boundary=\"b \"", false),
        ("boundary=b\u{e4}", false),
        ("boundary=a;boundary=b", false),
        ("boundary=a*b", false),
        ("boundary=\"a\\b\"", false),
        ("charset=x", false),
    ] {
        let head = format!(
            "POST /k HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\
             Content-Type: multipart/form-data; {parameter}\r\n\r\n"
        );
        assert_eq!(matches!(action(&head), Action::Upload(_)), accepted, "{parameter}");
    }
}

/// Whether an action keeps the promises that its type makes.
fn is_sound(action: &Action) -> bool {
    match action {
        Action::Upload(upload) => upload.receivers == 1,
        Action::Download(_) | Action::Health(_) => true,
        Action::Reply { bytes, .. } => bytes.starts_with(b"HTTP/1."),
    }
}

/// Lines that make up heads, good and bad ones.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::sample::select(vec![
            "GET /key HTTP/1.1\r\n", "POST /k?n=1 HTTP/1.1\r\n", "PUT /k HTTP/1.0\r\n",
            "Host: host\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\n", "X-Piping: a\r\n", "\r\n", "\r\n\r\n",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => proptest::sample::select(vec!["\n", "\r", "Bad\n", " folded\r\n", "\0"])
            .prop_map(|line| line.as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn a_head_read_in_pieces_is_the_head_read_at_once(
        lines in proptest::collection::vec(line(), 0..8)
    ) {
        let input = lines.concat();
        let whole = parse(&input);
        for end in 0..input.len() {
            match (parse(&input[..end]), &whole) {
                (Head::Partial, _) => {}
                (Head::Bad(_), Head::Bad(_)) => {}
                (Head::Request { len, request }, Head::Request { len: all, request: expected }) => {
                    prop_assert_eq!((len, &request), (*all, expected));
                }
                (piece, whole) => prop_assert!(false, "{:?} {:?}", piece, whole),
            }
        }
    }

    #[test]
    fn any_bytes_are_answered_or_awaited(input in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Head::Request { len, request } = parse(&input) {
            prop_assert!(len <= input.len());
            prop_assert!(is_sound(&request.action()));
        }
    }

    #[test]
    fn any_field_is_taken_or_refused(
        name in "(host|content-type|content-length|x-piping|expect|content-disposition|connection)",
        value in proptest::collection::vec(any::<u8>(), 0..100)
    ) {
        let head = [b"POST /k HTTP/1.1\r\nHost: h\r\n", name.as_bytes(), b": ", &value, b"\r\n\r\n"];
        if let Head::Request { request, .. } = parse(&head.concat()) {
            prop_assert!(is_sound(&request.action()));
        }
    }

    #[test]
    fn what_is_kept_of_any_upload_is_bounded(
        key_len in 1..=255usize,
        values in proptest::collection::vec(("(Content-Type|Content-Disposition|X-Piping)", 0..1100usize), 0..80)
    ) {
        let mut head = format!("PUT /{} HTTP/1.1\r\nHost: h\r\n", "k".repeat(key_len));
        for (name, len) in values {
            head += &format!("{name}: {}\r\n", "v".repeat(len));
        }
        if let Head::Request { request, .. } = parse((head + "\r\n").as_bytes())
            && let Action::Upload(upload) = request.action()
        {
            prop_assert!(kept_bytes(&upload) <= 2048);
        }
    }
}
