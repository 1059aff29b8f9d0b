//! What the server has counted, in the formats that Prometheus reads.
//!
//! Nothing is counted here: each scrape asks those who count anyway. No label holds a key or an
//! address, and every label has few values.
//!
//! **Metrics are asked for, not kept.** A scrape reads what broker, workers and throttles count
//! anyway, by a collector: nothing is counted twice, and nothing is added to the path of a byte.
//! What a worker alone knows (bytes moved, pipes, its longest turn) it publishes once a turn, in a
//! cache line of its own. Dialects and the time that a peer came ride in the `Address` by which the
//! broker knows it, and end up in the exchange's tag.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder,
    NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use xchg_core::Realm;

use crate::engine::shared::{Shared, Stats};
use crate::system::process;

/// A text format for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// OpenMetrics 1.0, which Prometheus asks for.
    #[default]
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, which all its kin read.
    Prometheus,
}

impl MetricsFormat {
    /// The media type to serve it as.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The metrics of a server.
pub(crate) struct Metrics<S> {
    registry: Registry,
    shared: Arc<Shared<S>>,
}

impl<S: Send + 'static> Metrics<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Counted(shared.clone())));
        Self { registry, shared }
    }

    /// All of them as they are now.
    pub(crate) fn text(&self, format: MetricsFormat) -> String {
        let mut page = String::with_capacity(16 << 10);
        let written = match format {
            MetricsFormat::OpenMetrics => text::encode(&mut page, &self.registry),
            MetricsFormat::Prometheus => prometheus_text::encode(&mut page, &self.registry),
        };
        written.expect("a string takes whatever is written");
        page
    }
}

impl<S> fmt::Debug for Metrics<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.shared).finish()
    }
}

/// What a server has counted.
struct Counted<S>(Arc<Shared<S>>);

impl<S> fmt::Debug for Counted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Send + 'static> Collector for Counted<S> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.peers(&mut page)?;
        self.exchanges(&mut page)?;
        self.workers(&mut page)?;
        self.program(&mut page)?;
        of_the_process(&mut page)
    }
}

fn tokens(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    page.counter(
        "xchg_token_reloads",
        "Token files that were taken in place of others",
        &stats.token_reloads,
    )?;
    page.counter(
        "xchg_token_reload_failures",
        "Token files that could not be taken in place of others",
        &stats.token_reload_failures,
    )?;
    page.gauge(
        "xchg_tokens_not_taken",
        "1 while the token file holds what cannot be used, and older tokens are",
        &u64::from(stats.tokens_are_outdated),
    )
}

impl<S> Counted<S> {
    fn peers(&self, page: &mut Page<'_>) -> fmt::Result {
        let (shared, stats) = (&self.0, self.0.stats());
        page.gauge("xchg_connections", "Connections open", &stats.connections)?;
        let most = shared.config.max_connections as u64;
        page.gauge("xchg_connections_max", "Connections that may be open", &most)?;
        page.counter("xchg_accepted", "Connections accepted", &stats.accepted)?;
        page.counter(
            "xchg_accept_failures",
            "Times that accepting failed for want of descriptors or memory",
            &stats.accept_failures,
        )?;
        page.gauges(
            ("xchg_waiting", "Peers that wait for their counterpart"),
            Realm::ALL.map(|realm| ([("realm", realm.as_str())], shared.broker.waiting_in(realm))),
        )?;
        page.counter(
            "xchg_untrusted_proxies",
            "Connections refused, for they came where only trusted proxies may",
            &stats.untrusted_proxies,
        )?;
        page.counter(
            "xchg_proxy_header_failures",
            "Connections refused for a header of the PROXY protocol that is missing or wrong",
            &stats.proxy_header_failures,
        )?;
        self.tls(page, &stats)?;
        tokens(page, &stats)?;
        let refusals = shared.counters.refusals();
        page.counters(
            ("xchg_refused", "Peers told no, or closed for what they said"),
            refusals.map(|(code, count)| ([("code", code.as_str())], count)),
        )
    }

    fn tls(&self, page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
        page.counter(
            "xchg_tls_handshakes",
            "Connections that have shaken hands in TLS",
            &stats.tls_handshakes,
        )?;
        page.counter(
            "xchg_tls_handshake_failures",
            "Connections that began to shake hands in TLS, and failed or took too long",
            &stats.tls_handshake_failures,
        )?;
        page.counter(
            "xchg_tls_reloads",
            "Certificates that were taken in place of others",
            &stats.tls_reloads,
        )?;
        page.counter(
            "xchg_tls_reload_failures",
            "Certificates that could not be taken in place of others",
            &stats.tls_reload_failures,
        )?;
        page.gauge(
            "xchg_tls_certificate_not_taken",
            "1 while the files of the certificate hold what cannot be used, and an older one is",
            &u64::from(stats.tls_is_outdated),
        )?;
        let expires = stats.tls_expires.unwrap_or(SystemTime::UNIX_EPOCH);
        let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        page.gauge(
            "xchg_tls_certificate_expires_timestamp_seconds",
            "When the certificate in use expires, in seconds since 1970; 0 without one",
            &expires.as_secs(),
        )
    }

    fn exchanges(&self, page: &mut Page<'_>) -> fmt::Result {
        let (shared, tally) = (&self.0, &self.0.tally);
        let running = shared.broker.counts().exchanging;
        page.gauge("xchg_exchanges_running", "Exchanges that run", &running)?;
        page.counters(
            ("xchg_exchanges", "Exchanges that have ended"),
            tally.all_ended().map(|ended| {
                let labels = [
                    ("outcome", ended.outcome.as_str()),
                    ("upload_dialect", ended.dialects.upload.as_str()),
                    ("download_dialect", ended.dialects.download.as_str()),
                ];
                (labels, ended.count)
            }),
        )?;
        let bytes = Some(Unit::Bytes);
        let mut encoder = page.describe(
            ("xchg", "Payload moved, also by exchanges that run"),
            &bytes,
            MetricType::Counter,
        )?;
        count(&mut encoder, &shared.moved())?;
        let seconds = Some(Unit::Seconds);
        page.histogram(
            ("xchg_wait", "How long the first peer of an exchange had waited for the last"),
            &seconds,
            &tally.wait_seconds,
        )?;
        page.histogram(
            ("xchg_exchange", "How long exchanges took"),
            &seconds,
            &tally.exchange_seconds,
        )?;
        page.histogram(
            ("xchg_exchange", "Payload that exchanges moved"),
            &bytes,
            &tally.exchange_bytes,
        )
    }

    fn workers(&self, page: &mut Page<'_>) -> fmt::Result {
        let pulses = &self.0.pulses;
        let names: Vec<String> = (0..pulses.len()).map(|index| index.to_string()).collect();
        let workers = || names.iter().map(|name| [("worker", &**name)]).zip(pulses);
        page.gauges(
            (
                "xchg_worker_loop_seconds_max",
                "The longest turn of the worker's loop in the last half to whole minute",
            ),
            workers().map(|(labels, pulse)| (labels, pulse.longest_turn().as_secs_f64())),
        )?;
        page.gauges(
            ("xchg_worker_stuck", "Whether the worker has not turned for 5 seconds"),
            workers().map(|(labels, pulse)| (labels, u64::from(pulse.is_stuck()))),
        )?;
        let pipes: u64 = pulses.iter().map(|pulse| pulse.pipes()).sum();
        page.gauge("xchg_pipes", "Pipes open, each of two descriptors", &pipes)?;
        page.counter(
            "xchg_panics",
            "Times that the handling of a connection or a message panicked",
            &self.0.counters.panics(),
        )
    }

    fn program(&self, page: &mut Page<'_>) -> fmt::Result {
        let shared = &self.0;
        page.describe(("xchg_build", "The program that runs"), &None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let draining = u64::from(shared.drain_began.get().is_some());
        page.gauge("xchg_draining", "Whether the server drains", &draining)?;
        let lost = shared.config.lost_log_lines.map_or(0, |lost| lost());
        page.counters(
            ("xchg_log_lines_dropped", "Log lines left out as too many, or lost on their way"),
            [("too-many", shared.throttles.left_out()), ("lost", lost)]
                .map(|(reason, lines)| ([("reason", reason)], lines)),
        )?;
        page.counters(
            ("xchg_admin_requests", "Answers at the admin listener"),
            shared.admin.all().map(|(status, answers)| ([("status", status)], answers)),
        )
    }
}

/// The names that dashboards know of any program; those are left out that the system does not tell.
fn of_the_process(page: &mut Page<'_>) -> fmt::Result {
    let (bytes, seconds) = (Some(Unit::Bytes), Some(Unit::Seconds));
    let here = process::here();
    if let Some(open) = here.descriptors {
        page.gauge("process_open_fds", "Descriptors open", &open)?;
    }
    if let Some(most) = here.descriptors_max {
        page.gauge("process_max_fds", "Descriptors that may be open", &most)?;
    }
    if let Some(memory) = here.memory_bytes {
        page.describe(("process_resident_memory", "Memory in use"), &bytes, MetricType::Gauge)?
            .encode_gauge(&memory)?;
    }
    let mut encoder =
        page.describe(("process_cpu", "Processor time used"), &seconds, MetricType::Counter)?;
    count(&mut encoder, &here.cpu.as_secs_f64())?;
    page.describe(
        ("process_start_time", "When the program began, since 1970"),
        &seconds,
        MetricType::Gauge,
    )?
    .encode_gauge(&here.started.as_secs_f64())
}

/// The page being written.
struct Page<'a>(DescriptorEncoder<'a>);

/// A metric's name, less the unit and what its type puts behind it; and what it is.
type Named<'a> = (&'a str, &'a str);

impl Page<'_> {
    fn describe<'s>(
        &'s mut self,
        (name, help): (&'s str, &str),
        unit: &'s Option<Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit.as_ref(), kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.describe((name, help), &None, MetricType::Gauge)?.encode_gauge(value)
    }

    fn counter(&mut self, name: &str, help: &str, value: &u64) -> fmt::Result {
        count(&mut self.describe((name, help), &None, MetricType::Counter)?, value)
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        named: Named<'_>,
        values: impl IntoIterator<Item = ([(&'l str, &'l str); N], impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(named, &None, MetricType::Gauge)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| encoder.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<'l, const N: usize>(
        &mut self,
        named: Named<'_>,
        values: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(named, &None, MetricType::Counter)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| count(&mut encoder.encode_family(&labels)?, &value))
    }

    fn histogram(
        &mut self,
        named: Named<'_>,
        unit: &Option<Unit>,
        histogram: &Histogram,
    ) -> fmt::Result {
        histogram.encode(self.describe(named, unit, MetricType::Histogram)?)
    }
}

/// Writes a counter without an exemplar.
fn count(encoder: &mut MetricEncoder<'_>, value: &impl EncodeCounterValue) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
}
