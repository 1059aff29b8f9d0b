//! What peers of every dialect say of their own accord, and make of what they hear.

use xchg_core::wire::{Answer, Command, CounterpartDialect, Decoded, Greeting, Offer, Token, Wait};
use xchg_core::{Key, Realm, Side};

use super::link::Link;
use super::plan::{Part, Plan, Seen, Speaks, Wants};
use super::records::Records;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    End,
    Reset,
}

impl Ending {
    /// How the peer's connection stands, all of which it has read if it is `drained`.
    pub(super) fn of(link: &Link, records: Option<&Records>, drained: bool) -> Self {
        let ends_within = records.map(|records| records.has_ended);
        match (link.peer_failure, ends_within) {
            (true, _) => Self::Reset,
            (false, None) if link.down.has_end => Self::End,
            (false, Some(true)) => Self::End,
            // Cut short, as far as it can tell.
            (false, Some(false)) if link.down.has_end && drained => Self::Reset,
            (false, _) => Self::Open,
        }
    }
}

/// What a bare stream tells by its end alone.
pub(super) fn stream(payload: Vec<u8>, ending: Ending) -> Seen {
    match ending {
        Ending::Open => Seen::Nothing,
        Ending::End => Seen::Whole(payload),
        Ending::Reset => Seen::Failed,
    }
}

/// What a peer says of its own accord for that part, and whether it ends its stream behind it.
pub(super) fn opening(plan: &Plan, part: usize) -> (Vec<u8>, bool) {
    let part = &plan.parts[part];
    let side = if part.is(Side::Upload) { Side::Upload } else { Side::Download };
    match plan.speaks {
        Speaks::Nonsense => (part.payload.clone(), false),
        Speaks::Classic => {
            let mut bytes = vec![0; CLASSIC_LEN];
            bytes[0] = if side == Side::Upload { b'P' } else { b'G' };
            bytes[1..=part.key.len()].copy_from_slice(part.key.as_bytes());
            if side == Side::Upload {
                bytes.extend(&part.payload);
            }
            (bytes, side == Side::Upload)
        }
        Speaks::Native => {
            let key = Key::parse(part.key.as_bytes()).expect("keys of worlds are keys");
            let mut offer = Offer::new(Realm::Plain, side, key);
            if side == Side::Upload && part.announces {
                offer.length = Some(part.payload.len() as u64);
            }
            if let Some(seconds) = plan.wait {
                offer.wait = Wait::AtMost(std::time::Duration::from_secs(seconds.into()));
            }
            let mut greeting = Greeting::new(Command::Offer(offer));
            greeting.token = plan.token.and_then(|token| Token::parse(token.as_bytes()).ok());
            (greeting.encode(), false)
        }
        Speaks::Transit => (format!("please relay {:0>64}\n", part.key).into_bytes(), false),
        Speaks::Http | Speaks::HttpClosing | Speaks::Http10 => (request(plan, part), false),
    }
}

const CLASSIC_LEN: usize = 9;

/// How much of what a peer says first is its greeting.
pub(super) fn greeting_len(plan: &Plan, opening: &[u8]) -> usize {
    match plan.speaks {
        Speaks::Classic => CLASSIC_LEN,
        Speaks::Http | Speaks::HttpClosing | Speaks::Http10 => {
            memchr::memmem::find(opening, b"\r\n\r\n").map_or(opening.len(), |at| at + 4)
        }
        _ => opening.len(),
    }
}

/// What is around the file in a form.
const FORM: &str =
    "--xyz\r\nContent-Disposition: form-data; name=\"input\"; filename=\"a\"\r\n\r\n";
const FORM_END: &str = "\r\n--xyz--\r\n";

fn request(plan: &Plan, part: &Part) -> Vec<u8> {
    let speaks = plan.speaks;
    let query = match part.receivers {
        1 => String::new(),
        n => format!("?n={n}"),
    };
    let line = match part.wants {
        Wants::Exchange(Side::Upload) if part.is_form => format!("POST /{}{query}", part.key),
        Wants::Exchange(Side::Upload) => format!("PUT /{}{query}", part.key),
        Wants::Exchange(Side::Download) => format!("GET /{}{query}", part.key),
        Wants::Page(path) => format!("GET /{path}"),
        Wants::Refusal(line) => line.to_owned(),
    };
    let close = if speaks == Speaks::HttpClosing { "Connection: close\r\n" } else { "" };
    let version = if speaks == Speaks::Http10 { "1.0" } else { "1.1" };
    let chunked = !part.announces && speaks != Speaks::Http10;
    let form = part.is_form && part.is(Side::Upload);
    let body = if form {
        [FORM.as_bytes(), &part.payload, FORM_END.as_bytes()].concat()
    } else {
        part.payload.clone()
    };
    let mut fields = plan.fields();
    if part.is(Side::Upload) {
        fields += &if chunked {
            "Transfer-Encoding: chunked\r\n".to_owned()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
    }
    if form {
        fields += "Content-Type: multipart/form-data; boundary=xyz\r\n";
    }
    let head = format!("{line} HTTP/{version}\r\nHost: localhost\r\n{fields}{close}\r\n");
    let mut bytes = head.into_bytes();
    if part.is(Side::Upload) && chunked {
        for chunk in body.chunks(7_000) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
    } else if part.is(Side::Upload) {
        bytes.extend(body);
    }
    bytes
}

/// The answers at the start of `heard` up to the last of them, and what follows.
pub(super) fn answers(mut heard: &[u8]) -> (Vec<Answer>, &[u8]) {
    let mut answers = Vec::new();
    while let Ok(Decoded::Whole { message, len }) = Answer::decode(heard) {
        heard = &heard[len..];
        let is_last = matches!(message, Some(Answer::Matched(_) | Answer::Refused { .. }));
        answers.extend(message);
        if is_last {
            break;
        }
    }
    (answers, heard)
}

pub(super) fn matched(heard: &[u8]) -> Option<CounterpartDialect> {
    answers(heard).0.iter().find_map(|answer| match answer {
        Answer::Matched(matched) => Some(matched.dialect),
        _ => None,
    })
}

pub(super) enum Chunks {
    Whole(Vec<u8>),
    Partial,
}

/// The payload that a native counterpart has sent, if there is one.
pub(super) fn native_payload(heard: &[u8]) -> Option<Chunks> {
    if matched(heard) != Some(CounterpartDialect::Native) {
        return None;
    }
    let mut rest = answers(heard).1;
    let mut payload = Vec::new();
    loop {
        let Some((len, behind)) = rest.split_first_chunk::<8>() else {
            return Some(Chunks::Partial);
        };
        let len = usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX);
        match behind.get(..len) {
            Some([]) => return Some(Chunks::Whole(payload)),
            Some(chunk) => payload.extend(chunk),
            None => return Some(Chunks::Partial),
        }
        rest = &behind[len..];
    }
}

pub(super) fn native(heard: &[u8], ending: Ending, side: Side) -> Seen {
    let (answers, rest) = answers(heard);
    let refused = answers.iter().find_map(|answer| match answer {
        Answer::Refused { code, .. } => Some(*code),
        _ => None,
    });
    if let Some(code) = refused {
        return Seen::Refused(Some(code));
    }
    match (matched(heard), side) {
        (None, _) if ending == Ending::Open => Seen::Nothing,
        (None, _) => Seen::Failed,
        (Some(CounterpartDialect::Native), Side::Download) => match native_payload(heard) {
            Some(Chunks::Whole(payload)) => Seen::Whole(payload),
            _ if ending == Ending::Open => Seen::Nothing,
            _ => Seen::Failed,
        },
        (Some(CounterpartDialect::Native), Side::Upload) => match (rest.first(), ending) {
            (Some(0), _) if rest.len() >= 9 => Seen::Received,
            (_, Ending::Open) => Seen::Nothing,
            _ => Seen::Failed,
        },
        (Some(_), Side::Download) => stream(rest.to_vec(), ending),
        (Some(_), Side::Upload) => match ending {
            Ending::Open => Seen::Nothing,
            Ending::End => Seen::Received,
            Ending::Reset => Seen::Failed,
        },
    }
}

/// What a peer can tell of each of its parts, of which it has begun so many, by the responses that
/// it has heard one behind the other. The next that it may ask for is told nothing yet.
pub(super) fn http(heard: &[u8], ending: Ending, parts: &[Part], begun: usize) -> Vec<Seen> {
    let (mut rest, mut seen, mut is_closing) = (heard, Vec::new(), false);
    while seen.len() < begun
        && !is_closing
        && let Some(response) = response(rest, ending)
    {
        rest = response.rest;
        is_closing = response.is_last;
        seen.push(judge(&parts[seen.len()], &response));
    }
    let has_ended = !matches!(ending, Ending::Open);
    if has_ended && !is_closing && seen.len() < begun && begins_refusal(rest) {
        // Whoever does not take it in time sees no more of it.
        (rest, is_closing) = (&[], true);
        seen.push(Seen::Refused(None));
    }
    if (is_closing || seen.len() == begun) && !rest.is_empty() {
        // An answer to what it has not asked.
        seen.pop();
        seen.push(Seen::Failed);
    }
    let (pending, asked) = match ending {
        _ if is_closing => (Seen::Unasked, 0),
        Ending::Open => (Seen::Nothing, begun.max(seen.len() + 1)),
        _ => (Seen::Failed, begun),
    };
    seen.resize(asked.clamp(seen.len(), parts.len()), pending);
    seen.resize(parts.len(), Seen::Unasked);
    seen
}

/// Whether `response` begins as one that refuses.
fn begins_refusal(response: &[u8]) -> bool {
    response.starts_with(b"HTTP/1.") && matches!(response.get(8..10), Some(b" 4" | b" 5"))
}

fn judge(part: &Part, response: &Response<'_>) -> Seen {
    let is_text = |text: &str| String::from_utf8_lossy(&response.body).contains(text);
    match part.wants {
        _ if !response.head[8..].starts_with(" 200") => Seen::Refused(None),
        Wants::Exchange(Side::Download) => Seen::Whole(response.body.clone()),
        Wants::Exchange(Side::Upload) if is_text("received successfully") => Seen::Received,
        Wants::Page("healthz") if response.body != b"ok\n" => Seen::Failed,
        Wants::Page(_) if !response.body.is_empty() => Seen::Answered,
        Wants::Refusal(_) => Seen::Answered,
        _ => Seen::Failed,
    }
}

struct Response<'a> {
    head: String,
    body: Vec<u8>,
    is_last: bool,
    /// What follows it.
    rest: &'a [u8],
}

/// The response at the start of `rest`, if it is whole.
fn response(mut rest: &[u8], ending: Ending) -> Option<Response<'_>> {
    let head = loop {
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        assert!(head.starts_with("HTTP/1."), "a response begins with {head:?}");
        rest = &rest[end + 4..];
        if !head.contains("HTTP/1.1 1") {
            break head;
        }
    };
    let is_last = head.starts_with("HTTP/1.0") || head.contains("\r\nConnection: close");
    let (body, rest) = body(&head, rest, ending)?;
    Some(Response { head, body, is_last, rest })
}

/// The body of a response, if it is whole, and what follows it.
fn body<'a>(head: &str, rest: &'a [u8], ending: Ending) -> Option<(Vec<u8>, &'a [u8])> {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if let Some(len) = field("Content-Length: ") {
        let len: usize = len.parse().expect("a server says numbers");
        return Some((rest.get(..len)?.to_vec(), &rest[len..]));
    }
    if field("Transfer-Encoding: chunked").is_none() {
        return (ending == Ending::End).then(|| (rest.to_vec(), &[][..]));
    }
    let (mut rest, mut body) = (rest, Vec::new());
    loop {
        let line = memchr::memmem::find(rest, b"\r\n")?;
        let digits = std::str::from_utf8(&rest[..line]).expect("chunk lengths are digits");
        let len = usize::from_str_radix(digits, 16).expect("chunk lengths are hexadecimal");
        rest = &rest[line + 2..];
        if len == 0 {
            return Some((body, rest.strip_prefix(b"\r\n")?));
        }
        body.extend(rest.get(..len)?);
        rest = rest.get(len + 2..)?;
    }
}
