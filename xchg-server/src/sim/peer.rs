//! Peers of every dialect that follow a script, well or ill, and what each can tell of its end.

use std::sync::Arc;

use parking_lot::Mutex;
use xchg_core::wire::{
    Answer, Command, CounterpartDialect, Decoded, Greeting, Offer, RefusalCode, Wait,
};
use xchg_core::{Key, Realm, Side};

use super::link::{Link, Time};
use super::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Classic,
    Native,
    Http,
    HttpClosing,
    Http10,
    Transit,
}

/// How a peer misbehaves, after so many acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not at all.
    Plays,
    Closes(u32),
    Resets(u32),
    /// Its network goes.
    Vanishes(u32),
    /// It neither reads nor writes any more.
    Halts(u32),
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) speaks: Speaks,
    pub(super) side: Side,
    pub(super) key: String,
    pub(super) payload: Vec<u8>,
    pub(super) receivers: u16,
    /// Whether an uploader says how long its payload is, where its dialect lets it choose.
    pub(super) announces: bool,
    pub(super) wait: Option<u32>,
    pub(super) fate: Fate,
    /// Bytes that it reads or writes at a time.
    pub(super) pace: usize,
    /// Whether it stays connected when its part is over.
    pub(super) stays: bool,
}

/// What a peer can tell of how its part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing yet, or nothing that it can tell.
    Nothing,
    /// A downloader, or one of two equals, has a whole payload.
    Whole(Vec<u8>),
    /// An uploader was told that everything was received.
    Received,
    /// It was told no.
    Refused(Option<RefusalCode>),
    /// It can tell that its part failed.
    Failed,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) plan: Plan,
    pub(super) link: Arc<Mutex<Link>>,
    pub(super) connected_at: Time,
    pub(super) waits_since: Option<Time>,
    pub(super) matched_at: Option<Time>,
    pub(super) refused_at: Option<Time>,
    /// When it stopped playing its part, by its fate.
    pub(super) left_at: Option<Time>,
    script: Vec<u8>,
    said: usize,
    ends: bool,
    heard: Vec<u8>,
    acts: u32,
    halted: bool,
    reacted: bool,
    pub(super) is_closed: bool,
}

impl Peer {
    pub(super) fn new(plan: Plan, link: Arc<Mutex<Link>>, now: Time) -> Peer {
        let (script, ends) = opening(&plan);
        Peer {
            plan,
            link,
            connected_at: now,
            waits_since: None,
            matched_at: None,
            refused_at: None,
            left_at: None,
            script,
            said: 0,
            ends,
            heard: Vec::new(),
            acts: 0,
            halted: false,
            reacted: false,
            is_closed: false,
        }
    }

    /// Reads, reacts, writes, and perhaps leaves. Says whether there was anything to do.
    pub(super) fn act(&mut self, now: Time, random: &mut Random) -> bool {
        if self.is_closed || self.halted {
            return false;
        }
        self.acts += 1;
        match self.plan.fate {
            Fate::Closes(at) if at <= self.acts => {
                self.leave(now, false);
                return true;
            }
            Fate::Resets(at) if at <= self.acts => {
                self.leave(now, true);
                return true;
            }
            Fate::Vanishes(at) if at <= self.acts => {
                self.link.lock().cut();
                (self.halted, self.left_at) = (true, Some(now));
                return true;
            }
            Fate::Halts(at) if at <= self.acts => {
                (self.halted, self.left_at) = (true, Some(now));
                return true;
            }
            _ => {}
        }
        let pace = random.skewed(self.plan.pace as u64) + 1;
        let before = (self.heard.len(), self.said);
        let mut link = self.link.lock();
        self.heard.extend(link.peer_read(pace));
        let (failed, ended) = (link.peer_failure, link.down.has_end);
        let drained = link.down.received.is_empty();
        drop(link);
        if drained {
            self.note(now);
        }
        self.react();
        let mut link = self.link.lock();
        if !failed && self.said < self.script.len() {
            let most = self.script.len().min(self.said + pace);
            self.said += link.peer_write(&self.script[self.said..most]);
        }
        if !failed && self.said == self.script.len() && std::mem::take(&mut self.ends) {
            link.peer_ends();
        }
        drop(link);
        // The end of one way of a transit connection says nothing of the other.
        let ended = ended && (self.plan.speaks != Speaks::Transit || self.has_sent_all());
        let over = drained && (failed || ended || self.is_satisfied());
        if over && !self.plan.stays {
            self.link.lock().peer_closes(false);
            self.is_closed = true;
        }
        before != (self.heard.len(), self.said)
    }

    /// Whether its part is over though the connection is not.
    fn is_satisfied(&self) -> bool {
        let http = matches!(self.plan.speaks, Speaks::Http | Speaks::HttpClosing);
        // Most clients of a classic uploader's kind close at once when all is sent.
        let sent_all = self.plan.speaks == Speaks::Classic
            && self.plan.side == Side::Upload
            && self.said == self.script.len();
        sent_all || (http && !matches!(self.seen(), Seen::Nothing | Seen::Failed))
    }

    pub(super) fn leave(&mut self, now: Time, by_reset: bool) {
        if !self.is_closed {
            self.link.lock().peer_closes(by_reset);
            (self.is_closed, self.left_at) = (true, self.left_at.or(Some(now)));
        }
    }

    /// Whether it followed its script to the end.
    pub(super) fn is_faithful(&self) -> bool {
        self.left_at.is_none()
    }

    /// Whether it has sent everything that it had to.
    pub(super) fn has_sent_all(&self) -> bool {
        self.said == self.script.len() && (self.reacted || !self.reacts())
    }

    fn reacts(&self) -> bool {
        match self.plan.speaks {
            Speaks::Native => self.plan.side == Side::Upload,
            Speaks::Transit => true,
            _ => false,
        }
    }

    fn note(&mut self, now: Time) {
        if self.plan.speaks != Speaks::Native {
            if let Seen::Refused(_) = self.seen() {
                self.refused_at.get_or_insert(now);
            }
            return;
        }
        for answer in answers(&self.heard).0 {
            match answer {
                Answer::Waiting(_) => self.waits_since.get_or_insert(now),
                Answer::Matched(_) => self.matched_at.get_or_insert(now),
                Answer::Refused { .. } => self.refused_at.get_or_insert(now),
                _ => continue,
            };
        }
    }

    /// Says what follows from what it has heard.
    fn react(&mut self) {
        if self.reacted {
            return;
        }
        match (self.plan.speaks, self.plan.side) {
            (Speaks::Transit, _) if self.heard.starts_with(b"ok\n") => {
                self.script.extend(&self.plan.payload);
                (self.ends, self.reacted) = (true, true);
            }
            (Speaks::Native, Side::Upload) => match matched(&self.heard) {
                Some(CounterpartDialect::Native) => {
                    self.script.extend((self.plan.payload.len() as u64).to_be_bytes());
                    self.script.extend(&self.plan.payload);
                    if !self.plan.payload.is_empty() {
                        self.script.extend(0u64.to_be_bytes());
                    }
                    self.reacted = true;
                }
                Some(_) => {
                    self.script.extend(&self.plan.payload);
                    (self.ends, self.reacted) = (true, true);
                }
                None => {}
            },
            (Speaks::Native, Side::Download) => {
                if let Some(Chunks::Whole(payload)) = native_payload(&self.heard) {
                    self.script.push(0);
                    self.script.extend((payload.len() as u64).to_be_bytes());
                    (self.ends, self.reacted) = (true, true);
                }
            }
            _ => {}
        }
    }

    /// What it can tell, with what has come and not been read.
    pub(super) fn seen(&self) -> Seen {
        let link = self.link.lock();
        let mut heard = self.heard.clone();
        heard.extend(&link.down.received);
        let ending = if link.peer_failure {
            Ending::Reset
        } else if link.down.has_end {
            Ending::End
        } else {
            Ending::Open
        };
        drop(link);
        match (self.plan.speaks, self.plan.side) {
            (Speaks::Classic, Side::Upload) => match ending {
                Ending::Reset => Seen::Failed,
                _ => Seen::Nothing,
            },
            (Speaks::Classic, Side::Download) => stream(heard, ending),
            (Speaks::Transit, _) => match heard.strip_prefix(b"ok\n") {
                Some(rest) => stream(rest.to_vec(), ending),
                None if ending == Ending::Open => Seen::Nothing,
                None => Seen::Refused(None),
            },
            (Speaks::Native, side) => native(&heard, ending, side),
            (_, side) => http(&heard, ending, side),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Open,
    End,
    Reset,
}

/// What a bare stream tells by its end alone.
fn stream(payload: Vec<u8>, ending: Ending) -> Seen {
    match ending {
        Ending::Open => Seen::Nothing,
        Ending::End => Seen::Whole(payload),
        Ending::Reset => Seen::Failed,
    }
}

/// What a peer says of its own accord, and whether it ends its stream behind it.
fn opening(plan: &Plan) -> (Vec<u8>, bool) {
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
fn answers(mut heard: &[u8]) -> (Vec<Answer>, &[u8]) {
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

fn matched(heard: &[u8]) -> Option<CounterpartDialect> {
    answers(heard).0.iter().find_map(|answer| match answer {
        Answer::Matched(matched) => Some(matched.dialect),
        _ => None,
    })
}

enum Chunks {
    Whole(Vec<u8>),
    Partial,
}

/// The payload that a native counterpart has sent, if there is one.
fn native_payload(heard: &[u8]) -> Option<Chunks> {
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

fn native(heard: &[u8], ending: Ending, side: Side) -> Seen {
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

fn http(heard: &[u8], ending: Ending, side: Side) -> Seen {
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
