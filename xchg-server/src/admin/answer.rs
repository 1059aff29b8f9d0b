//! What is asked at the admin listener, and the answers.

use std::sync::Arc;
use std::time::Instant;

use xchg_core::ExchangeId;

use super::exchanges::{Listing, Rates};
use crate::ListenAddress;
use crate::dialect::http::{ChunkedEncoder, Foreign, Request, ResponseHead, Status, Version};
use crate::engine::shared::Shared;
use crate::engine::throttle::Kind;
use crate::metrics::{Metrics, MetricsFormat};
use crate::origin::Origin;

/// An answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it.
    Whole(Vec<u8>),
    /// The head, and a list that makes the body.
    List { head: Vec<u8>, listing: Listing },
}

/// What answers are made of.
#[derive(Debug)]
pub(super) struct Panel<S> {
    pub(super) shared: Arc<Shared<S>>,
    metrics: Metrics<S>,
    pub(super) rates: Rates,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) origin: Origin,
    /// The number of the listener.
    pub(super) listener: u8,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Metrics,
    Health,
    Readiness,
    Exchanges,
    Exchange(ExchangeId),
    Drain,
}

impl Page {
    fn of(path: &[u8]) -> Option<Self> {
        Some(match path {
            b"metrics" => Self::Metrics,
            b"healthz" => Self::Health,
            b"readyz" => Self::Readiness,
            b"exchanges" => Self::Exchanges,
            b"drain" => Self::Drain,
            path => {
                let id = str::from_utf8(path.strip_prefix(b"exchanges/")?).ok()?;
                // Digits alone: `+1` is a number, too.
                id.bytes().all(|digit| digit.is_ascii_digit()).then_some(())?;
                Self::Exchange(ExchangeId(id.parse().ok()?))
            }
        })
    }

    /// The methods that it takes.
    fn methods(self) -> &'static str {
        match self {
            Self::Metrics | Self::Health | Self::Readiness | Self::Exchanges => "GET, HEAD",
            Self::Exchange(_) => "DELETE",
            Self::Drain => "GET, HEAD, POST",
        }
    }
}

const ALL: &str = "There are /metrics, /healthz, /readyz, /exchanges, /exchanges/ID and /drain.";

impl<S: Send + 'static> Panel<S> {
    pub(super) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { metrics: Metrics::new(shared.clone()), rates: Rates::default(), shared }
    }

    /// Counts the answer to what is no request.
    pub(super) fn refuse(&self, words: Vec<u8>) -> Answer {
        self.shared.admin.count(&words);
        Answer::Whole(words)
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, request: &Request, asker: Asker, now: Instant) -> Answer {
        let answer = match self.turn_away(request, asker, now) {
            Some(words) => {
                if self.shared.throttles.admit(Kind::Forbidden, now) {
                    tracing::warn!(peer = %asker.origin, "turned away at the admin listener");
                }
                Answer::Whole(words)
            }
            None => self.page(request, asker.origin, now),
        };
        self.shared.admin.count(match &answer {
            Answer::Whole(words) => words,
            Answer::List { head, .. } => head,
        });
        answer
    }

    /// What is said to one who has no business here. A unix socket is its file's business.
    fn turn_away(&self, request: &Request, asker: Asker, now: Instant) -> Option<Vec<u8>> {
        let config = &self.shared.config;
        let ListenAddress::Tcp(address) = config.admin[usize::from(asker.listener)] else {
            return None;
        };
        // No site is let in, whatever the peers' listeners allow.
        if address.ip().to_canonical().is_loopback() {
            match request.foreign(&[]) {
                None => {}
                Some(Foreign::Name) => {
                    let text = "The admin listener answers by the names of this machine alone: ask localhost.";
                    return Some(plain(request, Status::Forbidden, text));
                }
                Some(Foreign::Site) => {
                    let text = "The admin listener is not for web pages.";
                    return Some(plain(request, Status::Forbidden, text));
                }
            }
        }
        if config.token.is_none() || self.shared.gate.bears_own(request.bearer(), asker.origin, now)
        {
            return None;
        }
        let text = "Send the server's token, as in `Authorization: Bearer TOKEN`.";
        let head = head(request, Status::Unauthorized, TEXT).field("WWW-Authenticate", "Bearer");
        Some(head.body(request.reply_to().closing(), format!("{text}\n").as_bytes()))
    }

    fn page(&mut self, request: &Request, peer: Origin, now: Instant) -> Answer {
        let Some(page) = Page::of(request.path()) else {
            return Answer::Whole(plain(request, Status::NotFound, ALL));
        };
        let words = match (page, request.method_name()) {
            (Page::Metrics, "GET" | "HEAD") => self.metrics(request),
            (Page::Health, "GET" | "HEAD") => self.health(request),
            (Page::Readiness, "GET" | "HEAD") => self.readiness(request),
            (Page::Exchanges, "GET" | "HEAD") => return self.list(request),
            (Page::Exchange(id), "DELETE") => self.cancel(request, peer, id),
            (Page::Drain, "GET" | "HEAD") => self.progress(request, Status::Ok, now),
            (Page::Drain, "POST") => {
                tracing::info!(%peer, "the admin listener was asked to drain the server");
                self.shared.drain(now);
                self.progress(request, Status::Accepted, now)
            }
            (page, method) => {
                let text = format!("Unsupported method: {:.32}. Use {}.\n", method, page.methods());
                head(request, Status::MethodNotAllowed, TEXT)
                    .field("Allow", page.methods())
                    .body(request.reply_to().closing(), text.as_bytes())
            }
        };
        Answer::Whole(words)
    }

    fn metrics(&self, request: &Request) -> Vec<u8> {
        let format = if request.accepts_openmetrics() {
            MetricsFormat::OpenMetrics
        } else {
            MetricsFormat::Prometheus
        };
        let page = self.metrics.text(format);
        head(request, Status::Ok, format.media_type())
            .body(request.reply_to().closing(), page.as_bytes())
    }

    fn health(&self, request: &Request) -> Vec<u8> {
        match self.shared.illness() {
            None => plain(request, Status::Ok, "ok"),
            Some(text) => plain(request, Status::Unavailable, &text),
        }
    }

    fn readiness(&self, request: &Request) -> Vec<u8> {
        match self.shared.drain_began.get() {
            None => plain(request, Status::Ok, "ready"),
            Some(_) => plain(request, Status::Unavailable, "draining"),
        }
    }

    fn list(&mut self, request: &Request) -> Answer {
        let to = request.reply_to().closing();
        let head = head(request, Status::Ok, "application/jsonl").connection(to.keep_alive);
        let chunked = (to.version == Version::Http11).then(ChunkedEncoder::new);
        let head = match &chunked {
            Some(_) => head.field("Transfer-Encoding", "chunked"),
            None => head,
        };
        if to.head_only {
            return Answer::Whole(head.end());
        }
        let handles = self.shared.broker.exchanges();
        let listing = Listing::new(handles, chunked, &mut self.rates);
        Answer::List { head: head.end(), listing }
    }

    fn cancel(&self, request: &Request, peer: Origin, id: ExchangeId) -> Vec<u8> {
        match self.shared.broker.exchange(id) {
            Some(exchange) => {
                tracing::info!(%peer, exchange = %id, "the admin listener was asked to end an exchange");
                exchange.cancel();
                plain(request, Status::Accepted, "it is being ended")
            }
            None => plain(request, Status::NotFound, "no exchange of that number runs"),
        }
    }

    fn progress(&self, request: &Request, status: Status, now: Instant) -> Vec<u8> {
        let counts = self.shared.broker.counts();
        let began = self.shared.drain_began.get();
        let seconds = began.map_or(0.0, |(at, _)| now.saturating_duration_since(*at).as_secs_f64());
        let bytes = began.map_or(0, |(_, before)| self.shared.moved().saturating_sub(*before));
        let body = format!(
            "{{\"draining\":{},\"waiting\":{},\"exchanging\":{},\"bytes\":{bytes},\"seconds\":{seconds:.3}}}\n",
            began.is_some(),
            counts.waiting,
            counts.exchanging,
        );
        head(request, status, "application/json")
            .body(request.reply_to().closing(), body.as_bytes())
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn plain(request: &Request, status: Status, text: &str) -> Vec<u8> {
    let text = format!("{text}\n");
    head(request, status, TEXT).body(request.reply_to().closing(), text.as_bytes())
}

/// The head of an answer. Unlike the peers' it lets no web page read it.
fn head(request: &Request, status: Status, media_type: &'static str) -> ResponseHead {
    ResponseHead::new(request.reply_to().version, status)
        .field("Content-Type", media_type)
        .field("X-Content-Type-Options", "nosniff")
        .field("Cache-Control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_pages() {
        for (path, expected) in [
            ("metrics", Some(Page::Metrics)),
            ("exchanges/17", Some(Page::Exchange(ExchangeId(17)))),
            ("exchanges/", None),
            ("exchanges/+1", None),
            ("exchanges/1/", None),
            ("exchanges/18446744073709551616", None),
            ("Metrics", None),
            ("metrics/", None),
            ("", None),
        ] {
            assert_eq!(Page::of(path.as_bytes()), expected, "{path}");
        }
    }
}
