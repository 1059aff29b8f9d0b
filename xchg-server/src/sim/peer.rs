//! Peers of every dialect that follow a script, well or ill.

use std::sync::Arc;

use parking_lot::Mutex;
use xchg_core::Side;
use xchg_core::wire::{Answer, CounterpartDialect};

use super::Time;
use super::link::Link;
use super::plan::{Fate, Plan, Seen, Speaks};
use super::random::Random;
use super::records::Records;
use super::words::{
    Chunks, Ending, answers, greeting_len, http, matched, native, native_payload, opening, stream,
};
use crate::engine::net::Layer;

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
    /// What is still to be said before all else, and in no record.
    preface: Vec<u8>,
    script: Vec<u8>,
    said: usize,
    /// Where in the script each part that it has begun is said.
    said_at: Vec<usize>,
    /// Where the greeting of the latest of them is.
    greets_at: usize,
    /// How long its first greeting is.
    pub(super) greeting: usize,
    ends: bool,
    /// Whether its end is said within, and its connection's is still to follow.
    ends_behind: bool,
    heard: Vec<u8>,
    /// Whether it has read the end behind that: what fails later costs it nothing of it.
    has_heard_end: bool,
    acts: u32,
    halted: bool,
    reacted: bool,
    pub(super) is_closed: bool,
}

impl Peer {
    pub(super) fn new(plan: Plan, link: Arc<Mutex<Link>>, now: Time) -> Self {
        let breaks = match plan.fate {
            Fate::Breaks(record) => Some(record),
            _ => None,
        };
        let records = plan.is_wrapped.then(|| Records::new(breaks));
        let preface = plan.preface();
        let mut peer = Self {
            plan,
            link,
            connected_at: now,
            waits_since: None,
            matched_at: None,
            refused_at: None,
            left_at: None,
            records,
            preface,
            script: Vec::new(),
            said: 0,
            said_at: Vec::new(),
            greets_at: 0,
            greeting: 0,
            ends: false,
            ends_behind: false,
            heard: Vec::new(),
            has_heard_end: false,
            acts: 0,
            halted: false,
            reacted: false,
            is_closed: false,
        };
        peer.begin_part();
        let preface = peer.preface.len();
        peer.greeting = preface + peer.greets_at;
        peer.left_at = breaks.map(|_| now);
        if let Fate::Ends(at) = peer.plan.fate {
            if at < preface {
                peer.preface.truncate(at);
                (peer.plan.is_wrapped, peer.records) = (false, None);
            }
            peer.script.truncate(at.min(peer.greeting).saturating_sub(preface));
            (peer.ends, peer.reacted, peer.left_at) = (true, true, Some(now));
        }
        peer
    }

    fn begin_part(&mut self) {
        let (words, ends) = opening(&self.plan, self.said_at.len());
        self.greets_at = self.script.len() + greeting_len(&self.plan, &words);
        self.script.extend(words);
        self.ends |= ends;
        self.said_at.push(self.script.len());
    }

    /// Asks for what it wants next, if it can.
    fn go_on(&mut self) {
        let begun = self.said_at.len();
        let is_whole = !matches!(self.plan.fate, Fate::Ends(_));
        if begun < self.plan.parts.len()
            && is_whole
            && (self.plan.pipelines || self.seen()[begun] == Seen::Nothing)
        {
            self.begin_part();
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
        let pace = if self.plan.is_steady {
            self.plan.pace
        } else {
            random.skewed(self.plan.pace as u64) + 1
        };
        let mut link = self.link.lock();
        let bytes = link.peer_read(pace);
        let drained = link.down.received.is_empty();
        hear(&mut self.heard, &mut self.records, &bytes);
        let ending = Ending::of(&link, self.records.as_ref(), drained);
        drop(link);
        self.has_heard_end |= drained && ending == Ending::End;
        if drained {
            self.note(now);
        }
        self.react();
        self.go_on();
        let failed = ending == Ending::Reset;
        let is_greeting = self.plan.hesitates && self.said < self.greeting;
        let wrote = if failed { 0 } else { self.say(if is_greeting { 1 } else { pace }) };
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
        if !self.preface.is_empty() {
            let n = link.peer_write(&self.preface[..pace.min(self.preface.len())]);
            self.preface.drain(..n);
            if self.preface.is_empty() && self.script.is_empty() && std::mem::take(&mut self.ends) {
                link.peer_ends();
            }
            return n;
        }
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
        // Most clients of a classic uploader's kind close at once when all is sent.
        let is_classic_upload = self.plan.speaks == Speaks::Classic && self.is(Side::Upload);
        let sent_all = is_classic_upload && self.has_said_all() && self.is_faithful();
        let is_http = matches!(self.plan.speaks, Speaks::Http | Speaks::HttpClosing);
        let is_told = |seen: &Seen| !matches!(seen, Seen::Nothing | Seen::Failed);
        sent_all || (is_http && self.seen().iter().all(is_told))
    }

    /// Whether it is that side of an exchange with the first that it wants.
    pub(super) fn is(&self, side: Side) -> bool {
        self.plan.parts[0].is(side)
    }

    pub(super) fn leave(&mut self, now: Time, by_reset: bool) {
        if !self.is_closed {
            self.link.lock().peer_closes(by_reset);
            (self.is_closed, self.left_at) = (true, self.left_at.or(Some(now)));
        }
    }

    /// Whether it can have heard that its counterpart is there, in the native dialect.
    pub(super) fn has_heard_of_match(&self) -> bool {
        matched(&self.all_heard().0).is_some()
    }

    /// Whether it has been told of all that it asked for, and its connection then ended with no end
    /// said within.
    pub(super) fn is_cut_short(&self) -> bool {
        let (_, ending) = self.all_heard();
        let is_reset = self.link.lock().peer_failure;
        let is_told = |seen: &Seen| !matches!(seen, Seen::Nothing | Seen::Failed);
        let is_cut = self.plan.is_wrapped && ending == Ending::Reset && !is_reset;
        is_cut && self.plan.speaks.is_http() && !self.is_closed && self.seen().iter().all(is_told)
    }

    /// The part that it is still to be told of, once the server has all that it has said.
    ///
    /// # Errors
    /// If something is still under way.
    pub(super) fn awaits(&self) -> Result<Option<usize>, UnderWay> {
        let link = self.link.lock();
        let is_closed = link.is_closed_by_server;
        if link.is_under_way() || self.said < self.greets_at {
            return Err(UnderWay);
        }
        drop(link);
        let part = self.seen().iter().position(|seen| *seen == Seen::Nothing);
        Ok(part.filter(|&part| part < self.said_at.len() && !is_closed))
    }

    /// Whether it does nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_closed || self.halted
    }

    /// Whether something is on its way to it, and it goes on to take that.
    pub(super) fn is_hearing(&self) -> bool {
        let link = self.link.lock();
        !self.is_over() && !link.is_cut() && !link.is_given_up() && link.down.unacknowledged() > 0
    }

    /// Whether it followed its script to the end.
    pub(super) fn is_faithful(&self) -> bool {
        self.left_at.is_none()
    }

    /// Whether it has sent everything that it had to.
    pub(super) fn has_sent_all(&self) -> bool {
        self.has_said_all() && (self.reacted || !self.reacts())
    }

    /// Whether it has sent all that it had to for that part.
    pub(super) fn has_sent(&self, part: usize) -> bool {
        match self.said_at.get(part) {
            Some(_) if part + 1 == self.plan.parts.len() => self.has_sent_all(),
            Some(&at) => at <= self.said,
            None => false,
        }
    }

    fn has_said_all(&self) -> bool {
        let is_sent = |records: &Records| !records.has_unsent() && !self.ends && !self.ends_behind;
        self.said == self.script.len() && self.records.as_ref().is_none_or(is_sent)
    }

    fn reacts(&self) -> bool {
        match self.plan.speaks {
            Speaks::Native => self.is(Side::Upload),
            Speaks::Transit => true,
            _ => false,
        }
    }

    fn note(&mut self, now: Time) {
        if self.plan.speaks != Speaks::Native {
            if let Seen::Refused(_) = self.seen()[0] {
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
        let payload = &self.plan.parts[0].payload;
        match (self.plan.speaks, self.is(Side::Upload)) {
            (Speaks::Transit, _) if self.heard.starts_with(b"ok\n") => {
                self.script.extend(payload);
                (self.ends, self.reacted) = (true, true);
            }
            (Speaks::Native, true) => match matched(&self.heard) {
                Some(CounterpartDialect::Native) => {
                    self.script.extend((payload.len() as u64).to_be_bytes());
                    self.script.extend(payload);
                    if !payload.is_empty() {
                        self.script.extend(0u64.to_be_bytes());
                    }
                    self.reacted = true;
                }
                Some(_) => {
                    self.script.extend(payload);
                    (self.ends, self.reacted) = (true, true);
                }
                None => {}
            },
            (Speaks::Native, false) => {
                if let Some(Chunks::Whole(payload)) = native_payload(&self.heard) {
                    self.script.push(0);
                    self.script.extend((payload.len() as u64).to_be_bytes());
                    (self.ends, self.reacted) = (true, true);
                }
            }
            _ => {}
        }
    }

    /// What it has heard, with what has come and not been read, and how its connection stands.
    fn all_heard(&self) -> (Vec<u8>, Ending) {
        let link = self.link.lock();
        let (mut heard, mut records) = (self.heard.clone(), self.records.clone());
        let received: Vec<u8> = link.down.received.iter().copied().collect();
        hear(&mut heard, &mut records, &received);
        let ending = if self.has_heard_end {
            Ending::End
        } else {
            Ending::of(&link, records.as_ref(), true)
        };
        (heard, ending)
    }

    /// What it can tell of each part, with what has come and not been read.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let (heard, ending) = self.all_heard();
        let failed = if ending == Ending::Open { Seen::Nothing } else { Seen::Failed };
        let seen = match (self.plan.speaks, self.is(Side::Upload)) {
            (Speaks::Http | Speaks::HttpClosing | Speaks::Http10, _) => {
                return http(&heard, ending, &self.plan.parts, self.said_at.len());
            }
            (Speaks::Nonsense, _) => failed,
            (Speaks::Classic, true) => match ending {
                Ending::Reset => Seen::Failed,
                _ => Seen::Nothing,
            },
            (Speaks::Classic, false) => stream(heard, ending),
            (Speaks::Transit, _) => match heard.strip_prefix(b"ok\n") {
                Some(rest) => stream(rest.to_vec(), ending),
                None if ending == Ending::Open => Seen::Nothing,
                None => Seen::Refused(None),
            },
            (Speaks::Native, true) => native(&heard, ending, Side::Upload),
            (Speaks::Native, false) => native(&heard, ending, Side::Download),
        };
        vec![seen]
    }
}

/// Something has been said that the other end is still to hear.
#[derive(Debug)]
pub(super) struct UnderWay;

/// Adds what has come to what was heard, taken out of records if it was in them.
fn hear(heard: &mut Vec<u8>, records: &mut Option<Records>, bytes: &[u8]) {
    if let Some(records) = records {
        records.take(bytes);
        heard.extend(records.drain());
    } else {
        heard.extend(bytes);
    }
}
