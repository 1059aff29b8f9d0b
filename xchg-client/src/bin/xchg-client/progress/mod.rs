//! Telling the person, or the program, at stderr what goes on.

mod contents;
mod event;
mod observer;
mod screen;
mod sealed;

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};
use indicatif::HumanBytes;
use xchg_client::terminal::escape;
use xchg_client::{
    Address, Code, CounterpartDialect, Error, RefusalCode, Side, Summary, Wait, Waiting,
};

use crate::cause;
use crate::exit::ExitCode;
use crate::name::Name;
use crate::qr::{self, Paper};
use event::{Event, emit};
use screen::Screen;

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
    wait: Wait,
    has_connected: bool,
    /// When the server was asked last.
    asked: Instant,
    /// What the person calls the exchange.
    key: String,
    connecting: Option<Notice>,
    length: Option<u64>,
    /// Bytes of a plain transfer that have moved.
    bytes: u64,
    screen: Screen,
    /// What is tried again, if something is.
    retrying: Option<String>,
    last_event: Instant,
    /// The least time between two progress events.
    interval: Duration,
    /// What a sealed transfer has told so far.
    sealed: Option<sealed::Story>,
    /// What was last said of waiting, on this connection.
    told: Option<Waiting>,
}

impl Reporter {
    pub(crate) fn new(tone: Tone, side: Side, name: &Name, wait: Wait) -> Reporter {
        Reporter {
            tone,
            side,
            wait,
            has_connected: false,
            asked: Instant::now(),
            key: name.shown.clone(),
            connecting: None,
            length: None,
            bytes: 0,
            screen: Screen::default(),
            retrying: None,
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

    /// How much is told, and to whom.
    pub(crate) fn tone(&self) -> Tone {
        self.tone
    }

    /// Whether the server has been asked.
    pub(crate) fn has_connected(&self) -> bool {
        self.has_connected
    }

    /// Says what is uploaded, before anybody has come for it.
    pub(crate) fn offering(&mut self, what: &str) {
        if self.tone == Tone::Human && self.retrying.is_none() {
            say(&format!("offering {what}"));
        }
    }

    /// The last word of a transfer that is done.
    pub(crate) fn done(&mut self, summary: &Summary) {
        self.screen.clear();
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

    /// What to say of `error`, with which the transfer ended.
    pub(crate) fn explain(&mut self, error: Error) -> Error {
        match (&error, self.wait) {
            // The server may allow less, and says so then.
            (Error::Refused { code: RefusalCode::TimedOut, .. }, Wait::AtMost(wait))
                if self.asked.elapsed() >= wait =>
            {
                Error::NobodyCame { counterpart: !self.side, key: self.key.clone(), wait }
            }
            _ => self.explain_refusal(error),
        }
    }

    /// Tells programs how many bytes there are, and how many of them the downloader has as far as it says so, not too often.
    fn tell_progress(&mut self, bytes: u64, confirmed: Option<u64>) {
        if self.tone == Tone::Json && self.last_event.elapsed() >= self.interval {
            self.last_event = Instant::now();
            emit(&Event::Progress { bytes, length: self.length, confirmed });
        }
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
}

/// Reports a failure, of a transfer or of any other command, unless it is one that nobody is left to hear of.
pub(crate) fn failed(tone: Tone, error: &Error, code: ExitCode) {
    let text = chain(error);
    match tone {
        Tone::Json => {
            let cause = cause::word(error);
            emit(&Event::Failed { exit_code: code as u8, cause, error: &text });
        }
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
        say(qr::draw(code, paper).trim_end_matches('\n'));
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

/// Writes a line to stderr. That nobody reads it is no reason to fail.
pub(crate) fn say(line: &str) {
    drop(io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

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
