//! What is shown of a server: its answers, as lines.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a server was at one moment.
#[derive(Debug)]
pub(super) struct Report {
    at: Instant,
    health: String,
    metrics: HashMap<String, f64>,
    /// The fastest first.
    exchanges: Vec<Exchange>,
    left_out: u64,
}

#[derive(Debug)]
struct Exchange {
    id: u64,
    key: String,
    realm: String,
    from: String,
    to: String,
    bytes: f64,
    rate: f64,
    seconds: f64,
}

impl Exchange {
    fn of(line: &Value) -> Option<Self> {
        let text = |name: &str| Some(line[name].as_str()?.escape_debug().to_string());
        Some(Self {
            id: line["exchange"].as_u64()?,
            key: text("key")?,
            realm: text("realm")?,
            from: text("upload_dialect")?,
            to: text("download_dialect")?,
            bytes: line["bytes"].as_f64()?,
            rate: line["rate"].as_f64()?,
            seconds: line["seconds"].as_f64()?,
        })
    }

    fn line(&self) -> String {
        format!(
            "{:>9}  {:<8}  {:<7}  {:<7}  {:<7}  {:>10}  {:>12}  {:>10}",
            self.id,
            self.key,
            self.realm,
            self.from,
            self.to,
            size(self.bytes),
            format!("{}/s", size(self.rate)),
            span(self.seconds),
        )
    }
}

const HEAD: &str =
    " EXCHANGE  KEY       REALM    FROM     TO            BYTES          RATE         AGE";

impl Report {
    /// Reads the answers of an admin listener. `None` if they are no such answers.
    pub(super) fn new(metrics: &str, exchanges: &str, health: String) -> Option<Self> {
        let metrics: HashMap<String, f64> = metrics
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect();
        metrics.contains_key("xchg_exchanges_running").then_some(())?;
        let (mut listed, mut left_out) = (Vec::new(), 0);
        for line in exchanges.lines() {
            let line: Value = serde_json::from_str(line).ok()?;
            match line["left_out"].as_u64() {
                Some(count) => left_out = count,
                None => listed.push(Exchange::of(&line)?),
            }
        }
        listed.sort_by(|one, other| other.rate.total_cmp(&one.rate).then(one.id.cmp(&other.id)));
        Some(Self { at: Instant::now(), health, metrics, exchanges: listed, left_out })
    }

    /// The lines that show it, no more than `rows`. If there was a `last`, they have the rate since
    /// then.
    pub(super) fn lines(&self, place: &str, last: Option<&Self>, rows: usize) -> Vec<String> {
        let mut lines = vec![
            self.title(place),
            self.peers(),
            self.totals(last),
            String::new(),
            HEAD.to_owned(),
        ];
        let room = rows.saturating_sub(lines.len());
        let all = self.exchanges.len() as u64 + self.left_out;
        // The last row says how many have none.
        let shown = if all <= room as u64 {
            self.exchanges.len()
        } else {
            self.exchanges.len().min(room.saturating_sub(1))
        };
        lines.extend(self.exchanges[..shown].iter().map(Exchange::line));
        if all > shown as u64 {
            lines.push(format!("{:>9}  more", all - shown as u64));
        }
        lines.truncate(rows);
        lines
    }

    fn title(&self, place: &str) -> String {
        let version = self
            .metrics
            .keys()
            .find_map(|name| name.strip_prefix("xchg_build_info{version=\"")?.strip_suffix("\"}"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0.0, |now| now.as_secs_f64());
        let up = span((now - self.of("process_start_time_seconds")).max(0.0));
        let state = match (self.of("xchg_draining") > 0.0, self.health.as_str()) {
            (_, ill) if ill != "ok" => ill,
            (true, _) => "draining",
            (false, _) => "well",
        };
        let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
        format!("xchg-server {}{at}, up {up}: {state}", version.unwrap_or("?").escape_debug())
    }

    fn peers(&self) -> String {
        let waiting = |realm| self.of(&format!("xchg_waiting{{realm=\"{realm}\"}}"));
        let [plain, sealed, transit] = ["plain", "sealed", "transit"].map(waiting);
        format!(
            "{} exchanging, {} waiting (plain {plain}, sealed {sealed}, transit {transit}); {} of {} connections",
            self.of("xchg_exchanges_running"),
            plain + sealed + transit,
            self.of("xchg_connections"),
            self.of("xchg_connections_max"),
        )
    }

    fn totals(&self, last: Option<&Self>) -> String {
        let ended = self.sum("xchg_exchanges_total");
        let completed = self.sum("xchg_exchanges_total{outcome=\"completed\"");
        let moved = self.of("xchg_bytes_total");
        let rate = last.map(|last| {
            let seconds = (self.at - last.at).max(Duration::from_millis(1)).as_secs_f64();
            let rate = (moved - last.of("xchg_bytes_total")).max(0.0) / seconds;
            format!(", {}/s", size(rate))
        });
        format!(
            "{completed} completed, {} failed, {} refused; {} moved{}",
            ended - completed,
            self.sum("xchg_refused_total"),
            size(moved),
            rate.unwrap_or_default(),
        )
    }

    fn of(&self, name: &str) -> f64 {
        self.metrics.get(name).copied().unwrap_or(0.0)
    }

    fn sum(&self, prefix: &str) -> f64 {
        let all = self.metrics.iter().filter(|(name, _)| name.starts_with(prefix));
        // Not `sum`, to which nothing at all is -0.
        all.fold(0.0, |sum, (_, value)| sum + value)
    }
}

/// Bytes for people, with three digits at least where there are so many.
fn size(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 1000.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    match (*unit, value < 10.0) {
        ("B", _) => format!("{value:.0} B"),
        (_, true) => format!("{value:.2} {unit}"),
        (_, false) => format!("{value:.1} {unit}"),
    }
}

/// A time for people: its two largest units.
fn span(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is no time at all saturates"
    )]
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} m {} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {} m", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# HELP xchg_waiting x\n\
        xchg_waiting{realm=\"plain\"} 3\nxchg_waiting{realm=\"sealed\"} 1\nxchg_waiting{realm=\"transit\"} 0\n\
        xchg_exchanges_running 2\nxchg_connections 8\nxchg_connections_max 65536\n\
        xchg_exchanges_total{outcome=\"completed\",upload_dialect=\"http\",download_dialect=\"http\"} 5\n\
        xchg_exchanges_total{outcome=\"cancelled\",upload_dialect=\"http\",download_dialect=\"http\"} 2\n\
        xchg_refused_total{code=\"busy\"} 4\nxchg_bytes_total 1536\nxchg_draining 0\n\
        xchg_build_info{version=\"1.2.3\"} 1\n";

    fn exchange(id: u64, rate: u64) -> String {
        format!(
            "{{\"exchange\":{id},\"realm\":\"plain\",\"key\":\"0a1b2c3d\",\"upload_dialect\":\"classic\",\
             \"download_dialect\":\"native\",\"bytes\":1073741824,\"seconds\":75.2,\"rate\":{rate}}}\n"
        )
    }

    #[test]
    fn all_is_shown_that_there_is_room_for() {
        let exchanges = [exchange(7, 10), exchange(8, 2_000_000)].concat();
        let report = Report::new(METRICS, &exchanges, "ok".to_owned()).unwrap();
        let lines = report.lines("unix:/x", None, 99);
        assert!(lines[0].starts_with("xchg-server 1.2.3 at unix:/x, up "), "{lines:?}");
        assert!(lines[0].ends_with(": well"), "{lines:?}");
        assert_eq!(
            lines[1..],
            [
                "2 exchanging, 4 waiting (plain 3, sealed 1, transit 0); 8 of 65536 connections",
                "5 completed, 2 failed, 4 refused; 1.50 KiB moved",
                "",
                HEAD,
                "        8  0a1b2c3d  plain    classic  native     1.00 GiB    1.91 MiB/s    1 m 15 s",
                "        7  0a1b2c3d  plain    classic  native     1.00 GiB        10 B/s    1 m 15 s",
            ]
        );
        let few = report.lines("", None, 6);
        assert_eq!(few.last().unwrap(), "        2  more");
        assert_eq!(report.lines("", None, 2).len(), 2);
        assert!(report.lines("", Some(&report), 99)[2].ends_with(" moved, 0 B/s"));
    }

    #[test]
    fn an_ill_server_and_a_list_cut_short_are_shown_as_such() {
        let listed = [&exchange(1, 1), "{\"left_out\":5}\n"].concat();
        let report = Report::new(METRICS, &listed, "worker 1 has not turned".to_owned()).unwrap();
        let lines = report.lines("", None, usize::MAX);
        assert!(lines[0].ends_with(": worker 1 has not turned"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "        5  more");
    }

    #[test]
    fn what_is_no_admin_listener_is_found_out() {
        assert!(Report::new("<html>", "", "ok".to_owned()).is_none());
        assert!(Report::new(METRICS, "<html>\n", "ok".to_owned()).is_none());
        assert!(Report::new(METRICS, "{\"exchange\":1}\n", "ok".to_owned()).is_none());
    }

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, expected) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "0.98 KiB"),
            (1024.0 * 12.3, "12.3 KiB"),
            (1024.0 * 1024.0, "1.00 MiB"),
            (2e18, "1776.4 PiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (seconds, expected) in
            [(0.4, "0 s"), (59.9, "59 s"), (61.0, "1 m 1 s"), (3660.0, "1 h 1 m"), (1e5, "1 d 3 h")]
        {
            assert_eq!(span(seconds), expected);
        }
    }
}
