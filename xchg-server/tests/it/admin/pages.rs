//! What can be asked for, and the answers.

use std::collections::BTreeSet;

use serde_json::Value;
use xchg_core::{Outcome, Side};

use super::{ask, ask_with, metrics, start};
use crate::common::{Peer, eventually};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[test]
fn metrics_come_in_both_formats() {
    let (_server, admin) = start();
    let plain = ask(admin, "GET", "/metrics");
    assert!(plain.head.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{plain:?}");
    assert!(plain.body.contains("\n# TYPE xchg_refused_total counter\n"), "{}", plain.body);
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n";
    let open = ask_with(admin, "GET", "/metrics", accept);
    assert!(open.head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0"));
    assert!(open.body.contains("\n# TYPE xchg_refused counter\n"), "{}", open.body);
    assert!(open.body.ends_with("\n# EOF\n"));
    for page in [plain, open] {
        let metrics = page.metrics();
        assert_eq!(metrics["xchg_waiting{realm=\"plain\"}"], 0.0);
        assert_eq!(metrics["xchg_refused_total{code=\"busy\"}"], 0.0);
        assert_eq!(metrics["xchg_worker_stuck{worker=\"1\"}"], 0.0);
        let version = format!("xchg_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(metrics[&version], 1.0);
        assert!(metrics["process_open_fds"] < metrics["process_max_fds"]);
        assert!(metrics["process_start_time_seconds"] > 1.7e9);
    }
}

#[test]
fn an_exchange_is_listed_while_it_runs_and_can_be_ended() {
    let (server, admin) = start();
    assert_eq!(ask(admin, "GET", "/exchanges").body, "");
    let mut downloader = Peer::native(server.address(), Side::Download, "listed").waits();
    let mut uploader = Peer::classic(server.address(), b'P', "listed");
    uploader.send(b"some of it");
    downloader.matched();
    assert_eq!(downloader.read(10), b"some of it");
    let id = server.next_exchange().id();
    let mut line = Value::Null;
    eventually("it is listed with what it has moved", || {
        line = json(&ask(admin, "GET", "/exchanges").body);
        line["bytes"] == 10
    });
    assert_eq!(line["exchange"], id.0);
    assert_eq!((&line["realm"], &line["upload_dialect"]), (&"plain".into(), &"classic".into()));
    assert_eq!(line["download_dialect"], "native");
    assert_eq!(line["key"].as_str().unwrap().len(), 8, "a fingerprint: {line}");
    assert!(line["seconds"].as_f64().unwrap() < 60.0 && line["rate"].is_u64(), "{line}");
    assert_eq!(metrics(admin)["xchg_exchanges_running"], 1.0);

    let path = format!("/exchanges/{}", id.0);
    assert_eq!(ask(admin, "DELETE", &path).status, 202);
    assert_eq!(server.next_outcome(), (Outcome::Cancelled, 10));
    assert_eq!(ask(admin, "DELETE", &path).status, 404);
    assert_eq!(ask(admin, "GET", "/exchanges").body, "");
    drop((uploader, downloader));
}

#[test]
fn a_drain_is_asked_for_and_followed() {
    let (server, admin) = start();
    assert_eq!(ask(admin, "GET", "/readyz").status, 200);
    let before = json(&ask(admin, "GET", "/drain").body);
    assert_eq!((&before["draining"], &before["seconds"]), (&false.into(), &0.0.into()));
    let mut uploader = Peer::native(server.address(), Side::Upload, "runs").waits();
    let mut downloader = Peer::native(server.address(), Side::Download, "runs");
    uploader.matched();
    downloader.matched();
    let waits = Peer::native(server.address(), Side::Upload, "waits").waits();

    let answer = ask(admin, "POST", "/drain");
    assert_eq!((answer.status, &json(&answer.body)["draining"]), (202, &true.into()));
    let ready = ask(admin, "GET", "/readyz");
    assert_eq!((ready.status, &*ready.body), (503, "draining\n"));
    // It lives on, as its health says.
    assert_eq!(ask(admin, "GET", "/healthz").status, 200);
    waits.refused();
    uploader.send(b"more");
    assert_eq!(downloader.read(4), b"more");
    eventually("the drain goes on", || {
        let progress = json(&ask(admin, "GET", "/drain").body);
        progress["waiting"] == 0 && progress["exchanging"] == 1 && progress["bytes"] == 4
    });
    assert_eq!(metrics(admin)["xchg_draining"], 1.0);
    drop((uploader, downloader));
    assert_eq!(server.join().cut, 0);
    assert!(std::net::TcpStream::connect(admin).is_err(), "it has gone with the server");
}

#[test]
fn a_method_that_a_page_does_not_take_is_answered_with_those_that_it_does() {
    let (_server, admin) = start();
    for (path, takes) in [
        ("/metrics", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/exchanges", "GET, HEAD"),
        ("/exchanges/1", "DELETE"),
        ("/drain", "GET, HEAD, POST"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            if takes.split(", ").any(|taken| taken == method) {
                continue;
            }
            let page = ask_with(admin, method, path, "Content-Length: 0\r\n");
            assert_eq!(page.status, 405, "{method} {path}: {page:?}");
            assert!(page.head.contains(&format!("\r\nAllow: {takes}\r\n")), "{page:?}");
        }
    }
    for path in ["/", "/metrics/", "/exchanges/x", "/exchanges/1/2", "/debug"] {
        assert_eq!(ask(admin, "GET", path).status, 404, "{path}");
    }
    let metrics = metrics(admin);
    assert_eq!(metrics["xchg_admin_requests_total{status=\"405\"}"], 36.0);
    assert_eq!(metrics["xchg_admin_requests_total{status=\"404\"}"], 5.0);
    assert_eq!(metrics["xchg_draining"], 0.0, "and nothing was done");
}

#[test]
fn head_gets_no_body_and_an_old_client_gets_its_version() {
    let (_server, admin) = start();
    for path in ["/metrics", "/healthz", "/readyz", "/exchanges", "/drain"] {
        let head = ask(admin, "HEAD", path);
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        let old = super::Page::of(
            super::connect(admin),
            format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(),
        );
        assert!(old.head.starts_with("HTTP/1.0 200"), "{old:?}");
        assert!(!old.head.contains("chunked"), "{old:?}");
    }
}

/// The metrics that a text names between backticks, without their labels.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let names = quoted.map(|name| name.split('{').next().unwrap());
    names.filter(|name| name.starts_with("xchg_") || name.starts_with("process_")).collect()
}

#[test]
fn the_docs_name_each_metric_and_no_other() {
    const DOCS: &str = include_str!("../../../../docs/monitoring.md");
    let (server, admin) = start();
    drop(Peer::classic(server.address(), b'P', "key").send_all(b"whole"));
    assert_eq!(Peer::classic(server.address(), b'G', "key").whole(), b"whole");
    server.next_outcome();
    let metrics = metrics(admin);
    let counted: BTreeSet<&str> = metrics
        .keys()
        .map(|name| name.split('{').next().unwrap())
        .map(|name| {
            let parts = ["_bucket", "_count", "_sum"];
            parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
        })
        .collect();
    let (_, table) = DOCS.split_once("\n## Metrics\n").unwrap();
    assert_eq!(named(table), counted);
}

#[test]
fn an_embedder_gets_the_same_metrics_without_a_listener() {
    use xchg_server::MetricsFormat::{OpenMetrics, Prometheus};
    let server = crate::common::InProcess::default();
    assert!(server.metrics(OpenMetrics).ends_with("# EOF\n"));
    assert!(server.metrics(Prometheus).contains("\nxchg_exchanges_running 0\n"));
    assert_eq!(server.illness(), None);
}
