//! Telling the person, or the program, at stderr what goes on.

mod contents;
mod event;
mod observer;
mod screen;
mod sealed;

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};
use indicatif::HumanBytes;
use xchg_client::files::Note;
use xchg_client::terminal::escape;
use xchg_client::{
    Address, Code, CounterpartDialect, Downloaded, Error, RefusalCode, Side, Uploaded, Wait,
    Waiting,
};

use crate::cause;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::qr::{self, QrStyle};
use crate::say::{Verbosity, say};
use event::{Event, emit};
use screen::Screen;

/// How long connecting takes before a person wants to know where to.
const CONNECTING_NOTICE: Duration = Duration::from_secs(1);

/// How much earlier than asked for a server may end the wait and still have waited as asked: it
/// counts from its last look at the clock, and a busy one looks seldom.
const NEARLY: Duration = Duration::from_secs(1);

/// Reports one transfer.
pub(crate) struct Reporter {
    verbosity: Verbosity,
    side: Side,
    wait: Wait,
    /// Whether the person is asked about what arrives.
    asks: bool,
    /// Whether the person left a question rather than answer it.
    is_left: bool,
    /// When the wait for the counterpart began, if it is waited for.
    asked: Option<Instant>,
    /// When the content began to move.
    began: Instant,
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
    sealed: Option<sealed::SealedReport>,
    /// What was last said of waiting, on this connection.
    told: Option<Waiting>,
}

impl Reporter {
    /// `key` is what the person calls the exchange.
    pub(crate) fn new(verbosity: Verbosity, side: Side, key: &str, wait: Wait) -> Self {
        Self {
            verbosity,
            side,
            wait,
            asks: false,
            is_left: false,
            asked: None,
            began: Instant::now(),
            key: key.to_owned(),
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

    /// Asks the person about what arrives, if it `asks`.
    pub(crate) fn asking(mut self, asks: bool) -> Self {
        self.asks = asks;
        self
    }

    /// Tells the progress no more often than that.
    pub(crate) fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// What to say of `error`, with which the transfer ended.
    pub(crate) fn explain(&mut self, error: Error) -> Failure {
        let waited = self.asked.map(|asked| asked.elapsed());
        match (&error, self.wait, waited) {
            // The server may allow less; its own words are right then.
            (
                Error::Refused { code: RefusalCode::TimedOut, .. },
                Wait::AtMost(wait),
                Some(waited),
            ) if waited + NEARLY >= wait => {
                Failure::NobodyCame { counterpart: !self.side, key: self.key.clone(), wait }
            }
            _ => self.explain_refusal(error),
        }
    }

    /// The last word of an upload that is done.
    pub(crate) fn sent(&mut self, sent: &Uploaded) {
        let whose = if sent.is_confirmed {
            "; the downloader has it"
        } else {
            "; the downloader's connection took it"
        };
        self.finish((sent.bytes, sent.moved), sent.is_confirmed, whose, None);
        self.tell_notes(&sent.notes);
    }

    /// The last word of a download that is done.
    pub(crate) fn received(&mut self, received: &Downloaded) {
        let path = received.path.as_deref().map(Path::to_string_lossy);
        let place = path.as_ref().map(|path| format!("; it is in {}", escape(path)));
        let place = place.unwrap_or_default();
        let bytes = (received.bytes, received.moved);
        self.finish(bytes, received.is_confirmed, &place, path.as_deref());
        self.tell_notes(&received.notes);
    }

    fn finish(
        &mut self,
        (bytes, moved): (u64, u64),
        receipt: bool,
        place: &str,
        path: Option<&str>,
    ) {
        self.screen.clear();
        let elapsed = self.began.elapsed();
        match self.verbosity {
            Verbosity::Quiet => {}
            Verbosity::Human => {
                let kept = match bytes - moved.min(bytes) {
                    0 => String::new(),
                    kept => format!(", {} were there already", HumanBytes(kept)),
                };
                say(&format!("done: {}{kept}{place}", figures(moved, elapsed)));
            }
            Verbosity::Json => {
                let seconds = elapsed.as_secs_f64();
                emit(&Event::Done { bytes, moved, seconds, receipt, path });
            }
        }
    }

    fn tell_notes(&self, notes: &[Note]) {
        if self.verbosity == Verbosity::Human {
            notes.iter().for_each(|note| say(&describe(note)));
        }
    }

    /// Tells programs how many bytes there are, and how many of them the downloader has as far as
    /// it says so, not too often.
    fn tell_progress(&mut self, bytes: u64, confirmed: Option<u64>) {
        if self.verbosity == Verbosity::Json && self.last_event.elapsed() >= self.interval {
            self.last_event = Instant::now();
            emit(&Event::Progress { bytes, length: self.length, confirmed });
        }
    }

    /// Why a counterpart that is there will not be met.
    fn mismatch(&self) -> String {
        let (key, counterpart) = (escape(&self.key), with_article(!self.side));
        match &self.sealed {
            // It is the server's word alone, which cannot know: a person with a secret is not
            // talked out of it.
            Some(report) if report.has_secret => format!(
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

/// Reports a failure, of a transfer or of any other command, unless it is one that nobody is left
/// to hear of.
pub(crate) fn failed(verbosity: Verbosity, error: &Failure, code: ExitCode) {
    let text = error.in_full();
    match verbosity {
        Verbosity::Json => {
            let cause = cause::word(error);
            emit(&Event::Failed { exit_code: code as u8, cause, error: &text });
        }
        Verbosity::Quiet | Verbosity::Human if error.is_broken_pipe() => {}
        Verbosity::Quiet | Verbosity::Human => {
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
pub(crate) fn connecting(verbosity: Verbosity, address: &Address) -> Option<Notice> {
    (verbosity == Verbosity::Human)
        .then(|| Notice::after(CONNECTING_NOTICE, format!("connecting to {address}")))
        .flatten()
}

/// A line that is said unless this is dropped before its time.
pub(crate) struct Notice {
    _alive: Sender<Infallible>,
}

impl Notice {
    /// `None` if the system has no thread for it, which is no reason to fail.
    fn after(delay: Duration, line: String) -> Option<Self> {
        let (alive, ends) = crossbeam_channel::bounded(0);
        let waits = thread::Builder::new().name("notice".into()).spawn(move || {
            if ends.recv_timeout(delay) == Err(RecvTimeoutError::Timeout) {
                say(&line);
            }
        });
        waits.is_ok().then_some(Self { _alive: alive })
    }
}

/// Says who can take what is offered under the name of a file, which is no secret.
pub(crate) fn anybody(verbosity: Verbosity, key: &str, is_plain: bool) {
    if verbosity == Verbosity::Human {
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
pub(crate) fn code(verbosity: Verbosity, code: &str, command: &str) {
    match verbosity {
        Verbosity::Quiet => say(code),
        Verbosity::Human => {
            say(&format!("the code is {code}; on the other machine:\n    {command}"))
        }
        Verbosity::Json => emit(&Event::Code { code, command }),
    }
}

/// Draws the code for the camera of a phone. Programs draw for themselves.
pub(crate) fn qr(verbosity: Verbosity, code: &Code) {
    let style = if io::stderr().is_terminal() { QrStyle::Terminal } else { QrStyle::Text };
    if verbosity != Verbosity::Json {
        say(qr::draw(code, style).trim_end_matches('\n'));
    }
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

fn describe(note: &Note) -> String {
    match note {
        Note::Renamed { path, name } => {
            format!("note: {} is called {}, for the name was taken", escape(path), escape(name))
        }
        Note::Grew { path } => {
            format!(
                "note: {} has grown meanwhile; what was there at first has been sent",
                escape(path)
            )
        }
        Note::HardLinks { count: 1 } => {
            "note: 1 file is another name of one sent with it, and arrives as a file of its own"
                .into()
        }
        Note::HardLinks { count } => format!(
            "note: {count} files are other names of some sent with them, and arrive as files of their own"
        ),
        Note::Metadata { path, source } => {
            format!("note: mode or time of {} could not be set: {source}", escape(path))
        }
        _ => format!("note: {}", escape(&format!("{note:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_ends_as_asked_for_is_no_refusal_though_the_clocks_differ() {
        for (waited_millis, is_as_asked) in [(60_000, true), (59_990, true), (5_000, false)] {
            let wait = Wait::AtMost(Duration::from_secs(60));
            let mut reporter = Reporter::new(Verbosity::Quiet, Side::Download, "k", wait);
            reporter.asked = Instant::now().checked_sub(Duration::from_millis(waited_millis));
            let error = Error::Refused { code: RefusalCode::TimedOut, text: "too long".into() };
            let failure = reporter.explain(error);
            assert_eq!(matches!(failure, Failure::NobodyCame { .. }), is_as_asked, "{failure}");
        }
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
