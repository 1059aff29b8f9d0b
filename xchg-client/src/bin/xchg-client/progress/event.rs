//! What is told as JSON, one object a line.

use serde::Serialize;

use crate::say::say;

/// An event. Documented in the help, and stable: fields and events may be added.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    Code { code: &'a str, command: &'a str },
    Connecting { server: String },
    Waiting { side: &'a str, key: &'a str, elsewhere: Option<&'a str> },
    Matched { counterpart: &'a str, length: Option<u64> },
    Manifest { kind: &'a str, entries: usize, files: usize, bytes: u64, names: &'a [String] },
    Decision { accepted: bool, resumed: u64 },
    Progress { bytes: u64, length: Option<u64>, confirmed: Option<u64> },
    EntryDone { index: usize, path: &'a str },
    Retrying { cause: &'a str, error: &'a str, seconds: f64 },
    Kept { files: usize, bytes: u64, partial: Option<&'a str> },
    Done { bytes: u64, moved: u64, seconds: f64, receipt: bool, path: Option<&'a str> },
    Failed { exit_code: u8, cause: &'a str, error: &'a str },
}

pub(super) fn emit(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        say(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_documented_with_its_fields() {
        let (text, names) = ("", &["f".to_owned()][..]);
        let events = [
            Event::Code { code: text, command: text },
            Event::Connecting { server: text.into() },
            Event::Waiting { side: text, key: text, elsewhere: None },
            Event::Matched { counterpart: text, length: None },
            Event::Manifest { kind: text, entries: 1, files: 1, bytes: 1, names },
            Event::Decision { accepted: true, resumed: 0 },
            Event::Progress { bytes: 0, length: None, confirmed: None },
            Event::EntryDone { index: 0, path: text },
            Event::Retrying { cause: text, error: text, seconds: 0.0 },
            Event::Kept { files: 0, bytes: 0, partial: None },
            Event::Done { bytes: 0, moved: 0, seconds: 0.0, receipt: true, path: None },
            Event::Failed { exit_code: 1, cause: text, error: text },
        ];
        for event in &events {
            let json = serde_json::to_value(event).unwrap();
            let begin = format!(r#"  {{"event":{},"#, json["event"]);
            let mut lines = crate::cli::EXIT_CODES_AND_EVENTS.lines();
            let line = lines.find(|line| line.starts_with(&begin)).expect(&begin);
            let fields = json.as_object().unwrap();
            assert!(fields.keys().all(|field| line.contains(&format!(r#""{field}":"#))), "{line}");
            assert_eq!(line.matches(r#"":"#).count(), fields.len(), "{line}");
        }
    }
}
