//! Http peers: their requests and replies, and what they are told before and after an exchange.

use std::io;

use xchg_core::wire::RefusalCode;
use xchg_core::{Outcome, Realm, Side};

use super::Engine;
use crate::dialect::http::{self, Action, Description, Farewell, Head, Peer, Refusal};
use crate::dialect::{Arrival, Dialect, Voice};
use crate::engine::admission::Standing;
use crate::engine::bearers::Bearer;
use crate::engine::connection::{Brought, Connection, Leaving, Reply, State};
use crate::engine::endpoint::Framing;
use crate::engine::net::{Id, Net};
use crate::origin::Origin;

/// Requests on one connection, after which it is closed: one peer then keeps a worker from others
/// no longer than they take. Each further hundred costs the peer a new connection.
const MAX_REQUESTS: u8 = 100;

/// A request that its peer may make.
struct Admitted {
    request: http::Request,
    /// Who passed it on, if that said for whom.
    proxy: Option<Origin>,
    bearer: Bearer,
}

impl<N: Net> Engine<N> {
    /// Hears the requests at the start of `bytes`, answers those that nothing is exchanged for, and
    /// offers the first of the others.
    pub(super) fn hear_requests(&mut self, slot: u32, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (len, request) = match http::parse(bytes) {
                Head::Request { len, request } => (len, *request),
                Head::Partial => break,
                Head::Bad(words) => {
                    self.note_refusal(slot, RefusalCode::Malformed, None, "malformed request");
                    return self.leave(slot, words);
                }
            };
            let Admitted { request, proxy, bearer } = match self.admit_request(slot, request) {
                Ok(admitted) => admitted,
                Err(words) => return self.leave(slot, words),
            };
            let rest = &bytes[len..];
            let (words, keep_alive) = match request.action() {
                Action::Upload(upload) => {
                    let peer = Peer::from(upload).passed_on_by(proxy);
                    return self.offer_http(slot, peer, rest, bearer);
                }
                Action::Download(download) => {
                    // Behind the last request of a connection nothing counts.
                    let rest = if download.reply_to.keep_alive { rest } else { &[] };
                    let peer = Peer::Download(download).passed_on_by(proxy);
                    return self.offer_http(slot, peer, rest, bearer);
                }
                Action::Reply { bytes: words, keep_alive } => {
                    if let Some(why) = http::refusal(&words) {
                        self.note_refusal(slot, RefusalCode::Malformed, None, why);
                    }
                    (words, keep_alive)
                }
                Action::Health(to) => {
                    (http::health(to, self.shared.broker.counts().draining), to.keep_alive)
                }
            };
            if !keep_alive {
                return self.leave(slot, words);
            }
            self.count_for_proxy(slot, proxy);
            let reply = Reply { words, sent: 0, rest: Vec::new() };
            if !self.reply(slot, reply, rest) {
                return;
            }
            bytes = rest;
        }
        self.connections[slot as usize].state = State::Greeting(bytes.into());
    }

    /// Looks whether a peer may make a request at all, and for whom.
    ///
    /// # Errors
    /// What it is told if it may not.
    fn admit_request(
        &mut self,
        slot: u32,
        mut request: http::Request,
    ) -> Result<Admitted, Vec<u8>> {
        let connection = &mut self.connections[slot as usize];
        connection.requests += 1;
        if connection.stream.is_wrapped() {
            request.came_in_tls();
        } else if self.is_too_open(slot) {
            let text = "it does not use TLS, which this address is for";
            self.note_refusal(slot, RefusalCode::Unsupported, None, text);
            return Err(request.insecure());
        }
        let proxy = self.count_for_whom(slot, &request);
        let connection = &self.connections[slot as usize];
        let config = &self.shared.config;
        if config.listen[usize::from(connection.listener)].is_private() {
            request
                .screen(&config.allow_origins)
                .inspect_err(|_| self.shared.counters.refused(RefusalCode::Forbidden))?;
        }
        let is_last =
            connection.standing != Standing::Within || connection.requests >= MAX_REQUESTS;
        let bearer = match self.bearer_of_request(slot, &mut request) {
            Ok(bearer) => bearer,
            Err(denied) => {
                self.note_refusal(slot, denied.code(), None, &denied.to_string());
                return Err(request.denied(&denied));
            }
        };
        let request = if is_last { request.last() } else { request };
        Ok(Admitted { request, proxy, bearer })
    }

    /// Counts a connection for whom its request is, if a trusted proxy passes that on and says so.
    /// Gives the proxy then.
    fn count_for_whom(&mut self, slot: u32, request: &http::Request) -> Option<Origin> {
        let trusted = &self.shared.config.trusted_proxies;
        let connection = &mut self.connections[slot as usize];
        let proxy = connection.origin;
        let peer = proxy.is_in(trusted).then(|| request.forwarded_for(trusted)).flatten()?;
        connection.origin = Origin::behind_proxy(peer);
        self.shared.admission.rename(proxy, connection.origin, &mut connection.standing);
        Some(proxy)
    }

    /// Counts a connection for its proxy again, whose next request may be for somebody else.
    fn count_for_proxy(&mut self, slot: u32, proxy: Option<Origin>) {
        let Some(proxy) = proxy else { return };
        let connection = &mut self.connections[slot as usize];
        self.shared.admission.rename(connection.origin, proxy, &mut connection.standing);
        connection.origin = proxy;
    }

    /// Sends a reply behind which another request may come, of which `rest` is there already. Gives
    /// whether it is all sent.
    fn reply(&mut self, slot: u32, mut reply: Reply, rest: &[u8]) -> bool {
        let connection = &mut self.connections[slot as usize];
        let by = self.timers.now().after(self.shared.config.greeting_timeout);
        connection.deadline = self.timers.soon(by);
        match reply.turn(&mut connection.stream) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reply.rest = rest.to_vec();
                connection.state = State::Replying(Box::new(reply));
                if self.register(slot) {
                    self.arm(slot);
                }
            }
            Err(_) => self.remove(slot).reset(),
        }
        false
    }

    /// Goes on with a reply, and hears the next request once it is sent.
    pub(super) fn reply_on(&mut self, slot: u32, mut reply: Reply) {
        let rest = std::mem::take(&mut reply.rest);
        if self.reply(slot, reply, &rest) {
            self.hear_requests(slot, &rest);
            self.greet(slot);
        }
    }

    fn offer_http(&mut self, slot: u32, peer: Peer, early: &[u8], bearer: Bearer) {
        let arrival = Arrival {
            length: peer.length(),
            receivers: peer.receivers(),
            ..Arrival::new(Realm::Plain, peer.key().clone(), peer.side())
        };
        if peer.idempotency_key().is_some_and(|named| self.shared.failed_uploads.has(named)) {
            let text = "this upload has failed before";
            self.note_refusal(slot, RefusalCode::Busy, Some(peer.key()), text);
            return self.leave(slot, peer.refused(Refusal::Failed));
        }
        self.connections[slot as usize].voice = Voice::Http(Some(Box::new(peer)));
        self.offer(slot, Dialect::Http, arrival, early, bearer);
    }

    /// Notes at an uploader that more came than the `most` bytes that an exchange may move.
    pub(super) fn note_length(&mut self, upload: u32, most: u64) {
        let text = format!("more than {most} bytes came");
        self.note_refusal(upload, RefusalCode::Forbidden, None, &text);
        if let Some(peer) = self.connections[upload as usize].voice.request_mut() {
            peer.has_sent_more_than(most);
        }
    }

    /// Ends the part of an http peer in an exchange. `unsaid` is what it was still to be told.
    pub(super) fn part(
        &mut self,
        slot: u32,
        peer: Peer,
        outcome: Outcome,
        framing: &mut Framing,
        mut unsaid: Vec<u8>,
    ) {
        self.count_for_proxy(slot, peer.proxy());
        let lost_uploader = matches!(outcome, Outcome::Lost(Side::Upload));
        if peer.side() == Side::Download && lost_uploader && framing.is_untouched() {
            return self.leave(slot, peer.refused(Refusal::UploaderLost));
        }
        if let Some(named) = peer.idempotency_key()
            && !matches!(outcome, Outcome::Completed)
        {
            self.shared.failed_uploads.add(named);
        }
        if peer.side() == Side::Download && outcome.is_completed() {
            return self.finish_download(slot, framing);
        }
        match peer.ended(outcome, framing.error()) {
            Some(Farewell { words, keep_alive: true }) => {
                unsaid.extend(words);
                self.keep(slot, Reply { words: unsaid, sent: 0, rest: framing.rest() });
            }
            Some(Farewell { words, keep_alive: false }) => {
                unsaid.extend(words);
                self.leave(slot, unsaid);
            }
            None => self.close(slot, outcome),
        }
    }

    /// Ends the part of a downloader that has everything.
    fn finish_download(&mut self, slot: u32, framing: &mut Framing) {
        if framing.keeps_alive() {
            self.keep(slot, Reply { words: Vec::new(), sent: 0, rest: framing.rest() });
        } else {
            self.leave_as(slot, Leaving::told());
        }
    }

    /// Sends a last reply to one that may then make another request.
    fn keep(&mut self, slot: u32, reply: Reply) {
        let connection = &mut self.connections[slot as usize];
        connection.state = State::Replying(Box::new(reply));
        let by = self.timers.now().after(self.shared.config.greeting_timeout);
        connection.deadline = self.timers.soon(by);
        // Not here and now: it may ask for the next exchange at once, while this one is still being
        // ended.
        self.kept.push_back(Id { slot, serial: connection.serial });
    }

    /// Lets those who were told of their exchange's end go on to their next request, and those who
    /// had to let others go first say what they want.
    pub(super) fn hear_kept(&mut self) {
        for _ in 0..self.kept.len() {
            let Some(id) = self.kept.pop_front() else { return };
            match self.connection(id).map(|connection| &mut connection.state) {
                Some(State::Replying(reply)) => {
                    let reply = std::mem::take(&mut **reply);
                    self.guard(id, |engine| engine.reply_on(id.slot, reply));
                }
                Some(State::Greeting(_)) => self.guard(id, |engine| engine.greet(id.slot)),
                Some(State::Leaving(leaving)) => {
                    let leaving = std::mem::take(&mut **leaving);
                    self.guard(id, |engine| engine.leave_on(id.slot, leaving));
                }
                _ => {}
            }
        }
    }
}

/// How an uploader's bytes are framed, unless the payload is passed on as it `is_bare`; and what is
/// known of it. Takes out of what it has brought what the framing must see.
pub(super) fn upload_framing<T>(
    connection: &mut Connection<T>,
    brought: &mut Brought,
    is_bare: bool,
) -> (Framing, Option<Box<Description>>) {
    let (body, description) = connection.voice.request_mut().and_then(Peer::open).unzip();
    let framing = match (body, brought.length) {
        (Some(body), _) => Framing::body(body, std::mem::take(&mut brought.early)),
        (None, Some(length)) if !is_bare => {
            Framing::measured(length, std::mem::take(&mut brought.early))
        }
        _ => Framing::Bare,
    };
    (framing, description.flatten())
}

/// How the bytes of a downloader are framed, whose payload has this length and description, and is
/// framed like that. Takes out of what it has brought what the framing must see.
pub(super) fn download_framing<T>(
    connection: &Connection<T>,
    brought: &mut Option<Box<Brought>>,
    (length, description, upload): (Option<u64>, Option<&Description>, &Framing),
) -> Framing {
    match connection.voice.request() {
        Some(Peer::Download(download)) => {
            let early = brought.take().map_or(Vec::new(), |brought| brought.early);
            Framing::response(download.reply_to, length, description, upload, early)
        }
        _ => Framing::Bare,
    }
}
