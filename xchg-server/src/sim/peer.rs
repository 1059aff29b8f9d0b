//! Peers of every dialect that follow a script, well or ill, and what each can tell of its end.

use std::sync::Arc;

use parking_lot::Mutex;
use xchg_core::Side;
use xchg_core::wire::{Answer, CounterpartDialect, RefusalCode};

use super::Time;
use super::link::Link;
use super::random::Random;
use super::records::Records;
use super::words::{
    Chunks, Ending, answers, http, matched, native, native_payload, opening, stream,
};
use crate::engine::net::Layer;

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
    /// Whether all that it says and hears is in records.
    pub(super) is_wrapped: bool,
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
    records: Option<Records>,
    script: Vec<u8>,
    said: usize,
    ends: bool,
    /// Whether its end is said within, and its connection's is still to follow.
    ends_behind: bool,
    heard: Vec<u8>,
    acts: u32,
    halted: bool,
    reacted: bool,
    pub(super) is_closed: bool,
}

impl Peer {
    pub(super) fn new(plan: Plan, link: Arc<Mutex<Link>>, now: Time) -> Peer {
        let (script, ends) = opening(&plan);
        let records = plan.is_wrapped.then(Records::new);
        Peer {
            plan,
            link,
            connected_at: now,
            waits_since: None,
            matched_at: None,
            refused_at: None,
            left_at: None,
            records,
            script,
            said: 0,
            ends,
            ends_behind: false,
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
        let mut link = self.link.lock();
        let bytes = link.peer_read(pace);
        let drained = link.down.received.is_empty();
        hear(&mut self.heard, &mut self.records, &bytes);
        let ending = Ending::of(&link, self.records.as_ref(), drained);
        drop(link);
        if drained {
            self.note(now);
        }
        self.react();
        let failed = ending == Ending::Reset;
        let wrote = if failed { 0 } else { self.say(pace) };
        // The end of one way of a transit connection says nothing of the other.
        let ended =
            ending == Ending::End && (self.plan.speaks != Speaks::Transit || self.has_sent_all());
        let over = drained && (failed || ended || self.is_satisfied());
        if over && !self.plan.stays {
            self.close(failed);
        }
        wrote + bytes.len() > 0
    }

    /// Closes; not before its end is said within its records, if it has any and they are of use.
    fn close(&mut self, failed: bool) {
        let mut link = self.link.lock();
        if let Some(records) = self.records.as_mut().filter(|_| !failed) {
            records.end();
            records.send(|bytes| link.peer_write(bytes));
            if records.has_unsent() {
                return;
            }
        }
        link.peer_closes(false);
        self.is_closed = true;
    }

    /// Says more of its script, and its end behind that; gives how many bytes went.
    fn say(&mut self, pace: usize) -> usize {
        let mut link = self.link.lock();
        let Some(records) = &mut self.records else {
            let most = self.script.len().min(self.said + pace);
            let n = link.peer_write(&self.script[self.said..most]);
            self.said += n;
            if self.said == self.script.len() && std::mem::take(&mut self.ends) {
                link.peer_ends();
            }
            return n;
        };
        if records.is_greeted && !records.has_unsent() {
            let most = self.script.len().min(self.said + pace);
            self.said += records.write(&self.script[self.said..most]).unwrap_or(0);
            if self.said == self.script.len() && std::mem::take(&mut self.ends) {
                records.end();
                self.ends_behind = true;
            }
        }
        let n = records.send(|bytes| link.peer_write(bytes));
        if !records.has_unsent() && std::mem::take(&mut self.ends_behind) {
            link.peer_ends();
        }
        n
    }

    /// Whether its part is over though the connection is not.
    fn is_satisfied(&self) -> bool {
        let http = matches!(self.plan.speaks, Speaks::Http | Speaks::HttpClosing);
        // Most clients of a classic uploader's kind close at once when all is sent.
        let sent_all = self.plan.speaks == Speaks::Classic
            && self.plan.side == Side::Upload
            && self.has_said_all();
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
        self.has_said_all() && (self.reacted || !self.reacts())
    }

    fn has_said_all(&self) -> bool {
        let is_sent = |records: &Records| !records.has_unsent() && !self.ends && !self.ends_behind;
        self.said == self.script.len() && self.records.as_ref().is_none_or(is_sent)
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
        let (mut heard, mut records) = (self.heard.clone(), self.records.clone());
        let received: Vec<u8> = link.down.received.iter().copied().collect();
        hear(&mut heard, &mut records, &received);
        let ending = Ending::of(&link, records.as_ref(), true);
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

/// Adds what has come to what was heard, taken out of records if it was in them.
fn hear(heard: &mut Vec<u8>, records: &mut Option<Records>, bytes: &[u8]) {
    if let Some(records) = records {
        records.take(bytes);
        heard.extend(records.drain());
    } else {
        heard.extend(bytes);
    }
}
