//! Telling the person, or the program, at stderr what goes on.

mod sealed;

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use xchg_client::code::Paper;
use xchg_client::terminal::escape;
use xchg_client::{
    Address, Code, CounterpartDialect, Error, Matched, Observer, Side, Summary, Waiting,
};

use crate::exit::ExitCode;
use crate::name::Name;

/// How long connecting takes before a person wants to know where to.
const CONNECTING_NOTICE: Duration = Duration::from_secs(1);

/// How much is told, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Errors only.
    Quiet,
    /// Lines, and a bar on a terminal.
    Human,
    /// Events, one JSON object a line.
    Json,
}

/// Reports one transfer.
pub(crate) struct Reporter {
    tone: Tone,
    side: Side,
    /// What the person calls the exchange.
    key: String,
    connecting: Option<Notice>,
    length: Option<u64>,
    bar: Option<ProgressBar>,
    last_event: Instant,
    /// The least time between two progress events.
    interval: Duration,
    /// What a sealed transfer has told so far.
    sealed: Option<sealed::Story>,
    /// What was last said of waiting, on this connection.
    told: Option<Waiting>,
}

/// What is told as JSON. Documented in the help, and stable.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    Code { code: &'a str, command: &'a str },
    Connecting { server: String },
    Waiting { side: &'a str, key: &'a str, elsewhere: Option<&'a str> },
    Matched { counterpart: &'a str, length: Option<u64> },
    Manifest { entries: usize, files: usize, bytes: u64, names: &'a [String] },
    Decision { accepted: bool, resumed: u64 },
    Progress { bytes: u64, length: Option<u64> },
    EntryDone { index: usize, path: &'a str },
    Retrying { error: &'a str, seconds: f64 },
    Kept { files: usize, bytes: u64, partial: Option<&'a str> },
    Done { bytes: u64, moved: u64, seconds: f64, receipt: bool, path: Option<&'a str> },
    Failed { exit_code: u8, error: &'a str },
}

impl Reporter {
    pub(crate) fn new(tone: Tone, side: Side, name: &Name) -> Reporter {
        Reporter {
            tone,
            side,
            key: name.shown.clone(),
            connecting: None,
            length: None,
            bar: None,
            last_event: Instant::now(),
            interval: Duration::from_secs(1),
            sealed: None,
            told: None,
        }
    }

    /// Tells the progress no more often than that.
    pub(crate) fn every(mut self, interval: Duration) -> Reporter {
        self.interval = interval;
        self
    }

    /// The last word of a transfer that is done.
    pub(crate) fn done(&mut self, summary: &Summary) {
        self.clear_bar();
        let path = summary.path.as_deref().map(Path::to_string_lossy);
        match self.tone {
            Tone::Quiet => {}
            Tone::Human => {
                let wheres = match (self.side, path) {
                    (Side::Download, Some(path)) => format!("; it is in {}", escape(&path)),
                    (Side::Download, None) => String::new(),
                    (Side::Upload, _) if has_receipt(summary) => "; the downloader has it".into(),
                    (Side::Upload, _) => "; the downloader's connection took it".into(),
                };
                say(&format!("done: {}{wheres}", figures(summary.bytes, summary.elapsed)));
                if summary.has_grown {
                    say(
                        "note: the file has grown meanwhile; what was there at first has been sent",
                    );
                }
            }
            Tone::Json => emit(&Event::Done {
                bytes: summary.bytes,
                moved: summary.bytes,
                seconds: summary.elapsed.as_secs_f64(),
                receipt: has_receipt(summary),
                path: path.as_deref(),
            }),
        }
    }

    fn show_bar(&mut self) {
        let shown = self.tone == Tone::Human && io::stderr().is_terminal();
        self.bar = shown.then(|| bar(self.length));
    }

    /// Why a counterpart that is there will not be met.
    fn mismatch(&self) -> String {
        let (key, counterpart) = (escape(&self.key), with_article(!self.side));
        match &self.sealed {
            // It is the server's word alone, which cannot know: a person with a secret is not talked out of it.
            Some(story) if story.has_secret => format!(
                "note: the server says that {counterpart} of {key} waits with --plain, a browser or curl, where there is no secret; \
                 have the other side leave out --plain, and do not use it yourself"
            ),
            Some(_) => format!(
                "note: {counterpart} of {key} waits for a plain transfer, with --plain, a browser or curl; \
                 you will not meet unless both use --plain or neither does"
            ),
            None => format!(
                "note: {counterpart} of {key} waits for a sealed transfer, without --plain; \
                 you will not meet unless both use --plain or neither does"
            ),
        }
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.clear_bar();
    }
}

/// Reports a failure, of a transfer or of any other command, unless it is one that nobody is left to hear of.
pub(crate) fn failed(tone: Tone, error: &Error, code: ExitCode) {
    let text = chain(error);
    match tone {
        Tone::Json => emit(&Event::Failed { exit_code: code as u8, error: &text }),
        Tone::Quiet | Tone::Human if error.is_broken_pipe() => {}
        Tone::Quiet | Tone::Human => {
            say(&format!("xchg-client: {}", escape(&text)));
            if code == ExitCode::CutShort {
                say(
                    "xchg-client: run the same command again, on both sides; what arrived is not sent again",
                );
            }
        }
    }
}

/// Says where to, should connecting take long.
pub(crate) fn connecting(tone: Tone, address: &Address) -> Option<Notice> {
    (tone == Tone::Human)
        .then(|| Notice::after(CONNECTING_NOTICE, format!("connecting to {address}")))
        .flatten()
}

/// A line that is said unless this is dropped before its time.
pub(crate) struct Notice {
    _alive: Sender<Infallible>,
}

impl Notice {
    /// `None` if the system has no thread for it, which is no reason to fail.
    fn after(delay: Duration, line: String) -> Option<Notice> {
        let (alive, ends) = crossbeam_channel::bounded(0);
        let waits = thread::Builder::new().name("notice".into()).spawn(move || {
            if ends.recv_timeout(delay) == Err(RecvTimeoutError::Timeout) {
                say(&line);
            }
        });
        waits.is_ok().then_some(Notice { _alive: alive })
    }
}

/// Says who can take what is offered under the name of a file, which is no secret.
pub(crate) fn anybody(tone: Tone, key: &str, is_plain: bool) {
    if tone == Tone::Human {
        let key = escape(key);
        let advice = if is_plain {
            "--key names another"
        } else {
            "--code makes up a code that only you know"
        };
        say(&format!("note: whoever downloads {key} from this server can take it; {advice}"));
    }
}

/// Tells the code that was made up, even to those who want to hear of nothing else.
pub(crate) fn code(tone: Tone, code: &str, command: &str) {
    match tone {
        Tone::Quiet => say(code),
        Tone::Human => say(&format!("the code is {code}; on the other machine:\n    {command}")),
        Tone::Json => emit(&Event::Code { code, command }),
    }
}

/// Draws the code for the camera of a phone. Programs draw for themselves.
pub(crate) fn qr(tone: Tone, code: &Code) {
    let paper = if io::stderr().is_terminal() { Paper::Terminal } else { Paper::Text };
    if tone != Tone::Json {
        say(code.qr(paper).trim_end_matches('\n'));
    }
}

impl Observer for Reporter {
    fn connecting(&mut self, address: &Address) {
        self.told = None;
        if self.tone == Tone::Json {
            emit(&Event::Connecting { server: address.to_string() });
        }
        self.connecting = connecting(self.tone, address);
    }

    fn waiting(&mut self, waiting: &Waiting) {
        self.connecting = None;
        let told = self.told.replace(*waiting);
        if told == Some(*waiting) {
            return;
        }
        let elsewhere = waiting.elsewhere.map(|realm| realm.as_str());
        match self.tone {
            Tone::Quiet => {}
            Tone::Human => {
                let (key, counterpart) = (escape(&self.key), with_article(!self.side));
                let secret = match &self.sealed {
                    Some(story) if story.has_secret => " with the same secret",
                    _ => "",
                };
                if told.is_none() {
                    say(&format!("waiting for {counterpart} of {key}{secret}"));
                }
                self.warn_without_secret();
                if waiting.elsewhere.is_some() {
                    say(&self.mismatch());
                }
            }
            Tone::Json => {
                emit(&Event::Waiting { side: self.side.as_str(), key: &self.key, elsewhere })
            }
        }
    }

    fn matched(&mut self, matched: &Matched) {
        self.connecting = None;
        self.length = matched.length;
        let counterpart = dialect(matched.dialect);
        match self.tone {
            Tone::Quiet => {}
            Tone::Human => {
                say(&format!("matched with {} ({counterpart})", with_article(!self.side)));
                self.warn_without_secret();
                if self.sealed.is_none() {
                    self.show_bar();
                }
            }
            Tone::Json => emit(&Event::Matched { counterpart, length: self.length }),
        }
    }

    fn progress(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
        if self.tone == Tone::Json && self.last_event.elapsed() >= self.interval {
            self.last_event = Instant::now();
            emit(&Event::Progress { bytes, length: self.length });
        }
    }
}

/// An error and its causes, in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Bytes, time and rate, for people.
fn figures(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "shown with three digits"
    )]
    let rate = if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 };
    format!("{} in {seconds:.2} s ({}/s)", HumanBytes(bytes), HumanBytes(rate))
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:30} {percent:>3}% of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left {wide_msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {binary_bytes}, {binary_bytes_per_sec} {wide_msg}",
        ),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are well-formed"))
}

fn has_receipt(summary: &Summary) -> bool {
    summary.counterpart == CounterpartDialect::Native
}

fn with_article(side: Side) -> &'static str {
    match side {
        Side::Upload => "an uploader",
        Side::Download => "a downloader",
    }
}

fn dialect(dialect: CounterpartDialect) -> &'static str {
    match dialect {
        CounterpartDialect::Native => "native",
        CounterpartDialect::Classic => "classic",
        CounterpartDialect::Http => "http",
        _ => "other",
    }
}

fn emit(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        say(&line);
    }
}

/// Writes a line to stderr. That nobody reads it is no reason to fail.
pub(crate) fn say(line: &str) {
    drop(io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
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
            Event::Manifest { entries: 1, files: 1, bytes: 1, names },
            Event::Decision { accepted: true, resumed: 0 },
            Event::Progress { bytes: 0, length: None },
            Event::EntryDone { index: 0, path: text },
            Event::Retrying { error: text, seconds: 0.0 },
            Event::Kept { files: 0, bytes: 0, partial: None },
            Event::Done { bytes: 0, moved: 0, seconds: 0.0, receipt: true, path: None },
            Event::Failed { exit_code: 1, error: text },
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

    #[test]
    fn an_error_is_shown_with_its_causes() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = Error::Source { path: "stocks.txt".into(), source };
        assert_eq!(chain(&error), "cannot read `stocks.txt`: no such file");
        assert_eq!(chain(&Error::Cancelled), "interrupted");
    }

    #[test]
    fn figures_are_for_people() {
        for (bytes, millis, shown) in [
            (0, 0, "0 B in 0.00 s (0 B/s)"),
            (1536, 500, "1.50 KiB in 0.50 s (3.00 KiB/s)"),
            (1 << 30, 2000, "1.00 GiB in 2.00 s (512.00 MiB/s)"),
        ] {
            assert_eq!(figures(bytes, Duration::from_millis(millis)), shown);
        }
    }
}
