//! What the log says of peers: whom it is about, and no more of a kind than is of use.

use std::time::Duration;

use tracing::Level;
use xchg_core::wire::RefusalCode;
use xchg_core::{Exchange, ExchangeHandle, Key, Outcome};

use super::Engine;
use crate::dialect::Dialect;
use crate::engine::bearers::Bearer;
use crate::engine::connection::{Connection, State};
use crate::engine::net::{Net, Transport};
use crate::engine::throttle::{Kind, WINDOW};
use crate::origin::Origin;

/// One who takes part in an exchange.
#[derive(Debug, Clone)]
pub(super) struct Party {
    origin: Origin,
    dialect: Option<Dialect>,
    certificate: Option<String>,
    bearer: Bearer,
}

impl Party {
    pub(super) fn of<T: Transport>(connection: &Connection<T>) -> Self {
        let certificate = connection.stream.peer_name();
        let dialect = connection.voice.dialect();
        Self { origin: connection.origin, dialect, certificate, bearer: None }
    }

    /// The same, which has shown that tenant's token.
    pub(super) fn bearing(self, bearer: Bearer) -> Self {
        Self { bearer, ..self }
    }

    /// What the tenant is called whose token it has shown.
    fn tenant(&self) -> Option<&str> {
        self.bearer.as_ref()?.name.as_deref()
    }
}

/// Names with commas between them, if there are any.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<_> = names.collect();
    (!names.is_empty()).then(|| names.join(","))
}

impl<N: Net> Engine<N> {
    /// Counts and logs that a peer is not served. `key` is what it named, where that is known.
    pub(super) fn note_refusal(
        &mut self,
        slot: u32,
        code: RefusalCode,
        key: Option<&Key>,
        text: &str,
    ) {
        self.shared.counters.refused(code);
        if !self.may_log(Kind::Refused) {
            return;
        }
        let connection = &self.connections[slot as usize];
        let waiting = match &connection.state {
            State::Waiting(waiting) => self.shared.broker.waiter(waiting.place),
            _ => None,
        };
        let key = key
            .or_else(|| connection.voice.request().map(|peer| peer.key()))
            .or_else(|| waiting.as_ref().map(|(_, key, _)| key));
        tracing::info!(
            peer = %connection.origin,
            certificate = connection.stream.peer_name(),
            dialect = connection.voice.dialect().map(Dialect::as_str),
            code = code.as_str(),
            key = key.map(|key| self.shared.shown(key)),
            text,
            "refused"
        );
    }

    /// Ends an exchange; before, so that whoever learns of it finds that, its end is counted and
    /// logged.
    pub(super) fn conclude(
        &mut self,
        exchange: Exchange,
        outcome: Outcome,
        upload: &Party,
        downloads: &[Party],
    ) {
        let handle = exchange.handle();
        let took = self.timers.instant().duration_since(handle.started());
        self.shared.tally.ended(&handle, outcome, took);
        self.log_end(&handle, (outcome, took), upload, downloads);
        exchange.finish(outcome);
    }

    fn log_end(
        &mut self,
        handle: &ExchangeHandle,
        (outcome, took): (Outcome, Duration),
        upload: &Party,
        downloads: &[Party],
    ) {
        if !self.may_log(Kind::Ended) {
            return;
        }
        let (bytes, seconds) = (handle.bytes(), took.as_secs_f64());
        // The engine's clock has milliseconds.
        let rate = u128::from(bytes) * 1000 / took.as_millis().max(1);
        let addresses: Vec<_> = downloads.iter().map(|party| party.origin.to_string()).collect();
        let tenants = listed(downloads.iter().filter_map(Party::tenant));
        let certificates = listed(downloads.iter().filter_map(|it| it.certificate.as_deref()));
        tracing::info!(
            exchange = %handle.id(),
            key = self.shared.shown(handle.key()),
            realm = handle.realm().as_str(),
            outcome = outcome.as_str(),
            bytes,
            seconds,
            rate = u64::try_from(rate).unwrap_or(u64::MAX),
            uploader = %upload.origin,
            upload_certificate = upload.certificate.as_deref(),
            upload_tenant = upload.tenant(),
            upload_dialect = upload.dialect.map(Dialect::as_str),
            downloader = addresses.join(","),
            download_certificate = certificates,
            download_tenant = tenants,
            download_dialect = downloads[0].dialect.map(Dialect::as_str),
            "ended"
        );
    }

    /// Whether one more line of this kind goes into the log.
    pub(super) fn may_log(&mut self, kind: Kind) -> bool {
        if !tracing::enabled!(Level::INFO) {
            return false;
        }
        let is_admitted = self.shared.throttles.admit(kind, self.timers.instant());
        if !is_admitted {
            // Whoever has left lines out sees to it that they are told.
            self.untold.get_or_insert(self.timers.now().after(WINDOW));
        }
        is_admitted
    }

    /// Tells how many lines were left out, once their time is over.
    pub(super) fn tell_left_out(&mut self) {
        if self.untold.is_some_and(|at| at <= self.timers.now()) {
            self.untold = None;
            self.shared.throttles.tell(self.timers.instant());
        }
    }
}
