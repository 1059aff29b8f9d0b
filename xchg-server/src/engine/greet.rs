//! From the first bytes to a place in the queue, a pairing, or a refusal.

use std::io;
use std::time::Duration;

use xchg_core::relay::Source;
use xchg_core::wire::{RefusalCode, StatusReport, Token};
use xchg_core::{Brokered, Offer, Pair, Place, Realm, Refusal, Role, Side, Sides};

use super::{Engine, SCRATCH_BYTES};
use crate::Tls;
use crate::config::Terminate;
use crate::dialect::proxy::{self, Header};
use crate::dialect::{
    self, Arrival, Ask, Detected, Dialect, Heard, Interruption, MAX_GREETING_LEN, NotServed, Voice,
};
use crate::engine::admission::{self, Standing};
use crate::engine::bearers::Bearer;
use crate::engine::connection::{Address, Brought, Connection, State, Undecided, Waiting};
use crate::engine::net::{Id, Net};
use crate::engine::shared::Message;
use crate::engine::tally;
use crate::engine::throttle::Kind;
use crate::engine::timers::{Far, Tick};
use crate::origin::Origin;

impl<N: Net> Engine<N> {
    /// Hears what a peer has to say so far, and does it once it is whole.
    pub(super) fn greet(&mut self, slot: u32) {
        // No more than a greeting at a time: what is behind it can wait in the kernel.
        let mut bytes = [0; MAX_GREETING_LEN];
        while let Some(connection) = self.connections.get_mut(slot as usize)
            && connection.state.heard().is_some()
        {
            let read = connection.stream.read(&mut bytes);
            match read {
                Ok(0) => self.hear_end(slot),
                Ok(n) => self.hear_more(slot, &bytes[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.register(slot) {
                        self.arm(slot);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.kept.push_back(self.id(slot));
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => self.let_down(slot),
                Err(_) => self.remove(slot).reset(),
            }
        }
    }

    /// Closes the connection of a peer that breaks the rules of the layer that it speaks within,
    /// which has told it so.
    fn let_down(&mut self, slot: u32) {
        let text = "what it speaks within is broken";
        self.note_refusal(slot, RefusalCode::Malformed, None, text);
        self.leave(slot, Vec::new());
    }

    fn hear_more(&mut self, slot: u32, bytes: &[u8]) {
        let connection = &mut self.connections[slot as usize];
        if let State::Undecided(said) = &connection.state {
            connection.deadline = said.greeting_by;
        }
        let heard = connection.state.heard().map(std::mem::take).unwrap_or_default();
        if heard.is_empty() {
            return self.hear(slot, bytes, 0);
        }
        let earlier = heard.len();
        let mut heard = heard.into_vec();
        heard.extend_from_slice(bytes);
        self.hear(slot, &heard, earlier);
    }

    /// The peer has ended its stream: there is nothing behind what it has said.
    fn hear_end(&mut self, slot: u32) {
        match std::mem::take(&mut self.connections[slot as usize].state) {
            State::Undecided(said) => self.decide(slot, *said),
            // A mere end would look like an empty payload to a downloader.
            State::Greeting(heard) if !heard.is_empty() => self.remove(slot).reset(),
            _ => self.remove(slot).close(),
        }
    }

    /// Takes what a peer has said for all that it wants to say.
    pub(super) fn decide(&mut self, slot: u32, said: Undecided) {
        let connection = &mut self.connections[slot as usize];
        connection.state = State::default();
        connection.deadline = said.greeting_by;
        self.hear_in(said.dialect, slot, &said.heard);
    }

    /// Hears `bytes`, of which `earlier` had been heard before the others came.
    fn hear(&mut self, slot: u32, bytes: &[u8], earlier: usize) {
        let connection = &mut self.connections[slot as usize];
        if let Some(dialect) = connection.voice.dialect() {
            return self.hear_in(dialect, slot, bytes);
        }
        if connection.standing == Standing::Unnamed {
            return self.hear_proxy(slot, bytes);
        }
        if !connection.stream.is_wrapped() && self.net.begins_layer(connection.listener, bytes) {
            return self.secure(slot, bytes);
        }
        let spoken = self.shared.config.dialects_at(connection.listener);
        match dialect::detect(bytes, earlier, spoken) {
            Detected::Partial => connection.state = State::Greeting(bytes.into()),
            Detected::Dialect(dialect) => self.hear_in(dialect, slot, bytes),
            Detected::InSilence(dialect) => {
                let greeting_by = connection.deadline;
                let undecided = Undecided { heard: bytes.into(), dialect, greeting_by };
                connection.state = State::Undecided(Box::new(undecided));
                connection.deadline = self.timers.soon(self.timers.now().after(dialect::SILENCE));
            }
            Detected::Proxy => {
                let text = if connection.stream.is_wrapped() {
                    "what a proxy says first (the PROXY protocol) came within TLS, where it names \
                     nobody: have the proxy send it before TLS, to a listener that is marked \
                     `proxy`"
                } else {
                    "what a proxy says first (the PROXY protocol) came to a listener that does not \
                     expect it: mark that `proxy`, as in --listen ADDR:PORT,proxy"
                };
                self.refuse_proxy(slot, text);
            }
            Detected::Unknown => {
                let words = dialect::what_we_speak(spoken);
                self.note_refusal(slot, RefusalCode::Malformed, None, "unknown first bytes");
                self.leave(slot, words);
            }
        }
    }

    /// Hears from a proxy for whom a connection is, and then whoever that is.
    fn hear_proxy(&mut self, slot: u32, bytes: &[u8]) {
        let connection = &mut self.connections[slot as usize];
        let (len, peer) = match proxy::parse(bytes) {
            Header::Partial => {
                connection.state = State::Greeting(bytes.into());
                return;
            }
            Header::Whole { len, peer } => (len, peer),
            Header::Bad => {
                let text = "no header of the PROXY protocol came first, which this listener \
                            expects: have the proxy send one (send-proxy-v2, proxy_protocol on), \
                            or take `proxy` from --listen";
                return self.refuse_proxy(slot, text);
            }
        };
        let origin = match peer {
            proxy::Peer::At(address) => Origin::behind_proxy(Some(address)),
            proxy::Peer::Unsaid => connection.origin.elsewhere(),
        };
        connection.standing = self.shared.admission.name(connection.origin, origin);
        connection.origin = origin;
        let id = Id { slot, serial: connection.serial };
        self.note_standing(id);
        match &bytes[len..] {
            [] => self.connections[slot as usize].state = State::default(),
            rest => self.hear(slot, rest, 0),
        }
    }

    /// Resets a connection of a proxy that does not say what it must, or says what it must not. It
    /// is told nothing, for it would pass that on.
    fn refuse_proxy(&mut self, slot: u32, text: &str) {
        self.shared.counters.refused(RefusalCode::Malformed);
        self.shared.counters.proxy_header_failed();
        let connection = self.remove(slot);
        self.warn_of_proxy(connection.origin, text);
        connection.reset();
    }

    /// Whether a peer must use TLS where it came to, and does not.
    pub(super) fn is_too_open(&self, slot: u32) -> bool {
        let connection = &self.connections[slot as usize];
        let listen = &self.shared.config.listen[usize::from(connection.listener)];
        listen.tls == Some(Tls::Required) && !connection.stream.is_wrapped()
    }

    fn hear_in(&mut self, dialect: Dialect, slot: u32, bytes: &[u8]) {
        self.connections[slot as usize].voice = Voice::of(dialect);
        match dialect.hear(bytes) {
            Heard::Requests => self.hear_requests(slot, bytes),
            _ if self.is_too_open(slot) => {
                let text = "this address is for TLS only: name the server as https://HOST:PORT";
                self.refuse(slot, RefusalCode::Unsupported, text);
            }
            Heard::Partial => {
                self.connections[slot as usize].state = State::Greeting(bytes.into());
            }
            Heard::Malformed { code, text } => self.refuse(slot, code, &text),
            Heard::Ask { ask: Ask::Offer(arrival), len } => {
                match self.bearer_of_offer(slot, dialect, &arrival) {
                    Ok(bearer) => self.offer(slot, dialect, arrival, &bytes[len..], bearer),
                    Err(denied) => {
                        let why = NotServed::For { code: denied.code(), text: &denied.text() };
                        self.refuse_key(slot, Some(&arrival.key), &why);
                    }
                }
            }
            Heard::Ask { ask: Ask::Terminate { token }, .. } => {
                self.terminate(slot, dialect, token)
            }
            Heard::Ask { ask: Ask::Status { token }, .. } => self.status(slot, dialect, token),
        }
    }

    pub(super) fn offer(
        &mut self,
        slot: u32,
        dialect: Dialect,
        arrival: Arrival,
        early: &[u8],
        bearer: Bearer,
    ) {
        if let Err(why) = self.check_offer(slot, &arrival) {
            return self.refuse_key(slot, Some(&arrival.key), &why);
        }
        let connection = &self.connections[slot as usize];
        match arrival.buffer_bytes {
            Some(bytes) => connection.set_buffers(bytes),
            None => self.bound_window(connection, &arrival),
        }
        let is_receiver = arrival.role == Role::Side(Side::Download);
        let came = self.shared.millis(self.timers.instant());
        let offer = Offer {
            realm: arrival.realm,
            key: arrival.key,
            role: arrival.role,
            origin: admission::waits_for(connection.origin, &self.shared.config),
            // The worker's own timer sees to it, which sends the heartbeats too.
            deadline: None,
            may_wait: connection.standing == Standing::Within,
            exclusive: dialect.wants_key_alone(),
            receivers: arrival.receivers,
            conn: Address { worker: self.index, dialect, slot, came },
        };
        // In the other direction it need not be said: anybody can hash a key.
        let twin = arrival.twin.filter(|_| arrival.realm == Realm::Sealed);
        let brought = Brought::pack(early, arrival.length, twin, bearer);
        let wait = dialect::shorter(arrival.wait, self.shared.config.wait_timeout);
        let expires = wait.map_or(Tick::NEVER, |wait| self.timers.now().after(wait));
        let leaves_by_ending = dialect.leaves_by_ending(&offer.role);
        let Some((place, gathered)) = self.make_offer(offer, expires, brought) else { return };
        if gathered > 0 && is_receiver {
            self.announce_receiver(place);
        }
        let spoken = self.connections[slot as usize].voice.interrupted(leaves_by_ending);
        let interruption = if early.is_empty() { Interruption::Kept } else { spoken };
        self.wait(slot, place, expires, interruption, gathered);
    }

    /// Makes the offer of a peer that has brought so much, and would wait so long. Gives its place
    /// and how many others wait for the same exchange, if it is to wait; it is to be told then.
    pub(super) fn make_offer(
        &mut self,
        offer: Offer<Address>,
        expires: Tick,
        brought: Option<Box<Brought>>,
    ) -> Option<(Place, u16)> {
        let (me, key) = (offer.conn, offer.key.clone());
        let leaves_by_ending = me.dialect.leaves_by_ending(&offer.role);
        match self.shared.broker.offer(offer, self.timers.instant()) {
            Brokered::Waiting { place, gathered } => {
                // Before anything else: whatever goes wrong from now on, its place is given back.
                let waiting =
                    Waiting { place, expires: Far::of(expires), brought, leaves_by_ending };
                self.connections[me.slot as usize].state = State::Waiting(waiting);
                return Some((place, gathered));
            }
            Brokered::Paired(pair) => {
                self.shared.admission.serve(&mut self.connections[me.slot as usize].standing);
                self.note_pair(&pair);
                self.meet(me, brought, pair);
            }
            Brokered::Refused { why, .. } => {
                self.refuse_key(me.slot, Some(&key), &NotServed::Refused(why));
            }
        }
        None
    }

    /// Bounds what waits here of a peer on this machine that may send much: `relay.rs` says why.
    fn bound_window(&self, connection: &Connection<N::Transport>, arrival: &Arrival) {
        const LOCAL_RECV_BYTES: usize = 512 << 10;
        let is_ours = self.shared.config.recv_buffer.is_none() && connection.origin.is_local();
        if is_ours && may_send_much(arrival) {
            connection.stream.set_recv_buffer(LOCAL_RECV_BYTES);
        }
    }

    /// Looks whether a peer may make its offer at all.
    fn check_offer(&self, slot: u32, arrival: &Arrival) -> Result<(), NotServed<'static>> {
        let connection = &self.connections[slot as usize];
        if connection.standing == Standing::Excess {
            return Err(NotServed::Refused(Refusal::OriginFull));
        }
        if let Err(wait) = self.shared.admit_offer(connection.origin, self.timers.instant()) {
            return Err(NotServed::TooOften { seconds: wait.as_secs() + 1 });
        }
        match (self.shared.config.max_exchange_bytes, arrival.length) {
            (Some(most), Some(length)) if length > most => Err(NotServed::TooLong { most }),
            _ => Ok(()),
        }
    }

    /// Has an uploader told, with whom one waits at `place` for the same exchange, that this one
    /// has come.
    fn announce_receiver(&self, place: Place) {
        self.shared.broker.tell_uploader_with(place, |upload, place| {
            let inbox = &self.shared.inboxes[usize::from(upload.worker)];
            inbox.send(Message::ReceiverCame { slot: upload.slot, place });
        });
    }

    /// Lets go whom a pair needs no more; and notes for whoever watches what the two speak, and how
    /// long the first has waited.
    fn note_pair(&self, pair: &Pair<Address>) {
        for &spare in &pair.spares {
            self.shared.inboxes[usize::from(spare.worker)].send(Message::Spare(spare.slot));
        }
        let (upload, download) = (pair.upload, pair.download);
        let spoken = Sides { upload: upload.dialect, download: download.dialect };
        pair.exchange.set_tag(tally::tag(spoken));
        let now = self.shared.millis(self.timers.instant());
        let all = [upload, download].into_iter().chain(pair.others.iter().copied());
        // The first may have come a moment ago to a worker whose clock is ahead of this one's.
        let waited = all.map(|one| now.wrapping_sub(one.came).cast_signed().max(0)).max();
        let waited = waited.map_or(0, i32::unsigned_abs);
        self.shared.tally.paired(Duration::from_millis(waited.into()));
    }

    fn terminate(&mut self, slot: u32, dialect: Dialect, token: Option<Token>) {
        if !self.may_terminate(slot, token.as_ref()) {
            if self.may_log(Kind::Forbidden) {
                tracing::warn!(
                    peer = %self.connections[slot as usize].origin,
                    dialect = dialect.as_str(),
                    "a peer without the right asked to terminate the server"
                );
            }
            return self.refuse(
                slot,
                RefusalCode::Forbidden,
                "you may not terminate this server: give its token, or ask from the machine it \
                 runs on",
            );
        }
        let report = self.report();
        self.shared.drain(self.timers.instant());
        let peer = self.connections[slot as usize].origin;
        tracing::info!(%peer, dialect = dialect.as_str(), "a peer terminates the server");
        self.leave(slot, dialect.status(StatusReport { draining: true, ..report }));
    }

    fn status(&mut self, slot: u32, dialect: Dialect, token: Option<Token>) {
        let is_open = self.shared.config.terminate == Terminate::Any;
        if is_open
            || self.connections[slot as usize].origin.is_local()
            || self.bears_token(slot, token.as_ref())
        {
            let words = dialect.status(self.report());
            return self.leave(slot, words);
        }
        self.refuse(
            slot,
            RefusalCode::Forbidden,
            "you may not see this server's status: give its token, or ask from the machine it runs \
             on",
        );
    }

    fn may_terminate(&self, slot: u32, token: Option<&Token>) -> bool {
        match self.shared.config.terminate {
            Terminate::Never => false,
            Terminate::Any => true,
            Terminate::Token => self.bears_token(slot, token),
            Terminate::Loopback => {
                self.connections[slot as usize].origin.is_local() || self.bears_token(slot, token)
            }
        }
    }

    fn bears_token(&self, slot: u32, token: Option<&Token>) -> bool {
        let origin = self.connections[slot as usize].origin;
        self.shared.gate.bears_own(token, origin, self.timers.instant())
    }

    fn report(&self) -> StatusReport {
        self.shared.report(self.timers.instant())
    }
}

/// Whether who says so may send more than fits one read.
fn may_send_much(arrival: &Arrival) -> bool {
    let is_heard = arrival.realm != Realm::Plain || arrival.role != Role::Side(Side::Download);
    is_heard && arrival.length.is_none_or(|length| length > SCRATCH_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use xchg_core::Key;

    use super::*;

    #[test]
    fn who_may_send_much_is_told_from_others_by_what_it_says() {
        for (realm, side, length, is_much) in [
            (Realm::Plain, Side::Download, None, false),
            (Realm::Plain, Side::Upload, None, true),
            (Realm::Plain, Side::Upload, Some(1000), false),
            (Realm::Plain, Side::Upload, Some(1 << 20), true),
            (Realm::Sealed, Side::Download, None, true),
        ] {
            let key = Key::parse(b"key").unwrap();
            let arrival = Arrival { length, ..Arrival::new(realm, key, side) };
            assert_eq!(may_send_much(&arrival), is_much, "{realm:?} {side:?} {length:?}");
        }
    }
}
