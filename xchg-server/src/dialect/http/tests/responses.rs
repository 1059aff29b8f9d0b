//! Every response: the words, the status, and that no peer can put a line of its own in.

use proptest::prelude::*;

use super::*;
use crate::dialect::http::answer::{Failure, Notice, UploadAnswer};
use crate::dialect::http::respond::{CONTINUE, PROCESSING};

const OLD: ReplyTo = ReplyTo { version: Version::Http10, hears_early: false, ..ReplyTo::CLOSING };

#[test]
fn what_piping_server_refuses_is_refused_in_its_words() {
    for (start, fields, status, words) in [
        ("POST /help", "", "400", "Cannot send to the reserved path '/help'. (e.g. '/mypath123')"),
        ("PUT /", "", "400", "Cannot send to the reserved path '/'. (e.g. '/mypath123')"),
        (
            "PUT /healthz",
            "",
            "400",
            "Cannot send to the reserved path '/healthz'. (e.g. '/mypath123')",
        ),
        ("PUT /%68elp", "", "400", "Cannot send to the reserved path '/help'. (e.g. '/mypath123')"),
        (
            "PUT /k",
            "Content-Range: bytes 0-1/2\r\n",
            "400",
            "Content-Range is not supported for now in PUT",
        ),
        ("GET /k", "Service-Worker: script\r\n", "400", "Service Worker registration is rejected."),
        ("GET /k?n=0", "", "400", "n should > 0, but n = 0."),
        ("POST /k?n=-2", "", "400", "n should > 0, but n = -2."),
        ("GET /k?n=x", "", "400", "Invalid query parameter \"n\""),
        ("PUT /k?n=x", "", "400", "Invalid \"n\" query parameter"),
        ("GET /k?n=65", "", "400", "n = 65 is too many: at most 64 receivers for one sender."),
        ("DELETE /k", "", "405", "Unsupported method: DELETE."),
        (
            "POST /k",
            "Content-Type: multipart/form-data\r\n",
            "400",
            "the form's boundary is missing or not as RFC 2046 has it",
        ),
    ] {
        let response = reply(&format!("{start} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        assert_eq!(&response[..12], &format!("HTTP/1.1 {status}"), "{response}");
        assert!(response.ends_with(&format!("\r\n\r\n[ERROR] {words}\n")), "{response}");
        assert!(response.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{response}");
        assert!(
            response.contains(&format!("\r\nContent-Length: {}\r\n", words.len() + 9)),
            "{response}"
        );
    }
}

/// The status of the answer to a GET with the field, or 200 if it is taken.
fn status_of_get(field: &str) -> u16 {
    match action(&format!("GET /k HTTP/1.1\r\nHost: h\r\n{field}\r\n")) {
        Action::Download(_) => 200,
        Action::Reply { bytes, keep_alive } => {
            let (status, fields, body) = taken_apart(&bytes);
            assert!(body.starts_with(b"[ERROR] ") && keep_alive, "{field}");
            assert!(
                fields.contains(&("cache-control".to_owned(), b"no-store".to_vec())),
                "{field}"
            );
            status
        }
        other => panic!("{field} gives {other:?}"),
    }
}

#[test]
fn what_no_person_asks_for_is_not_taken() {
    for (field, status) in [
        ("Sec-Purpose: prefetch\r\n", 403),
        ("Sec-Purpose: prefetch;prerender\r\n", 403),
        ("Sec-Purpose: prefetch;anonymous-client-ip\r\n", 403),
        ("sec-purpose: a, Prefetch ; b\r\n", 403),
        ("Purpose: prefetch\r\n", 403),
        ("Purpose: preview\r\n", 403),
        ("X-Purpose: preview\r\n", 403),
        ("X-Purpose: prefetch\r\n", 403),
        ("X-Moz: prefetch\r\n", 403),
        ("Sec-Purpose: navigate\r\nX-Moz: prefetch\r\n", 403),
        ("User-Agent: WhatsApp/2.23.20.0 A\r\n", 403),
        ("User-Agent: curl/8\r\nUser-Agent: Slackbot 1.0\r\n", 403),
        ("Sec-Purpose: navigate\r\n", 200),
        ("Purpose:\r\n", 200),
        ("X-Purpose: prefetched-before\r\n", 200),
        ("User-Agent: curl/8.5.0\r\n", 200),
        ("Referer: http://facebookexternalhit/\r\n", 200),
    ] {
        assert_eq!(status_of_get(field), status, "{field}");
    }
    let robot = "User-Agent: Googlebot/2.1\r\nSec-Purpose: prefetch\r\n";
    // What is nobody's is anybody's, and robots do not send.
    assert!(
        reply(&format!("GET /help HTTP/1.1\r\nHost: h\r\n{robot}\r\n")).contains(" 200 OK\r\n")
    );
    assert_eq!(upload(&format!("PUT /k HTTP/1.1\r\nHost: h\r\n{robot}\r\n")).length(), Some(0));
}

#[test]
fn a_part_is_not_served_as_the_whole() {
    for (range, status) in [
        ("bytes=0-", 200),
        ("Bytes=0-", 200),
        ("bytes=000-", 200),
        ("bytes=1-", 400),
        ("bytes=10-", 400),
        ("bytes=4195328-", 400),
        ("bytes=0-0", 400),
        ("bytes=0-1", 400),
        ("bytes=0-18446744073709551615", 400),
        ("bytes=5-9", 400),
        ("bytes=-5", 400),
        ("bytes=-0", 400),
        ("bytes=0-,5-", 400),
        ("bytes=0-,0-", 400),
        ("bytes=0-4,5-", 400),
        ("bytes=-", 400),
        ("bytes=", 400),
        ("bytes", 400),
        ("bytes=99999999999999999999-", 400),
        ("bytes=0x0-", 400),
        ("bytes= 0-", 400),
        ("bytes=0 -", 400),
        ("items=0-", 400),
        ("items=5-9", 400),
        ("\u{e4}\u{e4}\u{e4}bytes=0-", 400),
        ("", 400),
    ] {
        for more in ["", "If-Range: \"tag\"\r\n"] {
            assert_eq!(
                status_of_get(&format!("Range: {range}\r\n{more}")),
                status,
                "{range} {more}"
            );
        }
        assert_eq!(status_of_get(&format!("Range: bytes=0-\r\nRange: {range}\r\n")), status);
    }
    assert_eq!(status_of_get("If-Range: \"tag\"\r\n"), 200);
    let part = reply("GET /k HTTP/1.0\r\nRange: bytes=7-\r\n\r\n");
    let words = "[ERROR] Downloads cannot be resumed here: ask for the whole, without Range.\n";
    assert!(part.starts_with("HTTP/1.0 400 ") && part.ends_with(words), "{part}");
    let page = "GET /version HTTP/1.1\r\nHost: h\r\nRange: bytes=1-\r\n\r\n";
    assert!(reply(page).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    for path in ["/", "/help", "/version", "/noscript", "/key"] {
        let head = reply(&format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        assert!(!head.contains("Content-Length: 0\r\n"), "{head}");
    }
    let response = reply("HEAD /key HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    assert!(response.contains("\r\nAllow: GET, HEAD, POST, PUT, OPTIONS\r\n"), "{response}");
}

#[test]
fn a_body_that_is_not_read_closes_the_connection() {
    for (head, expected) in [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", false),
        ("PATCH /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
    ] {
        let Action::Reply { bytes, keep_alive } = action(head) else {
            panic!("{head} is no exchange");
        };
        assert_eq!(keep_alive, expected, "{head}");
        assert_eq!(text(&bytes).contains("\r\nConnection: close\r\n"), !expected, "{head}");
    }
}

#[test]
fn preflights_are_answered_as_piping_server_does() {
    let plain = reply("OPTIONS /k HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(
        plain,
        "HTTP/1.1 200 OK\r\n\
         Access-Control-Allow-Origin: *\r\n\
         Access-Control-Allow-Methods: GET, HEAD, POST, PUT, OPTIONS\r\n\
         Access-Control-Allow-Headers: Content-Type, Content-Disposition, X-Piping\r\n\
         Access-Control-Expose-Headers: Access-Control-Allow-Headers\r\n\
         Access-Control-Max-Age: 86400\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let private =
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nAccess-Control-Request-Private-Network: true\r\n\r\n";
    assert!(reply(private).contains("\r\nAccess-Control-Allow-Private-Network: true\r\n"));
}

#[test]
fn interim_responses_are_whole_heads() {
    for (interim, status) in [(CONTINUE, 100), (PROCESSING, 102)] {
        assert_eq!(taken_apart(interim), (status, Vec::new(), Vec::new()));
    }
}

#[test]
fn reserved_paths_have_their_pages() {
    let get = |path: &str| reply(&format!("GET {path} HTTP/1.1\r\nHost: box:4980\r\n\r\n"));
    assert!(get("/").contains("\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(get("/version").ends_with(concat!("\r\n\r\n", env!("CARGO_PKG_VERSION"), "\n")));
    assert!(get("/favicon.ico").starts_with("HTTP/1.1 204 "));
    assert!(get("/robots.txt").starts_with("HTTP/1.1 404 "));
    assert!(get("/help?x").contains("curl -T myfile http://box:4980/mypath\n"));
    assert!(get("http://name/help").contains("curl -T myfile http://name/mypath\n"));
    let behind_tls = "GET /help HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert!(reply(behind_tls).contains(" https://h/mypath\n"));
}

#[test]
fn the_health_says_whether_newcomers_are_served() {
    for method in ["GET", "HEAD"] {
        let input = format!("{method} /healthz?x HTTP/1.1\r\nHost: h\r\n\r\n");
        let Action::Health(to) = action(&input) else { panic!("{input} asks for the health") };
        for (draining, status, word) in [(false, 200, "ok\n"), (true, 503, "draining\n")] {
            let (told, fields, body) = taken_apart(&health(to, draining));
            assert_eq!(told, status);
            assert_eq!(text(&body), if method == "GET" { word } else { "" });
            let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
            assert!(fields.contains(&field("content-length", &word.len().to_string())));
            assert_eq!(fields.contains(&field("retry-after", "1")), draining);
        }
    }
}

#[test]
fn the_help_repeats_no_host_that_a_shell_could_act_upon() {
    for host in ["a;reboot", "$(x)", "`x`", "a b", "-o", "a'b", "a/b", "", "\u{e4}"] {
        let help = reply(&format!("GET /help HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(help.contains(" http://hostname/mypath\n"), "{host}: {help}");
    }
}

#[test]
fn the_form_without_scripts_sends_to_the_chosen_key_only() {
    let get = |query: &str| reply(&format!("GET /noscript{query} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(get("?path=my%20key%22%3E").contains(" action=\"my%20key%22%3E\""));
    assert!(get("?path=my%20key%22%3E").contains(" value=\"my key&quot;&gt;\""));
    assert!(get("?path=mypath").contains(" action=\"mypath\""), "as piping-server has it");
    assert!(get("?path=/k").contains(" action=\"k\""));
    assert!(get("?path=//host/k").contains(" action=\"%2Fhost/k\""));
    assert!(get("?path=javascript:x/y").contains(" action=\"javascript%3Ax/y\""));
    for none in [
        "",
        "?path=",
        "?path=help",
        "?path=healthz",
        "?path=%zz",
        &format!("?path={}", "k".repeat(300)),
    ] {
        assert!(get(none).contains(" action=\"\""), "{none}");
    }
}

#[test]
fn the_downloader_is_told_what_the_uploader_said() {
    let value = |text: &str| FieldValue::parse(text.as_bytes());
    let description = Description {
        media_type: value("text/plain; charset=utf-8"),
        disposition: value("inline; filename=a"),
        x_piping: value("1").into_iter().chain(value("2")).collect(),
    };
    let (head, framing) = download_head(ReplyTo::CLOSING, Some(3), Some(&description));
    assert_eq!(framing, Framing::Length(3));
    assert_eq!(
        text(&head),
        "HTTP/1.1 200 OK\r\n\
         Content-Length: 3\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Disposition: inline; filename=a\r\n\
         X-Piping: 1\r\n\
         X-Piping: 2\r\n\
         Access-Control-Allow-Origin: *\r\n\
         Access-Control-Expose-Headers: X-Piping\r\n\
         Accept-Ranges: none\r\n\
         X-Robots-Tag: none\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: sandbox; default-src 'none'\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n"
    );
    for (version, framing, line) in [
        (
            Version::Http11,
            Framing::Chunked,
            Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"),
        ),
        (
            Version::Http10,
            Framing::Close,
            Some("HTTP/1.0 200 OK\r\nContent-Disposition: attachment\r\n"),
        ),
    ] {
        let to = ReplyTo { version, keep_alive: true, ..ReplyTo::CLOSING };
        let (head, chosen) = download_head(to, None, None);
        // Without a framing that tells the end, only the connection's end does.
        assert_eq!(text(&head).contains("Connection: close"), framing == Framing::Close);
        assert_eq!(chosen, framing);
        assert!(line.is_some_and(|line| text(&head).starts_with(line)), "{}", text(&head));
    }
}

#[test]
fn a_new_uploader_is_told_line_by_line() {
    let to = ReplyTo { keep_alive: true, ..ReplyTo::CLOSING };
    let (mut answer, begin) = UploadAnswer::begin(to, true);
    let begin = text(&begin);
    assert!(begin.starts_with(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    ));
    assert!(begin.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n"), "{begin}");
    for (notice, line) in [
        (Notice::Waiting { receivers: 1 }, "[INFO] Waiting for 1 receiver(s)...\n"),
        (Notice::ReceiverCame, "[INFO] A receiver was connected.\n"),
        (
            Notice::ReceiversThere { receivers: 1 },
            "[INFO] 1 receiver(s) has/have been connected.\n",
        ),
        (Notice::Started { receivers: 1 }, "[INFO] Start sending to 1 receiver(s)!\n"),
        (Notice::Sent, "[INFO] Sent successfully!\n"),
    ] {
        assert_eq!(text(&answer.notice(notice)), format!("{:x}\r\n{line}\r\n", line.len()));
    }
    assert!(answer.keep_alive());
    let end = "37\r\n[INFO] All receiver(s) was/were received successfully.\n\r\n0\r\n\r\n";
    assert_eq!(text(&answer.received()), end);
}

#[test]
fn an_old_uploader_is_told_at_the_end() {
    let (mut answer, begin) = UploadAnswer::begin(OLD, false);
    assert!(begin.is_empty());
    assert!(answer.notice(Notice::Waiting { receivers: 1 }).is_empty());
    assert!(answer.notice(Notice::Sent).is_empty());
    let response = text(&answer.received());
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");
    let lines = "[INFO] Waiting for 1 receiver(s)...\n[INFO] Sent successfully!\n\
                 [INFO] All receiver(s) was/were received successfully.\n";
    assert!(response.contains(&format!("\r\nContent-Length: {}\r\n", lines.len())), "{response}");
    assert!(response.ends_with(&format!("\r\n\r\n{lines}")), "{response}");
}

#[test]
fn an_uploader_behind_a_proxy_is_told_at_the_end() {
    for (field, hears_early) in [
        ("", true),
        ("Connection: keep-alive\r\n", true),
        ("X-Forward: for\r\n", true),
        ("Via: 1.1 proxy\r\n", false),
        ("Forwarded: for=192.0.2.1\r\n", false),
        ("X-Forwarded-For: 192.0.2.1\r\n", false),
        ("x-forwarded-proto: https\r\n", false),
        ("X-FORWARDED-HOST: h\r\n", false),
        ("X-Real-IP: 192.0.2.1\r\n", false),
        ("Connection: te, close\r\n", false),
    ] {
        let head = format!("PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{field}\r\n");
        assert_eq!(upload(&head).reply_to.hears_early, hears_early, "{field}");
        let head = format!("GET /k HTTP/1.1\r\nHost: h\r\n{field}\r\n");
        assert_eq!(download(&head).reply_to.hears_early, hears_early, "{field}");
    }
    let to = ReplyTo { keep_alive: true, hears_early: false, ..ReplyTo::CLOSING };
    let (mut answer, begin) = UploadAnswer::begin(to, true);
    assert_eq!(begin, CONTINUE, "it waits for that with its body");
    assert!(answer.notice(Notice::Started { receivers: 1 }).is_empty());
    assert!(answer.keep_alive());
    let (status, fields, body) = taken_apart(&answer.received());
    assert_eq!(status, 200);
    assert!(!fields.iter().any(|(name, _)| name == "connection"), "{fields:?}");
    assert_eq!(
        text(&body),
        "[INFO] Start sending to 1 receiver(s)!\n\
         [INFO] All receiver(s) was/were received successfully.\n"
    );
}

#[test]
fn a_kept_answer_begins_byte_by_byte() {
    for to in [OLD, ReplyTo { hears_early: false, ..ReplyTo::CLOSING }] {
        for signs in 0..12 {
            for failure in [None, Some(Failure::TimedOut)] {
                let (mut answer, mut whole) = UploadAnswer::begin(to, false);
                let (plain, _) = UploadAnswer::begin(to, false);
                for sign in 0..signs {
                    assert_eq!(answer.signs(), (sign < 9).then_some(sign));
                    whole.extend(answer.sign());
                }
                assert_eq!(whole.len(), usize::from(signs.min(9)));
                let (rest, all) = match failure {
                    None => (answer.received(), plain.received()),
                    Some(failure) => (answer.failed(failure), plain.failed(failure)),
                };
                assert_eq!(text(&[whole, rest].concat()), text(&all));
            }
        }
    }
    let (mut running, _) = UploadAnswer::begin(ReplyTo::CLOSING, false);
    assert!(running.sign().is_empty() && running.signs().is_none());
}

#[test]
fn a_failed_upload_is_never_answered_as_a_success() {
    for (failure, status) in [
        (Failure::ReceiversLost { lost: 1, receivers: 1 }, "502"),
        (Failure::Body(BodyError::NoFile), "400"),
        (Failure::TimedOut, "504"),
        (Failure::Stalled, "504"),
        (Failure::Cancelled, "500"),
        (Failure::Draining, "503"),
    ] {
        let proxied = ReplyTo { keep_alive: true, hears_early: false, ..ReplyTo::CLOSING };
        for (to, version) in [(OLD, "1.0"), (proxied, "1.1")] {
            let (answer, _) = UploadAnswer::begin(to, false);
            let response = text(&answer.failed(failure));
            assert!(response.starts_with(&format!("HTTP/{version} {status} ")), "{response}");
            assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
            let (_, body) = response.split_once("\r\n\r\n").expect("a head");
            assert!(body.starts_with("[ERROR] "), "{response}");
            let length = format!("\r\nContent-Length: {}\r\n", body.len() + 1);
            assert!(response.contains(&length), "{response}");
            let returns = response.contains("\r\nRetry-After: 1\r\n");
            assert_eq!(returns, failure == Failure::Draining, "{response}");
        }

        let (answer, _) = UploadAnswer::begin(ReplyTo::CLOSING, false);
        let end = text(&answer.failed(failure));
        assert!(end.contains("\r\n[ERROR] ") && !end.ends_with("0\r\n\r\n"), "{end}");
    }
}

#[test]
fn refused_offers_say_why_and_when_to_return() {
    let key = Key::parse(b"a b").expect("a key");
    for (refusal, status, after, words) in [
        (Refusal::SecondUpload, "400", None, "Another sender has been connected on '/a%20b'."),
        (Refusal::SecondDownload, "400", None, "The number of receivers has reached limits."),
        (Refusal::Running, "400", None, "Connection on '/a%20b' has been established already."),
        (Refusal::Failed, "409", None, "send it anew."),
        (Refusal::Busy, "503", Some(30), "try again later."),
        (Refusal::TooMany, "429", Some(30), "try again later."),
        (Refusal::Draining, "503", Some(1), "try again later."),
        (Refusal::TimedOut, "504", None, "try again."),
        (Refusal::UploaderLost, "502", None, "ask for another try."),
    ] {
        let response = text(&refusal.reply(ReplyTo::CLOSING, &key));
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert!(response.ends_with(&format!("{words}\n")), "{response}");
        let later = after.map(|secs: u64| format!("\r\nRetry-After: {secs}\r\n"));
        assert_eq!(response.contains("\r\nRetry-After: "), later.is_some(), "{response}");
        assert!(later.is_none_or(|later| response.contains(&later)), "{response}");
    }
}

proptest! {
    #[test]
    fn no_input_puts_a_field_into_a_response(
        media_type in proptest::collection::vec(any::<u8>(), 0..60),
        disposition in proptest::collection::vec(any::<u8>(), 0..60),
        x_piping in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4),
    ) {
        let description = Description {
            media_type: FieldValue::parse(&media_type),
            disposition: FieldValue::parse(&disposition),
            x_piping: x_piping.iter().filter_map(|value| FieldValue::parse(value)).collect(),
        };
        let (head, _) = download_head(ReplyTo::CLOSING, None, Some(&description));
        let (status, fields, body) = taken_apart(&head);
        prop_assert_eq!((status, body), (200, Vec::new()));
        let allowed = [
            "transfer-encoding", "content-type", "content-disposition", "x-piping",
            "access-control-allow-origin", "access-control-expose-headers", "x-robots-tag",
            "x-content-type-options", "content-security-policy", "cache-control", "connection",
            "accept-ranges",
        ];
        for (name, _) in &fields {
            prop_assert!(allowed.contains(&name.as_str()), "{}", name);
        }
        let once = |name: &str| fields.iter().filter(|(field, _)| field == name).count() <= 1;
        prop_assert!(allowed.iter().all(|name| *name == "x-piping" || once(name)));
    }

    #[test]
    fn no_key_breaks_out_of_a_refusal(key in proptest::collection::vec(any::<u8>(), 1..=255)) {
        let key = Key::parse(&key).expect("a key");
        for refusal in [Refusal::SecondUpload, Refusal::Running, Refusal::TimedOut] {
            let response = refusal.reply(ReplyTo::CLOSING, &key);
            let (_, fields, body) = taken_apart(&response);
            prop_assert_eq!(fields.len(), 6);
            prop_assert_eq!(body.iter().filter(|&&byte| byte < b' ').count(), 1);
        }
    }

    #[test]
    fn any_request_gets_one_whole_response(
        method in "(GET|HEAD|OPTIONS|PUT|DELETE)",
        path in "/(|help|noscript|k)(\\?(n|path)=[%<>\"'a-f0-9{}-]{0,12})?",
        host in "[a-z<\"'$;:.]{0,12}",
    ) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        if let Head::Request { request, .. } = parse(head.as_bytes())
            && let Action::Reply { bytes, .. } = request.action()
        {
            let (_, fields, body) = taken_apart(&bytes);
            let length = fields.iter().find(|(name, _)| name == "content-length");
            if method != "HEAD" && let Some((_, length)) = length {
                prop_assert_eq!(body.len().to_string(), text(length));
            }
        }
    }
}
