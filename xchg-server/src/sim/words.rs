//! What peers of every dialect say of their own accord, and make of what they hear.

use xchg_core::wire::{Answer, Command, CounterpartDialect, Decoded, Greeting, Offer, Wait};
use xchg_core::{Key, Realm, Side};

use super::link::Link;
use super::peer::{Plan, Seen, Speaks};
use super::records::Records;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    End,
    Reset,
}

impl Ending {
    /// How the peer's connection stands, all of which it has read if it is `drained`.
    pub(super) fn of(link: &Link, records: Option<&Records>, drained: bool) -> Ending {
        let ends_within = records.map(|records| records.has_ended);
        match (link.peer_failure, ends_within) {
            (true, _) => Ending::Reset,
            (false, None) if link.down.has_end => Ending::End,
            (false, Some(true)) => Ending::End,
            // Cut short, as far as it can tell.
            (false, Some(false)) if link.down.has_end && drained => Ending::Reset,
            (false, _) => Ending::Open,
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

/// What a peer says of its own accord, and whether it ends its stream behind it.
pub(super) fn opening(plan: &Plan) -> (Vec<u8>, bool) {
    let path = match plan.receivers {
        1 => plan.key.clone(),
        n => format!("{}?n={n}", plan.key),
    };
    let close = if plan.speaks == Speaks::HttpClosing { "Connection: close\r\n" } else { "" };
    let version = if plan.speaks == Speaks::Http10 { "1.0" } else { "1.1" };
    match (plan.speaks, plan.side) {
        (Speaks::Classic, side) => {
            let mut bytes = vec![0; 9];
            bytes[0] = if side == Side::Upload { b'P' } else { b'G' };
            bytes[1..=plan.key.len()].copy_from_slice(plan.key.as_bytes());
            if side == Side::Upload {
                bytes.extend(&plan.payload);
            }
            (bytes, side == Side::Upload)
        }
        (Speaks::Native, side) => {
            let key = Key::parse(plan.key.as_bytes()).expect("keys of worlds are keys");
            let mut offer = Offer::new(Realm::Plain, side, key);
            if side == Side::Upload && plan.announces {
                offer.length = Some(plan.payload.len() as u64);
            }
            if let Some(seconds) = plan.wait {
                offer.wait = Wait::AtMost(std::time::Duration::from_secs(seconds.into()));
            }
            (Greeting::new(Command::Offer(offer)).encode(), false)
        }
        (Speaks::Transit, _) => (format!("please relay {:0>64}\n", plan.key).into_bytes(), false),
        (_, Side::Download) => {
            let head = format!("GET /{path} HTTP/{version}\r\nHost: localhost\r\n{close}\r\n");
            (head.into_bytes(), false)
        }
        (_, Side::Upload) => {
            let chunked = !plan.announces && plan.speaks != Speaks::Http10;
            let framing = if chunked {
                "Transfer-Encoding: chunked\r\n".to_owned()
            } else {
                format!("Content-Length: {}\r\n", plan.payload.len())
            };
            let head =
                format!("PUT /{path} HTTP/{version}\r\nHost: localhost\r\n{framing}{close}\r\n");
            let mut bytes = head.into_bytes();
            if chunked {
                for chunk in plan.payload.chunks(7_000) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            } else {
                bytes.extend(&plan.payload);
            }
            (bytes, false)
        }
    }
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

pub(super) fn http(heard: &[u8], ending: Ending, side: Side) -> Seen {
    let pending = if ending == Ending::Open { Seen::Nothing } else { Seen::Failed };
    let mut rest = heard;
    let head = loop {
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else { return pending };
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        if !head.contains("HTTP/1.1 1") {
            break head;
        }
    };
    let Some(body) = body(&head, rest, ending) else { return pending };
    if !head.starts_with("HTTP/1.1 200") && !head.starts_with("HTTP/1.0 200") {
        return Seen::Refused(None);
    }
    match side {
        Side::Download => Seen::Whole(body),
        Side::Upload if String::from_utf8_lossy(&body).contains("received successfully") => {
            Seen::Received
        }
        Side::Upload => Seen::Failed,
    }
}

/// The body of a response, if it is whole.
fn body(head: &str, rest: &[u8], ending: Ending) -> Option<Vec<u8>> {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if let Some(len) = field("Content-Length: ") {
        let len: usize = len.parse().expect("a server says numbers");
        return rest.get(..len).map(<[u8]>::to_vec);
    }
    if field("Transfer-Encoding: chunked").is_none() {
        return (ending == Ending::End).then(|| rest.to_vec());
    }
    let (mut rest, mut body) = (rest, Vec::new());
    loop {
        let line = memchr::memmem::find(rest, b"\r\n")?;
        let digits = std::str::from_utf8(&rest[..line]).expect("chunk lengths are digits");
        let len = usize::from_str_radix(digits, 16).expect("chunk lengths are hexadecimal");
        rest = &rest[line + 2..];
        if len == 0 {
            return rest.starts_with(b"\r\n").then_some(body);
        }
        body.extend(rest.get(..len)?);
        rest = rest.get(len + 2..)?;
    }
}
