//! The dashboard and the alerts in packaging/ ask for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{metrics, start};
use crate::common::Peer;

const DASHBOARD: &str = include_str!("../../../../packaging/grafana/xchg-server.json");
const ALERTS: &str = include_str!("../../../../packaging/prometheus/alerts.yml");

/// What Prometheus puts on each series by itself, and what a histogram's buckets have.
const GIVEN: [&str; 3] = ["instance", "job", "le"];

/// The expressions of the dashboard, each with the title of its panel.
fn of_the_dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut all = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push((title.to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    all
}

/// The metrics that an expression names, each with the labels that it selects by.
fn named(expression: &str) -> Vec<(&str, BTreeSet<&str>)> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut all = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find("xchg_").into_iter().chain(rest.find("process_")).min() {
        rest = &rest[start..];
        let (name, behind) = rest.split_at(rest.find(|it| !is_word(it)).unwrap_or(rest.len()));
        rest = behind;
        let selector = behind.strip_prefix('{').and_then(|it| it.split_once('}'));
        let labels = selector.map_or("", |(labels, _)| labels).split(',');
        let labels = labels.filter_map(|label| label.split(['=', '!']).next());
        all.push((name, labels.filter(|label| !label.is_empty()).collect()));
    }
    all
}

/// The labels by which an expression groups.
fn grouped(expression: &str) -> Vec<&str> {
    let lists = expression.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(str::trim)).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_and_labels_that_there_are() {
    let (server, admin) = start();
    drop(Peer::classic(server.address(), b'P', "key").send_all(b"whole"));
    assert_eq!(Peer::classic(server.address(), b'G', "key").whole(), b"whole");
    server.next_outcome();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in metrics(admin).into_keys() {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let labels = labels.trim_end_matches('}').split("\",");
        let labels = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        known.entry(name.to_owned()).or_default().extend(labels);
    }
    let alerts: Vec<&str> = ALERTS
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '-']) && !line.contains("description:"))
        .collect();
    let mut expressions = of_the_dashboard();
    assert!(expressions.len() > 30, "{expressions:?}");
    expressions.extend(alerts.iter().map(|line| ("alert".to_owned(), (*line).to_owned())));
    let mut used = BTreeSet::new();
    for (title, expression) in &expressions {
        for (name, labels) in named(expression) {
            let has = known.get(name).unwrap_or_else(|| panic!("{title}: there is no {name}"));
            for label in labels.into_iter().chain(grouped(expression)) {
                let is_there = has.contains(label) || GIVEN.contains(&label);
                assert!(is_there, "{title}: {name} has no label {label}");
            }
            used.insert(name);
        }
    }
    // And the dashboard leaves out none, but for what is not worth a panel.
    let unused: Vec<_> = known
        .keys()
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count"))
        .filter(|name| !used.contains(name.as_str()))
        .collect();
    assert_eq!(unused, ["process_start_time_seconds"]);
}

fn promtool(arguments: &[&str], folder: &Path) {
    let said = Command::new("promtool").args(arguments).current_dir(folder).output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

fn packaged() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging/prometheus")
}

#[test]
#[ignore = "needs promtool, of Debian's package prometheus"]
fn promtool_understands_the_alerts_and_sees_them_come() {
    promtool(&["check", "rules", "alerts.yml"], &packaged());
    promtool(&["test", "rules", "alerts_test.yml"], &packaged());
}

#[test]
#[ignore = "needs promtool, of Debian's package prometheus"]
fn promtool_understands_what_the_dashboard_asks() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (index, (_, expression)) in of_the_dashboard().into_iter().enumerate() {
        // As Grafana fills them in.
        let filled = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        assert!(!filled.contains('$'), "{filled}");
        let filled = Value::from(filled);
        rules += &format!("      - {{ record: \"panel:{index}\", expr: {filled} }}\n");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
    promtool(&["check", "rules", "rules.yml"], folder.path());
}
